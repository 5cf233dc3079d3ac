"""A port of simulated TRex: its owner, its profiles of streams with their states, its counters.

States follow from each other as in TRex 3.08: IDLE without streams, STREAMS with some, TX, PAUSE. Counters run on
whoever has the port; TRex cannot clear them. Rates are of the last whole second and single precision, as in its C++.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from .port import Port, Stream
from .trex_rpc import refused
from .trex_stream import StreamSettings, factor_of

_MOST = 20_000
"""Streams that one profile takes."""
_ORDER = ("TX", "PAUSE", "STREAMS", "IDLE")
DEFAULT = "_"
ACQUIRED, RELEASED = 5, 6
STARTED, STOPPED, PAUSED, RESUMED, DONE = 0, 1, 2, 3, 4
"""Events of a port; those of a profile are 10 more."""


class Owner:
    """Who has a port. handler: what shows that a request is the owner's."""

    def __init__(self, name: str, session: int) -> None:
        self.name, self.session = name, session
        self.handler = secrets.token_urlsafe(6)


class Profile:
    """Streams that start and stop together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.streams: dict[int, StreamSettings] = {}
        self.state = "IDLE"
        self.factor = Fraction(0)
        self.running: dict[int, Stream] = {}
        self.timed = False

    def need(self, states: tuple[str, ...], command: str) -> None:
        """Raise Refused unless it is in one of these states."""
        if self.state not in states:
            raise refused(
                f"command '{command}' cannot be executed on current state: '{self.state} on profile_id({self.name})."
            )


class TrexPort:
    """One port. fcs: whether its counters count the FCS; publish: takes the type and the data of an event."""

    def __init__(
        self, number: int, model: Port, *, fcs: bool, publish: Callable[[int, Mapping[str, Any]], None]
    ) -> None:
        self.number, self.model, self.fcs = number, model, fcs
        self._publish = publish
        self.owner: Owner | None = None
        self.profiles = {DEFAULT: Profile(DEFAULT)}
        self.service = self.filtered = self.queue = False
        self.attributes: dict[str, Any] = {"promiscuous": False, "multicast": False, "fc": 0, "led": False}
        self.layer = {"dst": "00:00:00:00:00:00", "valid": True}
        self.ipv4: tuple[str, str] | None = None
        self.tags: list[int] = []
        self.state = "IDLE"
        self._linked = model.link
        self._frozen: dict[str, Any] | None = None

    @property
    def mac(self) -> str:
        """Its hardware address, locally administered."""
        return f"02:53:49:4d:00:{self.number:02x}"

    def acquire(self, user: str, session: int, force: bool) -> str:
        """Give the port to a user; return the handler; raises Refused where another has it."""
        owner = self.owner
        used_force = owner is not None and force
        if owner is None or force:
            self.owner = Owner(user, session)
        elif owner.name != user:
            raise refused(f"port is already taken by '{owner.name}'")
        elif owner.session != session:
            raise refused(f"port is already owned by another session of '{user}'")
        assert self.owner is not None
        self._tell(ACQUIRED, {"who": user, "session_id": session, "force": used_force})
        return self.owner.handler

    def release(self) -> None:
        """Give the port back; traffic goes on."""
        owner, self.owner = self.owner, None
        self._tell(RELEASED, {"who": owner.name if owner else "", "session_id": owner.session if owner else 0})

    def check_owner(self, handler: str) -> None:
        """Raise Refused unless the handler is that of the owner."""
        if self.owner is None:
            raise refused("please acquire the port before modifying port state")
        if self.owner.handler != handler:
            raise refused("port is not owned by you or your current executing session")

    def profile(self, name: str) -> Profile:
        """Return a profile; raises Refused where there is none of this name."""
        if name not in self.profiles:
            raise refused(f"profile_id {name} does not exists")
        return self.profiles[name]

    def chosen(self, name: str) -> list[Profile]:
        """Return the profiles that a name stands for, "*" for all."""
        return list(self.profiles.values()) if name == "*" else [self.profile(name)]

    def add(self, name: str, stream: StreamSettings) -> None:
        """Add a stream to a profile, which is made where there is none."""
        profile = self.profiles.get(name) or Profile(name)
        if stream.number in profile.streams:
            raise refused(f"stream {stream.number} already exists in profile_id({name})")
        profile.need(("IDLE", "STREAMS"), "add_stream")
        if len(profile.streams) >= _MOST:
            raise refused(f"Reached limit of {_MOST} streams at the port.")
        self.profiles[name] = profile
        profile.streams[stream.number] = stream
        profile.state = "STREAMS"
        self._follow()

    def remove(self, name: str, number: int | None) -> None:
        """Remove one stream of a profile, or all."""
        for profile in self.chosen(name) if name == "*" or name in self.profiles or number is not None else []:
            if number is None:
                profile.need(("IDLE", "STREAMS"), "remove_and_delete_all_streams")
                profile.streams.clear()
            elif number not in profile.streams:
                raise refused(f"stream {number} does not exists in profile_id({profile.name})")
            else:
                profile.need(("STREAMS",), "remove_stream")
                del profile.streams[number]
            if not profile.streams:
                profile.state = "IDLE"
            gone = [stream for key, stream in profile.running.items() if key not in profile.streams]
            self.model.network.remove(gone)
            profile.running = {key: made for key, made in profile.running.items() if key in profile.streams}
        self._follow()

    def start(self, name: str, kind: str, value: float, duration: float, force: bool) -> None:
        """Start a profile. kind, value: its multiplier; duration: s, not above 0 = without end."""
        profile = self.profile(name)
        profile.need(("STREAMS",), "start")
        if not force and not self.model.link:
            raise refused("Link state is DOWN.")
        streams = list(profile.streams.values())
        profile.factor = factor_of(kind, value, streams, self.model, force)
        room = self._room(profile, profile.factor)
        profile.timed = duration > 0
        self.model.network.remove(profile.running.values())
        profile.running = {
            one.number: self.model.network.add(
                Stream(
                    self.model,
                    sizes=(one.size,),
                    rate=one.frame_rate(profile.factor) * room,
                    packets=one.packets,
                    seconds=duration if duration > 0 else None,
                    name=f"{self.number}/{name}/{one.number}",
                )
            )
            for one in streams
            if one.enabled
        }
        profile.state = "TX"
        self.model.network.start(profile.running.values())
        self._tell(STARTED + 10, {"profile_id": name})
        self._follow()

    def stop(self, name: str) -> None:
        """Stop a profile, "*" for all; one that does not run stays as it is."""
        for profile in self.chosen(name):
            if profile.state in ("TX", "PAUSE"):
                self.model.network.stop(profile.running.values())
                profile.state = "STREAMS"
                self._tell(STOPPED + 10, {"profile_id": profile.name})
        self._follow()

    def pause(self, name: str) -> None:
        """Pause a profile; only where all of it is continuous and without a duration."""
        profile = self.profile(name)
        profile.need(("TX",), "pause")
        if any(stream.packets is not None for stream in profile.streams.values()):
            raise refused(" pause is supported when all streams are in continues mode ")
        if profile.timed:
            raise refused(" pause is supported when duration is not enable is start command ")
        self.model.network.stop(profile.running.values())
        profile.state = "PAUSE"
        self._tell(PAUSED + 10, {"profile_id": name})
        self._follow()

    def resume(self, name: str) -> None:
        """Let a paused profile go on."""
        profile = self.profile(name)
        profile.need(("PAUSE",), "resume")
        self.model.network.start(profile.running.values())
        profile.state = "TX"
        self._tell(RESUMED + 10, {"profile_id": name})
        self._follow()

    def update(self, name: str, kind: str, operation: str, value: float, force: bool) -> Fraction:
        """Change the rate of a running profile; return its factor."""
        profile = self.profile(name)
        profile.need(("TX", "PAUSE"), "update")
        streams = list(profile.streams.values())
        if kind == "percentage" and operation != "abs":
            change = profile.factor * Fraction(value) / 100
        else:
            change = factor_of(kind, value, streams, self.model, force)
        factor = {"abs": change, "add": profile.factor + change, "sub": profile.factor - change}[operation]
        if factor <= 0:
            raise refused("Update request will lower traffic to less than zero")
        if profile.timed or any(stream.packets is not None for stream in profile.streams.values()):
            raise refused("an update of streams that end by themselves is not simulated")
        room = self._room(profile, factor)
        profile.factor = factor
        for number, stream in profile.running.items():
            stream.rate = profile.streams[number].frame_rate(factor) * room
        if profile.state == "TX":
            self.model.network.start(profile.running.values())
        return factor

    def tick(self) -> None:
        """See whether traffic ended by itself, or the link changed, and tell."""
        for profile in self.profiles.values():
            if profile.state == "TX" and not any(stream.sending for stream in profile.running.values()):
                profile.state = "STREAMS"
                self._tell(DONE + 10, {"profile_id": profile.name})
        self._follow(by_itself=True)
        if self.model.link is not self._linked:
            self._linked = self.model.link
            self._tell(8, {"attr": self.attribute_status()})

    def attribute_status(self) -> dict[str, Any]:
        """Return what `get_port_status` has as attr."""
        ipv4: dict[str, Any] = {"state": "none"}
        if self.ipv4 is not None:
            ipv4 = {"state": "resolved", "src": self.ipv4[0], "dst": self.ipv4[1]}
        return {
            "promiscuous": {"enabled": self.attributes["promiscuous"]},
            "multicast": {"enabled": self.attributes["multicast"]},
            "link": {"up": self.model.link},
            "speed": float(self.model.speed) if self.model.link else 0.0,
            "rx_filter_mode": "all" if self.service else "hw",
            "vxlan_fs": [],
            "fc": {"mode": self.attributes["fc"]},
            "layer_cfg": {
                "ether": {"src": self.mac, "dst": self.layer["dst"], "state": "configured"},
                "ipv4": ipv4,
                "ipv6": {"enabled": False},
            },
            "vlan": {"tags": list(self.tags)},
        }

    def statistics(self) -> dict[str, Any]:
        """Return the counters of the port, and its rates."""
        model = self.model
        sent, received = model.sent, model.received
        second = {side: model.last_second(side) for side in ("sent", "received")}
        fewer = 0 if self.fcs else 4
        return {
            "opackets": sent.frames,
            "obytes": (sent.size - fewer * sent.frames) % (1 << 64),
            "ipackets": received.frames,
            "ibytes": (received.size - fewer * received.frames) % (1 << 64),
            "ierrors": 0,
            "oerrors": 0,
            "m_total_tx_bps": single(8 * (second["sent"].size - fewer * second["sent"].frames)),
            "m_total_tx_pps": single(second["sent"].frames),
            "m_total_rx_bps": single(8 * (second["received"].size - fewer * second["received"].frames)),
            "m_total_rx_pps": single(second["received"].frames),
            "m_cpu_util": single(
                min(100.0, 100 * 8 * (second["sent"].size + 20 * second["sent"].frames) / float(model.line_rate))
            ),
        }

    def _room(self, profile: Profile, factor: Fraction) -> Fraction:
        """Return the part of what a profile would send that the line takes, with what others send already."""

        def bits(one: Profile, at: Fraction) -> Fraction:
            enabled = (stream for stream in one.streams.values() if stream.enabled)
            return sum((stream.bits(at, self.model.gap) for stream in enabled), Fraction(0))

        others = [one for one in self.profiles.values() if one is not profile and one.state == "TX"]
        left = self.model.line_rate - sum((bits(one, one.factor) for one in others), Fraction(0))
        if left <= 0:
            raise refused("the line is full with other profiles, and how they would share it is not simulated")
        return min(Fraction(1), left / bits(profile, factor))

    def _follow(self, *, by_itself: bool = False) -> None:
        """Let the state of the port follow from those of its profiles, and tell."""
        states = {profile.state for profile in self.profiles.values()}
        before, self.state = self.state, next(state for state in _ORDER if state in states)
        if before == self.state:
            return
        events = {("STREAMS", "TX"): STARTED, ("IDLE", "TX"): STARTED, ("PAUSE", "TX"): RESUMED}
        if self.state == "TX":
            self._tell(events[before, self.state], {})
        elif self.state == "PAUSE":
            self._tell(PAUSED, {})
        elif self.state == "STREAMS" and before != "IDLE":
            self._tell(DONE if by_itself else STOPPED, {})

    def _tell(self, kind: int, data: Mapping[str, Any]) -> None:
        self._publish(kind, {"port_id": self.number, **data})


def single(value: float) -> float:
    """Return a number as a float of C++ holds it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])

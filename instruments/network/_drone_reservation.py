"""Ports of one drone that have our name: streams, traffic, counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import NotSupported, OutOfRange, UsageError
from aicalib_hw.interfaces import Counters, EffectiveConfig, Gate, PortCounters, Stream
from aicalib_hw.readings import Instant
from aicalib_hw.transport.deadline import Deadline

from . import _drone_messages as messages
from . import _evaluation
from ._drone_session import numbered
from ._gated import GatedReservation

if TYPE_CHECKING:
    from .drone import Drone

REFRESH = 1.2
"""s within which drone brings its counters, and whether a port transmits, up to date: about once a second."""

_POLL = 0.05
_MOST = 2**32 - 1
_SLEW = 500e-6
_STOP, _FROM_THE_FIRST = 0, 2
"""What comes after a stream's packets: nothing, or the first stream again."""
_LOOP = 10_000
"""Frames after which a stream without end begins again."""

_FIXED = 0
"""An address as given; drone would otherwise look for an emulated device to take it from."""

_TO, _FROM = 0x02_00_00_00_FF_01, 0x02_00_00_00_00_00
"""Locally administered addresses, as nobody is to answer."""


class DroneReservation(GatedReservation):
    """Ports of one drone that have our name."""

    fcs_counted = False
    poll = _POLL
    refresh = REFRESH
    host_timed = True

    def __init__(self, tester: Drone, ports: Sequence[str], owner: str, evicted: Mapping[str, str]) -> None:
        super().__init__(tester, ports, owner, evicted)
        self._tester = tester

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Define the streams, at most one a port, and read them back; raises OutOfRange, NotSupported."""
        tester = self._tester
        self._require_possible(streams)
        senders = [stream.tx for stream in streams]
        if len(set(senders)) < len(senders):
            raise NotSupported("drone counts ports, so it takes one stream a port", where=tester.address)
        for stream in streams:
            if stream.headers:
                raise NotSupported("headers of one's own are not sent through drone here", where=tester.address)
        for port in self._ports:
            tester.delete_streams(tester.taken[port])
        self._streams = tuple(streams)
        for stream in streams:
            self._define(stream, _FROM_THE_FIRST, _LOOP)
        return self._read_back()

    def clear(self) -> None:
        """Set all counters of our ports to zero."""
        self._tester.session.call("clearStats", **numbered(self._numbers()))

    def start(self) -> None:
        """Start all streams until `stop()`; raises LinkDown."""
        self._require_links()
        for stream in self._streams:
            self._define(stream, _FROM_THE_FIRST, _LOOP)
        self._tester.transmit("start", self._senders())
        deadline = Deadline(2 * REFRESH)
        while not self.running and not deadline.expired:
            self._tester.stopping.wait(self.poll)

    def stop(self) -> None:
        """Stop transmitting; idempotent."""
        self._tester.transmit("stop", self._senders() or self._numbers())

    @property
    def running(self) -> bool:
        """True while a port transmits, as drone says."""
        return any(one.state.is_transmit_on for one in self._tester.statistics(self._numbers()).values())

    def read(self) -> Counters:
        """Read the counters of all ports, between two instants; a stream's are those of its two ports."""
        before = Instant.now()
        found = self._tester.statistics(self._numbers())
        after = Instant.now()
        ports = {
            name: PortCounters(
                tx_frames=found[number].tx_pkts,
                tx_bytes=found[number].tx_bytes,
                rx_frames=found[number].rx_pkts,
                rx_bytes=found[number].rx_bytes,
            )
            for name in self._ports
            for number in (self._tester.taken[name],)
        }
        streams = {
            stream.name: PortCounters(
                tx_frames=ports[stream.tx].tx_frames,
                tx_bytes=ports[stream.tx].tx_bytes,
                rx_frames=ports[stream.rx].rx_frames,
                rx_bytes=ports[stream.rx].rx_bytes,
            )
            for stream in self._streams
        }
        return Counters(before, after, ports, streams)

    def _begin(self, gate: Gate) -> None:
        if not 2 <= gate.amount <= _MOST or gate.amount != int(gate.amount):
            raise OutOfRange(f"{gate.amount:g} frames cannot be a gate", why=f"whole, 2 to {_MOST}")
        for stream in self._streams:
            self._define(stream, _STOP, int(gate.amount))
        self.clear()
        self._tester.transmit("start", self._senders())

    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> _evaluation.Gate:
        clock = "this host's clock: slewed by the kernel by at most 500 ppm"
        # That it has ended shows up to a refresh late: half of one in the mean, give or take as much.
        seconds = max(elapsed - REFRESH / 2, _POLL)
        return _evaluation.Gate(seconds, "host", _SLEW, clock, jitter=REFRESH / 2, edges=2)

    def _define(self, stream: Stream, after: int, packets: int) -> None:
        """Write one stream; its number is that of its place among the streams."""
        tester = self._tester
        port, number = tester.taken[stream.tx], self._streams.index(stream)
        where = {"port_id": {"id": port}}
        if number not in {one.id for one in tester.session.call("getStreamIdList", id=port).stream_id}:
            tester.session.call("addStream", **where, stream_id=[{"id": number}])
        tester.session.call("modifyStream", **where, stream=[self._stream(stream, port, number, after, packets)])
        tester.session.call("build", **where)

    def _stream(self, stream: Stream, port: int, number: int, after: int, packets: int) -> dict[str, Any]:
        return {
            "stream_id": {"id": number},
            "core": {"name": stream.name, "is_enabled": True, "len_mode": 0, "frame_len": stream.frame_size},
            "control": {
                "unit": 0,
                "mode": 0,
                "num_packets": packets,
                "next": after,
                "packets_per_sec": self._frames(stream),
            },
            "protocol": [
                {
                    "protocol_id": {"id": messages.MAC},
                    "mac": {"dst_mac": _TO, "dst_mac_mode": _FIXED, "src_mac": _FROM + port, "src_mac_mode": _FIXED},
                },
                {"protocol_id": {"id": messages.ETHERNET_II}, "eth2": {}},
                {"protocol_id": {"id": messages.PAYLOAD}, "payload": {}},
            ],
        }

    def _frames(self, stream: Stream) -> float:
        """Frames/s that a stream asks for; raises UsageError for a share of a line of unknown speed."""
        speeds = {port.port: port.speed for port in self._tester.ports()}
        frames = _evaluation.intended_frames(stream, speeds.get(stream.tx), self.gap)
        if frames is None:
            raise UsageError(
                f"drone does not know the speed of {stream.tx}", advice='give the load as a Rate: Rate(1e6, "L2-fcs")'
            )
        return frames

    def _read_back(self) -> EffectiveConfig:
        streams, differences = [], []
        for number, stream in enumerate(self._streams):
            where = {"port_id": {"id": self._tester.taken[stream.tx]}}
            (found,) = self._tester.session.call("getStreamConfig", **where, stream_id=[{"id": number}]).stream
            asked = self._frames(stream)
            if found.core.frame_len != stream.frame_size:
                differences.append(f"{stream.name}: {found.core.frame_len} B instead of {stream.frame_size} B")
            if abs(found.control.packets_per_sec - asked) > 1e-6 * asked:
                differences.append(f"{stream.name}: {found.control.packets_per_sec:g}/s instead of {asked:g}/s")
            streams.append(replace(stream, frame_size=found.core.frame_len))
        return EffectiveConfig(tuple(streams), tuple(differences))

    def _numbers(self) -> list[int]:
        return [self._tester.taken[port] for port in self._ports]

    def _senders(self) -> list[int]:
        return [self._tester.taken[stream.tx] for stream in self._streams]

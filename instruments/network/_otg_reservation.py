"""Ports of one Open Traffic Generator that carry our configuration: streams, traffic, counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import NotSupported, ProtocolError
from aicalib_hw.interfaces import Counters, EffectiveConfig, Gate, PortCounters, Stream
from aicalib_hw.readings import Instant

from . import _evaluation
from . import _otg_model as model
from ._gated import GatedReservation

if TYPE_CHECKING:
    from .otg import OpenTrafficGenerator

_TOLERANCE = 1e-6

_ASSUMED_JITTER = 1e-3
"""s by which start and stop of a gate together may be off, where neither bench nor time stamps tell."""


class OtgReservation(GatedReservation):
    """Ports of one controller that carry our configuration."""

    def __init__(
        self,
        tester: OpenTrafficGenerator,
        ports: Mapping[str, str],
        owner: str,
        evicted: Mapping[str, str],
        force: bool,
    ) -> None:
        super().__init__(tester, list(ports), owner, evicted)
        self.fcs_counted = tester.place.fcs
        self._tester = tester
        self._locations = ports
        self._force = force
        self._flows: list[dict[str, Any]] = []

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Push the streams as flows and read them back; raises OutOfRange before the wire for what cannot be.

        All streams of one measurement have one frame size, 64 to 14 000 bytes with FCS.
        """
        self._require_possible(streams)
        self._streams = tuple(streams)
        self._flows = [model.flow(stream, gap=self.gap) for stream in streams]
        self._push(self._flows)
        self._tester.flows = tuple(stream.name for stream in streams)
        return self._read_back()

    def clear(self) -> None:
        """Do nothing: the model has no such act, and starting clears all counters."""

    def start(self) -> None:
        """Start all streams until `stop()`; the counters begin at zero. Raises LinkDown."""
        self._require_links()
        self._push(self._flows)
        self._tester.transmit("start")

    def stop(self) -> None:
        """Stop our streams; idempotent. Raises LockedByOther where somebody's configuration has replaced ours."""
        self._tester.stop_flows([str(flow["name"]) for flow in self._flows])

    @property
    def running(self) -> bool:
        """True while a stream transmits, as the controller says."""
        return any(one.get("transmit") == "started" for one in self._tester.metrics("flow"))

    def read(self) -> Counters:
        """Read all counters of ports and streams, between two instants that bound their skew."""
        before = Instant.now()
        of_ports, of_flows = self._tester.metrics("port"), self._tester.metrics("flow")
        return Counters(before, Instant.now(), _by_name(of_ports), _by_name(of_flows))

    def _begin(self, gate: Gate) -> None:
        self._push([model.gated(flow, gate.kind, gate.amount) for flow in self._flows])
        self._tester.transmit("start")

    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> _evaluation.Gate:
        tester = self._tester
        clock = f"clock of the ports, ±{tester.place.clock * 1e6:g} ppm as the bench states"
        stamped = self._stamped(last)
        jitter, source = self._jitter(gate, stamped)
        if gate.kind == "seconds":
            seconds = gate.amount
        elif stamped:
            seconds = max(span for span, _ in stamped)
        else:
            raise NotSupported(
                "the controller gives no time stamps, so a gate of packets has no length",
                where=tester.address,
                advice='use Gate("seconds", …)',
            )
        return _evaluation.Gate(seconds, "instrument", tester.place.clock, clock, jitter, source, edges=2)

    def _jitter(self, gate: Gate, stamped: Sequence[tuple[float, float]]) -> tuple[float, str]:
        """How well start and stop of a gate are known together, s, and by what.

        A gate of seconds is told twice: as it was asked for, and by the receiver's time stamps. Which of the two is
        right cannot be told, as frames may be lost or held back at its ends, so they are known to their difference.
        """
        stated = self._tester.place.jitter
        if gate.kind == "seconds" and stamped:
            apart = max(abs(span - gate.amount) + step for span, step in stamped)
            if stated is None or apart > stated:
                return apart, "difference between the gate asked for and the receiver's time stamps"
        step = max((step for _, step in stamped), default=0.0) if gate.kind == "packets" else 0.0
        if stated is not None:
            return stated + step, "limits of error of start and stop as the bench states"
        return _ASSUMED_JITTER + step, "start and stop of a generator that may be a program: an assumption"

    def _stamped(self, last: Counters) -> list[tuple[float, float]]:
        """The length of the gate by the receiver's time stamps, s, and their steps; empty where a stream has none."""
        entries = {str(one.get("name")): one for one in self._tester.metrics("flow")}
        found = []
        for stream in self._streams:
            span, received = model.span(entries.get(stream.name, {})), last.streams[stream.name].rx_frames or 0
            if not span or not span[0] > 0 or received < 2:
                return []
            # From the first to the last frame there is one interval fewer than frames.
            found.append((span[0] * received / (received - 1), span[1]))
        return found

    def _evidence(self, last: Counters) -> dict[str, Any]:
        return {
            "flows": self._flows,
            "bytes": {name: [one.tx_bytes, one.rx_bytes] for name, one in last.streams.items()},
        }

    def _push(self, flows: Sequence[Mapping[str, Any]]) -> None:
        place = self._tester.place
        self._tester.push(model.config(self._locations, place.speed, flows, self._tester.mark, force=self._force))

    def _read_back(self) -> EffectiveConfig:
        """What the controller holds, and where it differs from what was asked."""
        held = {str(one.get("name")): one for one in self._tester.ask("GET", "/config").get("flows") or []}
        streams, differences = [], []
        for stream, asked in zip(self._streams, self._flows, strict=True):
            found = held.get(stream.name)
            if found is None:
                raise ProtocolError(f"stream {stream.name!r} was not taken", where=self._tester.address)
            size = model.integer(found.get("size") or {}, "fixed") or 64
            if size != stream.frame_size:
                differences.append(f"{stream.name}: frame size {size} B instead of {stream.frame_size} B")
            streams.append(replace(stream, frame_size=size))
            was, is_ = _amount(asked["rate"]), _amount(found.get("rate") or {})
            if is_[0] != was[0] or abs(is_[1] - was[1]) > _TOLERANCE * was[1]:
                differences.append(f"{stream.name}: {is_[1]:g} {is_[0]} instead of {was[1]:g} {was[0]}")
        return EffectiveConfig(tuple(streams), tuple(differences))


def _amount(rate: Mapping[str, Any]) -> tuple[str, float]:
    choice = str(rate.get("choice", "pps"))
    return choice, float(model.number(rate, choice) or 0.0)


def _by_name(entries: Sequence[Mapping[str, Any]]) -> dict[str, PortCounters]:
    return {str(one.get("name")): model.counters(one) for one in entries}

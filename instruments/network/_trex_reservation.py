"""Ports of one TRex server that are ours: streams, traffic, counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import CountersWentBack, NotSupported, OutOfRange, ProtocolError
from aicalib_hw.interfaces import Counters, EffectiveConfig, Gate, PortCounters, Stream
from aicalib_hw.readings import Instant

from . import _evaluation
from . import _trex_model as model
from ._gated import GatedReservation
from ._trex_session import Call

if TYPE_CHECKING:
    from .trex import Trex

_ALL_CORES = 2**64 - 1
_WRAPS_AT = 2**64
_ENDLESS = -1.0
_PORT_COUNTS = ("opackets", "obytes", "ipackets", "ibytes")
_FLOW_COUNTS = ("tp", "tb", "rp", "rb")
_FIRST_NUMBER = 1

Counts = dict[tuple[str, ...], int]
"""What the server counts, by where it stands."""


class TrexReservation(GatedReservation):
    """Ports that this session has acquired, until `release()`.

    Counters of ports run on from the server's start: what they were when traffic began is taken off. Whether those of a
    flow begin anew when its traffic does is not stated, so every transmission has flows with numbers of their own.
    """

    def __init__(self, tester: Trex, ports: tuple[str, ...], owner: str, evicted: Mapping[str, str]) -> None:
        super().__init__(tester, ports, owner, evicted)
        self._tester = tester
        self.fcs_counted = tester.place.fcs
        self.refresh = tester.place.refresh
        self._numbers: dict[str, int] = {}
        self._next = _FIRST_NUMBER
        self._sent = False
        self._before: Counts = {}

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Add the streams, replacing those on our ports; raises OutOfRange before the wire, NotSupported.

        The server takes a stream as it is or refuses it, and has no confirmed way of reading one back: that what was
        asked for is sent is told by the counts of every measurement.
        """
        self._require_possible(streams)
        if len({stream.frame_size for stream in streams}) > 1:
            raise OutOfRange("streams of one measurement have one frame size", where=self._tester.address)
        self._require_flow_statistics(streams)
        self._define(streams)
        self.clear()
        return EffectiveConfig(self._streams)

    def _define(self, streams: Sequence[Stream]) -> None:
        """Replace the streams on our ports, each with a number that no flow had before."""
        numbers = {one.name: number for number, one in enumerate(streams, self._next)}
        made = [(one, numbers[one.name], model.stream(one, numbers[one.name], gap=self.gap)) for one in streams]
        with self._tester.exclusive():
            self._streams, self._numbers = (), {}
            self._tester.forget_streams(self._ports)
            calls: list[Call] = [
                ("add_stream", {**self._tester.held(one.tx), "stream_id": number, "stream": plain})
                for one, number, plain in made
            ]
            self._next += len(calls)
            if calls:
                self._tester.session.batch(calls)
            self._streams, self._numbers = tuple(streams), numbers
            self._sent = False

    def clear(self) -> None:
        """Count from here on."""
        self._before, _ = self._counts()

    def start(self) -> None:
        """Start all streams until `stop()`; raises LinkDown."""
        self._require_links()
        self._transmit(_ENDLESS)

    def stop(self) -> None:
        """Stop transmitting; idempotent."""
        self._tester.stop_traffic(self._ports)

    @property
    def running(self) -> bool:
        """True while a port of ours transmits, as the server says."""
        return any(self._tester.transmits(status) for status in self._tester.statuses(self._ports).values())

    def read(self) -> Counters:
        """Read all counters in one batch, between two instants that bound their skew; raises CountersWentBack."""
        before = Instant.now()
        counts, told = self._counts()
        after = Instant.now()
        since: Counts = {}
        for place, value in counts.items():
            # Over a wrap of 64 bits too; what somebody reset meanwhile is far from it.
            since[place] = counted = (value - self._before.get(place, 0)) % _WRAPS_AT
            if counted >= _WRAPS_AT // 2:
                raise self._went_back(place, value)
        ports = {
            port: model.port_counters(
                {name: since[port, name] for name in _PORT_COUNTS}, told[port], fcs_counted=self.fcs_counted
            )
            for port in self._ports
        }
        return Counters(before, after, ports, {one.name: self._flow(one, since, told) for one in self._streams})

    def _went_back(self, place: tuple[str, ...], value: int) -> CountersWentBack:
        return CountersWentBack(
            f"{place[1]} of {place[0]} went back from {self._before.get(place, 0)} to {value}",
            where=self._tester.address,
            why="somebody has reset the counters of the server, or started it anew",
            advice="look at who else uses it, and measure again",
        )

    def _flow(self, one: Stream, since: Counts, told: Mapping[str, Any]) -> PortCounters:
        number = str(self._numbers[one.name])
        sent, sent_bytes, received, received_bytes = (since[number, name] for name in _FLOW_COUNTS)
        delays = told["latency"].get(number)
        errors = delays.get("er") if isinstance(delays, dict) else None
        counted = {name: model.count(errors, name) for name in ("drp", "ooo")} if errors is not None else {}
        return PortCounters(
            tx_frames=sent,
            # Adapters without counters of bytes leave them at zero.
            tx_bytes=sent_bytes if sent_bytes or not sent else None,
            rx_frames=received,
            rx_bytes=received_bytes if received_bytes or not received else None,
            lost=counted.get("drp"),
            out_of_order=counted.get("ooo"),
            latency=model.latency(delays),
        )

    def _counts(self) -> tuple[Counts, dict[str, Any]]:
        """What the server counts by now, and what else it tells."""
        calls: list[Call] = [("get_port_stats", {"port_id": int(port)}) for port in self._ports]
        if self._numbers:
            calls.append(("get_pgid_stats", {"pgids": list(self._numbers.values())}))
        results = self._tester.session.batch(calls)
        if not all(isinstance(one, dict) for one in results):
            raise ProtocolError("statistics are no objects", where=self._tester.address)
        counts: Counts = {}
        told: dict[str, Any] = dict(zip(self._ports, results, strict=False))
        for port in self._ports:
            entry = told[port]
            for name in _PORT_COUNTS:
                value = entry.get(name)
                counts[port, name] = value if type(value) is int else model.count(entry, name)
        flows = results[-1] if self._numbers else {}
        found = flows.get("flow_stats") or {}
        told["latency"] = flows.get("latency") or {}
        for one in self._streams:
            number = str(self._numbers[one.name])
            flow = found.get(number)
            for name, port in zip(_FLOW_COUNTS, (one.tx, one.tx, one.rx, one.rx), strict=True):
                counts[number, name] = model.count(flow, name, port)
        return counts, told

    def _begin(self, gate: Gate) -> None:
        if not gate.amount > 0:
            raise OutOfRange(f"a gate of {gate.amount:g} s is none", where=self._tester.address)
        self._transmit(gate.amount)

    def _transmit(self, duration: float) -> None:
        """Start every sending port in one batch, for `duration` s of the server's clock or without end."""
        if self._sent:
            self._define(self._streams)
        self.clear()
        self._sent = True
        asked = {
            "profile_id": model.PROFILE,
            "mul": {"type": "raw", "op": "abs", "value": 1.0},
            "duration": duration,
            "force": False,
            "core_mask": _ALL_CORES,
            "start_at_ts": 0,
        }
        sending = dict.fromkeys(stream.tx for stream in self._streams)
        self._tester.session.batch([("start_traffic", {**self._tester.held(port), **asked}) for port in sending])

    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> _evaluation.Gate:
        place = self._tester.place
        clock = f"clock of the server, ±{place.clock * 1e6:g} ppm as the bench states"
        return _evaluation.Gate(gate.amount, "instrument", place.clock, clock, jitter=place.jitter, edges=2)

    def _require_flow_statistics(self, streams: Sequence[Stream]) -> None:
        """Raise NotSupported unless the receiving ports tell the frames of one stream from others."""
        able = self._tester.with_flow_statistics
        lacking = [stream.rx for stream in streams if stream.rx not in able]
        if lacking:
            raise NotSupported(
                f"port {', '.join(dict.fromkeys(lacking))} counts no flows by themselves",
                where=self._tester.address,
                why="its interface or driver has no flow statistics",
                advice="use a network adapter that TRex has flow statistics for",
            )

"""A reservation of ports whose tester bounds transmission by itself: what is the same for all such testers."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from aicalib_hw import rates
from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    DeadlineExceeded,
    InstrumentError,
    LinkDown,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.interfaces import (
    Counters,
    Gate,
    ReleaseReport,
    Reservation,
    Stream,
)
from aicalib_hw.readings import Instant, Measurement, Window, to_plain
from aicalib_hw.transport.deadline import Deadline

from . import _evaluation
from ._limits import require_possible
from ._traffic_tester import TrafficTester

_POLL = 0.05
"""s between questions whether transmission has ended."""

_LOOKS = 50
"""How often a gate is looked at while it lasts."""


class GatedReservation(Reservation):
    """Ports that are ours, on a tester with a gate of its own.

    owner: whom the audit names. evicted: port → who was evicted by force. gap: bytes of preamble and gap in force.
    fcs_counted: whether the tester's bytes hold the FCS, None = unknown. poll: s between looks at a running gate.
    refresh: s within which the tester brings up to date what it says. host_timed: whether the moment at which this host
    sees the end bounds the gate, so that it is looked for all the time.
    """

    fcs_counted: bool | None = None
    poll = _POLL
    refresh = 0.0
    host_timed = False

    def __init__(
        self, tester: TrafficTester[Any], ports: Sequence[str], owner: str, evicted: Mapping[str, str]
    ) -> None:
        self.evicted = evicted
        self.owner = owner
        self.gap = float(rates.STANDARD_GAP)
        self._base = tester
        self._ports = tuple(ports)
        self._streams: tuple[Stream, ...] = ()
        self._seen: Counters | None = None

    @abc.abstractmethod
    def _begin(self, gate: Gate) -> None:
        """Set the limits that end transmission by themselves, clear the counters, and start."""

    @abc.abstractmethod
    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> _evaluation.Gate:
        """Return the gate as it was, once transmission has ended; elapsed: s by the host's clock."""

    def _evidence(self, last: Counters) -> dict[str, Any]:
        """What this tester adds to the evidence."""
        return {}

    def measure_throughput(self, gate: Gate, *, settle: float) -> Measurement:
        """Transmit through the tester's own gate and return what was received, bit/s at layer 2 with FCS.

        gate: of a kind and amount that the tester has. settle: s without change that tell that all has arrived. A
        transmission that broke off, as when the tester vanishes, gives a Measurement without value whose reasons say
        why and whose evidence holds the last counters seen. Raises LinkDown, LockedByOther, NotSupported or OutOfRange
        for the gate, Aborted, and before it transmits whatever an exchange raises; traffic is stopped on every way out.
        """
        tester = self._base
        if not self._streams:
            raise UsageError("no stream is set up", where=tester.address, advice="configure() one first")
        if gate.kind not in tester.capabilities.gates:
            raise NotSupported(f"this tester has no gate of {gate.kind}", where=tester.address)
        expected = self._expected(gate)
        self._require_links()
        tester.stopping.clear()
        self._seen = None
        began = Instant.now()
        rule = f"the tester's gate of {gate.amount:g} {gate.kind}"
        try:
            self._begin(gate)
            try:
                last, in_force = self._through(gate, expected, settle)
                problems = self._lost_meanwhile()
                speeds = {port.port: port.speed for port in tester.ports()}
                further = self._evidence(last)
                window = Window(began, Instant.now(), rule)
                return self._evaluated(last, in_force, window, speeds, problems, further)
            except (Aborted, NotSupported, OutOfRange):
                raise
            except InstrumentError as error:
                return _evaluation.broken_off(
                    self._streams,
                    error,
                    identity=tester.identity,
                    window=Window(began, Instant.now(), rule),
                    settings=self._settings,
                    evidence={"gate_asked": to_plain(gate), "last_seen": to_plain(self._seen)},
                )
        finally:
            self._stop_quietly()

    def _through(self, gate: Gate, expected: float, settle: float) -> tuple[Counters, _evaluation.Gate]:
        """Wait through a gate of `expected` s that has begun; return the counters at rest and the gate as it was."""
        started = Instant.now()
        self._await_end(expected)
        elapsed = Instant.now().seconds_since(started)
        last = _evaluation.when_quiet(
            self._look,
            settle=max(settle, self.refresh),
            deadline=Deadline(expected + 10 * self._base.patience),
            every=self.poll,
        )
        return last, self._gate_of(gate, last, elapsed)

    def release(self) -> ReleaseReport:
        """Stop traffic, delete our streams and give the ports back; idempotent, never raises."""
        return self._base.give_back()

    def _require_possible(self, streams: Sequence[Stream]) -> None:
        """Raise OutOfRange before the wire for what this tester, these ports or the line do not have."""
        tester = self._base
        require_possible(streams, tester.capabilities, self._ports, tester.ports(), gap=self.gap, where=tester.address)

    def _require_links(self) -> None:
        used = {port for stream in self._streams for port in (stream.tx, stream.rx)}
        down = [port.port for port in self._base.ports() if port.port in used and port.link_up is False]
        if down:
            raise LinkDown(
                f"port {', '.join(down)} has no link", where=self._base.address, advice="check cable and FEC"
            )

    def _expected(self, gate: Gate) -> float:
        """How long the gate lasts, s; raises UsageError where that cannot be known."""
        if gate.kind == "seconds":
            return gate.amount
        speeds = {port.port: port.speed for port in self._base.ports()}
        frames = [_evaluation.intended_frames(one, speeds.get(one.tx), self.gap) for one in self._streams]
        if any(one is None for one in frames):
            raise UsageError(
                "a gate of packets needs to know the speed of the line",
                where=self._base.address,
                advice="name the speed in the address, or give the load as a Rate",
            )
        return gate.amount / min(float(one or 1.0) for one in frames)

    def _await_end(self, expected: float) -> None:
        """Wait until nothing transmits any more; the tester's gate ends it, the host only looks."""
        tester = self._base
        deadline = Deadline(expected + 3 * tester.patience)
        pace = self.poll if self.host_timed else max(self.poll, expected / _LOOKS)
        tester.stopping.wait(self.refresh)
        while True:
            if tester.stopping.wait(pace):
                raise Aborted("the measurement was aborted", where=tester.address)
            if not self.running:
                return
            self._look()
            if deadline.expired:
                raise DeadlineExceeded(
                    f"transmission did not end {3 * tester.patience:g} s after its gate of {expected:g} s",
                    where=tester.address,
                )

    @property
    def _settings(self) -> dict[str, Any]:
        return {"ports": list(self._ports), "owner": self.owner}

    def _look(self) -> Counters:
        """Read the counters, and keep them for the case that they are the last; raises CountersWentBack."""
        present = self.read()
        if self._seen is not None:
            _evaluation.require_forward(self._seen, present, self._base.address)
        self._seen = present
        return present

    def _lost_meanwhile(self) -> list[str]:
        """What speaks against the result because of the ports: taken by others, or without link, by now."""
        used = {port for stream in self._streams for port in (stream.tx, stream.rx)}
        found = []
        for port in self._base.ports():
            if port.port in used and not port.owned_by_us:
                found.append(f"port {port.port} is no longer ours: {port.owner or 'nobody'} has it")
            if port.port in used and port.link_up is False:
                found.append(f"port {port.port} has lost its link")
        return found

    def _stop_quietly(self) -> None:
        """Stop as the way out of a measurement; what cannot be stopped here is told by `release()`."""
        try:
            self.stop()
        except AicalibError:
            return

    def _evaluated(
        self,
        last: Counters,
        gate: _evaluation.Gate,
        window: Window,
        speeds: Mapping[str, float | None],
        problems: Sequence[str],
        further: Mapping[str, Any],
    ) -> Measurement:
        tester = self._base
        counted = []
        for stream in self._streams:
            of = last.streams.get(stream.name)
            if of is None or of.tx_frames is None or of.rx_frames is None:
                raise ProtocolError(f"stream {stream.name!r} has no counts of frames", where=tester.address)
            counted.append(
                _evaluation.Counted(
                    stream,
                    of.tx_frames,
                    of.rx_frames,
                    lost=of.lost,
                    octets=of.rx_bytes,
                    fcs_counted=self.fcs_counted,
                    intended=_evaluation.intended_frames(stream, speeds.get(stream.tx), self.gap),
                )
            )
        return _evaluation.throughput(
            counted,
            gate,
            gap=self.gap,
            identity=tester.identity,
            window=window,
            settings=self._settings,
            evidence={
                "evicted": dict(self.evicted),
                "skew_s": last.after.seconds_since(last.before),
                "latency_s": {
                    name: [one.latency.minimum, one.latency.mean, one.latency.maximum]
                    for name, one in last.streams.items()
                    if one.latency is not None
                },
                **further,
            },
            reasons=problems,
        )

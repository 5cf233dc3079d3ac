"""A reservation of ports whose tester bounds transmission by itself: what is the same for all such testers."""

from __future__ import annotations

import abc
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aicalib_hw import rates
from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    DeadlineExceeded,
    LinkDown,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    Counters,
    Gate,
    NetworkTesterCapabilities,
    PortInfo,
    ReleaseReport,
    Reservation,
    Stream,
)
from aicalib_hw.readings import Instant, Measurement, Window
from aicalib_hw.transport.deadline import Deadline

from . import _evaluation

_POLL = 0.05
"""s between questions whether transmission has ended."""

_LOOKS = 50
"""How often a gate is looked at while it lasts."""

_TOLERANCE = 1e-6


class Tester(Protocol):
    """What a reservation needs of its tester. stopping: set by `abort()`. patience: s that an exchange may take."""

    address: str
    stopping: threading.Event
    patience: float

    @property
    def identity(self) -> Identity: ...
    @property
    def capabilities(self) -> NetworkTesterCapabilities: ...
    def ports(self) -> tuple[PortInfo, ...]: ...
    def release(self) -> ReleaseReport: ...


class GatedReservation(Reservation):
    """Ports that are ours, on a tester with a gate of its own.

    owner: whom the audit names. evicted: port → who was evicted by force. gap: bytes of preamble and gap in force.
    fcs_counted: whether the tester's bytes hold the FCS, None = unknown. poll: s between looks at a running gate.
    refresh: s within which the tester brings up to date what it says.
    """

    fcs_counted: bool | None = None
    poll = _POLL
    refresh = 0.0

    def __init__(self, tester: Tester, ports: Sequence[str], owner: str, evicted: Mapping[str, str]) -> None:
        self.evicted = evicted
        self.owner = owner
        self.gap = float(rates.STANDARD_GAP)
        self._base = tester
        self._ports = tuple(ports)
        self._streams: tuple[Stream, ...] = ()

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

        gate: of a kind and amount that the tester has. settle: s without change that tell that all has arrived.
        Raises LinkDown, NotSupported or OutOfRange for the gate, DeadlineExceeded, Aborted; traffic is stopped on
        every way out.
        """
        tester = self._base
        if not self._streams:
            raise UsageError("no stream is set up", where=tester.address, advice="configure() one first")
        if gate.kind not in tester.capabilities.gates:
            raise NotSupported(f"this tester has no gate of {gate.kind}", where=tester.address)
        expected = self._expected(gate)
        self._require_links()
        tester.stopping.clear()
        began = Instant.now()
        try:
            self._begin(gate)
            started = Instant.now()
            self._await_end(expected)
            elapsed = Instant.now().seconds_since(started)
            last = _evaluation.when_quiet(
                self.read,
                settle=max(settle, self.refresh),
                deadline=Deadline(expected + 10 * tester.patience),
                every=self.poll,
            )
            in_force = self._gate_of(gate, last, elapsed)
        finally:
            self._stop_quietly()
        window = Window(began, Instant.now(), f"the tester's gate of {gate.amount:g} {gate.kind}")
        return self._evaluated(last, in_force, window)

    def release(self) -> ReleaseReport:
        """Stop traffic, delete our streams and give the ports back; idempotent, never raises."""
        return self._base.release()

    def _require_possible(self, streams: Sequence[Stream]) -> None:
        """Raise OutOfRange before the wire for what this tester, these ports or the line do not have."""
        tester = self._base
        can = tester.capabilities
        speeds = {port.port: port.speed for port in tester.ports()}
        for stream in streams:
            for port in (stream.tx, stream.rx):
                if port not in self._ports:
                    raise OutOfRange(f"port {port!r} is not reserved", where=tester.address, why=", ".join(self._ports))
            if not (can.min_frame_size or 0) <= stream.frame_size <= (can.max_frame_size or 0):
                raise OutOfRange(
                    f"a frame of {stream.frame_size} bytes is not offered",
                    where=tester.address,
                    why=f"{can.min_frame_size} to {can.max_frame_size} bytes with FCS",
                )
            if stream.latency_mode is not None and stream.latency_mode not in (can.latency_modes or ()):
                offered = ", ".join(can.latency_modes or ()) or "none"
                raise OutOfRange(f"there is no latency mode {stream.latency_mode!r}", why=f"this tester has {offered}")
            if not isinstance(stream.load, float | int):
                self._require_below_line(stream, speeds.get(stream.tx))
            elif not 0 < stream.load <= 1:
                raise OutOfRange(f"a load of {stream.load:g} of the line is none", why="above 0, up to 1")

    def _require_below_line(self, stream: Stream, speed: float | None) -> None:
        asked = _evaluation.intended_frames(stream, speed, self.gap)
        if speed is None or asked is None:
            return
        most = rates.most_frames_per_second(speed, rates.Frame(stream.frame_size, gap=self.gap))
        if asked > most * (1 + _TOLERANCE):
            raise OutOfRange(
                f"{asked:.6g} frames/s of {stream.frame_size} bytes are above the line",
                where=self._base.address,
                why=f"{speed / 1e9:g} Gbit/s carry {most:.6g}",
            )

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
        pace = max(self.poll, expected / _LOOKS)
        tester.stopping.wait(self.refresh)
        while True:
            if tester.stopping.wait(pace):
                raise Aborted("the measurement was aborted", where=tester.address)
            if not self.running:
                return
            if deadline.expired:
                raise DeadlineExceeded(
                    f"transmission did not end {3 * tester.patience:g} s after its gate of {expected:g} s",
                    where=tester.address,
                )

    def _stop_quietly(self) -> None:
        """Stop as the way out of a measurement; what cannot be stopped here is told by `release()`."""
        try:
            self.stop()
        except AicalibError:
            return

    def _evaluated(self, last: Counters, gate: _evaluation.Gate, window: Window) -> Measurement:
        tester = self._base
        speeds = {port.port: port.speed for port in tester.ports()}
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
            settings={"ports": list(self._ports), "owner": self.owner},
            evidence={
                "evicted": dict(self.evicted),
                "skew_s": last.after.seconds_since(last.before),
                "latency_s": {
                    name: [one.latency.minimum, one.latency.mean, one.latency.maximum]
                    for name, one in last.streams.items()
                    if one.latency is not None
                },
                **self._evidence(last),
            },
        )

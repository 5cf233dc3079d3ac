"""From frames counted over a gate to a Measurement: the rate, its components, and what speaks against it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw import rates
from aicalib_hw.errors import CountersWentBack, DeadlineExceeded, InstrumentError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import Counters, Rate, Stream
from aicalib_hw.readings import Component, Measurement, Run, Validity, ValidityStatus, Window
from aicalib_hw.transport.deadline import Deadline

GENERATOR_TOLERANCE = 1e-3
"""Share of the intended rate that a generator may fall short of and still be taken at its word."""

MOST_JITTER = 0.05
"""Share of a gate that its ends may be uncertain by before it gives no rate."""

_SIZE_TOLERANCE = 1e-6
"""By how much the mean size of what was received may differ: less than one frame of another size among many."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The time over which frames were counted: s, whose clock, and how well it is known (half-widths, relative).

    source: "instrument" or "host". clock: of the time base, with clock_source saying where that number is from.
    jitter: of start and stop, s, with jitter_source saying where that is from. edges: frames that may be counted or not
    at both ends together.
    """

    seconds: float
    source: str
    clock: float
    clock_source: str
    jitter: float = 0.0
    jitter_source: str = ""
    edges: int = 1


@dataclass(frozen=True, slots=True)
class Counted:
    """What one stream did in the gate: frames sent, received, lost; None = not provided.

    octets: bytes received, fcs_counted: whether they hold the FCS, None = unknown. intended: frames/s asked for.
    """

    stream: Stream
    sent: int
    received: int
    lost: int | None = None
    octets: int | None = None
    fcs_counted: bool | None = None
    intended: float | None = None


def throughput(
    streams: Sequence[Counted],
    gate: Gate,
    *,
    gap: float,
    identity: Identity,
    window: Window,
    settings: Mapping[str, Any],
    evidence: Mapping[str, Any],
    reasons: Sequence[str] = (),
) -> Measurement:
    """Return the rate that was received, bit/s at layer 2 with FCS, of the slowest of the streams.

    streams: at least one, all of one frame size; one is "unidirectional", several at a time "bidirectional".
    gap: bytes of preamble and gap in force. A generator that falls short of what was intended makes the result
    invalid, as it says nothing of what the traffic was sent through.
    """
    objections = list(reasons)
    for one in streams:
        shortfall = GENERATOR_TOLERANCE + gate.jitter / gate.seconds
        if one.intended is not None and one.sent / gate.seconds < one.intended * (1 - shortfall):
            objections.append(
                f"the generator is limited: {one.sent / gate.seconds:.6g} frames/s sent on {one.stream.name}, "
                f"{one.intended:.6g} intended; this says nothing about the platform"
            )
        if one.intended is not None and one.sent > one.intended * gate.seconds * (1 + shortfall) + gate.edges:
            objections.append(
                f"{one.sent} frames sent on {one.stream.name} are more than the {one.intended * gate.seconds:.6g} of "
                "the gate: the tester did not keep it, or counters were changed"
            )
        if one.received > one.sent:
            objections.append(
                f"{one.received} frames received on {one.stream.name}, only {one.sent} sent: traffic of others, "
                "or counters that were not cleared"
            )
        if one.octets is not None and one.received:
            known = (True, False) if one.fcs_counted is None else (one.fcs_counted,)
            sizes = [rates.mean_size(one.received, one.octets, fcs_counted=counted) for counted in known]
            if all(abs(size - one.stream.frame_size) > _SIZE_TOLERANCE * one.stream.frame_size for size in sizes):
                objections.append(
                    f"frames received on {one.stream.name} are {sizes[0]:.6g} bytes long, not {one.stream.frame_size}"
                )
    counts_hold = not objections
    if gate.jitter > MOST_JITTER * gate.seconds:
        objections.append(
            f"the {gate.source} knows the ends of a gate to {gate.jitter:.3g} s, too little for one of "
            f"{gate.seconds:.3g} s: the counts hold, the rate does not"
        )
    slowest = min(streams, key=lambda one: one.received)
    frame = rates.Frame(slowest.stream.frame_size, gap=gap)
    value = slowest.received * frame.bits("L2-fcs") / gate.seconds
    counted = {
        one.stream.name: {
            "tx": one.stream.tx,
            "rx": one.stream.rx,
            "sent": one.sent,
            "received": one.received,
            "lost": one.lost,
            "frames_s": one.received / gate.seconds,
            "loss_ratio": (one.sent - one.received) / one.sent if one.sent else None,
        }
        for one in streams
    }
    validity = Validity(ValidityStatus.INVALID if objections else ValidityStatus.VALID, tuple(objections))
    return Measurement(
        quantity="network",
        definition=_definition([one.stream for one in streams]),
        value=value,
        unit="bit/s",
        window=window,
        identity=identity,
        runs=(Run(value, window, used=not objections, reasons=tuple(objections)),),
        components=_components(gate, slowest.received),
        settings=settings,
        evidence={
            "gate_s": gate.seconds,
            "gate_source": gate.source,
            "gate_jitter_s": gate.jitter,
            "gap_B": gap,
            "counts_hold": counts_hold,
            "streams": counted,
            "rate_L1": rates.convert(value, "L2-fcs", "L1", frame),
            "rate_L2_nofcs": rates.convert(value, "L2-fcs", "L2-nofcs", frame),
            **evidence,
        },
        validity=validity,
    )


def broken_off(
    streams: Sequence[Stream],
    error: InstrumentError,
    *,
    identity: Identity,
    window: Window,
    settings: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> Measurement:
    """Return what is left of a transmission that did not come to its end: no value, the reason, and the evidence."""
    reason = f"the measurement broke off: {error.what}" + (f" ({error.why})" if error.why else "")
    return Measurement(
        quantity="network",
        definition=_definition(streams),
        value=None,
        unit="bit/s",
        window=window,
        identity=identity,
        runs=(Run(None, window, used=False, reasons=(reason,)),),
        settings=settings,
        evidence={"error": type(error).__name__, **evidence},
        validity=Validity(ValidityStatus.ERROR, (reason,)),
    )


def _definition(streams: Sequence[Stream]) -> str:
    direction = "unidirectional" if len(streams) == 1 else "bidirectional"
    return f"rate/L2-fcs/{streams[0].frame_size}B/{direction}"


def intended_frames(stream: Stream, speed: float | None, gap: float) -> float | None:
    """Return the frames/s that a stream asks for; None where it is a share of a line of unknown speed (bit/s)."""
    frame = rates.Frame(stream.frame_size, gap=gap)
    if isinstance(stream.load, Rate):
        return rates.frames_per_second(stream.load.value, stream.load.layer, frame)
    return None if speed is None else stream.load * rates.most_frames_per_second(speed, frame)


def require_forward(before: Counters, after: Counters, where: str) -> None:
    """Raise CountersWentBack, naming the counter, if one of `after` shows less than it did `before`."""
    # Each by its own kind: a stream may be called as a port is.
    pairs = [(name, before.ports.get(name), one) for name, one in after.ports.items()]
    pairs += [(name, before.streams.get(name), one) for name, one in after.streams.items()]
    for name, earlier, one in pairs:
        for what in ("tx_frames", "tx_bytes", "rx_frames", "rx_bytes"):
            was, is_ = getattr(earlier, what, None), getattr(one, what)
            if was is not None and is_ is not None and is_ < was:
                raise CountersWentBack(
                    f"{what} of {name} went back from {was} to {is_}",
                    where=where,
                    why="somebody cleared the counters meanwhile, or the counter wrapped",
                    advice="look at who else uses the ports, and measure again",
                )


def when_quiet(read: Callable[[], Counters], *, settle: float, deadline: Deadline, every: float) -> Counters:
    """Return the counters once two readings at least `settle` s apart agree: what was in flight has arrived.

    Raises DeadlineExceeded if they do not come to rest.
    """
    before = read()
    while True:
        time.sleep(min(max(settle, every), deadline.left))
        after = read()
        if (before.ports, before.streams) == (after.ports, after.streams) or _counts(before) == _counts(after):
            return after
        if deadline.expired:
            raise DeadlineExceeded(
                "the counters do not come to rest after transmission has ended",
                why="something still transmits, or the link is shared with other traffic",
                advice="look at who else uses the ports",
            )
        before = after


def _counts(counters: Counters) -> list[tuple[str, int | None, int | None]]:
    found = [*counters.ports.items(), *counters.streams.items()]
    return [(name, one.tx_frames, one.rx_frames) for name, one in found]


def _components(gate: Gate, frames: int) -> tuple[Component, ...]:
    def relative(name: str, half_width: float, source: str, **more: Any) -> Component:
        return Component(name=name, kind="B", unit="1", relative=True, half_width=half_width, source=source, **more)

    found = [relative("time base of the gate", gate.clock, gate.clock_source, shared=f"clock: {gate.clock_source}")]
    if gate.jitter:
        source = gate.jitter_source or f"{gate.source} gate"
        found.append(relative("start and stop of the gate", gate.jitter / gate.seconds, source))
    if frames:
        source = "a frame counted or not at either end of the gate"
        found.append(relative("counter resolution", gate.edges / frames, source, distribution="triangular"))
    return tuple(found)

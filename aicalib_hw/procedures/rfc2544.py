"""Tests of RFC 2544 as functions on a reservation: throughput, frame loss, latency, back-to-back frames.

Each works on any network tester. Rates are offered as a share of the line (0…1) or, where the tester does not
know its speed, as a Rate. Section numbers are those of RFC 2544; back-to-back follows its revision, RFC 9004.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aicalib_hw.errors import MeasurementInvalid, NotSupported, ProtocolError, UsageError
from aicalib_hw.interfaces import Gate, Latency, Progress, Rate, Reservation, Stream
from aicalib_hw.readings import Measurement

LOSS_STEP = 0.1
"""Steps of the load in a test of frame loss, as a share of the line: at most 10 % (section 26.3)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: the load offered, the share of frames that were lost, and what was measured."""

    load: Rate | float
    loss: float
    measurement: Measurement

    @property
    def lossless(self) -> bool:
        """True if every frame arrived, and the trial may be believed: no generator that was itself the limit."""
        return self.loss == 0 and self.measurement.value is not None and bool(self.measurement.validity)


@dataclass(frozen=True, slots=True)
class Throughput:
    """The highest load without loss, None if no valid trial was without, and all trials in the order they were made."""

    load: float | None
    measurement: Measurement | None
    trials: tuple[Trial, ...]


def search_throughput(
    reservation: Reservation,
    stream: Stream,
    *,
    gate: Gate,
    settle: float = 2.0,
    resolution: float = 0.001,
    lowest: float = 0.01,
    line: Rate | None = None,
    progress: Progress | None = None,
) -> Throughput:
    """Search the highest load at which no frame is lost (section 26.1), by halving the interval.

    resolution, lowest: shares of the line. line: what a share of 1 is, for a tester that does not know its speed. A
    load whose trial is not valid, as where the generator falls short of it, is not claimed.
    The value of `measurement` is the rate received there, by its definition `throughput/…`. Raises UsageError
    for an interval that is none.
    """
    if not 0 < lowest < 1 or not 0 < resolution < 1:
        raise UsageError(f"a search from {lowest:g} with steps of {resolution:g} is none", advice="both 0 to 1")
    report = progress or (lambda done, note: None)
    trials: list[Trial] = []

    def lossless(load: float) -> bool:
        report(1.0 - (high - low) if trials else 0.0, f"{stream.frame_size} B at {load:.2%} of the line")
        trials.append(_trial(reservation, stream, load, gate, settle, line))
        return trials[-1].lossless

    low, high = lowest, 1.0
    best: float | None = high if lossless(high) else low if lossless(low) else None
    while best is not None and best < high and high - best > resolution:
        middle = (best + high) / 2
        if lossless(middle):
            best = low = middle
        else:
            high = middle
    if best is None:
        return Throughput(None, None, tuple(trials))
    measured = next(one.measurement for one in reversed(trials) if one.lossless)
    definition = measured.definition.replace("rate/", "throughput/", 1)
    return Throughput(best, replace(measured, definition=definition), tuple(trials))


def frame_loss(
    reservation: Reservation,
    stream: Stream,
    *,
    gate: Gate,
    settle: float = 2.0,
    step: float = LOSS_STEP,
    line: Rate | None = None,
) -> tuple[Trial, ...]:
    """Measure the loss from full load downwards until two trials in a row lose nothing (section 26.3).

    step: share of the line, at most 0.1. Raises UsageError for a larger one.
    """
    if not 0 < step <= LOSS_STEP:
        raise UsageError(f"steps of {step:g} are none", why="RFC 2544 section 26.3: at most 10 % of the line")
    trials: list[Trial] = []
    clean = 0
    load = 1.0
    while load > 1e-9 and clean < 2:
        trials.append(_trial(reservation, stream, load, gate, settle, line))
        clean = clean + 1 if trials[-1].lossless else 0
        load -= step
    return tuple(trials)


def latency(
    reservation: Reservation, stream: Stream, *, gate: Gate, settle: float = 2.0, repetitions: int = 20
) -> tuple[Latency, tuple[Latency, ...]]:
    """Measure the latency at the load of `stream` (section 26.2): least, mean of the means, greatest; and each, s.

    The standard wants the throughput as load, 120 s a trial and 20 repetitions. Raises NotSupported where the
    tester has no latency, or `stream` asks for none, MeasurementInvalid for a trial that may not be believed.
    """
    found: list[Latency] = []
    reservation.configure([stream])
    for number in range(repetitions):
        _require_counts(reservation.measure_throughput(gate, settle=settle), f"trial {number + 1} of {repetitions}")
        counted = reservation.read().streams.get(stream.name)
        if counted is None or counted.latency is None:
            raise NotSupported(
                "this tester gave no latency", advice="choose one of its latency modes in Stream(latency_mode=…)"
            )
        found.append(counted.latency)
    return (
        Latency(
            min(one.minimum for one in found),
            statistics.fmean(one.mean for one in found),
            max(one.maximum for one in found),
        ),
        tuple(found),
    )


def back_to_back(
    reservation: Reservation,
    stream: Stream,
    *,
    longest: int,
    settle: float = 2.0,
    repetitions: int = 50,
) -> tuple[float, tuple[int, ...]]:
    """Find the longest burst at full load that loses nothing (RFC 9004): the mean of all, and each, in frames.

    longest: frames of the longest burst that is tried. The tester needs a gate of packets. Raises MeasurementInvalid
    for a burst whose counts may not be believed, as where the generator sends it slower than the line: it says nothing
    of what it was sent through.
    """
    reservation.configure([replace(stream, load=1.0)])

    def lossless(frames: int) -> bool:
        burst = reservation.measure_throughput(Gate("packets", frames), settle=settle)
        _require_counts(burst, f"a burst of {frames} frames")
        return _loss(reservation, stream) == 0

    found = tuple(_longest(lossless, longest) for _ in range(repetitions))
    return statistics.fmean(found), found


def _longest(lossless: Callable[[int], bool], most: int) -> int:
    """The largest number of frames, 2 to `most`, for which `lossless` holds, by halving; 0 if it never does."""
    if lossless(most):
        return most
    low, high = 0, most
    while high - low > 1 and high > 2:
        middle = max(2, (low + high) // 2)
        if lossless(middle):
            low = middle
        else:
            high = middle
    return low


def _trial(
    reservation: Reservation, stream: Stream, load: float, gate: Gate, settle: float, line: Rate | None
) -> Trial:
    offered: Rate | float = load if line is None else Rate(load * line.value, line.layer)
    reservation.configure([replace(stream, load=offered)])
    measurement = reservation.measure_throughput(gate, settle=settle)
    return Trial(offered, _loss(reservation, stream), measurement)


def _require_counts(trial: Measurement, what: str) -> None:
    """Raise MeasurementInvalid unless the counts of a trial may be believed, however well its length is known."""
    if not trial.evidence.get("counts_hold", bool(trial.validity)):
        raise MeasurementInvalid(
            f"{what} may not be believed",
            where=trial.identity.address,
            why="; ".join(trial.validity.reasons),
            advice="lower the load to what the tester can send, or look at who else uses the ports",
        )


def _loss(reservation: Reservation, stream: Stream) -> float:
    """Share of the frames of the last trial that did not arrive."""
    counted = reservation.read().streams.get(stream.name)
    if counted is None or counted.tx_frames is None or counted.rx_frames is None:
        raise NotSupported("this tester does not count frames sent and received", where=stream.name)
    if counted.tx_frames <= 0:
        raise ProtocolError("no frame was sent in the trial", where=stream.name)
    return (counted.tx_frames - counted.rx_frames) / counted.tx_frames


def standard_sizes(largest: int = 1518) -> Sequence[int]:
    """Return the frame sizes of section 9.1 for Ethernet, bytes with FCS, up to `largest`, which is added."""
    sizes = [size for size in (64, 128, 256, 512, 1024, 1280, 1518) if size <= largest]
    return sizes if largest in sizes else [*sizes, largest]

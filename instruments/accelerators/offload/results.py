"""Makes of a device's launches the sustained and the peak rate, and judges by fixed rules whether they count.

Rules: every result right; the device's clock and the host's agree; no rate above what the measured clock allows; for
the peak, which is a claim about the clock, no throttling and a steady clock; nobody else computes on the device.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aicalib_hw.errors import MeasurementInvalid
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PeakMeasurement, PrecisionSupport
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Reading,
    Run,
    Status,
    Validity,
    ValidityStatus,
    Window,
)

from .run import Launch, Work
from .watch import Observation

MOST_OVER_THEORY = 1.02
MOST_CLOCK_DISAGREEMENT = 0.01
HOST_LATENCY_S = 0.02
"""What the host may be late in starting and noticing a run, besides the relative limit."""

MOST_THROTTLED = 0.05
BUSY_SHARE = 0.98
"""Share of the time in which a launch runs, below which a sustained rate says that the device waited for work."""

_SETTLED_NS = 20_000_000
_PAUSE_NS = 2_000_000
MOST_CLOCK_SPREAD = 0.01
STEADY_K_PER_S = 0.5
MOST_RUNS = 60
_REASONS = ("thermal", "power_cap", "power_brake", "current", "hardware")
_PLOTTED = 2000

COUNTED = Component(
    name="operations",
    kind="B",
    unit="1",
    relative=True,
    half_width=0.0,
    source="counted exactly from the kernel and its loops; the results, which depend on every step, are compared",
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known besides the launches.

    definition: without its last part. per_cycle: operations a cycle of the whole device, None = not known.
    maximum_clock: Hz, None = not known. clock_step: of the clocks that the device can have, Hz, None = not known, which
    leaves the resolution of the reading. clock_locked: whether the clock was held by `lock_clocks`.
    strangers: processes of others seen on the device. peak_word: last part of the peak's definition.
    remarks: what a reader must know in any case.
    """

    identity: Identity
    support: PrecisionSupport
    definition: str
    unit: str
    per_cycle: float | None
    maximum_clock: float | None
    clock_step: float | None = None
    clock_locked: bool = False
    strangers: tuple[str, ...] = ()
    peak_word: str = "peak"
    remarks: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)


def evaluate(work: Work, seen: Observation, about: Circumstances) -> PeakMeasurement:
    """Return both measurements of one run; raises MeasurementInvalid if the device ended no launch."""
    if not work.launches or work.device_seconds <= 0:
        raise MeasurementInvalid(
            "the device did not complete a single launch",
            where=about.identity.address,
            advice="measure for longer",
        )
    best = max(work.launches, key=lambda launch: launch.operations / launch.duration if launch.duration > 0 else 0.0)
    peak = best.operations / best.duration
    sustained = work.operations / work.device_seconds
    working = _while_working(seen, work)
    clock = statistics.mean(working.clocks) if working.clocks else None
    broken = _reasons_against_any_rate(work, about, clock, sustained)
    too_fast = _above_theory(about, max(working.clocks, default=None), peak)
    remarks = [*seen.energy_remarks(), *about.remarks]
    rise = seen.temperature_rise()
    if rise is not None and abs(rise) > STEADY_K_PER_S:
        remarks.append(f"the temperature still moved by {rise:+.2f} K/s: warm up for longer")
    claim = _rated_clock_reasons(working, about)
    evidence = {
        **about.evidence,
        **seen.summary(),
        **working.clock_summary(),
        "operations": work.operations,
        "launches": len(work.launches),
        "operations_a_launch": work.launches[0].operations,
        "device_s": work.device_seconds,
        "host_s": (work.host_end_ns - work.host_begin_ns) / 1e9,
        "window_ns": round(work.device_seconds * 1e9),
        "operations_per_cycle_known": about.per_cycle,
        "slice_rates": [_thinned(work.launches)],
    }
    settings = {
        "precision": about.support.precision,
        "accumulator": about.support.accumulator,
        "path": about.support.path,
        "implementation": about.support.implementation,
        **about.settings,
    }
    window = Window(
        Instant.at_monotonic(work.host_begin_ns),
        Instant.at_monotonic(work.host_end_ns),
        "round all launches on the host's clock; the rate is by the device's own, first begin to last end",
    )
    components = (COUNTED, _time_base(work))

    def made(word: str, value: float, reasons: list[str], noticed: list[str]) -> Measurement:
        status = ValidityStatus.INVALID if reasons else ValidityStatus.VALID
        return Measurement(
            quantity="compute",
            definition=f"{about.definition}/{word}",
            value=value,
            unit=about.unit,
            window=window,
            identity=about.identity,
            runs=_runs(work),
            components=components,
            settings=settings,
            evidence=evidence,
            validity=Validity(status, (*reasons, *noticed)),
            load=1.0,
        )

    share = sum(launch.duration for launch in work.launches) / work.device_seconds
    waited = [] if share >= BUSY_SHARE else [f"busy host: the device had work for {share:.1%} of the time"]
    slowed = [f"{reason}: not valid for a claim at the rated clock" for reason in claim]
    return PeakMeasurement(
        sustained=made("sustained", sustained, broken, [*remarks, *waited, *slowed]),
        peak=made(about.peak_word, peak, [*broken, *too_fast, *slowed], remarks),
        clock=_clock(clock, working, about),
        efficiency_measured_clock=peak / (about.per_cycle * clock) if about.per_cycle and clock else None,
        efficiency_maximum_clock=peak / (about.per_cycle * about.maximum_clock)
        if about.per_cycle and about.maximum_clock
        else None,
        share=share,
        throttle=working.throttle,
        rejected=0,
        energy=seen.energy,
    )


def _while_working(seen: Observation, work: Work) -> Observation:
    """What was seen while one launch followed the other, from 20 ms after each pause on; if nothing, all of the run.

    A device that a busy host keeps waiting idles, and lowers its clock within a millisecond.
    """
    origin = _origin_ns(work)
    stretches: list[list[int]] = []
    for launch in work.launches:
        begin, end = (origin + round(at * 1e9) for at in (launch.begin, launch.begin + launch.duration))
        if stretches and begin - stretches[-1][1] <= _PAUSE_NS:
            stretches[-1][1] = max(end, stretches[-1][1])
        else:
            stretches.append([begin, end])
    parts = [seen.during(begin + _SETTLED_NS, end) for begin, end in stretches]
    samples = tuple(sample for part in parts for sample in part.samples)
    if samples:
        return Observation(samples, seen.lost)
    return seen.during(work.host_begin_ns + _SETTLED_NS, work.host_end_ns)


def _origin_ns(work: Work) -> int:
    """When the device's clock was 0, on the host's, as the first launch began."""
    return work.host_begin_ns - round(work.launches[0].begin * 1e9)


def _reasons_against_any_rate(work: Work, about: Circumstances, clock: float | None, sustained: float) -> list[str]:
    """What makes both rates unusable."""
    reasons = [work.wrong] if work.wrong else []
    host = (work.host_end_ns - work.host_begin_ns) / 1e9
    if abs(work.device_seconds - host) > MOST_CLOCK_DISAGREEMENT * host + HOST_LATENCY_S:
        reasons.append(
            f"the device's clock says {work.device_seconds:.4f} s and the host's {host:.4f} s for the same launches"
        )
    reasons += _above_theory(about, clock, sustained)
    if about.strangers:
        reasons.append(f"others computed on the device: {', '.join(about.strangers)}")
    return reasons


def _above_theory(about: Circumstances, clock: float | None, rate: float) -> list[str]:
    """Whether a rate is above what a clock allows: the mean for the sustained rate, the highest for one launch."""
    if not about.per_cycle or not clock or rate <= MOST_OVER_THEORY * about.per_cycle * clock:
        return []
    ratio = rate / (about.per_cycle * clock)
    return [f"{ratio:.3f} of what the measured clock allows: clock, time or count of operations is wrong"]


def _rated_clock_reasons(seen: Observation, about: Circumstances) -> list[str]:
    """Why the clock was not the one that a peak stands for."""
    reasons = []
    throttled = seen.throttled_share
    if throttled is not None and throttled > MOST_THROTTLED:
        state = seen.throttle
        names = [name for name in _REASONS if getattr(state, name)]
        reasons.append(f"the device was slowed down in {throttled:.0%} of the samples ({', '.join(names)})")
    clocks = seen.clocks
    if len(clocks) > 1 and not about.clock_locked:
        spread = statistics.stdev(clocks) / statistics.mean(clocks)
        if spread > MOST_CLOCK_SPREAD:
            reasons.append(f"the clock varied by {spread:.1%} (standard deviation)")
    if seen.lost is not None:
        reasons.append(f"telemetry ended during the run: {seen.lost.what}")
    return reasons


def _time_base(work: Work) -> Component:
    host = (work.host_end_ns - work.host_begin_ns) / 1e9
    return Component(
        name="time base of the device",
        kind="B",
        unit="1",
        relative=True,
        half_width=abs(host - work.device_seconds) / host,
        source="the whole difference between the device's clock and the host's over the run, latency included",
    )


def _clock(clock: float | None, seen: Observation, about: Circumstances) -> Reading | None:
    """The mean clock, and how well it is known: half a step of the device's clocks, and the scatter of the samples."""
    if clock is None:
        return None
    first, last, clocks = seen.samples[0].window, seen.samples[-1].window, seen.clocks
    read = max((float(one.clock.resolution or 0.0) for one in seen.samples if one.clock is not None), default=0.0)
    step = max(read, about.clock_step or 0.0)
    parts = []
    if step:
        source = "half a step of the clocks that the device can have, or of the reading where that is more"
        parts.append(Component(name="step of the clock", kind="B", unit="Hz", half_width=step / 2, source=source))
    if len(clocks) > 1:
        scatter = statistics.stdev(clocks) / len(clocks) ** 0.5
        source = f"standard deviation of the mean of {len(clocks)} samples"
        parts.append(
            Component(
                name="scatter of the clock",
                kind="A",
                unit="Hz",
                standard_uncertainty=scatter,
                dof=len(clocks) - 1,
                source=source,
            )
        )
    return Reading(
        clock,
        "Hz",
        Status.VALID,
        Window(first.start, last.stop, "the run"),
        about.identity,
        f"clock under load, mean of {len(clocks)} samples",
        resolution=step or None,
        components=tuple(parts),
    )


def _runs(work: Work) -> tuple[Run, ...]:
    """Equal groups of launches: operations over the time from the first begin to the last end of the group."""
    count = min(MOST_RUNS, len(work.launches))
    runs = []
    for index in range(count):
        part = work.launches[index * len(work.launches) // count : (index + 1) * len(work.launches) // count]
        begin, end = part[0].begin, part[-1].begin + part[-1].duration
        if end <= begin:
            continue
        origin = _origin_ns(work)
        window = Window(
            Instant.at_monotonic(origin + round(begin * 1e9)),
            Instant.at_monotonic(origin + round(end * 1e9)),
            "a group of launches by the device's clock, put on the host's where the first launch began",
        )
        runs.append(Run(sum(launch.operations for launch in part) / (end - begin), window))
    return tuple(runs)


def _thinned(launches: tuple[Launch, ...]) -> dict[str, list[float]]:
    step = max(1, -(-len(launches) // _PLOTTED))
    shown = [launch for launch in launches[::step] if launch.duration > 0]
    return {
        "time": [launch.begin for launch in shown],
        "rate": [launch.operations / launch.duration for launch in shown],
    }

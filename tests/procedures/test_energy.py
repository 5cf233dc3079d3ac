"""Energy by the meter's integrator, by its streamed power and by the truth of the world: one energy, three ways.

The loads repeat after 1, 2.5 or 5 s and are measured for 10 s, so that the moment of the start does not matter. The
world moves on with each question for an update, so that a busy host loses none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import PowerPlan
from aicalib_hw.interfaces import PowerMeter
from aicalib_hw.metrology import Evaluation
from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.procedures import calibrate_power
from aicalib_hw.readings import Component

from ..pacing import Pace
from .stamps import Stamps

DURATION = 10.0
STEPS_A_SECOND = 8

TRANSDUCER = """[instruments.meter.current_transducer]
model = "500 A to 5 A"
ratio_error = 0.002
phase_error_arcmin = 10.0
source = "class 0.2"
"""
SMALL = "voltage_range = 300.0, current_range = 10.0"
LARGE = 'wiring = "3P4W", voltage_range = 300.0, current_range = 5.0, ct_ratio = 100.0'
THROUGH = "ct = 100.0, ct_error = 0.0015, ct_phase = 0.002"
SCALES = {"1.5 kW": (300.0, 1400.0, 1), "200 kW": (40e3, 187e3, 3)}
HALF = ", update_interval = 0.5"
METERS: dict[str, tuple[str, str, str]] = {
    "yokogawa-wt300": ('model = "WT310E"', 'model = "WT333E"', HALF),
    "yokogawa-wt1800": ('model = "WT1800", elements = 1', 'model = "WT1800", elements = 3', HALF),
    "yokogawa-wt3000": ("elements = 1", "elements = 3", HALF),
    "hioki-pw3336": ('model = "PW3336"', 'model = "PW3337"', ""),
}
"""Every family with an integrator and a confirmed accuracy → its models for both scales, and what else is set."""


POLLED = {"hioki-pw3336"}
"""To these two updates of the same digits are one, so that the load is never idle and swings: 13 times in 10 s."""
SWING = 0.03
ATTEMPTS = 5
"""Streams until one comes without two updates of the same digits; of others the first."""
PACES = {driver: (":MEASure? STATUS", 0.2) if driver in POLLED else ("WAIT?", 0.5) for driver in METERS}
"""What each driver asks when it looks for an update, and s from one update to the next."""


def described(driver: str, scale: str) -> str:
    """Options, settings and transducers of the meter in the bench file."""
    small, large, more = METERS[driver]
    if scale == "1.5 kW":
        return f"options = {{ {small} }}\nsettings = {{ {SMALL}{more} }}\n"
    return f"options = {{ {large}, {THROUGH} }}\nsettings = {{ {LARGE}{more} }}\n{TRANSDUCER}"


LOADS: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 0.7,
    "stepped": lambda time: (0.2, 0.9, 0.5, 0.0, 1.0)[int(time % 5.0)],
    "square": lambda time: 1.0 if time % 1.0 < 0.5 else 0.1,
    "ramped": lambda time: 0.1 + 0.8 * (time % 2.5) / 2.5,
}


def bench_file(driver: str, scale: str, load: Callable[[float], float], *, rate: float = 0.0) -> str:
    idle, full, phases = SCALES[scale]
    meter = described(driver, scale)
    times = [number / STEPS_A_SECOND for number in range(240 * STEPS_A_SECOND)]
    least = 0.05 if driver in POLLED else 0.0
    schedule = [[time, least + (1 - 2 * least) * load(time + 1e-9)] for time in times]
    kept = [now for before, now in zip([[0.0, -1.0], *schedule], schedule, strict=False) if now[1] != before[1]]
    return f"""
[bench]
name = "energy"
[instruments.meter]
driver = "{driver}"
simulator = "{driver}"
{meter}
[world]
rate = {rate}
seed = 8
[world.platform]
load_source = "schedule"
schedule = {kept}
idle_power = {idle}
full_power = {full}
phases = {phases}
leakage = 0.0
ripple = {SWING if driver in POLLED else 0.0}
"""


def expanded(value: float, bench: hw.Bench, components: tuple[Component, ...], power_factor: float) -> Evaluation:
    """An energy in J with what the meter states and what the bench file states of its transducers."""
    transducers = bench.settings.instruments["meter"].transducers
    return evaluate(value, "J", (*components, *(one for each in transducers for one in each.components(power_factor))))


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("driver", METERS)
def test_integrator_stream_and_truth_agree_within_the_uncertainty(
    tmp_path: Path, driver: str, scale: str, load: str
) -> None:
    path = tmp_path / "energy.toml"
    path.write_text(bench_file(driver, scale, LOADS[load]), encoding="utf-8")
    word, interval = PACES[driver]
    with hw.open_bench(path, trace=(pace := Pace(word, interval))) as bench:
        meter: PowerMeter = bench.the("power_meter")
        pace.begin(bench.world)
        for _ in range(ATTEMPTS if driver in POLLED else 1):
            meter.read()
            begin = bench.world.clock.now()
            readings = list(meter.stream(duration=DURATION))
            took = bench.world.clock.now() - begin
            if took < DURATION + 1.5 * interval:
                break
        assert took == pytest.approx(DURATION, abs=1.5 * interval)
        assert [str(one.status) for one in readings if one.status] == []
        integrated = meter.measure_energy(DURATION)
        true = bench.world.truth.energy_between(begin, begin + DURATION)
        of_stream = [component for one in readings for component in meter.components(one)]
    assert integrated.validity, integrated.validity.reasons
    assert len(readings) == round(DURATION / interval)
    by_stream = sum(float(reading.active_power) for reading in readings) * interval
    factor = min(abs(float(one.power_factor)) for one in readings if one.power_factor is not None)
    names = {component.name for component in of_stream}
    mean_limits = tuple(
        Component(
            name,
            "B",
            "J",
            "mean of the updates' limits",
            half_width=sum(c.half_width or 0.0 for c in of_stream if c.name == name) * interval,
        )
        for name in sorted(names)
    )
    stream = expanded(by_stream, bench, mean_limits, factor)
    integrator = expanded(float(integrated.value or 0), bench, integrated.components, factor)
    assert abs(by_stream - true) <= stream.expanded_uncertainty
    assert abs(integrator.value - true) <= integrator.expanded_uncertainty
    assert abs(integrator.value - by_stream) <= integrator.expanded_uncertainty
    assert 0.001 < stream.expanded_uncertainty / by_stream < 0.02
    assert integrator.expanded_uncertainty / integrator.value < 0.06


def test_the_energy_of_the_procedure_is_true_within_its_uncertainty(
    simulated_bench: Callable[..., hw.Bench], tmp_path: Path
) -> None:
    path = tmp_path / "energy.toml"
    text = bench_file("yokogawa-wt300", "200 kW", LOADS["constant"], rate=10.0)
    before, _, after = text.replace('load_source = "schedule"', "").partition("schedule = ")
    path.write_text(before + after.partition("\n")[2] + '[load]\nsource = "world"\n', encoding="utf-8")
    bench = simulated_bench(path)
    plan = PowerPlan(loads=(1.0,), duration=1.0, settle=0.5, ranging_duration=0.5, energy_duration=4)
    stamps = Stamps(bench)
    power, energy = calibrate_power(bench, plan=plan, progress=stamps).results
    assert energy.validity, energy.validity.reasons
    assert energy.evaluation is not None
    assert abs(energy.evaluation.value - 4 * stamps.true_power(power.title)) <= energy.evaluation.expanded_uncertainty
    lines = {line.name: line for line in energy.evaluation.budget}
    assert lines["current transducer, ratio"].standard_uncertainty == pytest.approx(
        0.002 / 3**0.5 * energy.evaluation.value
    )
    assert lines["repeatability"].dof == 2
    assert {"start and stop", "accuracy of reading", "current transducer, phase"} <= lines.keys()

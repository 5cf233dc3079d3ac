"""Records of sessions that never took place, written through the public interface as a procedure would.

The world in them: two cores at 85 GFLOP/s each, and a server that draws 120 W idle and 480 W under full load, read by a
meter of 0.1 % + 0.05 %. Budgets and decisions are worked out here by hand, so that tests do not lean on `metrology`.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aicalib_hw.identity import Certificate, CertificatePoint, Identity
from aicalib_hw.interfaces.instrument import DriverInfo, Setting
from aicalib_hw.metrology.result import (
    BudgetLine,
    Calibration,
    Decision,
    Evaluation,
    Indication,
    PermissibleError,
    Result,
    Verdict,
)
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Run,
    Series,
    Status,
    Validity,
    ValidityStatus,
    Window,
    to_plain,
)
from aicalib_hw.records import Record

CPU = Identity("Intel", "Xeon Platinum 8581C", "", "0x210002a1", "cpu://local")
METER = Identity("YOKOGAWA", "WT310E", "C3SB12345V", "F1.04", "TCPIP::192.168.1.7::INSTR")
SIMULATED_METER = Identity("YOKOGAWA", "WT310E", "SIM000001", "F1.04", "TCPIP::127.0.0.1,40001::inst0::INSTR")

CPU_DRIVER = DriverInfo("cpu", "accelerator", "the processor", "native/README.md", schemes=("cpu",))
METER_DRIVER = DriverInfo("yokogawa-wt300", "power_meter", "WT300 family", "IM WT310E-17EN", wires=("VXI-11",))

CERTIFICATE = Certificate(
    "2026-E-00417",
    "Provincial Institute of Metrology",
    "2026-01-12",
    "2030-01-11",
    "national standard of electrical power",
    (
        CertificatePoint("power", 600.0, 100.0, 0.05, 0.12, 2.0, "W"),
        CertificatePoint("power", 600.0, 500.0, -0.11, 0.35, 2.0, "W"),
    ),
)

BENCH: dict[str, Any] = {
    "bench": {"name": "lab-3", "title": "Server 42", "description": "Two-socket server on one mains phase."},
    "decision": {"rule": "jjf1094"},
    "instruments": {"cpu": {"driver": "cpu"}, "meter": {"driver": "yokogawa-wt300"}},
    "world": {"seed": 1 << 60},
}
PLAN = {"name": "default", "compute": {"duration": 10.0, "runs": 6}, "power": {"loads": [0.0, 0.25, 0.5, 0.75, 1.0]}}

SUSTAINED = "flop/fp32-accumulate-fp32/vector/sustained"
PEAK = "flop/fp32-accumulate-fp32/vector/peak"
GEMM = "flop/fp32-accumulate-fp32/gemm/sustained"
POWER = "power/active/mean"
LOADS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class Story:
    """What the session is to show: by default each verdict of JJF 1094, a point without indication, an invalid one."""

    meter: Identity = METER
    certificate: Certificate | None = CERTIFICATE
    indicated_power: dict[float, float] = field(default_factory=lambda: {0.0: 121.0, 0.25: 210.9, 0.5: 317.0})
    tight_load: float = 0.25
    indicated_rate: float | None = None
    invalid_load: float | None = 0.75
    origin: Instant = field(default_factory=Instant.now)

    def window(self, start: float, stop: float, rule: str = "settled updates of the meter") -> Window:
        """A window in seconds after the origin of the story."""

        def at(seconds: float) -> Instant:
            shift = round(seconds * 1e9)
            return Instant(self.origin.utc_ns + shift, self.origin.monotonic_ns + shift)

        return Window(at(start), at(stop), rule)


def write_session(path: Path, story: Story | None = None) -> Path:
    """Write a finished record of both quantities and return its path."""
    story = story or Story()
    with Record.create(path, title="Server 42", bench=BENCH, rule="jjf1094", plan=PLAN) as record:
        write_equipment(record, story)
        record.event("warning", message="another program took 3 % of a core during run 4", source="cpu")
        record.calibration(compute(story))
        record.series("meter: active power", power_series(story))
        record.calibration(power(story))
        record.event("released", actions=["meter: local control given back"], failures=[])
    return path


def write_equipment(record: Record, story: Story) -> None:
    """Write down the processor and the meter."""
    now = Instant.now()
    record.equipment("cpu", CPU, driver=to_plain(CPU_DRIVER), snapshot={"cores": Setting(2, "1", now, "driver")})
    record.equipment(
        "meter",
        story.meter,
        driver=to_plain(METER_DRIVER),
        certificate=story.certificate,
        snapshot={
            "wiring": Setting("1P2W", "", now, "instrument"),
            "voltage_range": Setting([300.0], "V", now, "instrument"),
            "update_interval": Setting(0.25, "s", now, "instrument"),
            "line_filter": Setting(False, "", now, "instrument"),
        },
    )


def compute(story: Story) -> Calibration:
    """The calibration of the compute rate: six runs, one of them disturbed, peak and matrix product beside it."""
    chance = random.Random(1)
    runs = tuple(
        Run(
            value=170e9 * (0.93 if number == 3 else 1 + chance.gauss(0, 4e-4)),
            window=story.window(number * 10.0, number * 10.0 + 10.0, "an equal part of the common window"),
            used=number != 3,
            reasons=("slices ran 1.07 times as long as the clock allows",) if number == 3 else (),
            evidence={"ratio": 1.0001, "clock": 2.65e9},
        )
        for number in range(6)
    )
    measurement = Measurement(
        quantity="compute",
        definition=SUSTAINED,
        value=statistics.mean(run.value for run in runs if run.used and run.value is not None),
        unit="FLOP/s",
        window=story.window(0.0, 60.0, "from the latest first slice to the earliest last slice of all cores"),
        identity=CPU,
        runs=runs,
        components=(
            Component("time base", "B", "1", "CLOCK_MONOTONIC", half_width=5e-4, relative=True, shared="host clock"),
            Component("window edges", "B", "1", "share of cut slices", half_width=1e-5, relative=True),
        ),
        settings={"precision": "fp32", "cores": 2, "instruction_set": "avx512"},
        evidence={
            "kernel": "avx512",
            "operations": 10_200_000_000_000_000_000,
            "share": 0.9987,
            "stolen_s": 0.01,
            "rejected_runs": 1,
            "slice_rates": [_slices(chance, core) for core in range(2)],
            "cores": [{"processor": core, "share": 0.998, "best_rate": 85.4e9} for core in range(2)],
            "quota": None,
        },
        load=1.0,
    )
    further = (
        replace(measurement, definition=PEAK, value=171.9e9, components=measurement.components[:1], evidence={}),
        replace(measurement, definition=GEMM, value=151.2e9, runs=(), evidence={}),
    )
    indication = None if story.indicated_rate is None else Indication(story.indicated_rate, "FLOP/s", "data sheet")
    result = decided(measurement, "fp32, sustained", PermissibleError(0.02, "relative", "draft"), indication)
    return Calibration("compute", (result,), further, {"duration": 10.0, "runs": 6}, notes=("Two physical cores.",))


def power(story: Story) -> Calibration:
    """The calibration of the power draw at five loads, three runs each."""
    chance = random.Random(2)
    usual = PermissibleError(0.05, "relative", "draft specification: energy (power draw)")
    tight = PermissibleError(1.0, "absolute", "agreed with the customer", "W")
    results = []
    for index, load in enumerate(LOADS):
        watts = 120.0 + 360.0 * load
        begin = 70.0 + index * 20.0
        runs = tuple(
            Run(watts * (1 + chance.gauss(0, 6e-4)), story.window(begin + n * 5.0, begin + n * 5.0 + 5.0))
            for n in range(3)
        )
        validity = Validity()
        if load == story.invalid_load:
            validity = Validity(ValidityStatus.INVALID, ("PEAK_OVER in 4 of 60 updates: the current range was left",))
        measurement = Measurement(
            quantity="power",
            definition=POWER,
            value=statistics.mean(run.value for run in runs if run.value is not None),
            unit="W",
            window=story.window(begin, begin + 15.0),
            identity=story.meter,
            runs=runs,
            components=(
                Component("accuracy of reading", "B", "W", "manual, 0.1 % of reading", half_width=watts * 1e-3),
                Component("accuracy of range", "B", "W", "manual, 0.05 % of range", half_width=0.3),
                Component("resolution", "B", "W", "last digit", half_width=0.005),
            ),
            settings={"voltage_range": 300.0, "current_range": 2.0},
            evidence={"updates": 60, "power_factor": 0.981, "load_achieved": min(load + 0.004, 1.0)},
            validity=validity,
            load=min(load + 0.004, 1.0),
        )
        indicated = story.indicated_power.get(load)
        indication = None if indicated is None else Indication(indicated, "W", "BMC of the server", load)
        limit = tight if load == story.tight_load else usual
        result = decided(measurement, f"{load:.0%} load", limit, indication)
        results.append(replace(result, load=measurement.load, asked_load=load))
    return Calibration("power", tuple(results), (), {"loads": list(LOADS), "runs": 3, "duration": 5.0})


def power_series(story: Story) -> Series:
    """Power over the whole staircase of loads, four updates a second, one of them over-range."""
    chance = random.Random(3)
    times, values, statuses = [], [], []
    for update in range(400):
        seconds = 70.0 + update / 4
        watts = 120.0 + 360.0 * LOADS[min(int((seconds - 70.0) // 20.0), 4)]
        lost = update == 250
        times.append(story.window(0.0, seconds).stop.monotonic_ns)
        values.append(None if lost else watts * (1 + chance.gauss(0, 2e-3)))
        statuses.append(Status.OVER_RANGE if lost else Status.VALID)
    header = {"quantity": "power", "unit": "W", "channel": "sum of all elements"}
    return Series(header, tuple(times), tuple(values), tuple(statuses), "interval_mean")


def decided(measurement: Measurement, title: str, limit: PermissibleError, indication: Indication | None) -> Result:
    """Work out U with k = 2, and the verdict by JJF 1094: a third of the limit, or a guard band of U."""
    simulated = measurement.identity.simulated
    about = (measurement.quantity, measurement.definition, title, measurement)
    nothing = Decision("jjf1094", Verdict.NOT_EVALUATED, "no indication is declared")
    if not measurement.validity:
        reason = Decision("jjf1094", Verdict.NOT_EVALUATED, "the measurement is not valid")
        return Result(*about, None, reason, measurement.validity, simulated, indication, limit)
    evaluation = evaluated(measurement)
    if indication is None:
        return Result(*about, evaluation, nothing, measurement.validity, simulated, None, limit)
    error, expanded = indication.value - evaluation.value, evaluation.expanded_uncertainty
    permitted = limit.value * (evaluation.value if limit.kind == "relative" else 1.0)
    guard = 0.0 if expanded <= permitted / 3 else expanded
    if abs(error) <= permitted - guard:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INDETERMINATE if abs(error) < permitted + guard else Verdict.FAIL
    decision = Decision(
        "jjf1094",
        verdict,
        "U is small enough: |E| against MPEV" if guard == 0.0 else "U exceeds MPEV / 3: a guard band of U",
        error,
        error / evaluation.value,
        expanded,
        permitted,
        0.97,
    )
    return Result(*about, evaluation, decision, measurement.validity, simulated, indication, limit)


def evaluated(measurement: Measurement) -> Evaluation:
    """Combine the spread of the runs with the components, uncorrelated, k = 2."""
    assert measurement.value is not None
    value = float(measurement.value)
    used: Sequence[float] = [run.value for run in measurement.runs if run.used and run.value is not None]
    lines = [
        ("repeatability", "A", "normal", statistics.stdev(used) / math.sqrt(len(used)), float(len(used) - 1), "runs")
    ]
    for component in measurement.components:
        assert component.half_width is not None
        width = component.half_width * (value if component.relative else 1.0)
        lines.append((component.name, "B", "rectangular", width / math.sqrt(3), math.inf, component.source))
    total = math.sqrt(sum(line[3] ** 2 for line in lines))
    budget = tuple(
        BudgetLine(
            name, "A" if kind == "A" else "B", shape, u, u, (u / total) ** 2, None if dof == math.inf else dof, source
        )
        for name, kind, shape, u, dof, source in lines
    )
    dof = total**4 / (lines[0][3] ** 4 / lines[0][4])
    return Evaluation(value, measurement.unit, total, dof, 2.0, 0.9545, 2 * total, budget, "first order, k = 2")


def _slices(chance: random.Random, core: int) -> dict[str, list[float]]:
    times = [number * 0.12 for number in range(500)]
    return {"time": times, "rate": [85e9 * (1 - abs(chance.gauss(0, 2e-3)) + core * 1e-3) for _ in times]}

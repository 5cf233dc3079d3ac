"""Several meters as one: aligned by time, signs kept, one cause counted as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from aicalib_hw.errors import DefinitionMismatch, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.metrology.several import total_power
from aicalib_hw.readings import Component, Instant, Measurement, Validity, ValidityStatus, Window

S = 1_000_000_000
VALID = Validity()


def meter(
    powers: Sequence[float | None],
    *,
    first: float = 1.0,
    interval: float = 1.0,
    times: Sequence[float] | None = None,
    model: str = "WT310E",
    serial: str = "A",
    limit: float = 7.0,
    validity: Validity = VALID,
) -> Measurement:
    """Interval means in W, the first of which ends at `first` s."""
    ends = list(times) if times is not None else [first + interval * number for number in range(len(powers))]
    start, stop = (Instant(round(at * S), round(at * S)) for at in (ends[0] - interval, ends[-1]))
    known = [power for power in powers if power is not None]
    return Measurement(
        quantity="power",
        definition="power/active/mean",
        value=sum(known) / len(known),
        unit="W",
        window=Window(start, stop, "updates"),
        identity=Identity("YOKOGAWA", model, serial, "F1", "nowhere"),
        components=(
            Component("accuracy of range", "B", "W", "table", half_width=limit, shared=f"{model} {serial} range"),
            Component("resolution", "B", "W", "last digit", half_width=0.01),
        ),
        evidence={
            "times_ns": [round(at * S) for at in ends],
            "power_W": list(powers),
            "status": ["NO_DATA" if power is None else "VALID" for power in powers],
            "power_factor": 0.9,
        },
        validity=validity,
    )


def test_a_lost_update_of_one_log_shifts_nothing() -> None:
    """Line by line the sum of the last four lines would be 100 + 300, 300 + 300, …: wrong from the gap on."""
    step = [100.0] * 4 + [300.0] * 4
    whole = meter(step)
    lossy = meter([100, 100, 100, 300, 300, 300, 300], times=[1, 2, 3, 5, 6, 7, 8], serial="B")
    total = total_power([whole, lossy], ["a", "b"])
    assert total.value is not None
    assert float(total.value) == pytest.approx(2 * (3 * 100 + 100 + 4 * 300) / 8, rel=0.07)
    assert total.evidence["parts_W"]["a"] == pytest.approx(200.0)


def test_logs_that_begin_apart_are_compared_over_what_they_share() -> None:
    ramp = [float(number) for number in range(10)]
    early, late = meter(ramp), meter(ramp[1:], first=2.0, serial="B")
    total = total_power([early, late], ["a", "b"])
    assert total.window.duration == pytest.approx(9.0)
    assert total.value == pytest.approx(2 * sum(ramp[1:]) / 9)


def test_updates_of_unlike_length_are_weighted_by_their_time() -> None:
    quick = meter([100.0, 300.0] * 10, first=0.5, interval=0.5)
    slow = meter([50.0] * 10, serial="B")
    assert total_power([quick, slow], ["a", "b"]).value == pytest.approx(250.0)


def test_a_reversed_transducer_keeps_its_sign_and_is_named() -> None:
    total = total_power([meter([900.0] * 5), meter([-100.0] * 5, serial="B")], ["front", "back"])
    assert total.value == pytest.approx(800.0)
    (remark,) = total.evidence["remarks"]
    assert "back" in remark
    assert "-100" in remark


def test_limits_of_one_model_add_linearly_and_those_of_two_in_quadrature() -> None:
    one, two = meter([1000.0] * 5), meter([1000.0] * 5, serial="B")
    other = meter([1000.0] * 5, model="PW3336", serial="C")
    names = ["a", "b"]

    def u(total: Measurement) -> float:
        return evaluate(float(total.value or 0), "W", total.components).standard_uncertainty

    rest = 2 * (0.01 / math.sqrt(3)) ** 2
    linear, quadrature = 14 / math.sqrt(3), 7 * math.sqrt(2) / math.sqrt(3)
    assert u(total_power([one, two], names)) == pytest.approx(math.sqrt(linear**2 + rest))
    assert u(total_power([one, other], names)) == pytest.approx(math.sqrt(quadrature**2 + rest))
    assert u(total_power([one, two], names, independent=True)) == pytest.approx(math.sqrt(quadrature**2 + rest))


def test_a_power_that_changes_while_it_is_aligned_is_less_certain() -> None:
    steady, moving = [500.0] * 10, [400.0] * 5 + [600.0] * 5
    calm = total_power([meter(steady), meter(steady, serial="B")], ["a", "b"])
    rough = total_power([meter(moving), meter(steady, serial="B")], ["a", "b"])
    named = {component.name: component for component in rough.components}
    assert named["a: alignment"].half_width == pytest.approx(1.0 * 200 / 10)
    assert evaluate(1000, "W", rough.components).standard_uncertainty > 1.5 * (
        evaluate(1000, "W", calm.components).standard_uncertainty
    )


def test_what_one_meter_lacks_the_sum_does_not_have() -> None:
    whole = meter([500.0] * 10)
    holes = meter([500.0, None, None, *[500.0] * 7], serial="B")
    apart = meter([500.0] * 10, first=7.0, serial="B")
    never = meter([500.0] * 10, first=100.0, serial="B")
    broken = meter([500.0] * 10, serial="B", validity=Validity(ValidityStatus.INVALID, ("over range",)))
    for other, word in (
        (holes, "no usable update"),
        (apart, "in common"),
        (never, "in common"),
        (broken, "over range"),
    ):
        total = total_power([whole, other], ["a", "b"])
        assert not total.validity
        assert any(word in reason for reason in total.validity.reasons)
    assert total_power([whole, never], ["a", "b"]).value is None


def test_one_simulated_meter_makes_the_sum_simulated() -> None:
    total = total_power([meter([1.0] * 3, serial="A"), meter([1.0] * 3, serial="SIM1")], ["a", "b"])
    assert total.identity.simulated


def test_nothing_and_unlike_things_have_no_sum() -> None:
    with pytest.raises(UsageError):
        total_power([], [])
    energy = Measurement(
        "energy", "energy/active/meter-integrator", 1.0, "J", meter([1.0] * 2).window, meter([1.0] * 2).identity
    )
    with pytest.raises(DefinitionMismatch):
        total_power([meter([1.0] * 2), energy], ["a", "b"])

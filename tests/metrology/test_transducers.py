"""What transducers bring into a power: against a worked budget and plain trigonometry."""

from __future__ import annotations

import math

import pytest

from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.budget import evaluate, standard_uncertainty
from aicalib_hw.metrology.transducers import ARC_MINUTE, Transducer

CLASS_0_2 = Transducer("current", "1000/5", "A1", 0.002, 10 * ARC_MINUTE, "class 0.2")


def test_a_class_0_2_transformer_at_power_factor_0_98_brings_what_the_worked_budget_says() -> None:
    """0.115 % of the ratio, 0.034 % of 10 minutes of arc."""
    ratio, phase = CLASS_0_2.components(0.98)
    assert standard_uncertainty(ratio, 150e3, "W") / 150e3 == pytest.approx(0.00115, abs=1e-5)
    assert standard_uncertainty(phase, 150e3, "W") / 150e3 == pytest.approx(0.00034, abs=1e-5)


@pytest.mark.parametrize(("degrees", "per_minute"), [(18.19487, 9.56e-5), (60.0, 5.038e-4)])
def test_a_minute_of_arc_costs_tan_phi_of_it(degrees: float, per_minute: float) -> None:
    """At power factor 0.95 0.0096 %, at 0.5 0.050 %."""
    one_minute = Transducer("voltage", "400/100", "", 1e-6, ARC_MINUTE, "certificate")
    for sign in (1, -1):
        _, phase = one_minute.components(sign * math.cos(math.radians(degrees)))
        assert phase.half_width == pytest.approx(per_minute, rel=2e-3)


def test_a_phase_error_has_no_limit_where_the_power_factor_is_not_known() -> None:
    for factor in (None, 0.0):
        with pytest.raises(UsageError, match="no limit"):
            CLASS_0_2.components(factor)
    (ratio,) = Transducer("current", "shunt", "", 0.001, 0.0, "data sheet").components(None)
    assert ratio.half_width == 0.001


def test_current_and_voltage_transducers_are_two_causes_and_those_of_one_kind_one() -> None:
    voltage = Transducer("voltage", "400/100", "V1", 0.002, 0.0, "class 0.2")
    current = Transducer("current", "1000/5", "A2", 0.002, 0.0, "class 0.2")
    again = Transducer("current", "1000/5", "A3", 0.002, 0.0, "class 0.2")
    apart = evaluate(100.0, "W", (*voltage.components(1.0), *current.components(1.0)))
    alike = evaluate(100.0, "W", (*current.components(1.0), *again.components(1.0)))
    assert apart.standard_uncertainty == pytest.approx(0.2 / math.sqrt(3) * math.sqrt(2))
    assert alike.standard_uncertainty == pytest.approx(0.4 / math.sqrt(3))

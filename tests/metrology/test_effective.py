"""Normalised effective compute: against published utilisations, by arithmetic, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aicalib_hw as hw
from aicalib_hw import definitions
from aicalib_hw.errors import DefinitionMismatch, UsageError
from aicalib_hw.metrology.budget import standard_uncertainty
from aicalib_hw.metrology.effective import (
    FLOP_MODELS,
    ModelShape,
    Reference,
    effective_compute,
    inference_operations,
    training_operations,
)
from aicalib_hw.readings import Component, Instant, Measurement, Validity, ValidityStatus, Window

WINDOW = Window(Instant(0, 0), Instant(60_000_000_000, 60_000_000_000), "steps")
TRAINING = "token/training/applied-steps/timed-here"
CLOCK = Component("time base", "B", "1", "the clock", half_width=5e-4, relative=True, shared="host clock")


def tokens(value: float | None, *components: Component, serial: str = "1", **more: Any) -> Measurement:
    identity = hw.Identity("maker", "job", serial, "1", "torch://local")
    return Measurement("training", TRAINING, value, "token/s", WINDOW, identity, components=components, **more)


def reference(value: float, *components: Component, serial: str = "2", **more: Any) -> Reference:
    identity = hw.Identity("maker", "device", serial, "1", "nvidia://0")
    stated = {"unit": "FLOP/s", "variant": "calibrated", "source": "measured", **more}
    return Reference(value, identity=identity, components=components, **stated)


def share_of(rate: float, operations: float, **by_precision: tuple[float, float]) -> Measurement:
    """The effective compute where each precision has a share of the operations and a reference rate."""
    return effective_compute(
        tokens(rate),
        {one: reference(peak) for one, (_, peak) in by_precision.items()},
        workload="training",
        operations_per_token=operations,
        shares={one: share for one, (share, _) in by_precision.items()},
    )


PALM = ModelShape(parameters=540_350_000_000, layers=118, width=48 * 256)
"""PaLM 540B: arXiv 2204.02311, table 1."""


def test_the_utilisation_that_was_published_for_palm_540b_comes_out() -> None:
    # Section 4.1: 238.3 thousand token/s on 6144 TPU v4 of 275 TFLOP/s, sequences of 2048 tokens: 46.2 %.
    measured = share_of(238.3e3, training_operations(PALM, 2048), bf16=(1.0, 6144 * 275e12))
    assert measured.value == pytest.approx(46.2, abs=0.05)
    assert measured.unit == "%"
    # 45.7 % without self-attention: 6 N alone.
    assert share_of(238.3e3, 6 * PALM.parameters, bf16=(1.0, 6144 * 275e12)).value == pytest.approx(45.7, abs=0.05)


def test_the_operations_of_a_small_llama_are_those_that_were_counted_within_a_thousandth() -> None:
    # 4 sequences of 256 tokens through 4 layers of width 256; torch's FlopCounterMode with eager attention.
    shape = ModelShape(parameters=3_950_848 - 524_288, layers=4, width=256)
    assert 4 * 256 * training_operations(shape, 256) == 24_274_010_112
    assert 4 * 256 * training_operations(shape, 256) == pytest.approx(24_259_854_336, rel=1e-3)


@given(st.integers(1, 10**12), st.integers(1, 200), st.integers(1, 20_000), st.integers(1, 60), st.integers(1, 60))
def test_a_request_takes_the_sum_over_its_tokens_whatever_its_length(
    parameters: int, layers: int, width: int, given_: int, made: int
) -> None:
    each = [2 * parameters + 4 * layers * width * position for position in range(1, given_ + 1)]
    each += [2 * parameters + 4 * layers * width * (given_ + number) for number in range(made)]
    assert inference_operations(ModelShape(parameters, layers, width), given_, made) == sum(each)


@given(st.floats(0.01, 0.99), st.floats(0.01, 1.0), st.floats(1.0, 100.0))
def test_mixed_precision_is_charged_the_time_that_each_part_would_take(part: float, busy: float, faster: float) -> None:
    slow = 1e12
    # Operations that take `busy` of a second: `part` of them at the slow rate, the others at the faster one.
    operations = busy / (part / slow + (1 - part) / (faster * slow))
    measured = share_of(1.0, operations, fp32=(part, slow), bf16=(1 - part, faster * slow))
    assert measured.value == pytest.approx(100 * busy)
    assert measured.evidence["busy_shares"]["fp32"] == pytest.approx(operations * part / slow)


def test_more_than_everything_is_a_fault_that_keeps_its_value_and_is_never_clipped() -> None:
    measured = share_of(1.0, 1.03e12, fp32=(1.0, 1e12))
    assert measured.value == pytest.approx(103.0)
    assert measured.validity.status is ValidityStatus.INVALID
    assert "more than 100 %" in measured.validity.reasons[0]
    assert "counted wrongly" in measured.validity.reasons[0]
    assert not measured.runs[0].used
    known = Component("rate", "B", "1", "certificate", standard_uncertainty=0.02, relative=True)
    within = effective_compute(
        tokens(1.0),
        {"fp32": reference(1e12, known)},
        workload="training",
        operations_per_token=1.03e12,
        shares={"fp32": 1.0},
    )
    assert within.value == pytest.approx(103.0)
    assert within.validity


def test_the_uncertainties_of_tokens_and_references_combine_by_their_part_of_the_busy_time() -> None:
    counted = Component("tokens", "B", "token/s", "counter", half_width=2.0)
    one, other = (Component("rate", "B", "1", "kernel", half_width=size, relative=True) for size in (0.01, 0.02))
    measured = effective_compute(
        tokens(100.0, counted, CLOCK),
        {"fp32": reference(1e12, one, CLOCK), "bf16": reference(4e12, other, CLOCK)},
        workload="training",
        operations_per_token=1e9,
        shares={"fp32": 0.5, "bf16": 0.5},
    )
    # fp32 takes 0.05 s of each second, bf16 0.0125 s: four fifths and one fifth of the busy time.
    sizes = {component.name: component.half_width for component in measured.components}
    assert sizes == {
        "token rate: tokens": pytest.approx(0.02),
        "reference fp32: rate": pytest.approx(0.8 * 0.01),
        "reference bf16: rate": pytest.approx(0.2 * 0.02),
        "time base": pytest.approx(5e-4),
    }
    (clock,) = (component for component in measured.components if component.shared)
    assert standard_uncertainty(clock, 10.0, "%") == pytest.approx(10 * 5e-4 / 3**0.5)


def test_every_result_names_definition_version_and_how_the_operations_were_counted() -> None:
    measured = share_of(1.0, 5e11, fp32=(1.0, 1e12))
    assert measured.definition == "effective-compute/v1/palm-6n-12lhqt-no-embed-no-causal/calibrated"
    assert (measured.evidence["name"], measured.evidence["version"]) == ("normalised effective compute", 1)
    assert measured.evidence["flop_model"] == FLOP_MODELS["training"]
    for model in FLOP_MODELS.values():
        for variant in ("calibrated", "nominal"):
            assert "version 1" in definitions.require(f"effective-compute/v1/{model}/{variant}").source


def test_a_share_of_the_data_sheet_is_never_compared_with_one_of_a_measured_rate() -> None:
    nominal = effective_compute(
        tokens(1.0),
        {"fp32": reference(1e12, variant="nominal")},
        workload="training",
        operations_per_token=5e11,
        shares={"fp32": 1.0},
    )
    with pytest.raises(DefinitionMismatch):
        nominal.compared_with(share_of(1.0, 5e11, fp32=(1.0, 1e12)))


def test_a_rate_that_is_not_valid_gives_no_valid_share() -> None:
    invalid = Validity(ValidityStatus.INVALID, ("the loss is not finite",))
    for rate in (tokens(1.0, validity=invalid), tokens(None), tokens(0.0)):
        measured = effective_compute(
            rate,
            {"fp32": reference(1e12)},
            workload="training",
            operations_per_token=5e11,
            shares={"fp32": 1.0},
        )
        assert not measured.validity
        assert (measured.value is None) is (not rate.value)


@pytest.mark.parametrize(("job", "device"), [("SIM1", "2"), ("1", "SIM2"), ("SIM1", "SIM2")])
def test_one_simulated_source_makes_it_simulated(job: str, device: str) -> None:
    measured = effective_compute(
        tokens(1.0, serial=job),
        {"fp32": reference(1e12, serial=device)},
        workload="training",
        operations_per_token=5e11,
        shares={"fp32": 1.0},
    )
    assert measured.identity.simulated
    assert not share_of(1.0, 5e11, fp32=(1.0, 1e12)).identity.simulated


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"shares": {"fp32": 0.9}}, "add up to 1"),
        ({"shares": {"fp32": 1.2, "bf16": -0.2}}, "add up to 1"),
        ({"shares": {"bf16": 1.0}}, "no reference rate"),
        ({"operations_per_token": 0.0}, "cannot be meant"),
        ({"operations_per_token": float("inf")}, "cannot be meant"),
        ({"references": {"fp32": reference(0.0)}}, "no reference rate"),
        ({"references": {"fp32": reference(1.0, unit="W")}}, "no reference rate"),
        (
            {
                "references": {"fp32": reference(1.0), "bf16": reference(1.0, variant="nominal")},
                "shares": {"fp32": 0.5, "bf16": 0.5},
            },
            "cannot be mixed",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(wrong: dict[str, Any], named: str) -> None:
    sound: dict[str, Any] = {
        "references": {"fp32": reference(1e12)},
        "operations_per_token": 1e9,
        "shares": {"fp32": 1.0},
        "workload": "training",
    }
    with pytest.raises(UsageError, match=named):
        effective_compute(tokens(1.0), **{**sound, **wrong})


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_a_model_has_at_least_one_of_each(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="no model"):
        ModelShape(*wrong)

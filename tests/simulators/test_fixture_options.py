"""A slip in the parameters of a fixture is told as one in a bench file is; and a fixture gives what it promises."""

from __future__ import annotations

from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import simulated_alone
from aicalib_hw.errors import BenchError


@pytest.mark.parametrize(
    ("world", "options", "key", "text"),
    [
        ({}, {"modle": "WT310E"}, "instruments.meter.options.modle", "did you mean 'model'?"),
        ({}, {"model": "WT310F"}, "instruments.meter.options.model", "one of WT310, WT310E"),
        ({"sed": 1}, {}, "world.sed", "did you mean 'seed'?"),
    ],
)
def test_an_option_that_nobody_knows(world: dict[str, object], options: dict[str, object], key: str, text: str) -> None:
    with pytest.raises(BenchError) as caught:
        simulated_alone("yokogawa-wt300", "meter", world=world, options=options, where="test_mine.py::test_it")
    assert caught.value.where == f"test_mine.py::test_it: {key}"
    assert text in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize("again", range(20))
def test_the_first_update_of_the_meter_sees_the_load_of_the_fixture_alone(
    simulated_power_meter: Any, again: int
) -> None:
    with hw.open_instrument(simulated_power_meter.address) as meter:
        first = float(meter.read().active_power)
    assert first == pytest.approx(simulated_power_meter.truth.active_power, rel=0.01)

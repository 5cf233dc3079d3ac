"""A device held at its power cap or its temperature limit: a lower clock, the right reason, and no claim of a peak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aicalib_hw import registry

CAP, HEAT = "power_cap", "thermal"
LONG_ENOUGH = {CAP: 1.0, HEAT: 3.0}
"""s: a cap is in force at once, and heat comes to rest in tens of seconds of the device."""
EDGE = {"edge": 2048}
"""Multiplied truly by this host: the whole matrices of a calibration take it seconds."""

pytestmark = pytest.mark.alone


@pytest.fixture
def limited(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated device with the options of the parametrisation, in a world ten times as fast."""
    family, options = request.param
    world = registry.simulator(registry.WORLD).from_settings({"rate": 10, "seed": 2})
    made = registry.simulator(family)(world, family, **options)
    world.start()
    made.start()
    yield made
    made.stop()
    world.stop()


@pytest.mark.parametrize(
    ("limited", "precision", "path", "how", "reason"),
    [
        (("nvidia", {"power_limit": 300.0}), "fp32", "vector", {}, CAP),
        (("nvidia", {"temperature_limit": 45.0, "thermal_resistance": 0.2}), "fp32", "vector", {}, HEAT),
        (("ascend", {"power_limit": 200.0}), "fp16", "gemm", EDGE, CAP),
        (("ascend", {"temperature_limit": 45.0, "thermal_resistance": 0.2}), "fp16", "gemm", EDGE, HEAT),
    ],
    indirect=["limited"],
)
def test_the_rate_of_a_throttled_device_is_no_claim_at_the_rated_clock(
    limited: Any, precision: Any, path: Any, how: dict[str, Any], reason: str
) -> None:
    with registry.driver(limited.simulates)(limited.address, **how) as device:
        result = device.measure_peak(precision, path=path, duration=LONG_ENOUGH[reason])
        rated = device.theoretical_peak(precision, path=path).clock_hz
    assert result.throttle is not None
    assert getattr(result.throttle, reason)
    assert not getattr(result.throttle, HEAT if reason == CAP else CAP)
    assert result.clock is not None
    assert float(result.clock) < 0.98 * rated
    if limited.simulates == "nvidia":
        assert result.efficiency_maximum_clock is not None
        assert result.efficiency_measured_clock is not None
        assert result.efficiency_maximum_clock < result.efficiency_measured_clock
    assert not result.peak.validity
    assert any("not valid for a claim at the rated clock" in text for text in result.peak.validity.reasons)
    assert any(reason in text for text in result.peak.validity.reasons)
    assert result.sustained.validity, result.sustained.validity.reasons
    assert any("slowed down" in text for text in result.sustained.validity.reasons)

"""An open driver on a simulated meter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300


@pytest.fixture
def meter(simulated_power_meter: Any) -> Iterator[YokogawaWT300]:
    with YokogawaWT300(simulated_power_meter.address) as opened:
        opened.configure(voltage_range=300.0, current_range=20.0, update_interval=0.5)
        yield opened

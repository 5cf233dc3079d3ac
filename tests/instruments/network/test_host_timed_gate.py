"""A gate that this host times: how late its end is seen is an error of the rate, however long the gate was to last."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aicalib_hw.instruments.network._gated import GatedReservation

from aicalib_hw.interfaces import Counters, EffectiveConfig, Gate, Stream
from aicalib_hw.readings import Instant


class Ended:
    """A tester of which nothing is asked but whether it is to stop."""

    address = "here"
    patience = 1.0

    def __init__(self) -> None:
        self.stopping = threading.Event()


class Brief(GatedReservation):
    """Ports on which transmission has ended already."""

    host_timed = True

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        return EffectiveConfig(tuple(streams))

    def clear(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def running(self) -> bool:
        return False

    def read(self) -> Counters:
        now = Instant.now()
        return Counters(now, now, {}, {})

    def _begin(self, gate: Gate) -> None: ...

    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> Any:
        return None


@pytest.mark.alone
def test_the_end_of_a_long_gate_is_seen_as_soon_as_that_of_a_short_one() -> None:
    ended: Any = Ended()
    reservation = Brief(ended, ("a", "b"), "test", {})
    began = time.monotonic()
    reservation._await_end(500.0)
    assert time.monotonic() - began < 2.0

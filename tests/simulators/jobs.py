"""Simulated training jobs on worlds of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aicalib_hw import registry

from .wired import STEADY


@contextmanager
def trained(*, rate: float = 0.0, platform: Any = None, **options: Any) -> Iterator[Any]:
    """A running job on a world of its own, stepped unless told."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "platform": platform or STEADY})
    job = registry.simulator("training")(world, "job", **options)
    world.start()
    job.start()
    try:
        yield job
    finally:
        job.stop()
        world.stop()


def settled(**options: Any) -> Any:
    """A running job whose steps take 30 ms of this host each, the first ones too: 20 times faster than its own time."""
    return trained(rate=20.0, **{"warm_up_steps": 0, "step_time": 0.6, **options})

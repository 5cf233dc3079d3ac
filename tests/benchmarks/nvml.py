"""`read()` of eight NVIDIA devices beside bare calls of nvidia-ml-py for the same numbers.

Against the simulated library, whose own calls cost next to nothing, so that what is compared is Python. Bar: 1.5 times,
in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pynvml
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator

from aicalib_hw import registry

DEVICES = 8
MOST = 1.5
ROUNDS = 30
TURNS = 10


def times(work: Callable[[], object], turns: int) -> float:
    """Return the shortest time of some turns, s."""
    shortest = float("inf")
    for _ in range(turns):
        begin = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest


def in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Return the shortest times of both, s, and the median of their ratio over ROUNDS in which both had their turn.

    In turn, because other programs and the clock of the host come and go.
    """
    pairs = [(times(ours, TURNS), times(theirs, TURNS)) for _ in range(ROUNDS)]
    ratio = statistics.median(own / other for own, other in pairs)
    return min(own for own, _ in pairs), min(other for _, other in pairs), ratio


def bare_calls(handle: Any) -> None:
    """Ask nvidia-ml-py for what a round of our driver asks for."""
    pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])
    pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
    pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM)
    pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    pynvml.nvmlDeviceGetUtilizationRates(handle)
    pynvml.nvmlDeviceGetMemoryInfo(handle)
    pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)


def main() -> int:
    """Compare, print one line; exit status 0 if the bar is met."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1.0, "seed": 1})
    gpus = [registry.simulator("nvidia")(world, f"gpu{number}") for number in range(DEVICES)]
    world.start()
    for gpu in gpus:
        gpu.start()
    devices = [NvidiaAccelerator(gpu.address).open() for gpu in gpus]
    handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(DEVICES)]
    provided = devices[0].capabilities.telemetry

    def ours() -> None:
        for device in devices:
            device.read()

    def bare() -> None:
        for handle in handles:
            bare_calls(handle)

    found, same, ratio = in_turn(ours, bare)
    for device in devices:
        device.close()
    world.stop()
    met = ratio <= MOST and len(provided) == 8
    print(
        f"\nread() of {DEVICES} simulated NVIDIA devices {found * 1e6:.0f} µs, bare nvidia-ml-py for the same "
        f"{len(provided)} numbers {same * 1e6:.0f} µs: {ratio:.2f} times  {'met' if met else 'NOT MET'}",
        flush=True,
    )
    return 0 if met else 1

"""`read()` of eight NVIDIA devices beside bare calls of nvidia-ml-py for the same numbers.

Against the simulated library, whose own calls cost next to nothing, so that what is compared is Python. Bar: 1.5 times.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pynvml
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator

from aicalib_hw import registry

DEVICES = 8
MOST = 1.5


def best(work: Callable[[], None], turns: int = 300) -> float:
    """Return the shortest time of many, s."""
    shortest = float("inf")
    for _ in range(turns):
        begin = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest


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
            pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])
            pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
            pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM)
            pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
            pynvml.nvmlDeviceGetUtilizationRates(handle)
            pynvml.nvmlDeviceGetMemoryInfo(handle)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)

    found, same = best(ours), best(bare)
    for device in devices:
        device.close()
    world.stop()
    met = found <= MOST * same and len(provided) == 8
    print(
        f"\nread() of {DEVICES} simulated NVIDIA devices {found * 1e6:.0f} µs, bare nvidia-ml-py for the same "
        f"{len(provided)} numbers {same * 1e6:.0f} µs: {found / same:.2f} times  {'met' if met else 'NOT MET'}",
        flush=True,
    )
    return 0 if met else 1

"""CPU time of one reading of a simulated WT310E over VXI-11, beside a bare PyVISA query and PyMeasure.

All three send the same message and take its reply: `read(fresh=False)` makes readings with unit, status, range and
settings of it, PyVISA returns the text, PyMeasure splits it into floats. The meter serves one link, so they take
turns. Counted is the CPU time of the reading thread. The bar: at most twice PyVISA's and 150 µs more, and below
PyMeasure's, where that is installed (`.venv/bin/pip install pymeasure==0.16.0`; too heavy for every contributor).
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import pyvisa
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw import registry
from aicalib_hw.trace import Trace

ROUNDS, READS = 15, 100
SHARE, EXTRA = 2.0, 150e-6


def cpu_time(read: Callable[[], object]) -> float:
    """Return the CPU time of one call in this thread, s, as the mean of many."""
    read()
    began = time.thread_time()
    for _ in range(READS):
        read()
    return (time.thread_time() - began) / READS


def with_ours(address: str) -> float:
    with YokogawaWT300(address) as meter:
        return cpu_time(lambda: meter.read(fresh=False))


def with_pyvisa(address: str, message: str) -> float:
    resource: Any = pyvisa.ResourceManager("@py").open_resource(address, open_timeout=2000, read_termination="\n")
    try:
        return cpu_time(lambda: resource.query(message))
    finally:
        resource.close()


def with_pymeasure(address: str, message: str) -> float | None:
    """By PyMeasure's `values`, which its `measurement` properties call: the reply split and made numbers."""
    try:
        instruments: Any = importlib.import_module("pymeasure.instruments")
    except ImportError:
        return None
    meter = instruments.Instrument(
        address, "WT310E", visa_library="@py", open_timeout=2000, read_termination="\n", includeSCPI=False
    )
    try:
        return cpu_time(lambda: meter.values(message, preprocess_reply=lambda text: text.replace(";", ",")))
    finally:
        meter.adapter.connection.close()


def message_of(address: str) -> str:
    """The message that one reading sends, as the trace has it."""
    with Trace() as trace, YokogawaWT300(address, trace=trace) as meter:
        meter.read(fresh=False)
        return next(str(entry["text"]) for entry in reversed(trace.recent) if "VALue?" in str(entry["text"]))


def main() -> int:
    """Print the medians; exit status 0 if the bar is met."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
    simulated = registry.simulator("yokogawa-wt300")(world, "meter")
    world.start()
    simulated.start()
    ours, bare, peer = [], [], []
    try:
        message = message_of(simulated.address)
        for _ in range(ROUNDS):
            ours.append(with_ours(simulated.address))
            bare.append(with_pyvisa(simulated.address, message))
            if (taken := with_pymeasure(simulated.address, message)) is not None:
                peer.append(taken)
    finally:
        simulated.stop()
        world.stop()
    own, least = statistics.median(ours), statistics.median(bare)
    met = own <= SHARE * least and own - least <= EXTRA and (not peer or own < statistics.median(peer))
    print(
        f"\nCPU time of one reading of a simulated WT310E over VXI-11, median of {ROUNDS} turns of {READS}: "
        f"read(fresh=False) {own * 1e6:.0f} µs, PyVISA query of the same {len(message)} characters "
        f"{least * 1e6:.0f} µs, "
        f"PyMeasure {f'{statistics.median(peer) * 1e6:.0f} µs' if peer else 'not installed'}  "
        f"{'met' if met else 'NOT MET'}",
        flush=True,
    )
    return 0 if met else 1

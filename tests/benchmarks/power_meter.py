"""CPU time of one reading of a simulated WT310E over VXI-11, beside a bare PyVISA query and PyMeasure.

All three send the same message and take its reply: `read(fresh=False)` makes numbers with status, ranges and settings
of it (a `Reading` when it is looked at), PyVISA returns the text, PyMeasure splits it into floats. The meter serves one
link, so they take turns. Counted is the CPU time of the reading thread. The bar: at most twice PyVISA's and 150 µs
more, and below PyMeasure's, which runs in an environment of its own: too heavy for every contributor.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pyvisa
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw import registry
from aicalib_hw.trace import Trace

from .peers import python_of_peers

ROUNDS, READS = 15, 100
SHARE, EXTRA = 2.0, 150e-6

_PYMEASURE = """
import json, sys, time
from pymeasure.instruments import Instrument
for line in sys.stdin:
    address, message, reads = json.loads(line)
    meter = Instrument(
        address, "WT310E", visa_library="@py", open_timeout=2000, read_termination="\\n", includeSCPI=False
    )
    def read():
        return meter.values(message, preprocess_reply=lambda text: text.replace(";", ","))
    read()
    began = time.thread_time()
    for _ in range(reads):
        read()
    took = (time.thread_time() - began) / reads
    meter.adapter.connection.close()  # before it is this program's turn again: the meter serves one link
    print(took, flush=True)
"""


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


class PyMeasure:
    """PyMeasure's `values`, which its `measurement` properties call, in a process of its own: one line a turn."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [python_of_peers(), "-c", _PYMEASURE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def cpu_time(self, address: str, message: str) -> float:
        """Return the CPU time of one reading, s, as `cpu_time` does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([address, message, READS]) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


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
    pymeasure = PyMeasure()
    ours, bare, peer = [], [], []
    try:
        message = message_of(simulated.address)
        for _ in range(ROUNDS):
            ours.append(with_ours(simulated.address))
            bare.append(with_pyvisa(simulated.address, message))
            peer.append(pymeasure.cpu_time(simulated.address, message))
    finally:
        pymeasure.close()
        simulated.stop()
        world.stop()
    own, least, theirs = statistics.median(ours), statistics.median(bare), statistics.median(peer)
    met = own <= SHARE * least and own - least <= EXTRA and own < theirs
    print(
        f"\nCPU time of one reading of a simulated WT310E over VXI-11, median of {ROUNDS} turns of {READS}: "
        f"read(fresh=False) {own * 1e6:.0f} µs, PyVISA query of the same {len(message)} characters "
        f"{least * 1e6:.0f} µs, "
        f"PyMeasure {theirs * 1e6:.0f} µs  "
        f"{'met' if met else 'NOT MET'}",
        flush=True,
    )
    return 0 if met else 1

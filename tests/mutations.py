"""Break driver and simulator on purpose, one line at a time, and require that the tests notice.

Run by `make mutations`. Works on a copy of the tree. Fails if the tests are not green without a mutation,
if a mutation does not fit exactly one place, or if the tests stay green with it.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = {
    "aicalib_hw": "aicalib_hw",
    "instruments": "aicalib_hw/instruments",
    "simulators": "aicalib_hw/simulators",
    "tests": "tests",
}
"""Folder here → folder in the copy, which is laid out as the package is installed."""

JUDGES = (
    "tests/instruments/power/test_yokogawa_wt300_wire.py",
    "tests/instruments/power/test_yokogawa_wt300.py",
    "tests/instruments/power/test_yokogawa_wt300_disturbed.py",
)
MAKERS_VISA = ("tests/instruments/power/test_a_makers_visa.py",)
TRAINING = ("tests/instruments/training/test_log.py",)
AT_ONCE = 2
"""Mutations that are judged at a time, as the test suite runs in two processes."""

FAILED = 1
"""Exit status of pytest when tests ran and failed, and not when they could not be collected."""


@dataclass(frozen=True)
class Mutation:
    """What is broken: in one of the files that `where` fits, `old` becomes `new`; `judges` are to notice it."""

    name: str
    where: str
    old: str
    new: str
    judges: tuple[str, ...] = JUDGES


MUTATIONS = (
    Mutation(
        "the driver takes W for mW",
        "aicalib_hw/instruments/power/_yokogawa_values.py",
        "        value, status = measured(text)\n",
        "        value, status = measured(text)\n"
        '        value = value * 1000 if value is not None and function == "P" else value\n',
    ),
    Mutation(
        "the driver sends another range than was asked for",
        "aicalib_hw/instruments/power/*.py",
        'self.voltage_range = given["voltage_range"]',
        "self.voltage_range = 600.0",
    ),
    Mutation(
        "the driver takes over-range for a number",
        "aicalib_hw/scpi/*.py",
        "    return None, Status.OVER_RANGE\n",
        "    return 9.8e37, Status.VALID\n",
    ),
    Mutation(
        "an update at a maker's VISA is stamped late",
        "aicalib_hw/transport/*.py",
        "_NAP = 0.005\n",
        "_NAP = 0.05\n",
        MAKERS_VISA,
    ),
    Mutation(
        "a meter that another program holds counts as absent",
        "aicalib_hw/transport/*.py",
        ', "VI_ERROR_RSRC_BUSY"',
        "",
        MAKERS_VISA,
    ),
    Mutation(
        "the simulator shows mW as W",
        "aicalib_hw/simulators/power/*.py",
        '"P": (_scaled(sample.active, scale.power), watts)',
        '"P": (1000 * _scaled(sample.active, scale.power), watts)',
    ),
    Mutation(
        "the simulator sets another range than was sent",
        "aicalib_hw/simulators/power/*.py",
        'closest(number(data, "V"), self.voltages()), "voltage_auto"',
        'self.voltages()[0], "voltage_auto"',
    ),
    Mutation(
        "the simulator shows over-range as a number",
        "aicalib_hw/simulators/power/*.py",
        'return "INF"',
        'return "9.8000E+37"',
    ),
    Mutation(
        "the driver claims twice the operations of its kernel",
        "aicalib_hw/instruments/accelerators/nvidia/*.py",
        "flop = PAIRS * 2 * count * number.lanes * 2",
        "flop = PAIRS * 4 * count * number.lanes * 2",
        ("tests/instruments/accelerators/test_nvidia_rates.py",),
    ),
    Mutation(
        "the driver counts each product of matrices twice",
        "aicalib_hw/instruments/accelerators/ascend/*.py",
        "return 2 * self._product.edge**3 * self.size",
        "return 4 * self._product.edge**3 * self.size",
        ("tests/instruments/accelerators/test_ascend_rates.py",),
    ),
    Mutation(
        "the drivers of traffic testers count preamble and gap as bits of layer 2",
        "aicalib_hw/instruments/network/*.py",
        'value = slowest.received * frame.bits("L2-fcs") / gate.seconds',
        'value = slowest.received * frame.bits("L1") / gate.seconds',
        (
            "tests/instruments/network/test_gated_testers.py"
            "::test_800_gbit_is_measured_within_the_stated_uncertainty_at_every_frame_size",
        ),
    ),
    Mutation(
        "the procedure takes a rate of layer 2 for one of layer 1",
        "aicalib_hw/procedures/network.py",
        'origin: Layer = "L2-fcs"',
        'origin: Layer = "L1"',
        ("tests/procedures/test_network.py::test_a_rate_of_layer_2_is_stated_at_the_layer_that_was_asked_for",),
    ),
    Mutation(
        "the driver of Open Traffic Generators takes every gate to be kept without error",
        "aicalib_hw/instruments/network/_otg_reservation.py",
        "return apart, ",
        "return 0.0, ",
        (
            "tests/instruments/network/test_gates_and_counters.py"
            "::test_a_gate_that_is_kept_badly_is_within_the_stated_uncertainty_of_every_run",
        ),
    ),
    Mutation(
        "a certificate of any layer corrects a rate",
        "aicalib_hw/metrology/certificates.py",
        "if point.layer == layer]",
        "if layer or not layer]",
        ("tests/procedures/test_network.py::test_a_certificate_of_another_layer_is_refused_before_anything_is_sent",),
    ),
    Mutation(
        "the Xena driver gives ports back that still transmit",
        "aicalib_hw/instruments/network/xena.py",
        'self.session.command(f"{name} P_TRAFFIC OFF")',
        'self.session.command(f"{name} P_TRAFFIC ON")',
        ("tests/instruments/network/test_killed_client.py",),
    ),
    Mutation(
        "the TRex driver takes counters that run on for those of the gate",
        "aicalib_hw/instruments/network/*.py",
        "(value - self._before.get(place, 0)) % _WRAPS_AT",
        "value",
        ("tests/instruments/network/test_trex_wire.py::test_a_rate_is_what_was_counted_since_traffic_began",),
    ),
    Mutation(
        "the simulated fio takes 1024 ms for a second",
        "aicalib_hw/simulators/storage/fio_statistics.py",
        "return 1000 * self.size // self.runtime",
        "return 1024 * self.size // self.runtime",
        ("tests/simulators/test_fio.py::test_a_job_of_30_seconds_takes_a_hundredth_of_it_and_says_what_truly_moved",),
    ),
    Mutation(
        "the fio driver takes KiB for kB",
        "aicalib_hw/instruments/storage/*.py",
        "return 8 * self.moved / self.seconds if",
        "return 8 * 1.024 * self.moved / self.seconds if",
        (
            "tests/instruments/storage/test_fio_faults.py::test_what_truly_moved_is_what_is_found_within_the_uncertainty_and_it_is_called_simulated",
        ),
    ),
    Mutation(
        "the fio driver believes fio whatever the device has counted",
        "aicalib_hw/instruments/storage/*.py",
        "if count is not None and count < moved * (1 - AGREEMENT):",
        "if False:",
        (
            "tests/instruments/storage/test_fio_faults.py::test_files_that_stay_sparse_give_a_rate_that_no_device_counted",
        ),
    ),
    Mutation(
        "the fio driver overwrites a block device that another program has open",
        "aicalib_hw/instruments/storage/*.py",
        "if held is not None and not used:",
        "if held is not None:",
        (
            "tests/instruments/storage/test_fio_block_device.py::test_one_that_is_in_use_is_never_written_and_who_uses_it_is_told",
        ),
    ),
    Mutation(
        "an effective compute of more than everything is cut to 100 %",
        "aicalib_hw/metrology/effective.py",
        "value = 100 * sum(busy.values())",
        "value = min(100.0, 100 * sum(busy.values()))",
        (
            "tests/metrology/test_effective.py::test_more_than_everything_is_a_fault_that_keeps_its_value_and_is_never_clipped",
        ),
    ),
    Mutation(
        "the simulated TRex forgets the FCS of what it sends",
        "aicalib_hw/simulators/network/trex_stream.py",
        "_FCS = 4",
        "_FCS = 0",
        ("tests/simulators/test_trex.py::test_frames_leave_at_the_rate_of_the_line",),
    ),
    Mutation(
        "the simulated iperf3 has TCP without headers",
        "aicalib_hw/simulators/network/iperf3_flow.py",
        "_HEADERS = 52",
        "_HEADERS = 0",
        ("tests/simulators/test_iperf3.py::test_tcp_fills_the_line_but_for_its_headers",),
    ),
    Mutation(
        "the simulated torchtitan tells the rate of all devices together",
        "aicalib_hw/simulators/training/torchtitan.py",
        "facts.seconds(step.ended - self.interval.began) / options.devices",
        "facts.seconds(step.ended - self.interval.began)",
        ("tests/simulators/test_training.py",),
    ),
    Mutation(
        "the simulated service counts its steps from when it woke up",
        "aicalib_hw/simulators/inference/schedule.py",
        "self._step_ends = moment + self._step_lasts",
        "self._step_ends = self._now() + self._step_lasts",
        ("tests/simulators/test_openai_schedule.py",),
    ),
    Mutation(
        "the driver takes a job's milliseconds for seconds",
        "aicalib_hw/instruments/training/_formats.py",
        '"ms": 1e-3',
        '"ms": 1.0',
        TRAINING,
    ),
    Mutation(
        "steps that were skipped count",
        "aicalib_hw/instruments/training/_tally.py",
        "max(0, steps - max(0, skipped))",
        "steps",
        TRAINING,
    ),
    Mutation(
        "the rate of one device is taken for that of all",
        "aicalib_hw/instruments/training/_tally.py",
        "(now.pace * self._plan.processors)",
        "now.pace",
        TRAINING,
    ),
    Mutation(
        "the job's stop-watch is believed alone",
        "aicalib_hw/instruments/training/_clocks.py",
        "    if judge.agrees(seconds, outside):\n        return share, (), others\n",
        "    return share, (), others\n",
        TRAINING,
    ),
    Mutation(
        "the arrival at which a window of tokens begins counts too",
        "aicalib_hw/instruments/inference/_evaluation.py",
        "np.flatnonzero((times > start) & (times <= stop))",
        "np.flatnonzero((times >= start) & (times <= stop))",
        ("tests/instruments/inference/test_evaluation.py",),
    ),
    Mutation(
        "every text event counts as one token",
        "aicalib_hw/instruments/inference/_evaluation.py",
        "weights[request.number] = tokens / request.events",
        "weights[request.number] = 1.0",
        ("tests/instruments/inference/test_evaluation.py",),
    ),
    Mutation(
        "a read of the network is taken for one event",
        "aicalib_hw/instruments/inference/_events.py",
        "        data = self._rest + read\n",
        "        data = read\n",
        ("tests/instruments/inference/test_events.py",),
    ),
    Mutation(
        "of the series of a counter only the first is read",
        "aicalib_hw/instruments/inference/_counters.py",
        "        those = [one for one in held if one.name == name]\n",
        "        those = [one for one in held if one.name == name][:1]\n",
        ("tests/instruments/inference/test_counters.py",),
    ),
)


class Broken(Exception):
    """The tests did not do what they are for."""


def apply(tree: Path, mutation: Mutation) -> tuple[Path, str]:
    """Break the one place that fits; return the file and what it held before."""
    places = [path for path in sorted(tree.glob(mutation.where)) for _ in range(path.read_text().count(mutation.old))]
    if len(places) != 1:
        raise Broken(f"{mutation.name}: fits {len(places)} places in {mutation.where}, and not one")
    before = places[0].read_text()
    places[0].write_text(before.replace(mutation.old, mutation.new))
    return places[0], before


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the copy."""
    surroundings = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=tree, env=surroundings, text=True, capture_output=True, check=False)


def judge(tree: Path, judges: tuple[str, ...], *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests on the copy."""
    return run(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", *options, *judges)


def require_copy(tree: Path) -> None:
    """Raise Broken unless it is the copy that tests import."""
    for part in ("instruments.power", "simulators.power", "scpi"):
        found = run(tree, "-c", f"import aicalib_hw.{part} as part; print(part.__path__[0])").stdout
        if not found.startswith(str(tree)):
            raise Broken(f"another installation of the package hides the copy: {found}")


def copy(tree: Path) -> Path:
    """Lay the tree out as the package is installed, and return it."""
    for name, target in COPIED.items():
        shutil.copytree(ROOT / name, tree / target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    require_copy(tree)
    return tree


def require_noticed(tree: Path, mutation: Mutation) -> None:
    """Raise Broken unless the tests turn red with the mutation; the copy is whole again afterwards."""
    path, before = apply(tree, mutation)
    try:
        result = judge(tree, mutation.judges)
    finally:
        path.write_text(before)
    if result.returncode != FAILED:
        raise Broken(f"{mutation.name}: pytest ended with {result.returncode}\n{result.stdout[-3000:]}")
    sys.stdout.write(f"noticed: {mutation.name}\n")
    sys.stdout.flush()


def main() -> None:
    """Green without a mutation, red with each, two at a time on copies of their own; raises Broken otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(AT_ONCE):
            trees.put(copy(Path(folder).resolve() / str(number)))
        tree = trees.get()
        every = tuple(dict.fromkeys(name for mutation in MUTATIONS for name in mutation.judges))
        sound = judge(tree, every, "-n", str(AT_ONCE))
        trees.put(tree)
        if sound.returncode != 0:
            raise Broken(f"the tests are not green without a mutation:\n{sound.stdout[-3000:]}{sound.stderr}")

        def on_a_copy(mutation: Mutation) -> None:
            tree = trees.get()
            try:
                require_noticed(tree, mutation)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for noticed in [pool.submit(on_a_copy, mutation) for mutation in MUTATIONS]:
                noticed.result()


if __name__ == "__main__":
    try:
        main()
    except Broken as problem:
        sys.exit(str(problem))

"""Fixtures against simulated instruments, and `simulated_bench` for all instruments of a bench.

Installed with the package; ready in well under half a second; no rights needed. What passed on the
wire is attached to the report of a failing test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aicalib_hw.bench import Bench

_ATTACHED = 60
"""Exchanges shown of each instrument when a test fails."""

_simulated = pytest.StashKey[list[Any]]()


@contextmanager
def _running(
    request: pytest.FixtureRequest, simulator: str, name: str, *, rate: float = 1.0, load: float | None = None
) -> Iterator[Any]:
    """Run one simulated instrument in a world of its own, as the parameters of the request want them."""
    from aicalib_hw.bench import simulated_alone

    options: dict[str, Any] = {"world": {"rate": rate}, "simulator": simulator, **getattr(request, "param", {})}
    world, instrument = simulated_alone(
        options.pop("simulator"),
        name,
        world=options.pop("world"),
        options=options,
        where=request.node.nodeid,
        load=load,
    )
    request.node.stash.setdefault(_simulated, []).append(instrument)
    world.start()
    instrument.start()
    try:
        yield instrument
    finally:
        instrument.stop()
        world.stop()


@pytest.fixture
def simulated_power_meter(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated WT310E on a world of its own, 20 times faster than real time, at half load.

    `.address` for a driver, `.truth` for the true values, `.inject(fault)`, `.world`. Options by indirect
    parametrisation: a dict of the simulator's options, of the world's under "world", and under "simulator" the name
    of another meter's simulator, for example "yokogawa-wt1800".
    """
    with _running(request, "yokogawa-wt300", "meter", rate=20, load=0.5) as simulated:
        yield simulated


@pytest.fixture
def simulated_network_tester(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated Xena chassis with two ports of 800 Gbit/s and a cable between them, 20 times faster than real time.

    `.address` for a driver, `.truth` for the true rates, `.inject(fault)`, `.world`. Options by indirect
    parametrisation: a dict of the simulator's options, of the world's under "world", and under "simulator" the name
    of another tester's simulator, for example "otg".
    """
    with _running(request, "xena", "tester", rate=20) as simulated:
        yield simulated


@pytest.fixture
def simulated_accelerator(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated NVIDIA H100 on a world of its own in real time, idle; its libraries are loaded into this process.

    `.address` for a driver, `.truth` for the true values, `.inject(fault)`, `.world`, and `.preload`, the environment
    for other programs. Options by indirect parametrisation: a dict of the simulator's options, of the world's under
    "world", and under "simulator" the name of another family, "ascend". Linux; raises UsageError without the libraries.
    """
    with _running(request, "nvidia", "accelerator") as simulated:
        yield simulated


@pytest.fixture
def simulated_inference_service(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated OpenAI-compatible server on a world of its own in real time, idle; a process of its own.

    `.address` for a driver, without `openai+` for any other client; `.truth` for what was really sent and when,
    `.inject(fault)`, `.world`. Options by indirect parametrisation: a dict of the simulator's options, and of the
    world's under "world".
    """
    with _running(request, "openai", "service") as simulated:
        yield simulated


@pytest.fixture
def simulated_storage_tester(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated fio and its disk on a world of its own, 20 times faster than real time, idle.

    `.address` for a driver, `.program` to be started by hand, `.truth` for what truly moved, `.witness` for what the
    kernel would count, `.inject(fault)`, `.world`. Options by indirect parametrisation: a dict of the simulator's
    options, and of the world's under "world".
    """
    with _running(request, "fio", "storage", rate=20) as simulated:
        yield simulated


@pytest.fixture
def simulated_training_job(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A simulated training job on a world of its own, 20 times faster than real time; its log grows in a file.

    `.address` for a driver, `.path` of the log, `.truth` for every step, `.inject(fault)`, `.world`. Options by
    indirect parametrisation: a dict of the simulator's options, for example {"framework": "torchtitan"}, and of the
    world's under "world".
    """
    with _running(request, "training", "job", rate=20) as simulated:
        yield simulated


@pytest.fixture
def simulated_bench(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """A function that opens a bench with every instrument simulated: `simulated_bench("simulated-server")`.

    Takes the name of a shipped bench or a path to a .toml; closes what it opened when the test ends.
    """
    from aicalib_hw.bench import open_bench

    opened: list[Bench] = []

    def open_simulated(name_or_path: Any = "simulated-server") -> Bench:
        bench = open_bench(name_or_path, simulate=True)
        opened.append(bench)
        request.node.stash.setdefault(_simulated, []).extend(bench.simulated.values())
        return bench

    try:
        yield open_simulated
    finally:
        for bench in reversed(opened):
            bench.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the wire logs of the simulated instruments to the report of a failing test."""
    report = yield
    if report.failed:
        for instrument in item.stash.get(_simulated, []):
            lines = [f"{direction} {data!r}" for direction, data in instrument.exchanges[-_ATTACHED:]]
            report.sections.append((f"wire of {instrument.name} at {instrument.address}", "\n".join(lines)))
    return report

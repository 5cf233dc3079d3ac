"""A simulated meter on a stepped or fast world, and clients that nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pyvisa

from aicalib_hw import registry

from .wired import Line, started

Serve = Callable[..., Any]
Devices = Callable[..., list[Any]]


def send(wire: Any, message: str) -> None:
    """Send a message and wait until the instrument has executed it, so that the clock may move on."""
    wire.write(message)
    assert wire.query("*OPC?") == "1"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that serves a simulated meter on a world of its own: `serve(rate=0, model="WT333E")`."""
    running: list[Any] = []

    def start(
        simulator: str = "yokogawa-wt300",
        *,
        rate: float = 0.0,
        seed: int = 1,
        platform: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        settings = {"rate": rate, "seed": seed, "platform": platform or {}}
        world = registry.simulator(registry.WORLD).from_settings(settings)
        meter = registry.simulator(simulator)(world, "meter", **options)
        world.start()
        meter.start()
        running.extend((meter, world))
        return meter

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def connect() -> Iterator[Callable[[str], Any]]:
    """A function that opens an address with PyVISA and pyvisa-py."""
    manager = pyvisa.ResourceManager("@py")
    opened: list[Any] = []

    def open_address(address: str) -> Any:
        resource: Any = manager.open_resource(address, open_timeout=3000)
        resource.timeout = 3000
        resource.read_termination = "\n"
        resource.write_termination = "\n"
        opened.append(resource)
        return resource

    yield open_address
    for resource in opened:
        resource.close()
    manager.close()


@pytest.fixture
def devices() -> Iterator[Devices]:
    """A function that puts devices into a world of their own: `devices("nvidia", 2, model="h100", power_limit=300)`."""
    worlds: list[Any] = []

    def make(family: str, count: int = 1, *, rate: float = 0.0, **options: Any) -> list[Any]:
        platform = {"idle_power": 400.0, "full_power": 500.0, "rated_power": 8000.0, "ripple": 0.0}
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "seed": 5, "platform": platform})
        worlds.append(world)
        made = [registry.simulator(family)(world, f"{family}-{number}", **options) for number in range(count)]
        world.start()
        return made

    yield make
    for world in worlds:
        world.stop()


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    """A function that starts a simulated meter of a class: `run(SimulatedPW3336, rate=0, model="PW3337")`."""
    running: list[Any] = []

    def start(kind: type[Any], **options: Any) -> Any:
        running.append(started(kind, **options))
        return running[-1]

    yield start
    for meter in running:
        meter.stop()
        meter.world.stop()


@pytest.fixture
def plug() -> Iterator[Callable[..., Line]]:
    """A function that connects a plain socket to an address."""
    lines: list[Line] = []

    def connect(address: str, end: bytes = b"\r\n") -> Line:
        lines.append(Line(address, end))
        return lines[-1]

    yield connect
    for line in lines:
        line.close()

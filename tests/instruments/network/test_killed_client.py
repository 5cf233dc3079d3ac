"""A program is killed while its ports transmit: `aicalib release` ends that, and the testers themselves agree."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import zmq

import aicalib_hw as hw
from aicalib_hw import registry

from .families import FAMILIES

BENCH = """
[bench]
name = "killed"

[instruments.tester]
driver = "{driver}"
address = "{address}"
"""

TRANSMITS_AND_WAITS = """
import sys, time
import aicalib_hw as hw
from aicalib_hw.interfaces import Stream
bench = hw.open_bench(sys.argv[1])
reservation = bench.the("network_tester").reserve(sys.argv[2:4], owner="test")
reservation.configure([Stream("there", sys.argv[2], sys.argv[3], 512, 0.5)])
reservation.start()
print("transmitting", flush=True)
time.sleep(60)
"""


@dataclass(frozen=True)
class Lab:
    """A tester with an address of its own, in a bench; what it is in truth."""

    simulator: Any
    network: Any
    bench: Path
    ports: tuple[str, str]

    @property
    def sending(self) -> list[str]:
        """The ports that transmit, as only the simulated world knows."""
        return [name for name, port in self.network.ports.items() if port.sending]

    @property
    def owned(self) -> list[str]:
        """The ports that anybody holds, as the tester tells a bystander."""
        told = {"xena": told_by_chassis, "trex": told_by_server}.get(self.simulator.simulates)
        if told is None:
            return [name for name, port in self.network.ports.items() if port.owner]
        return [name for name in self.network.ports if told(self.simulator.address, name)]


def told_by_chassis(address: str, port: str) -> str:
    """Who has reserved a port, asked over a connection that none of our code made; "" if nobody has."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=5) as link, link.makefile("rw") as lines:
        lines.write(f'C_LOGON "xena"\n{port} P_RESERVEDBY ?\n')
        lines.flush()
        assert lines.readline().strip() == "<OK>"
        return lines.readline().split("P_RESERVEDBY")[1].strip().strip('"')


def told_by_server(address: str, port: str) -> str:
    """Who has acquired a port of TRex, asked as above and without compression; "" if nobody has."""
    place = urlsplit(address)
    with zmq.Context() as context, context.socket(zmq.REQ) as link:
        link.linger = 0
        link.rcvtimeo = 5000
        link.connect(f"tcp://{place.hostname}:{place.port}")

        def ask(method: str, **parameters: Any) -> Any:
            link.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
            reply: Any = link.recv_json()
            return reply["result"]

        handle = ask("api_sync_v2", name="STL", major=5, minor=1)["api_h"]
        return str(ask("get_port_status", api_h=handle, port_id=int(port), profile_id="*", block=False)["owner"])


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A tester that runs on when its clients die; parametrised with (name of a family, options)."""
    name, options = request.param
    family = next(one for one in FAMILIES if one.name == name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
    simulator = registry.simulator(name)(world, name, **options)
    world.start()
    simulator.start()
    bench = tmp_path / "killed.toml"
    bench.write_text(BENCH.format(driver=name, address=family.address(simulator)))
    yield Lab(simulator, family.network(simulator), bench, family.ports)
    simulator.stop()
    world.stop()


def killed_while_transmitting(lab: Lab) -> int:
    """Run a program until it transmits, kill it with SIGKILL, and return its process number."""
    command = [sys.executable, "-c", TRANSMITS_AND_WAITS, str(lab.bench), *lab.ports]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "transmitting\n"
            assert lab.sending
            assert lab.owned
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    return process.pid


def release(lab: Lab) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from aicalib_hw.cli import main; main()", "release", str(lab.bench), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


FOUR_PORTS = {"ports": [{"name": f"0/{number}"} for number in range(4)]}

KEEPS = "xena that keeps the reservation"
LABS: dict[str, tuple[str, dict[str, Any]]] = {
    "xena": ("xena", FOUR_PORTS),
    KEEPS: ("xena", {**FOUR_PORTS, "release_on_disconnect": False}),
    "otg": ("otg", {}),
    "trex": ("trex", {}),
}


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lab", [LABS[name] for name in names], indirect=True, ids=names)


@each(*LABS)
def test_release_ends_the_traffic_of_a_killed_program_and_gives_its_ports_back(lab: Lab) -> None:
    pid = killed_while_transmitting(lab)
    assert lab.sending, "a tester goes on by itself when its client dies"
    done = release(lab)
    assert done.returncode == 0, done.stdout + done.stderr
    actions = json.loads(done.stdout)["instruments"]["tester"]["actions"]
    assert any(str(pid) in action for action in actions)
    assert any("traffic stopped" in action for action in actions)
    assert (lab.sending, lab.owned) == ([], [])


@each(*LABS)
def test_the_next_program_of_the_bench_finds_the_ports_quiet(lab: Lab) -> None:
    killed_while_transmitting(lab)
    with hw.open_bench(lab.bench) as bench:
        assert lab.sending == []
        with bench.the("network_tester").reserve(lab.ports, owner="test") as reservation:
            assert not reservation.running
    assert (lab.sending, lab.owned) == ([], [])


# What a chassis does when its client is gone is of no account: the program goes by itself, when it has given all back.
@each("xena", "otg", "trex")
def test_a_calibration_that_is_interrupted_leaves_no_port_transmitting_or_reserved(lab: Lab, tmp_path: Path) -> None:
    with lab.bench.open("a") as file:
        file.write("[plan.network]\nframe_sizes = [512]\nduration = 30.0\nwarm_up = 0.0\n")
    command = [sys.executable, "-c", "from aicalib_hw.cli import main; main()", "calibrate", str(lab.bench)]
    with subprocess.Popen([*command, "-o", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 30
            while not lab.sending and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            assert lab.sending
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGINT, told
    assert "not given back" not in told
    assert (lab.sending, lab.owned) == ([], [])


@pytest.mark.parametrize("lab", [("xena", FOUR_PORTS)], indirect=True)
def test_ports_of_somebody_else_are_left_to_transmit(lab: Lab) -> None:
    theirs: Any = hw.open_instrument(lab.simulator.address)
    theirs.session.command('C_OWNER "other"')
    theirs.session.command("0/2 P_RESERVATION RESERVE", "0/2 PS_CREATE [0]", "0/2 PS_ENABLE [0] ON", "0/2 P_TRAFFIC ON")
    killed_while_transmitting(lab)
    assert set(lab.sending) == {"0/0", "0/2"}
    done = release(lab)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (lab.sending, lab.owned) == (["0/2"], ["0/2"])
    theirs.session.command("0/2 P_TRAFFIC OFF")
    theirs.close()

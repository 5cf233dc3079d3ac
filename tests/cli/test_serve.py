"""`aicalib serve`: a simulated meter offered to a program that speaks PTDaemon's protocol only."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicalib_hw.bench import simulate_bench

from .conftest import Command

BENCH = """
[bench]
name = "served"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"

[world]
rate = 20
"""


@pytest.fixture
def address() -> Iterator[str]:
    Path("served.toml").write_text(BENCH)
    with simulate_bench("./served.toml") as running:
        yield running.addresses["meter"]


def test_a_program_finds_the_meter_behind_the_port_and_the_command_ends_when_told(address: str) -> None:
    command = [
        sys.executable,
        "-c",
        "from aicalib_hw.cli import main; main()",
        "serve",
        "ptdaemon",
        address,
        "--port",
        "0",
        "--json",
    ]
    with subprocess.Popen([*command, "--log", "ptd.log"], stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        host, _, port = told["address"].removeprefix("ptdaemon://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20.0) as client:
            client.sendall(b"Hello\r\nIdentify\r\n")
            received = b""
            while received.count(b"\r\n") < 2:
                received += client.recv(4096)
        serving.send_signal(signal.SIGTERM)
        status = serving.wait(20.0)
    greeting, identification, _ = received.decode().split("\r\n")
    assert greeting == "Hello, PTDaemon here!"
    assert "serial=SIM" in identification
    assert "(simulated)" in told["instruments"][0]
    assert status == 0
    assert Path("ptd.log").read_text() == ""


def test_what_is_no_power_meter_is_not_served(aicalib: Command) -> None:
    ended = aicalib("serve", "ptdaemon", "cpu://local", "--port", "0")
    assert ended.status == 2
    assert "role is accelerator" in ended.screen["why"]


def test_a_protocol_that_is_not_spoken_is_refused(aicalib: Command) -> None:
    ended = aicalib("serve", "modbus", "TCPIP::192.0.2.1::INSTR")
    assert ended.status == 2
    assert "ptdaemon" in ended.err

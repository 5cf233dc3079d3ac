"""From an address to the instrument behind it: found, named, refused, and never confused with another."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import simulate_bench
from aicalib_hw.discovery import discover, identify_address, open_instrument, require_identity
from aicalib_hw.errors import ConnectionFailed, IdentityMismatch, InstrumentError, OutOfRange, UnknownDriver, UsageError

METER = """
[bench]
name = "lab"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
options = { model = "WT310E" }
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The bare address of a simulated meter."""
    path = tmp_path / "lab.toml"
    path.write_text(METER)
    with simulate_bench(path) as simulation:
        yield simulation.addresses["meter"]


@pytest.fixture
def unused() -> str:
    """An address where nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"TCPIP::127.0.0.1,{closed.getsockname()[1]}::inst0::INSTR"


def test_the_driver_is_found_from_what_answers(address: str) -> None:
    with hw.open_instrument(address) as meter:
        assert isinstance(meter, hw.PowerMeter)
        assert (meter.identity.model, meter.identity.simulated) == ("WT310E", True)
        assert meter.address == address


def test_the_driver_is_found_from_the_scheme_of_a_url() -> None:
    with open_instrument("cpu://local") as cpu:
        assert isinstance(cpu, hw.Accelerator)
        assert cpu.is_open


def test_a_named_driver_is_used_without_asking_twice(address: str) -> None:
    with open_instrument(address, driver="yokogawa-wt300") as meter:
        assert meter.DRIVER.name == "yokogawa-wt300"


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of an instrument of a maker that no driver knows."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                if line.strip() == b"*IDN?":
                    self.wfile.write(b"Nobody, X1, 77, 1.0\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"TCPIP::127.0.0.1::{server.server_address[1]}::SOCKET"
        server.shutdown()


def test_a_stranger_is_identified_but_not_opened(stranger: str) -> None:
    finding = identify_address(stranger)
    assert finding.identity is not None
    assert (finding.identity.maker, finding.identity.model, finding.identity.serial) == ("Nobody", "X1", "77")
    assert finding.driver == ""
    assert "Nobody X1" in finding.note
    with pytest.raises(UnknownDriver):
        open_instrument(stranger)


def test_a_driver_is_not_used_for_an_instrument_that_it_is_not_for(stranger: str) -> None:
    with pytest.raises(InstrumentError):
        open_instrument(stranger, driver="yokogawa-wt300")


def test_a_scheme_that_nobody_serves_is_told() -> None:
    with pytest.raises(UnknownDriver):
        open_instrument("nobody://0")


def test_who_answers_is_told_without_opening_a_driver(address: str) -> None:
    finding = identify_address(address)
    assert finding.identity is not None
    assert (finding.identity.maker, finding.driver, finding.note) == ("YOKOGAWA", "yokogawa-wt300", "")


def test_nothing_at_an_address_is_told_in_time_and_with_advice(unused: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        open_instrument(unused, timeout=1.0)
    assert caught.value.where == unused
    assert caught.value.advice


@pytest.mark.parametrize("text", ["192.168.1.7", "", "TCPIP::", "COM3"])
def test_what_is_no_address_is_told_before_anything_is_tried(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_instrument(text)
    assert "cpu://local" in caught.value.advice


def test_keywords_that_a_driver_lacks_are_told_with_those_it_has() -> None:
    with pytest.raises(UsageError) as caught:
        open_instrument("cpu://local", corse=1)
    assert "corse" in caught.value.why
    assert "cores" in caught.value.advice


@pytest.mark.parametrize("expected", [{"maker": "HIOKI"}, {"model": "WT333E"}, {"serial": "C3SB12345V"}])
def test_another_instrument_than_the_expected_one_is_refused(address: str, expected: dict[str, str]) -> None:
    with open_instrument(address) as meter:
        require_identity(meter, maker="Yokogawa", model="wt310e")
        with pytest.raises(IdentityMismatch) as caught:
            require_identity(meter, **expected)
    assert next(iter(expected.values())) in caught.value.why
    assert caught.value.where == address


def test_this_machine_is_found_and_every_method_says_what_it_did() -> None:
    found = discover(timeout=5.0)
    local = {finding.address: finding for finding in found.findings}["cpu://local"]
    assert local.driver == "cpu"
    assert local.identity is not None
    assert {"this machine", "VISA", "VISA TCPIP", "VISA USB"} <= set(found.methods)
    assert all(found.methods.values())


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ("visa library = /opt/maker/libvisa.so", "not looked for: File contains no section headers"),
        ("[Paths]\nvisa library = /opt/maker/libvisa.so", "not asked: /opt/maker/libvisa.so is installed"),
    ],
)
def test_a_look_for_a_makers_library_keeps_nothing_else_from_being_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: str, told: str
) -> None:
    (tmp_path / ".pyvisarc").write_text(configuration)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    methods = discover(timeout=10.0).methods
    assert "listed by pyvisa-py" in methods["VISA"]
    assert methods["VISA of a maker"].startswith(told)


def test_discovery_ends_when_its_time_is_over() -> None:
    found = discover(timeout=0.01)
    assert "0.01 s" in found.methods["VISA"]
    assert {finding.method for finding in found.findings} == {"this machine"}


def test_a_named_library_is_the_one_that_lists() -> None:
    asked = discover(timeout=10.0, visa_library="@py").methods
    assert "@py" in asked["VISA"]
    assert "VISA USB" not in asked


def test_looking_says_what_it_lacked_and_prints_no_warning() -> None:
    # In a process of its own: filters of warnings are one for all threads, and others here may still be looking.
    look = "from aicalib_hw.discovery import discover; print(discover(timeout=30.0).methods)"
    looked = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert "VISA" in looked.stdout
    assert "UserWarning" not in looked.stderr


@pytest.mark.parametrize(
    ("address", "driver", "meant"),
    [
        ("http://127.0.0.1:1/v1", None, "openai+http://127.0.0.1:1/v1"),
        ("TCPIP::127.0.0.1::INSTR", "yokogawa-wt301", "did you mean 'yokogawa-wt300'?"),
    ],
)
def test_what_was_meant_is_named_first(address: str, driver: str | None, meant: str) -> None:
    with pytest.raises(UnknownDriver) as caught:
        open_instrument(address, driver=driver)
    assert caught.value.advice.startswith("did you mean")
    assert meant in caught.value.advice


def test_an_instrument_that_is_printed_says_who_and_where_and_no_password(address: str) -> None:
    with open_instrument(address) as meter:
        assert f"at {address}" in str(meter)
        assert str(meter.identity) in repr(meter)
        reading = meter.read()
        assert str(reading).startswith(f"{reading.active_power.shown}, voltage ")
        assert len(str(reading)) < 200
    assert "not open" in str(meter)
    tester = hw.registry.driver("xena")("xena://user:hidden@127.0.0.1?password=hidden")
    assert "hidden" not in repr(tester)


@pytest.mark.parametrize("duration", ["10s", 0, -1.0, float("nan"), None, True])
def test_what_is_no_duration_is_told(address: str, duration: Any) -> None:
    with open_instrument(address) as meter:
        for measure in (meter.measure_energy, meter.measure_power):
            with pytest.raises(UsageError) as caught:
                measure(duration)
            assert "seconds as a number" in caught.value.advice
        with pytest.raises(OutOfRange, match="'300V': a number in V"):
            meter.configure(voltage_range="300V")

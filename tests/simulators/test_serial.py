"""A serial line, by pyserial and PyVISA on a pseudo-terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial
from aicalib_hw.simulators.echo import SimulatedEcho
from aicalib_hw.simulators.servers.serial_pty import SerialServer

from aicalib_hw import registry


class SerialEcho(SimulatedEcho):
    """The echo device on a line of 19200 bit/s."""

    wires = ("serial",)

    def make_servers(self, wire: Any) -> Any:
        return (SerialServer(wire, baud=19200, reply_terminator=b"\r\n"),)


@pytest.fixture
def line() -> Iterator[SerialEcho]:
    echo = SerialEcho(registry.simulator(registry.WORLD).from_settings({"rate": 1}), "echo")
    echo.start()
    yield echo
    echo.stop()


def test_a_client_at_the_right_speed_is_understood(line: SerialEcho) -> None:
    path = line.address.removeprefix("ASRL").removesuffix("::INSTR")
    with serial.Serial(path, 19200, timeout=5.0) as port:
        port.write(b"*IDN?\n")
        assert port.read_until(b"\r\n") == b"AICALIB,ECHO,SIM0ECHO,1.0\r\n"
        port.write(b"RECEIVE\n#15\x01\n\x02\x03\x04\nSEND\n")
        assert port.read(10) == b"#15\x01\n\x02\x03\x04\r\n"


@pytest.mark.parametrize("baud", [9600, 38400, 115200])
def test_a_client_at_another_speed_gets_nothing_that_it_can_read(line: SerialEcho, baud: int) -> None:
    path = line.address.removeprefix("ASRL").removesuffix("::INSTR")
    with serial.Serial(path, baud, timeout=0.3) as port:
        port.write(b"*IDN?\n")
        assert b"AICALIB" not in port.read(100)
        port.baudrate = 19200
        port.write(b"\n")
        port.reset_input_buffer()
        port.timeout = 5.0
        port.write(b"*CLS\n*IDN?\n")
        assert port.read_until(b"\r\n").endswith(b"AICALIB,ECHO,SIM0ECHO,1.0\r\n")


def test_visa_opens_the_line(line: SerialEcho, connect: Callable[[str], Any]) -> None:
    resource = connect(line.address)
    resource.baud_rate = 19200
    resource.read_termination = "\r\n"
    assert resource.query("*IDN?").split(",")[2].startswith("SIM")
    line.inject("drop")
    resource.timeout = 300
    with pytest.raises(Exception, match="TMO"):
        resource.query("*IDN?")
    resource.timeout = 5000
    resource.flush(16)
    assert resource.query("*IDN?").endswith("SIM0ECHO,1.0")


def test_where_there_are_no_pseudo_terminals_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pty", None)
    echo = SerialEcho(registry.simulator(registry.WORLD).from_settings({"rate": 1}), "echo")
    with pytest.raises(OSError, match="Linux or macOS"):
        echo.start()
    echo.stop()

"""Meters at USB and GPIB through the VISA library of a maker, a simulated one, as PyVISA loads it; never a real one."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.simulators import vendor_libraries

import aicalib_hw as hw
from aicalib_hw.cli import main
from aicalib_hw.errors import Aborted, ConnectionFailed, DeadlineExceeded, InstrumentError, LockedByOther
from aicalib_hw.transport.visa import VisaLink

from ...open_sockets import none_left, sockets

USB = "USB0::0x0B21::0x0039::SIM1::INSTR"
GPIB = "GPIB0::5::INSTR"
REAL_TIME = {"world": {"rate": 1}}
WT1800 = {"simulator": "yokogawa-wt1800", "world": {"rate": 20}}
RANGES = {"voltage_range": 300.0, "current_range": 20.0}

Plug = Callable[[], None]


@pytest.fixture
def plug(simulated_power_meter: Any, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Plugs the simulated meter in, at USB and at GPIB; after a restart it has to be plugged in again."""

    def plug_in() -> None:
        address = simulated_power_meter.address
        monkeypatch.setenv(vendor_libraries.PLUGGED, vendor_libraries.plugged({USB: address, GPIB: address}))

    plug_in()
    return plug_in


@pytest.fixture
def library(plug: Plug) -> str:
    """The path of the library, as a user gives it."""
    return str(vendor_libraries.path_of(vendor_libraries.VISA))


@pytest.fixture
def meter(library: str) -> Iterator[Any]:
    with hw.open_instrument(USB, visa_library=library) as opened:
        yield opened


@pytest.mark.parametrize("address", [USB, "USB0::0x0B21::0x0039::SIM1::0::INSTR", GPIB])
def test_the_driver_is_found_and_reads_the_true_power(simulated_power_meter: Any, library: str, address: str) -> None:
    with hw.open_instrument(address, visa_library=library) as meter:
        assert meter.identity.model == "WT310E"
        assert meter.identity.address == address
        assert meter.configure(**RANGES, update_interval=0.5).current_range == (20.0,)
        reading = meter.read()
    assert float(reading.active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.01)


@pytest.mark.parametrize("simulated_power_meter", [WT1800], indirect=True)
@pytest.mark.parametrize("address", [USB, GPIB])
def test_another_family_reads_the_true_power(simulated_power_meter: Any, library: str, address: str) -> None:
    with hw.open_instrument(address, visa_library=library) as meter:
        assert "WT18" in meter.identity.model
        meter.configure(**RANGES)
        assert float(meter.read().active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.01)


@pytest.mark.alone
@pytest.mark.parametrize("simulated_power_meter", [REAL_TIME], indirect=True)
def test_a_stream_loses_no_update_and_stamps_each_when_it_is_there(meter: Any) -> None:
    """Asked for ever more slowly, the status byte told of an update up to 50 ms late, half an update interval."""
    meter.configure(**RANGES, update_interval=0.1)
    readings = list(meter.stream(duration=3.0))
    assert [reading.missed for reading in readings] == [0] * 30
    stops = [reading.window.stop.monotonic_ns * 1e-9 - 0.1 * number for number, reading in enumerate(readings)]
    assert statistics.median(stops) - min(stops) < 0.018


def test_energy_is_integrated(simulated_power_meter: Any, meter: Any) -> None:
    meter.configure(**RANGES, update_interval=0.5)
    measurement = meter.measure_energy(30.0)
    assert measurement.validity
    assert measurement.value == pytest.approx(30.0 * simulated_power_meter.truth.active_power, rel=0.05)
    assert meter.integration_state() == "RESET"


def test_after_a_time_out_no_late_answer_is_taken_for_the_next(simulated_power_meter: Any, library: str) -> None:
    with VisaLink(USB, visa_library=library, timeout=5.0) as link:
        for pause in (0.0, 0.6):
            simulated_power_meter.inject({"kind": "delay", "amount": 0.5})
            with pytest.raises(DeadlineExceeded):
                link.query(":INPut:VOLTage:RANGe?", timeout=0.2)
            time.sleep(pause)
            assert link.query("*IDN?").startswith("YOKOGAWA,WT310E")
            assert link.query("*ESE?") == "0"


@pytest.mark.alone
@pytest.mark.parametrize("simulated_power_meter", [REAL_TIME], indirect=True)
def test_abort_ends_a_wait_within_a_second_and_the_meter_goes_on(simulated_power_meter: Any, meter: Any) -> None:
    meter.configure(**RANGES, update_interval=10.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(itertools.islice(meter.stream(), 3)))
        time.sleep(0.5)
        began = time.monotonic()
        meter.abort()
        assert isinstance(waiting.exception(5), Aborted)
        assert time.monotonic() - began < 1.0
    meter.configure(update_interval=0.1)
    assert float(meter.read().active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.01)


def test_closing_leaves_nothing_open_and_the_next_program_gets_the_meter(library: str) -> None:
    hw.open_instrument(USB, visa_library=library).close()  # what is loaded once and kept
    before = sockets()
    for _ in range(3):
        hw.open_instrument(USB, visa_library=library).close()
    assert none_left(before)


def test_a_meter_that_another_program_holds_is_said_to_be_held(library: str, meter: Any) -> None:
    with pytest.raises(LockedByOther, match="serves no further client"):
        hw.open_instrument(GPIB, visa_library=library)


def test_a_cable_cut_in_the_middle_is_an_error_of_its_own_and_the_session_goes_on_when_it_is_back(
    simulated_power_meter: Any, meter: Any, plug: Plug
) -> None:
    meter.configure(**RANGES, update_interval=0.5)
    simulated_power_meter.inject("drop")
    with pytest.raises(InstrumentError) as cut:
        list(meter.stream(duration=60.0))
    assert cut.value.where == USB
    assert "VI_ERROR_CONN_LOST" in cut.value.why
    assert float(meter.read().active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.01)


def test_a_meter_that_was_switched_off_is_not_there_and_opens_when_it_is_back(
    simulated_power_meter: Any, library: str, plug: Plug
) -> None:
    with VisaLink(USB, visa_library=library) as link:
        simulated_power_meter.stop()
        with pytest.raises(InstrumentError):
            link.query("*IDN?")
        with pytest.raises(ConnectionFailed, match="nothing answers") as gone:
            link.query("*IDN?")
        assert "VI_ERROR_RSRC_NFOUND" in gone.value.why
        simulated_power_meter.start()
        plug()
        assert link.query("*IDN?").startswith("YOKOGAWA,WT310E")


def test_the_commands_of_a_user_with_the_makers_library(
    simulated_power_meter: Any,
    library: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    only = vendor_libraries.plugged({USB: simulated_power_meter.address})
    monkeypatch.setenv(vendor_libraries.PLUGGED, only)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--visa-library", library])
        assert not ended.value.code
        return capfd.readouterr().out

    found = [line for line in said("discover").splitlines() if USB in line]
    assert len(found) == 1
    assert "WT310E" in found[0]
    assert "WT310E" in said("identify", USB)
    lines = [json.loads(line) for line in said("read", USB, "--for", "20s", "--json", "--csv", "idle.csv").splitlines()]
    assert lines
    assert len(Path("idle.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(lines)
    said("bench", "new", "lab-3", USB)
    assert f"visa_library = {json.dumps(library)}" in Path("lab-3.toml").read_text(encoding="utf-8")

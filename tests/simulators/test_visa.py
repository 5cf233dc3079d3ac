"""The simulated VISA library of a maker, through PyVISA's own wrapper of such libraries, and called with rubbish."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import pyvisa
from aicalib_hw.simulators import vendor_libraries
from pyvisa import constants
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError

from ..open_sockets import none_left, sockets
from .devices import SimulatedToy, toy

USB = "USB0::0x0B21::0x0039::SIM1::INSTR"
GPIB = "GPIB0::5::INSTR"
ABSENT = "USB0::0x0B21::0x0039::SIM2::INSTR"
IDENTITY = "AICALIB,TOY,SIM0,1\n"


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedToy]:
    """A toy that is plugged in at USB and at GPIB."""
    instrument = toy()
    instrument.start()
    address = instrument.addresses["VXI-11"]
    monkeypatch.setenv(vendor_libraries.PLUGGED, vendor_libraries.plugged({USB: address, GPIB: address}))
    yield instrument
    instrument.stop()


@pytest.fixture
def manager(bus: SimulatedToy) -> Iterator[pyvisa.ResourceManager]:
    with closing(pyvisa.ResourceManager(str(vendor_libraries.path_of(vendor_libraries.VISA)))) as opened:
        yield opened


@pytest.fixture
def opened(manager: pyvisa.ResourceManager) -> Iterator[Any]:
    with closing(manager.open_resource(USB)) as session:
        yield session


@pytest.fixture
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(vendor_libraries.path_of(vendor_libraries.VISA)))


def at(manager: pyvisa.ResourceManager, name: str) -> Any:
    """A session, of the kind that PyVISA has for the name."""
    return manager.open_resource(name)


def failed(call: Callable[[], object]) -> StatusCode:
    """The status that a call fails with."""
    with pytest.raises(VisaIOError) as caught:
        call()
    return StatusCode(caught.value.error_code)


def test_what_is_plugged_in_is_listed_by_the_expressions_of_visa(
    manager: pyvisa.ResourceManager, bus: SimulatedToy
) -> None:
    assert manager.list_resources() == (USB, GPIB)
    asked = {"USB?*": USB, "gpib[0-9]*::?*": GPIB, "(ASRL|GPIB)?*": GPIB, "?*SIM\\1?*": USB, "USB?*|VXI?*": USB}
    assert {query: manager.list_resources(query) for query in asked} == {
        query: (name,) for query, name in asked.items()
    }
    assert manager.list_resources("TCPIP?*") == ()
    assert failed(lambda: manager.list_resources("USB[")) == StatusCode.error_invalid_expression
    bus.stop()
    assert manager.list_resources() == ()


def test_a_name_is_parsed_as_it_may_be_written(manager: pyvisa.ResourceManager) -> None:
    for written in (USB, "usb::2849::57::SIM1::0::instr"):
        info = manager.resource_info(written)
        assert (info.interface_type, info.interface_board_number) == (constants.InterfaceType.usb, 0)
        assert (info.resource_class, info.resource_name) == ("INSTR", USB)
    assert manager.resource_info("GPIB::5::INSTR").resource_name == GPIB
    for wrong in ("USB0::0x0B21::SIM1::INSTR", "GPIB0::31::INSTR", "USB0::0x0B21::0x12345::S::INSTR", "ASRL1::INSTR"):
        assert failed(lambda name=wrong: manager.visalib.parse_resource(manager.session, name)) == (  # type: ignore[misc]
            StatusCode.error_invalid_resource_name
        )


def test_a_session_tells_where_it_is_and_keeps_what_it_is_told(opened: Any, manager: pyvisa.ResourceManager) -> None:
    assert (opened.interface_type, opened.interface_number) == (constants.InterfaceType.usb, 0)
    assert (opened.manufacturer_id, opened.model_code, opened.serial_number) == (0x0B21, 0x39, "SIM1")
    assert (opened.resource_class, opened.resource_name) == ("INSTR", USB)
    assert opened.resource_manufacturer_name == "AICALIB simulated VISA"
    assert (opened.timeout, opened.send_end) == (2000, True)
    opened.timeout = 700
    opened.send_end = False
    assert (opened.timeout, opened.send_end) == (700, False)
    opened.read_termination = "\r"
    assert opened.get_visa_attribute(constants.ResourceAttribute.termchar) == 13
    assert opened.get_visa_attribute(constants.ResourceAttribute.termchar_enabled)
    with closing(at(manager, GPIB)) as other:
        assert other.interface_type == constants.InterfaceType.gpib
        assert (other.primary_address, other.secondary_address) == (5, 0xFFFF)
        assert failed(lambda: other.get_visa_attribute(constants.ResourceAttribute.model_code)) == (
            StatusCode.error_nonsupported_attribute
        )


def test_messages_status_byte_and_clear_are_the_instruments_own(opened: Any, bus: SimulatedToy) -> None:
    assert opened.query("*IDN?") == IDENTITY
    assert opened.read_stb() == 0
    opened.write("*IDN?")
    deadline = time.monotonic() + 5
    while not opened.read_stb() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert opened.read_stb() == 16
    opened.clear()
    assert opened.read_stb() == 0
    opened.write(":SOUR:LEV 5")
    assert opened.query(":SOUR:LEV?") == "5\n"
    opened.write(":NONSENSE")
    assert opened.query("*IDN?") == IDENTITY
    assert opened.read_stb() & 4


def test_a_read_says_why_it_ended(opened: Any) -> None:
    lib, session = opened.visalib, opened.session
    opened.write("*IDN?")
    with opened.ignore_warning(StatusCode.success_max_count_read):
        assert lib.read(session, 3) == (b"AIC", StatusCode.success_max_count_read)
    assert lib.read(session, 200) == (IDENTITY[3:].encode(), StatusCode.success)
    opened.read_termination = ","
    opened.write_raw(b"*IDN?\n")
    assert lib.read(session, 200) == (b"AICALIB,", StatusCode.success_termination_character_read)
    assert opened.read() == "TOY"


def test_a_message_larger_than_the_instrument_takes_at_once_arrives_whole(opened: Any) -> None:
    data = b"x" * 200_000
    opened.write_raw(b":DATA #6200000" + data + b"\n")
    assert opened.query_binary_values(":DATA?", datatype="s", container=bytes) == data


@pytest.mark.alone
def test_a_read_times_out_when_it_was_told_to(opened: Any) -> None:
    for milliseconds in (50, 400):
        opened.timeout = milliseconds
        began = time.monotonic()
        assert failed(opened.read) == StatusCode.error_timeout
        assert milliseconds / 1000 <= time.monotonic() - began < milliseconds / 1000 + 0.2
    opened.clear()
    assert opened.query("*IDN?") == IDENTITY


def test_a_late_answer_waits_to_be_taken_for_the_next_unless_the_device_is_cleared(
    opened: Any, bus: SimulatedToy
) -> None:
    """So a driver that does not clear after a time-out is found out here."""
    opened.timeout = 200
    for cleared in (False, True):
        bus.inject({"kind": "delay", "amount": 0.5})
        opened.write("*IDN?")
        assert failed(opened.read) == StatusCode.error_timeout
        time.sleep(0.5)
        assert opened.read_stb() & 16
        if cleared:
            opened.clear()
        opened.write(":SOUR:LEV?")
        assert opened.read() == ("0\n" if cleared else IDENTITY)
    opened.clear()


def test_sessions_of_several_threads_keep_apart(manager: pyvisa.ResourceManager) -> None:
    def talk(number: int) -> list[str]:
        with closing(at(manager, (USB, GPIB)[number % 2])) as session:
            replies = []
            for turn in range(25):
                session.write(f":NONSENSE{number}")
                replies.append(session.query(f'*IDN?;:DATA "{number}.{turn}"').strip())
            return replies

    with ThreadPoolExecutor(6) as pool:
        for replies in pool.map(talk, range(6)):
            assert replies == [IDENTITY.strip()] * 25


def test_a_session_closed_by_another_thread_ends_the_read_that_waits(opened: Any) -> None:
    opened.timeout = 20_000
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(opened.read_raw)
        time.sleep(0.2)
        began = time.monotonic()
        opened.visalib.close(opened.session)
        assert isinstance(waiting.exception(5), VisaIOError)
        assert time.monotonic() - began < 2
    assert failed(opened.read_raw) == StatusCode.error_invalid_object
    opened.session = None


def test_a_lock_keeps_other_sessions_out(manager: pyvisa.ResourceManager, opened: Any) -> None:
    with closing(at(manager, GPIB)) as other:
        opened.lock_excl()
        assert opened.lock_state == constants.AccessModes.exclusive_lock
        assert failed(lambda: other.write("*IDN?")) == StatusCode.error_resource_locked
        assert failed(lambda: other.lock_excl(timeout=100)) == StatusCode.error_timeout
        opened.lock_excl()
        opened.unlock()
        assert failed(lambda: other.write("*IDN?")) == StatusCode.error_resource_locked
        opened.unlock()
        assert failed(opened.unlock) == StatusCode.error_session_not_locked
        assert other.query("*IDN?") == IDENTITY
        assert failed(lambda: other.lock(requested_key="k")) == StatusCode(constants.VI_ERROR_INV_LOCK_TYPE)


def test_a_cut_cable_is_a_lost_connection_and_then_a_resource_that_is_not_there(
    manager: pyvisa.ResourceManager, opened: Any, bus: SimulatedToy
) -> None:
    bus.stop()
    assert failed(lambda: opened.write("*IDN?")) == StatusCode.error_connection_lost
    assert failed(opened.read_stb) == StatusCode.error_connection_lost
    assert failed(lambda: manager.open_resource(USB)) == StatusCode.error_resource_not_found
    assert failed(lambda: manager.open_resource(ABSENT)) == StatusCode.error_resource_not_found


def test_what_it_does_not_do_it_says(opened: Any) -> None:
    srq = constants.EventType.service_request
    for call in (
        opened.assert_trigger,
        lambda: opened.enable_event(srq, constants.EventMechanism.queue),
        lambda: opened.wait_on_event(srq, 10),
        lambda: opened.flush(constants.BufferOperation.discard_read_buffer),
    ):
        assert failed(call) == StatusCode.error_nonsupported_operation


def test_a_closed_manager_has_closed_its_sessions_and_leaves_nothing_open(
    bus: SimulatedToy, library: ctypes.CDLL
) -> None:
    manager, session = ctypes.c_uint32(), ctypes.c_uint32()
    before = sockets()
    assert library.viOpenDefaultRM(ctypes.byref(manager)) == 0
    assert library.viOpen(manager, USB.encode(), 0, 0, ctypes.byref(session)) == 0
    assert sockets() - before
    assert library.viClose(manager) == 0
    assert library.viClear(session) == constants.VI_ERROR_INV_OBJECT
    assert none_left(before)


SIGNATURES: dict[str, tuple[type[Any], ...]] = {
    "viFindRsrc": (ctypes.c_uint32, *[ctypes.c_void_p] * 4),
    "viFindNext": (ctypes.c_uint32, ctypes.c_void_p),
    "viParseRsrc": (ctypes.c_uint32, *[ctypes.c_void_p] * 3),
    "viParseRsrcEx": (ctypes.c_uint32, *[ctypes.c_void_p] * 6),
    "viOpen": (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p),
    "viWrite": (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p),
    "viRead": (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p),
    "viReadSTB": (ctypes.c_uint32, ctypes.c_void_p),
    "viClear": (ctypes.c_uint32,),
    "viLock": (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p),
    "viUnlock": (ctypes.c_uint32,),
    "viGetAttribute": (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p),
    "viSetAttribute": (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p),
    "viDisableEvent": (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint16),
    "viWaitOnEvent": (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p),
    "viClose": (ctypes.c_uint32,),
}


def zeros(name: str) -> list[int | None]:
    return [None if kind is ctypes.c_void_p else 0 for kind in SIGNATURES[name][1:]]


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_handle_that_is_none_or_was_closed_is_an_invalid_object(library: ctypes.CDLL, opened: Any, name: str) -> None:
    function = library[name]
    function.argtypes = SIGNATURES[name]
    closed = opened.session
    opened.close()
    for handle in (0, closed, 0xFFFFFFFF):
        assert function(handle, *zeros(name)) == constants.VI_ERROR_INV_OBJECT


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name != "viClose"])
def test_null_where_something_must_be_is_refused(
    library: ctypes.CDLL, manager: pyvisa.ResourceManager, opened: Any, name: str
) -> None:
    function = library[name]
    function.argtypes = SIGNATURES[name]
    of_manager = name in ("viFindRsrc", "viParseRsrc", "viParseRsrcEx", "viOpen")
    status = function(manager.session if of_manager else opened.session, *zeros(name))
    assert status < 0 or name in ("viClear", "viDisableEvent")
    assert opened.query("*IDN?") == IDENTITY
    assert library.viOpenDefaultRM(None) < 0
    assert library.viStatusDesc(opened.session, 0, None) < 0


def test_every_status_that_it_gives_has_a_text(library: ctypes.CDLL) -> None:
    text = ctypes.create_string_buffer(256)
    assert library.viStatusDesc(0, constants.VI_ERROR_TMO, text) == 0
    assert text.value == b"Timeout expired before the operation completed."
    assert library.viStatusDesc(0, 12345, text) == constants.VI_WARN_UNKNOWN_STATUS

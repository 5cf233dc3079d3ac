"""A link to a message-based instrument against peers that answer late, never, by half, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    NotOpen,
    ProtocolError,
    UsageError,
)
from aicalib_hw.scpi.codec import parse_number
from aicalib_hw.trace import Trace
from aicalib_hw.transport._visa_wires import LibraryWire
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.visa import VisaLink

Answer = Callable[[str, socket.socket], None]


def answer(question: str, wire: socket.socket) -> None:
    """Late to LATE?, by half to HALF?, in pieces to PIECES?, no text to BINARY?, a block to BLOCK?; else echo.

    To NEVER? never.
    """
    if question == "LATE?":
        time.sleep(0.5)
    if question == "HALF?":
        wire.sendall(b"HAL")
        wire.shutdown(socket.SHUT_RDWR)
    elif question == "PIECES?":
        for byte in b"PIECES?\n":
            wire.sendall(bytes([byte]))
            time.sleep(0.002)
    elif question == "BINARY?":
        wire.sendall(b"\xff\xfe\x80\n")
    elif question == "BLOCK?":
        wire.sendall(b"#15a\nb\nc\n")
    elif question.endswith("?") and question != "NEVER?":
        wire.sendall(question.encode() + b"\n")


class Peer:
    """An instrument on a plain socket; serves every client in a thread of its own."""

    def __init__(self) -> None:
        self.clients = 0
        self.heard: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP::127.0.0.1::{self._listener.getsockname()[1]}::SOCKET"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self._wires: list[socket.socket] = []

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            self.clients += 1
            self._wires.append(wire)
            self._threads.append(threading.Thread(target=self._serve, args=(wire,)))
            self._threads[-1].start()

    def _serve(self, wire: socket.socket) -> None:
        try:
            with wire, wire.makefile("r", newline="\n") as lines:
                for line in lines:
                    self.heard.append(line.rstrip("\n"))
                    answer(self.heard[-1], wire)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self._wires:
            try:
                wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with closing(Peer()) as made:
        yield made


@pytest.fixture
def link(peer: Peer) -> Iterator[VisaLink]:
    with VisaLink(peer.resource, timeout=2.0) as opened:
        yield opened


def test_a_late_answer_is_never_taken_for_the_next_reply(link: VisaLink) -> None:
    with pytest.raises(DeadlineExceeded):
        link.query("LATE?", timeout=0.1)
    time.sleep(0.6)
    assert link.query("NEXT?") == "NEXT?"


def test_a_late_answer_that_is_still_to_come_is_not_waited_for(link: VisaLink) -> None:
    with pytest.raises(DeadlineExceeded):
        link.query("LATE?", timeout=0.1)
    assert [link.query(f"N{number}?") for number in range(3)] == ["N0?", "N1?", "N2?"]


@pytest.mark.alone
def test_a_time_out_comes_when_it_was_asked_for(link: VisaLink) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        link.query("NEVER?", timeout=0.3)
    assert 0.25 < time.monotonic() - began < 1.0


def test_an_answer_in_single_bytes_is_one_answer(link: VisaLink) -> None:
    assert link.query("PIECES?") == "PIECES?"


@pytest.mark.alone
def test_a_connection_that_breaks_in_an_answer_gives_no_half_answer_and_comes_back(link: VisaLink) -> None:
    began = time.monotonic()
    with pytest.raises((ConnectionLost, DeadlineExceeded)):
        link.query("HALF?", timeout=1.0)
    assert time.monotonic() - began < 1.5
    assert link.query("NEXT?") == "NEXT?"


def test_a_reply_that_is_no_text_is_reported_and_the_link_taken_anew(link: VisaLink, peer: Peer) -> None:
    with pytest.raises(ProtocolError):
        link.query("BINARY?")
    assert link.query_bytes("BINARY?") == b"\xff\xfe\x80\n"
    assert peer.clients == 2


@pytest.mark.alone
@pytest.mark.parametrize("question", ["NEVER?", "LATE?"])
def test_abort_wakes_another_thread_within_a_second(link: VisaLink, question: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.query, question, timeout=30.0)
        time.sleep(0.1)
        began = time.monotonic()
        link.abort()
        assert isinstance(waiting.exception(5), Aborted)
        assert time.monotonic() - began < 1.0
    assert link.query("NEXT?") == "NEXT?"


def test_a_reply_that_makes_no_sense_names_its_exchange_and_puts_the_link_in_doubt(link: VisaLink, peer: Peer) -> None:
    assert link.query("FIRST?") == "FIRST?"
    before = peer.clients
    with pytest.raises(ProtocolError) as failed, link.lock:
        parse_number(link.query("RANGE?"))
    assert failed.value.where == peer.resource
    assert "'RANGE?'" in str(failed.value)
    assert failed.value.advice
    assert link.query("NEXT?") == "NEXT?"
    assert peer.clients == before + 1


def test_abort_of_a_link_at_rest_harms_nothing(link: VisaLink) -> None:
    link.abort()
    assert link.query("NEXT?") == "NEXT?"


def test_two_threads_never_get_each_others_reply(link: VisaLink) -> None:
    def ask(who: str) -> list[str]:
        return [link.query(f"{who}{number}?") for number in range(60)]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(ask, "first"), pool.submit(ask, "second")
        assert first.result(20) == [f"first{number}?" for number in range(60)]
        assert second.result(20) == [f"second{number}?" for number in range(60)]


def test_nothing_is_sent_before_open_or_after_close(peer: Peer) -> None:
    link = VisaLink(peer.resource)
    with pytest.raises(NotOpen):
        link.query("X?")
    link.open()
    link.close()
    link.close()
    with pytest.raises(NotOpen):
        link.write("X")
    assert peer.heard == []


def test_a_refused_port_says_what_to_look_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    link = VisaLink(f"TCPIP::127.0.0.1::{port}::SOCKET")
    with pytest.raises(ConnectionFailed) as failed:
        link.open()
    assert failed.value.advice
    assert str(port) in failed.value.where
    assert not link.is_open


@pytest.mark.parametrize("name", ["rubbish", "TCPIP::127.0.0.1::NOPE::NOPE::NOPE::SOCKET", "", "TCPIP"])
def test_a_name_that_is_no_resource_name_is_bad_use_and_not_a_dead_instrument(name: str) -> None:
    with pytest.raises(UsageError):
        VisaLink(name).open()


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_time_out_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(UsageError):
        VisaLink("TCPIP::127.0.0.1::1::SOCKET", timeout=timeout)


def test_nothing_is_printed_whatever_goes_wrong(link: VisaLink, capfd: pytest.CaptureFixture[str]) -> None:
    for question in ("NEVER?", "HALF?", "BINARY?"):
        with pytest.raises(AicalibError):
            link.query(question, timeout=0.2)
    with pytest.raises(UsageError):
        VisaLink("rubbish").open()
    link.clear()
    assert capfd.readouterr().out == ""


def test_over_vxi11_a_late_answer_is_never_taken_for_the_next_reply(simulated_power_meter: Any) -> None:
    with VisaLink(simulated_power_meter.address, timeout=2.0, trace=(trace := Trace())) as link:
        assert link.query("*IDN?").startswith("YOKOGAWA,")
        simulated_power_meter.inject({"kind": "delay", "amount": 1.6})
        with pytest.raises(DeadlineExceeded):
            link.query("*OPT?", timeout=0.2)
        time.sleep(0.6)
        assert link.query("*IDN?").startswith("YOKOGAWA,")
    assert any(entry["direction"] == "event" for entry in trace.recent)


def test_over_vxi11_a_dropped_connection_gives_no_half_answer_and_comes_back(simulated_power_meter: Any) -> None:
    with VisaLink(simulated_power_meter.address, timeout=2.0) as link:
        whole = link.query("*IDN?")
        simulated_power_meter.inject("drop")
        with pytest.raises((ConnectionLost, DeadlineExceeded)):
            link.query("*IDN?")
        assert link.query("*IDN?") == whole


@pytest.mark.alone
def test_over_vxi11_abort_wakes_another_thread_within_a_second(simulated_power_meter: Any) -> None:
    simulated_power_meter.inject({"kind": "delay", "amount": 3.0})
    with VisaLink(simulated_power_meter.address) as link, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.query, "*IDN?", timeout=30.0)
        time.sleep(0.2)
        began = time.monotonic()
        link.abort()
        assert isinstance(waiting.exception(5), Aborted)
        assert time.monotonic() - began < 1.0


def test_closing_one_link_leaves_every_other_one_working(peer: Peer) -> None:
    with VisaLink(peer.resource) as kept:
        with VisaLink(peer.resource) as other:
            assert other.query("A?") == "A?"
        assert kept.query("B?") == "B?"


def test_a_block_that_holds_terminators_is_whole_over_a_library_that_ends_at_the_first(peer: Peer) -> None:
    """As a maker's VISA does on a socket; here pyvisa-py plays that library."""
    import pyvisa

    session: Any = pyvisa.ResourceManager("@py").open_resource(peer.resource)
    wire = LibraryWire(session, polled=False, reopens=True, read_termination="\n", write_termination="\n")
    with closing(wire):
        wire.send(b"BLOCK?", Deadline(2.0))
        assert wire.receive(Deadline(2.0)) == b"#15a\nb\nc\n"
        wire.send(b"ONE?", Deadline(2.0))
        assert wire.receive(Deadline(2.0)) == b"ONE?\n"

"""Every wire against a peer of ours: time-outs, late answers, aborts, and the faults of pyvisa-py 0.8 met."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import Aborted, ConnectionFailed, DeadlineExceeded, LockedByOther, UsageError
from aicalib_hw.trace import Trace
from aicalib_hw.transport._sockets import message_end
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.link import MessageLink
from aicalib_hw.transport.visa import VisaLink
from aicalib_hw.transport.yokogawa_legacy import YokogawaLegacyLink

from .wires import HislipPeer, LegacyPeer, SerialPeer, Vxi11Peer, exactly

PEERS: dict[str, Callable[[], Any]] = {
    "VXI-11": Vxi11Peer,
    "HiSLIP": HislipPeer,
    "serial": SerialPeer,
    "Yokogawa legacy": LegacyPeer,
}


def link_to(peer: Any, **options: Any) -> MessageLink:
    return (
        YokogawaLegacyLink(peer.address, **options)
        if isinstance(peer, LegacyPeer)
        else VisaLink(peer.resource, **options)
    )


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Any]:
    with closing(PEERS[request.param]()) as made:
        yield made


@pytest.fixture
def link(peer: Any) -> Iterator[MessageLink]:
    with link_to(peer, timeout=3.0) as opened:
        yield opened


def test_a_question_is_answered(link: MessageLink) -> None:
    assert [link.query(f"N{number}?") for number in range(5)] == [f"N{number}?" for number in range(5)]


def test_a_late_answer_is_never_taken_for_the_next_reply(link: MessageLink) -> None:
    for pause in (0.0, 0.8):
        with pytest.raises(DeadlineExceeded):
            link.query("LATE?", timeout=0.1)
        time.sleep(pause)
        assert [link.query("NEXT?"), link.query("*IDN?")] == ["NEXT?", "MAKER,MODEL,SIM1,1.0"]


@pytest.mark.alone
def test_a_time_out_comes_when_it_was_asked_for_and_names_instrument_and_exchange(link: MessageLink) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as late:
        link.query("NEVER?", timeout=0.4)
    assert 0.35 < time.monotonic() - began < 0.9
    assert "NEVER?" in late.value.what
    assert late.value.where == link.resource
    assert late.value.advice


@pytest.mark.alone
def test_abort_wakes_another_thread_within_a_second_and_the_link_goes_on(link: MessageLink) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.query, "NEVER?", timeout=30.0)
        time.sleep(0.15)
        began = time.monotonic()
        link.abort()
        assert isinstance(waiting.exception(5), Aborted)
        assert time.monotonic() - began < 1.0
    assert link.query("NEXT?") == "NEXT?"


@pytest.mark.parametrize("size", [20479, 20480, 40960, 65536, 70000])
def test_a_long_reply_is_whole(link: MessageLink, size: int) -> None:
    assert link.query(f"LONG? {size}") == "x" * size
    assert link.query("NEXT?") == "NEXT?"


def test_a_device_clear_leaves_a_link_that_works(link: MessageLink) -> None:
    link.write("LATE?")
    link.clear()
    assert link.query("NEXT?") == "NEXT?"


def test_vxi11_takes_a_reply_in_many_pieces_within_one_time_out() -> None:
    """pyvisa-py takes the time passed off the time-out again with each piece, and loses the end (#575, #608)."""
    with closing(Vxi11Peer(piece=1024)) as peer, VisaLink(peer.resource, timeout=5.0) as link:
        assert link.query("LONG? 102400", timeout=4.0) == "x" * 102400


def test_vxi11_splits_a_message_that_is_larger_than_the_instrument_takes() -> None:
    with closing(Vxi11Peer()) as peer, VisaLink(peer.resource) as link:
        question = "a" * 3000 + "?"
        assert link.query(question) == question
        assert max(len(piece) for piece in peer.heard) <= 1024


@pytest.mark.alone
def test_vxi11_times_out_in_time_when_the_instrument_does_not_even_say_so() -> None:
    """pyvisa-py waits a second longer than it was told to."""
    with closing(Vxi11Peer(mute=True)) as peer, VisaLink(peer.resource) as link:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            link.query("NEVER?", timeout=0.3)
        assert time.monotonic() - began < 0.9


def test_vxi11_abort_asks_the_instrument_to_end_so_that_its_one_link_is_free_again() -> None:
    with closing(Vxi11Peer()) as peer, VisaLink(peer.resource) as link, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.query, "NEVER?", timeout=30.0)
        time.sleep(0.15)
        link.abort()
        assert isinstance(waiting.exception(5), Aborted)
        assert peer.aborted == [7]
        assert link.query("NEXT?") == "NEXT?"
        assert peer.cleared == 1


@pytest.mark.alone
def test_vxi11_abort_cuts_the_wire_where_there_is_no_abort_channel() -> None:
    with closing(Vxi11Peer(aborts=False)) as peer, VisaLink(peer.resource) as link, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.query, "NEVER?", timeout=30.0)
        time.sleep(0.15)
        began = time.monotonic()
        link.abort()
        assert isinstance(waiting.exception(5), Aborted)
        assert time.monotonic() - began < 1.0


def test_vxi11_gives_an_instrument_time_to_make_the_link() -> None:
    """Without a time-out for opening pyvisa-py waits 100 ms for the whole handshake."""

    class SlowPeer(Vxi11Peer):
        def _core(self, wire: socket.socket) -> None:
            time.sleep(0.5)
            super()._core(wire)

    with closing(SlowPeer()) as peer, VisaLink(peer.resource, connect_timeout=0.01) as link:
        assert link.query("A?") == "A?"


@pytest.mark.parametrize("kind", [Vxi11Peer, HislipPeer])
def test_no_small_message_waits_for_the_acknowledgement_of_the_one_before(kind: Callable[[], Any]) -> None:
    """pyvisa-py leaves the delay of small packets on: 40 ms of a short exchange."""
    with closing(kind()) as peer, VisaLink(peer.resource) as link:
        sockets = vars(link._wire).get("_sockets") or (vars(link._wire)["_socket"],)
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)


def test_vxi11_tells_at_once_of_an_instrument_that_takes_no_further_client() -> None:
    """pyvisa-py asks the closed connection again and again, at full speed, until its time-out."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def turn_away() -> None:
            wire, _ = server.accept()
            with wire:
                wire.recv(1 << 16)

        turned_away = pool.submit(turn_away)
        link = VisaLink(f"TCPIP::127.0.0.1,{server.getsockname()[1]}::inst0::INSTR", connect_timeout=10.0)
        worked = time.thread_time()
        with pytest.raises(ConnectionFailed) as refused:
            link.open()
        assert time.thread_time() - worked < 2.0
        assert "closed" in refused.value.why
        turned_away.result(5)


def test_a_second_client_of_a_meter_with_one_link_is_told_that_it_is_taken() -> None:
    with closing(Vxi11Peer()) as peer, VisaLink(peer.resource), pytest.raises(LockedByOther) as taken:
        VisaLink(peer.resource).open()
    assert "client" in str(taken.value)
    assert taken.value.advice


def test_hislip_prints_nothing_whatever_the_server_prefers(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(HislipPeer(overlap=True)) as peer, VisaLink(peer.resource) as link:
        assert link.query("A?") == "A?"
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_serial_port_held_by_another_program_is_locked() -> None:
    with closing(SerialPeer()) as peer, VisaLink(peer.resource), pytest.raises(LockedByOther) as taken:
        VisaLink(peer.resource).open()
    assert taken.value.where == peer.resource


def test_a_wrong_terminator_or_speed_shows_what_came_and_what_to_set() -> None:
    with closing(SerialPeer()) as peer, VisaLink(peer.resource, baud_rate=19200) as link:
        with pytest.raises(DeadlineExceeded) as late:
            link.query("UNENDED?", timeout=0.3)
        assert "12.5" in late.value.why
        assert "19200 baud" in late.value.advice
        assert link.query("NEXT?") == "NEXT?"


def test_what_an_earlier_program_left_on_a_serial_port_is_not_taken_for_an_answer() -> None:
    with closing(SerialPeer()) as peer:
        peer.say(b"MAKER,OTHER,1,1.0\r\n")  # the late answer to a question of somebody else
        with VisaLink(peer.resource) as link:
            assert link.query("*IDN?") == "MAKER,MODEL,SIM1,1.0"


def test_what_an_instrument_says_unasked_is_dropped_and_traced() -> None:
    with closing(SerialPeer()) as peer, VisaLink(peer.resource, trace=(trace := Trace())) as link:
        assert link.query("FIRST?") == "FIRST?"
        peer.say(b"key pressed\r\n")
        time.sleep(0.05)
        assert link.query("NEXT?") == "NEXT?"
    assert any(entry["direction"] == "event" and "key pressed" in entry["text"] for entry in trace.recent)


def test_an_instrument_that_sends_by_itself_is_read_message_by_message() -> None:
    with closing(SerialPeer()) as peer, VisaLink(peer.resource) as link:
        assert link.query("BEGIN?") == "BEGIN?"
        peer.say(b"1;2\n3;4\n5")
        assert [link.receive(), link.receive()] == ["1;2", "3;4"]
        peer.say(b";6\n")
        assert link.receive() == "5;6"
        with pytest.raises(DeadlineExceeded):
            link.receive(timeout=0.05)


def test_a_resource_with_an_unusual_end_of_message_is_read_to_that_end() -> None:
    with closing(SerialPeer()) as peer, VisaLink(peer.resource, read_termination="\r", write_termination="\n") as link:
        assert [link.query("A?"), link.query("B?")] == ["A?", "B?"]


def test_the_legacy_protocol_lets_in_whom_it_knows() -> None:
    with closing(LegacyPeer(user=b"lab", password=b"secret")) as peer:
        with YokogawaLegacyLink(peer.address, user="lab", password="secret", trace=(trace := Trace())) as link:
            assert link.query("A?") == "A?"
        assert "secret" not in str(trace.recent)
        with pytest.raises(ConnectionFailed) as refused:
            YokogawaLegacyLink(peer.address, user="lab", password="guess").open()
        assert "lab" in refused.value.what


def test_the_legacy_protocol_works_where_anonymous_is_asked_for_no_password() -> None:
    with closing(LegacyPeer(asks_password=False)) as peer, YokogawaLegacyLink(peer.address) as link:
        assert link.query("A?") == "A?"


def test_an_empty_password_is_the_bytes_80_00_00_00() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def heard() -> tuple[bytes, bytes]:
            wire, _ = server.accept()
            with wire:
                wire.sendall(struct.pack(">I", 0x80000000 | 5) + b"user:")
                name = exactly(wire, 4 + len(b"anonymous"))
                wire.sendall(struct.pack(">I", 0x80000000 | 9) + b"password:")
                return name, exactly(wire, 4)

        hearing = pool.submit(heard)
        with pytest.raises(ConnectionFailed):
            YokogawaLegacyLink(f"wt3000://127.0.0.1:{server.getsockname()[1]}", connect_timeout=2.0).open()
        assert hearing.result(5) == (b"\x80\x00\x00\x09anonymous", b"\x80\x00\x00\x00")


@pytest.mark.parametrize("address", ["wt3000://", "wt3000://host:port"])
def test_a_legacy_address_without_host_or_with_no_port_is_bad_use(address: str) -> None:
    with pytest.raises(UsageError):
        YokogawaLegacyLink(address).open()


@given(st.binary(max_size=300), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.binary(max_size=20))
def test_a_block_ends_by_its_length_and_not_by_a_terminator_inside(data: bytes, end: bytes, rest: bytes) -> None:
    message = b"#" + str(len(str(len(data)))).encode() + str(len(data)).encode() + data + end
    assert message_end(message + rest, end) == len(message)
    assert all(message_end(message[:cut], end) is None for cut in range(len(message)))


@given(st.binary(max_size=60), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.binary(max_size=20))
def test_a_line_ends_by_its_first_terminator(data: bytes, end: bytes, rest: bytes) -> None:
    line = b"v" + data.replace(b"\r", b"").replace(b"\n", b"")
    assert message_end(line + end + rest, end) == len(line + end)
    assert message_end(line, end) is None


def test_abort_ends_the_recovery_of_a_link_too() -> None:
    class Silent:
        reopens_to_clear, remedy = False, ""
        cleared = False

        def send(self, message: bytes, deadline: Deadline) -> bytes:
            return b""

        def receive(self, deadline: Deadline) -> bytes:
            raise TimeoutError

        def clear(self, deadline: Deadline) -> None:
            self.cleared = True

        def interrupt(self) -> bool:
            return False

        def cut(self) -> None: ...
        def close(self) -> None: ...

    class SlowToConnect(MessageLink):
        def _connect(self) -> Silent:
            made.append(Silent())
            if len(made) > 1:
                self.abort()  # as from another thread, while this one connects
            return made[-1]

    made: list[Silent] = []
    with SlowToConnect("typed") as link:
        with pytest.raises(DeadlineExceeded):
            link.query("A?")
        with pytest.raises(Aborted):
            link.query("B?")
    assert [wire.cleared for wire in made] == [False, False]

"""Leases: one holder at a time, a dead holder is no obstacle, and the next one learns what it takes over."""

from __future__ import annotations

import dataclasses
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicalib_hw import leases
from aicalib_hw.errors import AicalibError, LockedByOther
from aicalib_hw.leases import Lease, LeaseBook
from aicalib_hw.transport import hosts
from aicalib_hw.transport.hosts import same_host

ADDRESS = "TCPIP::192.0.2.7::INSTR"

HOLDER = """
import sys, time
from pathlib import Path
from aicalib_hw.leases import Lease, LeaseBook
lease = Lease.of_this_process(sys.argv[2], instrument="meter", driver="yokogawa-wt300", bench="lab")
LeaseBook(Path(sys.argv[1])).take(lease)
print("held", flush=True)
time.sleep(60)
"""


def lease(address: str = ADDRESS) -> Lease:
    return Lease.of_this_process(address, instrument="meter", driver="yokogawa-wt300", bench="lab")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease of ADDRESS in the book of tmp_path."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), ADDRESS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_an_instrument_that_a_living_process_holds_is_refused_and_the_holder_named(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(LockedByOther) as caught:
        LeaseBook(tmp_path).take(lease())
    assert str(holder.pid) in caught.value.why
    assert "192.0.2.7" in caught.value.where


def test_the_lease_of_a_killed_process_is_taken_over_and_tells_what_it_held(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    former = LeaseBook(tmp_path).take(lease())
    assert former is not None
    assert (former.pid, former.driver, former.instrument) == (holder.pid, "yokogawa-wt300", "meter")
    assert [held.pid for held in LeaseBook(tmp_path).held()] == [os.getpid()]


def test_a_process_that_died_and_was_not_waited_for_holds_nothing(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert LeaseBook(tmp_path).take(lease()) is not None


def test_a_later_process_with_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    book = LeaseBook(tmp_path)
    book.take(dataclasses.replace(lease(), process_start="another boot:1"))
    assert book.take(lease()) is not None


def test_what_another_machine_holds_cannot_be_judged_from_here(tmp_path: Path) -> None:
    book = LeaseBook(tmp_path)
    book.take(dataclasses.replace(lease(), host="elsewhere", pid=1))
    with pytest.raises(LockedByOther, match="elsewhere"):
        book.take(lease())


def test_a_lease_given_back_is_free_again(tmp_path: Path) -> None:
    book = LeaseBook(tmp_path)
    book.take(lease())
    book.give_back(lease())
    book.give_back(lease())
    assert book.take(lease()) is None


def test_giving_back_does_not_strike_out_the_lease_of_the_next_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    LeaseBook(tmp_path).give_back(lease())
    assert [held.pid for held in LeaseBook(tmp_path).held()] == [holder.pid]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP::192.0.2.7::INSTR", "TCPIP0::192.0.2.7::inst0::INSTR"),
        ("GPIB::3", "GPIB0::3::INSTR"),
        ("cpu://local", "cpu://local/"),
    ],
)
def test_one_instrument_under_two_spellings_is_one_lease(tmp_path: Path, one: str, other: str) -> None:
    LeaseBook(tmp_path).take(lease(one))
    with pytest.raises(LockedByOther):
        LeaseBook(tmp_path).take(lease(other))


def of_tester(address: str) -> Lease:
    driver = "otg" if address.startswith("otg") else address.partition(":")[0]
    return Lease.of_this_process(address, instrument="tester", driver=driver, bench="lab")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("xena://127.0.0.1", "xena://localhost:22611"),
        ("xena://[::1]:5000", "xena://LOCALHOST:5000"),
        (f"trex://{platform.node()}", "trex://127.0.0.1:4501?clock_ppm=4.6"),
        ("xena://192.0.2.7?ports=0/0,0/1", "xena://192.0.2.7:22611/?clock_ppm=4&ports=0/1,0/0"),
        ("xena://192.0.2.7?ports=0/0,0/1", "xena://192.0.2.7"),
        ("otg+https://192.0.2.7:8443?port=a@1", "otg+https://192.0.2.7:8443?port=b@2"),
        ("drone://[2001:db8::7]", "drone://[2001:0db8:0:0::7]:7878"),
    ],
)
def test_one_tester_under_two_spellings_is_one_lease(tmp_path: Path, one: str, other: str) -> None:
    book = LeaseBook(tmp_path)
    book.take(of_tester(one))
    with pytest.raises(LockedByOther):
        book.take(of_tester(other))
    # One whose holder has died is taken over under its new spelling, and stands in the book once.
    book.give_back(of_tester(one))
    book.take(dataclasses.replace(of_tester(one), process_start="another boot:1"))
    assert book.take(of_tester(other)) is not None
    assert [held.address for held in book.held()] == [other.rstrip("/")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("xena://192.0.2.7", "xena://192.0.2.8"),
        ("xena://127.0.0.1:5000", "xena://127.0.0.1:5001"),
        ("xena://127.0.0.1", "xena://127.0.0.2"),
        ("xena://192.0.2.7?ports=0/0,0/1", "xena://192.0.2.7?ports=0/2,0/3"),
        ("xena://127.0.0.1:5000", "trex://127.0.0.1:5000"),
    ],
)
def test_two_testers_or_other_ports_of_one_are_two_leases(tmp_path: Path, one: str, other: str) -> None:
    book = LeaseBook(tmp_path)
    assert [book.take(of_tester(address)) for address in (one, other)] == [None, None]
    assert len(book.held()) == 2


def test_a_holder_that_died_does_not_hide_one_that_lives_and_has_another_part_of_the_instrument(tmp_path: Path) -> None:
    book = LeaseBook(tmp_path)
    book.take(dataclasses.replace(of_tester("xena://192.0.2.7?ports=0/0"), process_start="another boot:1"))
    book.take(of_tester("xena://192.0.2.7?ports=0/1"))
    with pytest.raises(LockedByOther, match="in use"):
        book.take(of_tester("xena://192.0.2.7"))
    assert len(book.held()) == 2


def test_while_a_name_is_looked_up_the_book_is_free_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def slow(host: str, port: object) -> list[tuple[object, ...]]:
        seen.append(len(LeaseBook(tmp_path).held()))
        raise socket.gaierror(host)

    book = LeaseBook(tmp_path)
    book.take(of_tester("xena://chassis-3.example"))
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(hosts, "_PATIENCE", 30.0)
    book.take(of_tester("xena://192.0.2.7"))
    assert set(seen) == {1}


def test_a_name_is_the_host_whose_address_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(host: str, port: object) -> list[tuple[object, ...]]:
        if host != "chassis-3.example":
            raise socket.gaierror(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    assert same_host("chassis-3.example", "192.0.2.7")
    assert same_host("Chassis-3.example.", "chassis-3.example")
    assert not same_host("chassis-3.example", "192.0.2.8")
    assert not same_host("nobody.example", "192.0.2.7")
    assert not same_host("nobody.example", "chassis-3.example")


def test_two_instruments_are_two_leases(tmp_path: Path) -> None:
    for address in ("TCPIP::192.0.2.7::INSTR", "TCPIP::192.0.2.8::INSTR", "TCPIP::192.0.2.7::hislip0::INSTR"):
        assert LeaseBook(tmp_path).take(lease(address)) is None


def test_of_many_who_ask_at_once_exactly_one_gets_the_instrument(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    results: list[bool] = []

    def ask() -> None:
        start.wait()
        try:
            LeaseBook(tmp_path).take(lease())
            results.append(True)
        except LockedByOther:
            results.append(False)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]


@pytest.mark.parametrize("reader", [leases._start_from_proc, leases._start_from_ps])
def test_a_running_process_keeps_its_start_and_a_dead_one_has_none(reader: object) -> None:
    assert callable(reader)
    if reader is leases._start_from_proc and not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc")
    assert reader(os.getpid()) == reader(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert not reader(process.pid)


def test_a_book_that_cannot_be_written_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AicalibError) as caught:
        LeaseBook(tmp_path / "file").take(lease())
    assert str(tmp_path / "file") in caught.value.where

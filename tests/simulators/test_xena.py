"""The simulated Xena chassis on its text port: the session of the facts, the grammar, the rules, the counts.

Expected replies are those of network.md sections 4.1 to 4.5; expected counts come from fps = R / (8 (L + 20)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from aicalib_hw.simulators.network.xena import SimulatedXena

from aicalib_hw import registry

from .wired import Line

Bench = Callable[..., tuple[Any, Line]]


def plugged(xena: Any) -> Line:
    """A plain socket on the text port."""
    port = xena.address.removeprefix("xena://127.0.0.1:").split("?")[0]
    return Line(f"TCPIP::127.0.0.1::{port}::SOCKET", b"\n")


def logged_on(xena: Any, owner: str = "aical", *reserved: str) -> Line:
    """A client that has logged on and reserved ports."""
    line = plugged(xena)
    for command in ('C_LOGON "xena"', f'C_OWNER "{owner}"', *(f"{port} P_RESERVATION RESERVE" for port in reserved)):
        assert line.ask(command) == "<OK>"
    return line


def values(reply: str) -> list[int]:
    """The integers of a reply."""
    return [int(word) for word in reply.split("  ")[-1].split()]


def prepare(line: Line, size: int = 1518, *settings: str, port: str = "0/0", seconds: int = 10) -> None:
    """One stream at 100 % of the line with a gate of the instrument; further settings after the usual ones."""
    for command in (
        "PS_CREATE [0]",
        f"PS_PACKETLENGTH [0] FIXED {size} {size}",
        "PS_RATEFRACTION [0] 1000000",
        "PS_TPLDID [0] 0",
        "PS_ENABLE [0] ON",
        f"P_TXTIMELIMIT {seconds * 10**6}",
        *settings,
    ):
        assert line.ask(f"{port} {command}") == "<OK>", command


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A function that makes a chassis on a stepped world and a client that has both ports."""
    running: list[Any] = []

    def start(*, rate: float = 0.0, reserve: bool = True, **options: Any) -> tuple[Any, Line]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate})
        xena = SimulatedXena(world, "xena", **options)
        world.start()
        xena.start()
        line = logged_on(xena, "aical", *(("0/0", "0/1") if reserve else ()))
        running.extend((line.socket, xena, world))
        return xena, line

    yield start
    for one in running:
        (one.close if hasattr(one, "close") else one.stop)()


def test_the_session_that_the_facts_print(bench: Bench) -> None:
    xena, line = bench(reserve=False)
    for asked, answered in (
        ("C_PORTCOUNTS ?", "C_PORTCOUNTS  2"),
        ("0/0 P_RESERVATION ?", "0/0  P_RESERVATION  RELEASED"),
        ("0/0 P_RESERVATION RESERVE", "<OK>"),
        ("0/0 P_RESET", "<OK>"),
        ("0/0 P_SPEED ?", "0/0  P_SPEED  800000"),
        ("0/0 P_RECEIVESYNC ?", "0/0  P_RECEIVESYNC  IN_SYNC"),
        ("0/0 PS_CREATE [0]", "<OK>"),
        ("0/0 PS_PACKETLENGTH [0] FIXED 1518 1518", "<OK>"),
        ("0/0 PS_RATEFRACTION [0] 1000000", "<OK>"),
        ("0/0 PS_PACKETLIMIT [0] -1", "<OK>"),
        ("0/0 PS_TPLDID [0] 0", "<OK>"),
        ("0/0 PS_ENABLE [0] ON", "<OK>"),
        ("0/0 P_TXTIMELIMIT 10000000", "<OK>"),
        ("0/0 PT_CLEAR", "<OK>"),
        ("0/1 P_RESERVATION RESERVE", "<OK>"),
        ("0/1 PR_CLEAR", "<OK>"),
        ("0/0 P_TRAFFIC ON", "<OK>"),
    ):
        assert line.ask(asked) == answered
    xena.world.clock.advance(5.0)
    reply = line.ask("0/1 PR_TPLDTRAFFIC [0] ?")
    assert reply.startswith("0/1  PR_TPLDTRAFFIC  [0]  ")
    bits, frames, size, count = values(reply)
    assert frames in (65019505, 65019506)
    assert bits == frames * 8 * 1518
    assert size == count * 1518
    assert line.ask("0/0 P_TRAFFIC ?") == "0/0  P_TRAFFIC  ON"
    xena.world.clock.advance(5.1)
    assert line.ask("0/0 P_TRAFFIC ?") == "0/0  P_TRAFFIC  OFF"
    assert line.ask("0/0 P_TXTIME ?") == "0/0  P_TXTIME  10000000"
    assert values(line.ask("0/1 PR_TPLDTRAFFIC [0] ?"))[3] == 650195058
    for command in ("0/0 P_TRAFFIC OFF", "0/0 P_RESERVATION RELEASE", "C_LOGOFF"):
        assert line.ask(command) == "<OK>"
    assert line.socket.recv(1) == b""


def test_lines_may_end_in_cr_lf_and_words_in_any_case_and_replies_end_in_lf_alone(bench: Bench) -> None:
    _, line = bench()
    line.socket.sendall(b"0/0 p_speed ?\r\n0/0 P_SPEED ?\n\r\nsync\r\n")
    expected = b"0/0  P_SPEED  800000\n" * 2 + b"\n<SYNC>\n"
    assert line.exactly(len(expected)) == expected


def test_sync_marks_the_end_of_replies_of_many_lines(bench: Bench) -> None:
    _, line = bench()
    prepare(line)
    assert line.ask("SYNC ON") == "<OK>"
    assert line.line() == "<SYNC>"
    line.send("0/0 P_FULLCONFIG ?")
    lines = []
    while (one := line.line()) != "<SYNC>":
        lines.append(one)
    assert "0/0  PS_PACKETLENGTH  [0]  FIXED 1518 1518" in lines
    assert "0/0  PS_RATEFRACTION  [0]  1000000" in lines
    assert not any("PS_RATEPPS" in one for one in lines)
    assert line.ask("SYNC OFF") == "<OK>"
    assert line.ask("") == ""


@pytest.mark.parametrize(
    ("sent", "column", "kind"),
    [
        ("0/0 P_NOSUCH ?", 5, "Syntax"),
        ("0/0 PS_RATEPPS [0] fast", 20, "Syntax"),
        ("0/0 P_TXTIMELIMIT 1 2", 21, "Syntax"),
        ("P_TRAFFIC ON", 1, "Index"),
        ("0/0 PS_ENABLE ON", 14, "Index"),
        ("0/0 P_SPEED [1] ?", 14, "Index"),
    ],
)
def test_a_syntax_error_is_a_pointer_and_a_sentence(bench: Bench, sent: str, column: int, kind: str) -> None:
    _, line = bench()
    pointer = line.ask(sent)
    assert pointer == "-" * (column - 1) + "^"
    assert line.line() == f"#{kind} error in column {column}"
    assert line.ask("SYNC") == "<SYNC>"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("3/0 P_SPEED ?", "<BADMODULE>"),
        ("0/7 P_SPEED ?", "<BADPORT>"),
        ("0/0 PS_ENABLE [5] ON", "<BADINDEX>"),
        ("0/0 PT_CLEAR ?", "<NOTREADABLE>"),
        ("0/0 P_SPEED 100000", "<NOTWRITABLE>"),
        ("0/0 PS_PACKETLENGTH [0] FIXED 63 63", "<BADVALUE>"),
        ("0/0 PS_PACKETLENGTH [0] FIXED 16001 16001", "<BADVALUE>"),
        ("0/0 PS_PACKETLENGTH [0] MIX 64 1518", "<NOTSUPPORTED>"),
        ("0/0 PS_RATEFRACTION [0] 1000001", "<BADVALUE>"),
        ("0/0 P_TXMODE SEQUENTIAL", "<NOTSUPPORTED>"),
        ("0/0 P_SPEEDSELECTION 77", "<BADVALUE>"),
        ("C_TRAFFIC ON 0", "<BADSIZE>"),
        ('C_NAME "mine"', "<NOTRESERVED>"),
    ],
)
def test_what_cannot_be_done_is_a_status_word(bench: Bench, sent: str, status: str) -> None:
    _, line = bench()
    prepare(line)
    assert line.ask(sent) == status


def test_nothing_is_said_to_who_has_not_logged_on(bench: Bench) -> None:
    xena, _ = bench()
    stranger = plugged(xena)
    assert stranger.ask('C_LOGON "wrong"') == "<BADVALUE>"
    assert stranger.ask("0/0 P_SPEED ?") == "<NOTLOGGEDON>"
    assert stranger.socket.recv(1) == b""
    stranger.close()


def test_a_quiet_session_ends_and_an_empty_line_keeps_it(bench: Bench) -> None:
    _, line = bench()
    assert line.ask("C_TIMEOUT 1") == "<OK>"
    for _ in range(3):
        assert line.ask("") == ""
    assert line.socket.recv(1) == b""


def test_settings_come_back_as_they_were_sent(bench: Bench) -> None:
    _, line = bench()
    prepare(line)
    for setting, shown in (
        ('PS_COMMENT [0] "a",34,"b"', 'PS_COMMENT  [0]  "a",34,"b"'),
        ("PS_PACKETHEADER [0] 0xFFFFFFFFFFFF04F4BC0000000800", "PS_PACKETHEADER  [0]  0xFFFFFFFFFFFF04F4BC0000000800"),
        ("PS_HEADERPROTOCOL [0] ETHERNET VLAN IP UDP", "PS_HEADERPROTOCOL  [0]  ETHERNET VLAN IP UDP"),
        ("PS_PAYLOAD [0] INCREMENTING 0x00", "PS_PAYLOAD  [0]  INC8 0x00"),
        ("PS_ENABLE [0] 2", "PS_ENABLE  [0]  SUPPRESS"),
        ("PS_RATEPPS [0] 500000", "PS_RATEPPS  [0]  500000"),
        ("PS_BURST [0] -1 100", "PS_BURST  [0]  -1 100"),
        ("P_LATENCYMODE FIRST2FIRST", "P_LATENCYMODE  FIRST2FIRST"),
        ("P_MACADDRESS 0x04F4BC0102FF", "P_MACADDRESS  0x04F4BC0102FF"),
        ("P_INTERFRAMEGAP 24", "P_INTERFRAMEGAP  24"),
        ("PS_INDICES 0 3 1", "PS_INDICES  0 1 3"),
    ):
        assert line.ask(f"0/0 {setting}") == "<OK>"
        assert line.ask(f"0/0 {setting.split(' ')[0]} {'[0] ' if '[0]' in setting else ''}?") == f"0/0  {shown}"


def test_only_the_form_of_rate_set_last_can_be_read_and_no_rate_is_beyond_the_line(bench: Bench) -> None:
    _, line = bench()
    prepare(line, 64)
    assert line.ask("0/0 PS_RATEPPS [0] ?") == "<NOTVALID>"
    assert line.ask("0/0 PS_RATEPPS [0] 2000000000") == "<OK>"
    assert line.ask("0/0 PS_RATEPPS [0] ?") == "0/0  PS_RATEPPS  [0]  1190476190"
    assert line.ask("0/0 PS_RATEFRACTION [0] ?") == "<NOTVALID>"
    assert line.ask("0/0 PS_RATEL2BPS [0] 800000000000") == "<OK>"
    assert line.ask("0/0 PS_RATEL2BPS [0] ?") == "0/0  PS_RATEL2BPS  [0]  609523809523"
    _, strict = bench(overrate="refuse")
    prepare(strict, 64)
    assert strict.ask("0/0 PS_RATEPPS [0] 2000000000") == "<BADVALUE>"
    assert strict.ask("0/0 PS_CREATE [1]") == "<OK>"
    assert strict.ask("0/0 PS_RATEFRACTION [1] 1") == "<OK>"
    assert strict.ask("0/0 PS_ENABLE [1] ON") == "<NOTVALID>"


def test_a_port_belongs_to_the_session_that_reserved_it(bench: Bench) -> None:
    xena, line = bench()
    other = logged_on(xena, "other")
    assert other.ask("0/0 P_RESERVATION ?") == "0/0  P_RESERVATION  RESERVED_BY_OTHER"
    assert other.ask("0/0 P_RESERVEDBY ?") == '0/0  P_RESERVEDBY  "aical"'
    assert other.ask("0/0 P_RESERVATION RESERVE") == "<NOTVALID>"
    assert other.ask("0/0 P_RESERVATION RELEASE") == "<NOTRESERVED>"
    assert other.ask("0 M_RESERVATION RESERVE") == "<NOTVALID>"
    for command in ("P_TRAFFIC ON", "P_RESET", "PT_CLEAR", "P_TXTIMELIMIT 1"):
        assert other.ask(f"0/0 {command}") == "<NOTRESERVED>"
    assert other.ask("C_TRAFFIC ON 0 0 0 1") == "<NOTRESERVED>"
    twin = logged_on(xena, "aical")
    assert twin.ask("0/0 P_RESERVATION ?") == "0/0  P_RESERVATION  RESERVED_BY_OTHER"
    assert twin.ask("C_MULTIUSER ON") == "<OK>"
    assert twin.ask("0/0 P_RESERVATION ?") == "0/0  P_RESERVATION  RESERVED_BY_YOU"
    assert other.ask("0/0 P_RESERVATION RELINQUISH") == "<OK>"
    while other.ask("0/0 P_RESERVATION ?") != "0/0  P_RESERVATION  RELEASED":
        pass
    assert other.ask("0/0 P_RESERVATION RESERVE") == "<OK>"
    assert line.ask("0/0 P_TRAFFIC ON") == "<NOTRESERVED>"
    for client in (other, twin):
        client.close()


def test_a_lost_session_leaves_its_traffic_running_and_its_ports_free(bench: Bench) -> None:
    xena, line = bench()
    prepare(line, 1518, "P_TRAFFIC ON")
    watcher = logged_on(xena, "watcher")
    line.close()
    while watcher.ask("0/0 P_RESERVATION ?") != "0/0  P_RESERVATION  RELEASED":
        pass
    xena.world.clock.advance(1.0)
    assert watcher.ask("0/0 P_TRAFFIC ?") == "0/0  P_TRAFFIC  ON"
    watcher.close()


def test_while_traffic_is_on_nothing_is_configured(bench: Bench) -> None:
    xena, line = bench()
    prepare(line, 1518, "P_TRAFFIC ON")
    for command in ("PS_RATEFRACTION [0] 1", "PS_DELETE [0]", "P_TXTIMELIMIT 0", "PS_ENABLE [0] OFF", "P_TRAFFIC ON"):
        assert line.ask(f"0/0 {command}") == "<NOTVALID>", command
    assert line.ask("0/0 PS_ENABLE [0] SUPPRESS") == "<OK>"
    xena.world.clock.advance(2.0)
    assert values(line.ask("0/0 PT_TOTAL ?"))[1] == 0
    assert line.ask("0/0 P_TRAFFIC OFF") == "<OK>"
    assert line.ask("0/0 PS_RATEFRACTION [0] 1") == "<OK>"


def test_frames_too_short_for_their_header_and_test_payload_are_not_started(bench: Bench) -> None:
    _, line = bench()
    prepare(line, 64, "PS_PACKETHEADER [0] 0x" + "00" * 41)
    assert line.ask("0/0 P_TRAFFIC ON") == "<FAILED>"
    assert line.ask("0/0 PS_PACKETHEADER [0] 0x" + "00" * 40) == "<OK>"
    assert line.ask("C_TRAFFIC ON 0 0") == "<OK>"
    assert line.ask("C_TRAFFIC OFF 0 0") == "<OK>"


@pytest.mark.parametrize("speed", [100, 400, 800])
@pytest.mark.parametrize("size", [64, 512, 1518, 9018])
def test_counts_are_those_of_the_line_whoever_asks_and_how_often(bench: Bench, speed: int, size: int) -> None:
    ports = [{"name": name, "speed": speed, "ppm": 37.5} for name in ("0/0", "0/1")]
    xena, line = bench(ports=ports)
    prepare(line, size, "P_TRAFFIC ON", seconds=1)
    for _ in range(12):
        xena.world.clock.advance(0.1)
        line.ask("0/1 PR_TOTAL ?")
    frames = int(Fraction(speed * 10**9, 8 * (size + 20)))
    for asked in ("0/0 PT_TOTAL ?", "0/0 PT_STREAM [0] ?", "0/1 PR_TOTAL ?", "0/1 PR_TPLDTRAFFIC [0] ?"):
        assert values(line.ask(asked))[2:] == [frames * size, frames]
    true = xena.truth.rate("0/1", "L2")
    assert true == pytest.approx(speed * 1e9 * size / (size + 20) * (1 + 37.5e-6), rel=1e-9)


def test_both_directions_start_at_one_moment_and_are_told_apart_by_test_payload(bench: Bench) -> None:
    xena, line = bench()
    prepare(line, 64, "PS_TPLDID [0] 5", seconds=2)
    prepare(line, 512, "PS_TPLDID [0] 9", port="0/1", seconds=2)
    assert line.ask("C_TRAFFIC ON 0 0 0 1") == "<OK>"
    xena.world.clock.advance(3.0)
    assert line.ask("0/0 PR_TPLDS ?") == "0/0  PR_TPLDS  9"
    assert line.ask("0/1 PR_TPLDS ?") == "0/1  PR_TPLDS  5"
    assert values(line.ask("0/1 PR_TPLDTRAFFIC [5] ?"))[3] == 2380952380
    assert values(line.ask("0/0 PR_TPLDTRAFFIC [9] ?"))[3] == 375939849
    assert values(line.ask("0/0 PR_TPLDTRAFFIC [5] ?")) == [0, 0, 0, 0]


def test_packets_are_limited_in_number_and_lengths_vary_as_asked(bench: Bench) -> None:
    xena, line = bench()
    prepare(
        line, 64, "PS_PACKETLIMIT [0] 300", "PS_PACKETLENGTH [0] INCREMENTING 64 163", "P_TXTIMELIMIT 0", "P_TRAFFIC ON"
    )
    xena.world.clock.advance(1.0)
    assert line.ask("0/0 P_TRAFFIC ?") == "0/0  P_TRAFFIC  OFF"
    assert values(line.ask("0/1 PR_TOTALEXT ?"))[3:] == [3 * sum(range(64, 164)), 300, 0, 0, 0, 0]


@pytest.mark.parametrize("rate", [1.0, 100.0])
def test_the_time_elapsed_of_a_limited_transmission_is_its_limit_however_fast_the_world_is(
    bench: Bench, rate: float
) -> None:
    _, line = bench(rate=rate)
    prepare(line, 1518, "P_TXTIMELIMIT 200000", "P_TRAFFIC ON")
    while line.ask("0/0 P_TRAFFIC ?").endswith("ON"):
        pass
    assert line.ask("0/0 P_TXTIME ?") == "0/0  P_TXTIME  200000"


def test_the_clock_trim_moves_the_rate_and_not_the_gate(bench: Bench) -> None:
    xena, line = bench()
    assert line.ask("0 M_RESERVATION RESERVE") == "<OK>"
    assert line.ask("0 M_CLOCKPPB 100000") == "<OK>"
    prepare(line, 1518, "P_TRAFFIC ON")
    xena.world.clock.advance(11.0)
    assert values(line.ask("0/0 PT_TOTAL ?"))[3] == int(Fraction(8 * 10**12, 8 * 1538) * Fraction(10001, 10000))
    assert line.ask("0/0 P_TXTIME ?") == "0/0  P_TXTIME  10000000"


def test_latency_depends_on_the_mode_which_both_ports_must_share(bench: Bench) -> None:
    xena, line = bench(path={"latency": 2e-6, "jitter": 3e-7})
    prepare(line, 1250, seconds=1)
    assert line.ask("0/0 P_TRAFFIC ON") == "<OK>"
    xena.world.clock.advance(1.0)
    assert line.ask("0/1 PR_TPLDLATENCY [0] ?") == "0/1  PR_TPLDLATENCY  [0]  1700 2000 2300 2000 1700 2300"
    assert line.ask("0/1 PR_TPLDJITTER [0] ?") == "0/1  PR_TPLDJITTER  [0]  0 200 600 200 0 600"
    assert line.ask("0/1 PR_CALIBRATE") == "<OK>"
    assert line.ask("0/1 PR_TPLDLATENCY [0] ?") == "0/1  PR_TPLDLATENCY  [0]  0 300 600 300 0 600"
    assert line.ask("0/1 P_LATENCYMODE FIRST2LAST") == "<OK>"
    assert line.ask("0/1 PR_TPLDLATENCY [0] ?") == "0/1  PR_TPLDLATENCY  [0]  -1 -1 -1 -1 -1 -1"


def test_ports_of_different_speed_have_no_link(bench: Bench) -> None:
    _, line = bench()
    assert line.ask("0/0 P_SPEEDSELECTION F400G") == "<OK>"
    assert line.ask("0/1 P_RECEIVESYNC ?") == "0/1  P_RECEIVESYNC  NO_SYNC"
    assert line.ask("0/1 P_SPEEDSELECTION F400G") == "<OK>"
    assert line.ask("0/1 P_RECEIVESYNC ?") == "0/1  P_RECEIVESYNC  IN_SYNC"
    assert line.ask("0/1 P_TXENABLE OFF") == "<OK>"
    assert line.ask("0/0 P_RECEIVESYNC ?") == "0/0  P_RECEIVESYNC  NO_SYNC"


def test_the_mark_of_a_simulator_is_in_its_build_and_version(bench: Bench) -> None:
    xena, line = bench()
    assert line.ask("C_BUILDSTRING ?") == 'C_BUILDSTRING  "SIM0001"'
    assert line.ask("C_VERSIONSTR ?") == 'C_VERSIONSTR  "SIM-487.5.0"'
    assert xena.identity_serial == "SIM0001"
    with pytest.raises(ValueError, match="begins with SIM"):
        SimulatedXena(xena.world, "xena", serial="0001")

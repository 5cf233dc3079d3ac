"""Everything that can go wrong with a Xena chassis, on its text port (the list at the end of network.md section 11)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .test_xena import Bench, bench, logged_on, plugged, prepare, values

__all__ = ["bench"]

ASK = "0/0 P_SPEED ?"
REPLY = "0/0  P_SPEED  800000"


def test_the_connection_drops_at_a_command_in_the_middle_of_its_reply(bench: Bench) -> None:
    xena, line = bench()
    xena.inject({"kind": "drop", "after": 2})
    assert [line.ask(ASK) for _ in range(2)] == [REPLY, REPLY]
    line.send(ASK)
    got = line.socket.recv(100)
    assert f"{REPLY}\n".encode().startswith(got)
    assert len(got) < len(REPLY)
    assert line.socket.recv(100) == b""
    again = logged_on(xena)
    assert again.ask(ASK) == REPLY
    again.close()


def test_a_late_answer_comes_after_all(bench: Bench) -> None:
    xena, line = bench()
    xena.inject({"kind": "delay", "amount": 0.3})
    begun = time.monotonic()
    assert line.ask(ASK) == REPLY
    assert time.monotonic() - begun >= 0.3


def test_garbage_is_no_ascii(bench: Bench) -> None:
    xena, line = bench()
    xena.inject("garble")
    line.send(ASK)
    assert not line.raw(b"\n").isascii()
    assert line.ask(ASK) == REPLY


def test_half_a_line_stays_half(bench: Bench) -> None:
    xena, line = bench()
    xena.inject("half_line")
    line.send(ASK)
    assert line.exactly(10) == REPLY[:10].encode()
    line.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        line.socket.recv(1)


def test_a_blank_line_follows_a_reply(bench: Bench) -> None:
    xena, line = bench()
    xena.inject("double_terminator")
    assert line.ask(ASK) == REPLY
    assert line.line() == ""
    assert line.ask(ASK) == REPLY


def test_a_client_is_turned_away(bench: Bench) -> None:
    xena, _ = bench()
    xena.inject("refuse")
    refused = plugged(xena)
    assert refused.socket.recv(1) == b""
    refused.close()


def test_a_reservation_is_stolen_and_traffic_goes_on(bench: Bench) -> None:
    xena, line = bench()
    prepare(line, 1518, "P_TRAFFIC ON")
    xena.inject({"kind": "stolen", "after": 1})
    assert line.ask("0/0 P_RESERVATION ?") == "0/0  P_RESERVATION  RESERVED_BY_YOU"
    assert line.ask("0/0 P_RESERVATION ?") == "0/0  P_RESERVATION  RESERVED_BY_OTHER"
    assert line.ask("0/0 P_RESERVEDBY ?") == '0/0  P_RESERVEDBY  "somebody-else"'
    assert line.ask("0/0 P_TRAFFIC OFF") == "<NOTRESERVED>"
    assert line.ask("0/0 P_TRAFFIC ?") == "0/0  P_TRAFFIC  ON"


def test_somebody_was_there_first_and_does_not_yield(bench: Bench) -> None:
    xena, line = bench(reserve=False)
    xena.inject("locked")
    assert line.ask("0/1 P_RESERVATION ?") == "0/1  P_RESERVATION  RESERVED_BY_OTHER"
    xena.inject("force_refused")
    assert line.ask("0/1 P_RESERVATION RELINQUISH") == "<FAILED>"
    assert line.ask("0/1 P_RESERVATION RELINQUISH") == "<OK>"


def test_there_is_no_licence(bench: Bench) -> None:
    xena, line = bench(reserve=False)
    xena.inject("licence")
    assert line.ask("0/0 P_RESERVATION RESERVE") == "<XLSDENIED>"
    assert line.ask("0/0 P_RESERVATION ?") == "0/0  P_RESERVATION  RELEASED"


def test_frames_are_lost_and_the_receiver_counts_which(bench: Bench) -> None:
    xena, line = bench()
    xena.inject({"kind": "loss", "amount": 0.25})
    prepare(line, 1518, "P_TRAFFIC ON", seconds=1)
    xena.world.clock.advance(2.0)
    sent = values(line.ask("0/0 PT_TOTAL ?"))[3]
    received = values(line.ask("0/1 PR_TPLDTRAFFIC [0] ?"))[3]
    assert received == pytest.approx(0.75 * sent, abs=1)
    lost = values(line.ask("0/1 PR_TPLDERRORS [0] ?"))[1]
    assert sent - received - 2 <= lost <= sent - received
    assert values(line.ask("0/1 P_ERRORS ?")) == [lost]


def test_the_link_goes_down_while_traffic_runs(bench: Bench) -> None:
    xena, line = bench()
    xena.inject({"kind": "link_down", "amount": 2.5})
    prepare(line, 1518, "P_TRAFFIC ON")
    xena.world.clock.advance(2.0)
    assert line.ask("0/1 P_RECEIVESYNC ?") == "0/1  P_RECEIVESYNC  IN_SYNC"
    xena.world.clock.advance(2.0)
    assert line.ask("0/1 P_RECEIVESYNC ?") == "0/1  P_RECEIVESYNC  NO_SYNC"
    counted = values(line.ask("0/1 PR_TOTAL ?"))[3]
    assert counted == pytest.approx(2.5 * 65019505.85, abs=1e3)
    xena.world.clock.advance(2.0)
    assert values(line.ask("0/1 PR_TOTAL ?"))[1::2] == [0, counted]
    assert line.ask("0/0 P_RESET") == "<OK>"
    assert line.ask("0/0 P_RECEIVESYNC ?") == "0/0  P_RECEIVESYNC  NO_SYNC"


def test_counters_wrap_at_64_bits(bench: Bench) -> None:
    xena, line = bench()
    prepare(line, 1000, "PS_PACKETLIMIT [0] 100")
    xena.inject({"kind": "counter_wrap", "amount": 60})
    xena.world.clock.advance(1.0)
    assert line.ask("0/0 P_TRAFFIC ON") == "<OK>"
    assert values(line.ask("0/1 PR_TPLDTRAFFIC [0] ?"))[2:] == [2**64 - 60, 2**64 - 60]
    xena.world.clock.advance(1.0)
    for asked in ("0/0 PT_TOTAL ?", "0/1 PR_TOTAL ?", "0/1 PR_TPLDTRAFFIC [0] ?"):
        assert values(line.ask(asked))[2:] == [100_000 - 60, 40]


def test_a_second_client_reads_while_the_first_measures(bench: Bench) -> None:
    xena, line = bench()
    prepare(line, 1518, "P_TRAFFIC ON", seconds=1)
    reader: Any = logged_on(xena, "reader")
    xena.world.clock.advance(2.0)
    asked = "0/1 PR_TOTAL ?"
    line.send(asked)
    assert reader.ask(asked) == line.line()
    reader.close()


def test_a_bench_that_was_held_from_the_start_says_by_whom(bench: Bench) -> None:
    _, line = bench(reserve=False, held_by="night-shift")
    assert line.ask("0/1 P_RESERVEDBY ?") == '0/1  P_RESERVEDBY  "night-shift"'
    assert line.ask("0/1 P_RESERVATION RESERVE") == "<NOTVALID>"

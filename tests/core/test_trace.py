"""A trace shows what passed and hides what must not be seen; replayed, it gives the same readings."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw.errors import ProtocolError, RecordError
from aicalib_hw.trace import ReplayLink, Trace, read_trace

HIDDEN = "hunter2-x9"


@pytest.mark.parametrize(
    "text",
    [
        f"password={HIDDEN}",
        f"PASSWORD: {HIDDEN}",
        f'{{"password": "{HIDDEN}"}}',
        f"Authorization: Bearer {HIDDEN}",
        f"authorization: bearer {HIDDEN}",
        f"Authorization: Basic {HIDDEN}",
        f"https://meter/login?token={HIDDEN}&x=1",
        f"api_key = {HIDDEN}",
        f"api-key={HIDDEN}",
        f"secret '{HIDDEN}'",
        f"access_token={HIDDEN}",
        f'password="two words {HIDDEN}"',
        f'password="{HIDDEN}',
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_no_secret_reaches_the_file_or_the_memory(tmp_path: Path, text: str, as_bytes: bool) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        trace.add("meter", "write", text.encode() if as_bytes else text)
        assert HIDDEN not in json.dumps(trace.recent)
    assert HIDDEN not in path.read_text(encoding="utf-8")


def test_what_surrounds_a_secret_stays_readable() -> None:
    trace = Trace()
    trace.add("meter", "write", f"LOGIN anna; password={HIDDEN}; RATE 0.5")
    text = trace.recent[0]["text"]
    assert "LOGIN anna" in text
    assert "RATE 0.5" in text


def test_a_registered_secret_is_hidden_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        trace.hide("tiger")
        trace.hide("")
        trace.add("TCPIP::tiger@host::INSTR", "write", "LOGIN anna,tiger")
        trace.add("meter", "read", b"hello tiger\n")
        trace.add("meter", "event", "the connection broke during 'LOGIN anna,tiger'")
        trace.add("meter", "read", b"\xfftiger\n")
    written = path.read_text(encoding="utf-8")
    assert "tiger" not in written
    assert base64.b64encode(b"\xfftiger\n").decode() not in written
    assert "anna" in written


def test_ordinary_commands_are_traced_as_they_are() -> None:
    trace = Trace()
    for message in (":INPut:VOLTage:RANGe 300", "*IDN?", ":NUMeric:NORMal:ITEM1 U,1", ":STATus:ERRor?"):
        trace.add("meter", "write", message)
        assert trace.recent[-1]["text"] == message


def test_bytes_that_are_no_text_survive_the_file(tmp_path: Path) -> None:
    path, sent = tmp_path / "trace.jsonl", b"#18" + bytes(range(248, 256)) + b"\n"
    with Trace(path) as trace:
        trace.add("meter", "write", "X?")
        trace.add("meter", "read", sent)
    assert base64.b64decode(read_trace(path)[1]["base64"]) == sent
    assert ReplayLink(read_trace(path)).query_bytes("X?") == sent


def test_each_entry_is_in_the_file_before_the_trace_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        for count in range(1, 4):
            trace.add("meter", "write", "*IDN?")
            assert len(read_trace(path)) == count


def test_an_unfinished_last_line_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace:
        trace.add("meter", "write", "FIRST")
        trace.add("meter", "write", "SECOND")
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[1])):
        path.write_bytes(whole[: -cut - 1])
        assert [entry["text"] for entry in read_trace(path)] == ["FIRST"]


def test_damage_before_the_last_line_is_reported_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"direction": "write"\n{"direction": "read", "text": "1"}\n', encoding="utf-8")
    with pytest.raises(RecordError) as damaged:
        read_trace(path)
    assert "line 1" in damaged.value.where


def test_a_trace_that_cannot_be_written_or_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        Trace(tmp_path / "missing" / "trace.jsonl")
    with pytest.raises(RecordError):
        read_trace(tmp_path / "missing.jsonl")


def _session(meter: YokogawaWT300) -> list[float]:
    """The same conversation on any link: configure, read, stream."""
    meter.configure(voltage_range=300.0, current_range=20.0, update_interval=0.5)
    readings = [meter.read(), *meter.stream(duration=1.5)]
    return [
        float(quantity) for one in readings for quantity in (one.voltage, one.total.current, one.total.active_power)
    ]


def test_a_recorded_session_replays_with_the_same_readings(simulated_power_meter: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace, YokogawaWT300(simulated_power_meter.address, trace=trace) as meter:
        recorded = _session(meter)
        identity = meter.identity.serial
    link = ReplayLink(read_trace(path))
    with YokogawaWT300("replay", link=link) as again:
        assert _session(again) == recorded
        assert again.identity.serial == identity
    assert link.exhausted
    assert len(set(recorded)) > 3


def test_a_replay_that_departs_from_the_trace_ends_there(simulated_power_meter: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Trace(path) as trace, YokogawaWT300(simulated_power_meter.address, trace=trace) as meter:
        _session(meter)
    with YokogawaWT300("replay", link=ReplayLink(read_trace(path))) as again, pytest.raises(ProtocolError):
        again.configure(voltage_range=150.0)


def test_a_replay_gives_nothing_beyond_its_end() -> None:
    link = ReplayLink([{"direction": "write", "text": "A?"}, {"direction": "read", "text": "1\n"}])
    assert link.query("A?") == "1"
    with pytest.raises(ProtocolError):
        link.query("A?")


def test_a_trace_that_cannot_be_written_any_further_does_not_stand_in_the_way(simulated_power_meter: Any) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full, which is always full")
    with Trace("/dev/full") as trace, YokogawaWT300(simulated_power_meter.address, trace=trace) as meter:
        assert float(meter.read().voltage) > 0
        assert trace.failure is not None
        assert any(":STATus:CONDition?" in entry.get("text", "") for entry in trace.recent)

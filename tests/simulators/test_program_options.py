"""Options of simulated programs: sizes, times and rates are read as the programs read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.simulators.network import iperf3_options
from aicalib_hw.simulators.network.trex_rpc import Params, Refused, answer, packed, unpacked
from aicalib_hw.simulators.storage import fio_options, fio_values
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("4k", 4096), ("1m", 1 << 20), ("2G", 2 << 30), ("8KiB", 8192), ("3tb", 3 << 40)]
)
def test_sizes_of_fio_are_in_powers_of_1024(text: str, size: int) -> None:
    assert fio_values.size_of(text) == size


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("250ms", 0.25), ("2m", 120.0), ("1h", 3600.0)])
def test_times_of_fio_are_in_seconds(text: str, seconds: float) -> None:
    assert fio_values.seconds_of(text) == seconds


@given(st.text())
def test_whatever_is_no_size_is_refused(text: str) -> None:
    try:
        assert fio_values.size_of(text) >= 0
    except ValueError:
        return
    assert text.strip()[0].isdecimal()


@given(st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz-=_0123456789 ", max_size=20), max_size=6))
def test_any_command_line_is_taken_or_refused_in_fios_words(words: list[str]) -> None:
    said = ""
    try:
        plan = fio_options.parse("fio", words, Path("/nonexistent"), lambda _: "", lambda: "")
    except fio_values.Mistake as mistake:
        said = mistake.said
    assert said or all(job.name == job.settings["name"] for job in plan.jobs)


@given(st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz-=1234567890KMG", max_size=12), max_size=6))
def test_any_command_line_is_taken_or_refused_in_iperf3s_words(words: list[str]) -> None:
    said = ""
    try:
        asked = iperf3_options.parse("iperf3", words, streams=False)
    except iperf3_options.Mistake as mistake:
        said = mistake.said
    assert said or asked.version or asked.help or 1 <= asked.port <= 65535


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("-b", "200M"), "rate", 200_000_000),
        (("-b", "1.5G"), "rate", 1_500_000_000),
        (("-n", "10M"), "amount", 10 << 20),
        (("-l", "128K"), "size", 131072),
        (("-t", "12x"), "duration", 12.0),
        (("-i", "0.5"), "interval", 0.5),
        (("--connect-timeout", "1500"), "connect_timeout", 1.5),
        (("--dscp", "8"), "tos", 8),
    ],
)
def test_rates_of_iperf3_are_decimal_and_amounts_binary(words: tuple[str, ...], field: str, value: Any) -> None:
    assert getattr(iperf3_options.parse("iperf3", ("-c", "host", *words), streams=False), field) == value


@given(st.binary(max_size=2000))
def test_what_trex_compresses_it_unpacks_and_nothing_else(data: bytes) -> None:
    assert unpacked(packed(data)) == data
    assert unpacked(data) is None or data[:4] == packed(b"")[:4]


@given(st.binary(max_size=300))
def test_trex_answers_whatever_comes(data: bytes) -> None:
    def call(_: str, params: Any) -> Any:
        return Params(params).unsigned("port_id", "byte")

    assert answer(data, call).strip()


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.lists(st.none())))
def test_a_field_of_trex_is_of_its_type_or_refused(value: Any) -> None:
    fits = not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 255 and value % 1 == 0
    if fits:
        assert Params({"field": value}).unsigned("field", "byte") == value
        return
    with pytest.raises(Refused) as caught:
        Params({"field": value}).unsigned("field", "byte")
    assert caught.value.code == -32602
    assert "field" in caught.value.detail

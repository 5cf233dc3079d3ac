"""What stands on the wire and what Python holds: nothing is lost, and no marker becomes a number."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import OutOfRange, ProtocolError
from aicalib_hw.readings import Status
from aicalib_hw.scpi.codec import BOOLEAN, INTEGER, NUMBER, STRING, block, choice, measured
from aicalib_hw.scpi.session import parse_error

SMALL_ENOUGH = st.floats(min_value=-9e37, max_value=9e37, allow_nan=False)
COUPLING = choice({"ac": "AC", "mean": "VMEan", "average": "AVERage"})


@given(SMALL_ENOUGH)
def test_a_setting_survives_the_wire_to_nine_digits(value: float) -> None:
    assert NUMBER.decode(NUMBER.encode(value)) == pytest.approx(value, rel=1e-9, abs=0)


@given(st.integers(min_value=-(2**31), max_value=2**32))
def test_an_integer_survives_the_wire(value: int) -> None:
    assert INTEGER.decode(INTEGER.encode(value)) == value


@given(st.booleans())
def test_a_boolean_survives_the_wire(value: bool) -> None:
    assert BOOLEAN.decode(BOOLEAN.encode(value)) is value


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_string_survives_the_wire_with_quotes_in_it(value: str) -> None:
    assert STRING.decode(STRING.encode(value)) == value


@given(SMALL_ENOUGH)
def test_a_measured_number_is_that_number(value: float) -> None:
    assert measured(repr(value)) == (value, Status.VALID)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("9.9E37", Status.OVER_RANGE),
        ("+9.90000E+37", Status.OVER_RANGE),
        ("-9.9E37", Status.OVER_RANGE),
        ("INF", Status.OVER_RANGE),
        ("-inf", Status.OVER_RANGE),
        ("9.91E37", Status.NO_DATA),
        ("9.91E+37", Status.NO_DATA),
        (" NAN", Status.NO_DATA),
        ("nan", Status.NO_DATA),
    ],
)
def test_a_marker_is_a_status_and_never_a_number(text: str, status: Status) -> None:
    assert measured(text) == (None, status)


@pytest.mark.parametrize(
    ("wire", "status"),
    [("7E951BEE", Status.NO_DATA), ("7E94F56A", Status.OVER_RANGE), ("FE94F56A", Status.OVER_RANGE)],
)
def test_a_marker_in_single_precision_is_still_a_marker(wire: str, status: Status) -> None:
    (value,) = struct.unpack(">f", bytes.fromhex(wire))
    assert measured(repr(value)) == (None, status)


@given(st.floats(min_value=9.9e37, max_value=1.7e308) | st.floats(min_value=-1.7e308, max_value=-9.9e37))
def test_nothing_at_or_beyond_the_markers_is_a_number(value: float) -> None:
    number, status = measured(repr(value))
    assert number is None
    assert status


@pytest.mark.parametrize("text", ["", "---", "12 V", "1,2", "0x10", "1.0.0", "1_0"])
def test_a_measured_value_is_a_number_or_a_marker_and_nothing_else(text: str) -> None:
    with pytest.raises(ProtocolError):
        measured(text)


@pytest.mark.parametrize("text", ["9.91E37", "INF", "NAN", "ON", ""])
def test_a_marker_is_no_setting(text: str) -> None:
    with pytest.raises(ProtocolError):
        NUMBER.decode(text)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_cannot_be_set(value: float) -> None:
    with pytest.raises(OutOfRange):
        NUMBER.encode(value)


@pytest.mark.parametrize(("value", "word"), [("mean", "VMEAN"), ("average", "AVERAGE")])
def test_a_word_may_be_answered_at_any_length_from_its_short_form_on(value: str, word: str) -> None:
    short = {"mean": 3, "average": 4}[value]
    for length in range(short, len(word) + 1):
        assert COUPLING.decode(word[:length]) == value
        assert COUPLING.decode(word[:length].lower()) == value


@pytest.mark.parametrize("text", ["VM", "AVE", "VMEANS", "DC", "", "A", "VMEN"])
def test_a_word_that_is_too_short_too_long_or_unknown_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        COUPLING.decode(text)


def test_a_choice_that_does_not_exist_is_not_sent() -> None:
    with pytest.raises(OutOfRange):
        COUPLING.encode("dc")


@pytest.mark.parametrize(
    ("text", "value"),
    [("#HFF", 255), ("#h1f", 31), ("#Q17", 15), ("#B1011", 11), ("+32", 32), ("3.2E1", 32), ("-113", -113)],
)
def test_a_register_reads_alike_in_every_base(text: str, value: int) -> None:
    assert INTEGER.decode(text) == value


@pytest.mark.parametrize("text", ["#HXY", "#Q9", "#B2", "#H", "#H1_0", "1_0", "1.5", "9.91E37"])
def test_what_is_no_register_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        INTEGER.decode(text)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\n", b"\r\n"]))
def test_a_block_gives_back_every_byte_whatever_they_are(payload: bytes, end: bytes) -> None:
    length = str(len(payload)).encode()
    assert block(b"#" + str(len(length)).encode() + length + payload + end) == payload


def test_a_block_is_cut_by_its_length_and_not_by_a_line_feed_inside() -> None:
    assert block(b"#15ab\ncd\n") == b"ab\ncd"
    assert block(b"#13ab\n\n") == b"ab\n"
    assert block(b"#3004\n\n\n\n") == b"\n\n\n\n"


@pytest.mark.parametrize(
    "reply", [b"#15abcd", b"#15abcd\n"[:-1], b"#3100abc", b"#2", b"#21", b"#2x1ab", b"", b"#", b"1"]
)
def test_a_truncated_block_is_refused(reply: bytes) -> None:
    with pytest.raises(ProtocolError):
        block(reply)


def test_a_block_with_something_behind_it_is_refused() -> None:
    with pytest.raises(ProtocolError):
        block(b"#12abcd\n")


def test_an_indefinite_block_ends_with_its_terminator() -> None:
    assert block(b"#0ab\ncd\n") == b"ab\ncd"
    assert block(b"#0\n") == b""
    with pytest.raises(ProtocolError):
        block(b"#0abcd")


@pytest.mark.parametrize(
    ("reply", "entry"),
    [('0,"No error"', (0, "No error")), ('-113,"Undefined header"', (-113, "Undefined header")), ("813", (813, ""))],
)
def test_an_error_queue_answers_with_a_number_and_perhaps_words(reply: str, entry: tuple[int, str]) -> None:
    assert parse_error(reply) == entry


def test_an_error_queue_that_speaks_otherwise_is_garbled() -> None:
    with pytest.raises(ProtocolError):
        parse_error("No error")

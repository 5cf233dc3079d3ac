"""Where messages end: the same messages whatever pieces they arrive in, and no bytes that stop it for good."""

from __future__ import annotations

import time

from aicalib_hw.simulators.dialects.scpi.data import definite_block
from aicalib_hw.simulators.servers.framing import LONGEST, Framer
from hypothesis import example, given
from hypothesis import strategies as st

_PLAIN = st.text("ABC:?*;, 0123.", min_size=1, max_size=12).map(str.encode).filter(lambda text: bool(text.strip()))
_STRING = st.text("ab#1;' ", max_size=8).map(lambda text: b'"' + text.encode() + b'"')
_MESSAGE = st.lists(st.one_of(_PLAIN, _STRING, st.binary(max_size=20).map(definite_block)), min_size=1, max_size=4).map(
    b",".join
)


@given(messages=st.lists(_MESSAGE, max_size=5), cuts=st.lists(st.integers(1, 12), min_size=1, max_size=30))
def test_the_same_messages_whatever_pieces_they_arrive_in(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(message + b"\n" for message in messages)
    framer, found, at = Framer(), [], 0
    for cut in (cuts * (len(stream) // len(cuts) + 1))[: len(stream)]:
        found += framer.feed(stream[at : at + cut])
        at += cut
    assert found == messages
    assert not framer.partial


@given(messages=st.lists(_MESSAGE, min_size=1, max_size=3))
@example(messages=[b"#11\n"])
def test_end_ends_a_message_without_a_newline(messages: list[bytes]) -> None:
    framer = Framer()
    assert [part for message in messages for part in framer.feed(message, end=True)] == messages


def test_a_block_without_an_end_of_its_own_ends_before_the_newline_that_comes_with_end() -> None:
    assert Framer().feed(b"#0ab\ncd\n", end=True) == [b"#0ab\ncd"]
    assert Framer().feed(b"#15ab\n", end=True) == [b"#15ab"]


@given(data=st.lists(st.binary(max_size=50), max_size=10), end=st.booleans())
def test_no_bytes_stop_it_for_good(data: list[bytes], end: bool) -> None:
    framer = Framer(longest=60)
    for part in data:
        framer.feed(part, end=end)
    framer.feed(bytes(61) + b"\n" + bytes(61) + b"\n")
    assert framer.feed(b"*IDN?\n") == [b"*IDN?"]


def test_what_looks_like_a_hundred_thousand_blocks_takes_no_longer_than_it_must() -> None:
    begin = time.process_time()
    framer = Framer()
    for _ in range(4):
        framer.feed(b"#" * (1 << 16))
        framer.feed(b"'\"#1" * (1 << 14))
    framer.feed(b"#" * (2 * LONGEST), end=True)
    assert time.process_time() - begin < 20.0

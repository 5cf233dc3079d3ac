"""Server-sent events: whatever the network cuts or joins, the same events come out."""

from __future__ import annotations

import itertools
import json

import pytest
from aicalib_hw.instruments.inference._events import Answer, Splitter
from hypothesis import given
from hypothesis import strategies as st


def payloads(stream: bytes, cuts: list[int]) -> list[bytes]:
    splitter = Splitter()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    found: list[bytes] = []
    for begin, end in itertools.pairwise(edges):
        found += splitter.feed(stream[begin:end])
    return found + splitter.end()


texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(
    st.lists(texts, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 10_000)), st.booleans()
)
def test_events_come_out_whole_however_the_network_cuts_them(
    said: list[str], end: str, cuts: list[int], comments: bool
) -> None:
    wanted = [json.dumps({"text": text}, ensure_ascii=False).encode() for text in said]
    stream = b"".join(
        (b": ping" + end.encode() if comments else b"") + b"data: " + one + 2 * end.encode() for one in wanted
    )
    assert payloads(stream, cuts) == wanted


def test_lines_of_one_event_are_joined_and_other_fields_are_no_data() -> None:
    stream = b"\xef\xbb\xbfevent: message\nid: 7\ndata: a\ndata:b\n\n:only a comment\n\ndata:\n\ndata: c"
    assert payloads(stream, [5, 40]) == [b"a\nb", b"c"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_event_whose_blank_line_never_came_counts_only_when_the_answer_ended(end: str) -> None:
    splitter = Splitter()
    assert splitter.feed(f"data: last{end}".encode()) == []
    assert splitter.end() == [b"last"]
    assert splitter.end() == []


def test_usage_is_taken_from_whichever_chunk_has_it() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    apart, together = Answer(), Answer()
    for said in ({"choices": [{"text": "a", "finish_reason": "length"}]}, {"choices": [], "usage": usage}):
        apart.take(json.dumps(said).encode())
    together.take(json.dumps({"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}).encode())
    for answer in (apart, together):
        assert (answer.prompt_tokens, answer.output_tokens, answer.cached_tokens) == (4, 3, 2)
        assert answer.finish == "length"
    assert not apart.done
    apart.take(b"[DONE]")
    assert apart.done


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ({"choices": [{"delta": {"role": "assistant"}}]}, ""),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, ""),
        ({"choices": [{"delta": {"content": " a"}}]}, " a"),
        ({"choices": [{"delta": {"reasoning_content": "b"}}]}, "b"),
        ({"choices": [{"delta": {"content": None}, "finish_reason": "stop"}]}, ""),
        ({"choices": [{"text": "c"}], "usage": None}, "c"),
        ({"choices": []}, ""),
        ({"choices": [{"message": {"content": "whole"}}]}, "whole"),
    ],
)
def test_a_chunk_counts_only_if_there_is_text_in_it(chunk: dict[str, object], text: str) -> None:
    assert Answer().take(json.dumps(chunk).encode()) == text


@pytest.mark.parametrize(
    "error",
    [{"error": {"message": "out of memory"}}, {"error": "out of memory"}, {"error": [{"detail": "out of memory"}]}],
)
def test_an_error_in_the_stream_is_kept_in_the_words_of_the_service(error: dict[str, object]) -> None:
    answer = Answer()
    answer.take(json.dumps(error).encode())
    assert answer.error == "out of memory"


@pytest.mark.parametrize("junk", [b"<html>", b"[1]", b"{", b"\xff"])
def test_what_is_no_chunk_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Answer().take(junk)

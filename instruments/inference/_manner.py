"""How a service is to be asked: which fields it takes, whether it fixes the length of an answer, what prompts cost.

Servers differ (transformers and llama.cpp refuse or ignore what vLLM takes), so each is asked, with requests of a few
tokens, before it is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw.errors import InstrumentReportedError, ProtocolError
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.transport.http import JsonLink

from ._address import Served
from ._events import Answer, Splitter
from ._prompts import OPENING, Prompts, prompts_of

_TRIAL_TOKENS = 16
_NOT_TAKEN = (400, 422)
"""Statuses by which servers refuse a request for a field in it."""

_SUPPRESSING = (("ignore_eos", "min_tokens"), ("ignore_eos",), ("min_tokens",), ())
"""What keeps a text from ending early, best first."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How one model of a service is asked. fields: beside model, prompt and length. suppressing: those against an early
    end.

    fixed: whether the trial had the length that was asked for. streamed_usage: whether a stream states usage.
    """

    model: str
    fields: Mapping[str, Any]
    suppressing: tuple[str, ...]
    fixed: bool
    usage: bool
    streamed_usage: bool
    fingerprint: str
    prompts: Prompts

    def body(self, tokens: int, *, streaming: bool) -> dict[str, Any]:
        """Return a request for `tokens` tokens, but for its prompt."""
        body: dict[str, Any] = {"model": self.model, "max_tokens": tokens}
        for name, value in self.fields.items():
            if streaming or name != "stream_options":
                body[name] = tokens if name == "min_tokens" else value
        return {**body, "stream": streaming}


def manner_of(link: JsonLink, place: Served, model: str, load: InferenceLoad, note: Callable[[str], None]) -> Manner:
    """Ask a service how it is to be asked; raises what the link raises, ProtocolError for what is no answer."""

    def prompt(text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}]} if place.chat else {"prompt": text}

    def ask(text: str, tokens: int, streaming: bool, fields: Mapping[str, Any]) -> Answer:
        body = {"model": model, "max_tokens": tokens, "stream": streaming, **fields, **prompt(text)}
        said, _ = link.text("POST", place.path, body)
        return _answer(said, streaming=streaming, where=f"{place.base}{place.path}")

    note("asking the service how it is to be asked")
    tokens = min(_TRIAL_TOKENS, load.output_tokens)
    suppressing, fields, whole = _first_taken(
        [
            (names, {"temperature": 0, **{name: tokens if name == "min_tokens" else True for name in names}})
            for names in _SUPPRESSING
        ]
        + [((), {})],
        lambda chosen: ask(OPENING, tokens, False, chosen),
    )
    streamed = whole
    if load.streaming:
        usage = {"stream_options": {"include_usage": True}}
        _, fields, streamed = _first_taken(
            [((), {**fields, **usage}), ((), fields)], lambda chosen: ask(OPENING, tokens, True, chosen)
        )
    note("finding prompts of the length asked for")
    plain = {name: value for name, value in fields.items() if name != "stream_options"}
    short = {**plain, **({"min_tokens": 1} if "min_tokens" in plain else {})}
    prompts = prompts_of(load.input_tokens, lambda text: ask(text, 1, False, short).prompt_tokens)
    return Manner(
        model,
        fields,
        suppressing,
        fixed=bool(suppressing) and whole.output_tokens == tokens,
        usage=whole.output_tokens is not None,
        streamed_usage=streamed.output_tokens is not None,
        fingerprint=whole.fingerprint or streamed.fingerprint,
        prompts=prompts,
    )


def _first_taken(
    candidates: Sequence[tuple[tuple[str, ...], dict[str, Any]]], ask: Callable[[Mapping[str, Any]], Answer]
) -> tuple[tuple[str, ...], dict[str, Any], Answer]:
    """Return the first fields that the service takes, and its answer; raises its refusal of the last."""
    for names, fields in candidates[:-1]:
        try:
            return names, fields, ask(fields)
        except InstrumentReportedError as error:
            if error.code not in _NOT_TAKEN:
                raise
    names, fields = candidates[-1]
    return names, fields, ask(fields)


def _answer(said: str, *, streaming: bool, where: str) -> Answer:
    answer = Answer()
    splitter = Splitter()
    payloads = [*splitter.feed(said.encode()), *splitter.end()] if streaming else [said.encode()]
    try:
        for payload in payloads:
            answer.take(payload)
    except (ValueError, TypeError, AttributeError) as error:
        raise ProtocolError("what came is no answer of an OpenAI endpoint", where=where, why=str(error)) from error
    if answer.error:
        raise InstrumentReportedError(200, answer.error, where)
    if not answer.finish:
        raise ProtocolError(
            "an answer came without a finish_reason", where=where, why=json.dumps(said[:80]), advice="is it whole?"
        )
    return answer

"""What a service streams: server-sent events out of raw bytes, and what an OpenAI chunk says. Pure functions of bytes.

Source: WHATWG HTML, section "Server-sent events", for lines and events; the OpenAI API reference for completions and
chat completions. Network reads split or merge events and characters at will, so nothing here ever strips a read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"
_DECODE = json.JSONDecoder().raw_decode
"""Half the time of `json.loads`, which guesses the encoding of bytes and looks for white space twice."""
_TEXTS = ("content", "reasoning_content", "reasoning")
"""Keys of a chat delta that hold generated text; reasoning is generated like the rest."""


class Splitter:
    """Takes the reads of one response in order, and gives the payload of each event when its end has come."""

    def __init__(self) -> None:
        self._rest = b""
        self._began = False

    def feed(self, read: bytes) -> list[bytes]:
        """Return the payloads of the events that this read completes, in order; comments are no events."""
        data = self._rest + read
        if not self._began and len(data) >= 3:
            self._began = True
            data = data.removeprefix(_BOM)
        held = b""
        if b"\r" in data:
            if data.endswith(b"\r"):  # the \n that may belong to it has not come yet
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = data.split(b"\n\n")
        self._rest = rest + held
        return [payload for block in blocks if (payload := _payload(block))]

    def end(self) -> list[bytes]:
        """Return what is left at a clean end of the response: an event whose blank line never came."""
        left, self._rest = self._rest.replace(b"\r", b"\n"), b""
        return [payload] if (payload := _payload(left)) else []


def _payload(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


@dataclass(slots=True)
class Answer:
    """What one response said: tokens by usage (None = no usage), why it ended, its error in the service's words."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    finish: str = ""
    error: str = ""
    fingerprint: str = ""
    done: bool = False

    def take(self, payload: bytes) -> str:
        """Take one event or one whole body, and return the text in it, "" for none; raises ValueError for no JSON."""
        if payload == _DONE:
            self.done = True
            return ""
        text = payload.removeprefix(_BOM).decode("utf-8", "surrogatepass").strip()
        said, end = _DECODE(text)
        if end < len(text):
            raise ValueError(f"{text[end:][:60]!r} comes after the object")
        if not isinstance(said, dict):
            raise ValueError(f"{payload[:60]!r} is no object")
        if said.get("error"):
            self.error = words_of(said)
        if usage := said.get("usage"):
            self._take_usage(usage)
        if fingerprint := said.get("system_fingerprint"):
            self.fingerprint = str(fingerprint)
        generated = ""
        for choice in said.get("choices") or ():
            generated += _text_of(choice)
            self.finish = choice.get("finish_reason") or self.finish
        return generated

    def _take_usage(self, usage: dict[str, Any]) -> None:
        prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if type(prompt) is int:
            self.prompt_tokens = prompt
        if type(output) is int:
            self.output_tokens = output
        details = usage.get("prompt_tokens_details") or {}
        if type(details.get("cached_tokens")) is int:
            self.cached_tokens = details["cached_tokens"]


def _text_of(choice: dict[str, Any]) -> str:
    parts = [choice.get("text")]
    for key in ("delta", "message"):
        if told := choice.get(key):
            parts += [told.get(name) for name in _TEXTS]
    return "".join([part for part in parts if isinstance(part, str)])


def words_of(said: Any) -> str:
    """Return what a service says of an error, in whichever of the usual forms it says it."""
    if isinstance(said, dict):
        for key in ("error", "message", "detail"):
            if said.get(key):
                return words_of(said[key])
    if isinstance(said, list):
        return "; ".join(words_of(one) for one in said)
    return " ".join(str(said).split())[:400]

"""The JSON of completions and chat completions as one family of servers writes it; standard library alone."""

from __future__ import annotations

import json
from typing import Any

from .families import Family

DONE = b"data: [DONE]\n\n"


def encoded(value: Any) -> bytes:
    """Return compact JSON with characters as they are, not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class Wording:
    """Writes the answers of one request. wants_usage: whether the client has asked for usage in the stream."""

    def __init__(
        self, family: Family, *, model: str, name: str, created: int, chat: bool, wants_usage: bool, mark: str
    ) -> None:
        self._family, self._chat = family, chat
        self._wants_usage = wants_usage and family.usage == "asked"
        kind = "chat.completion" if chat else "text_completion"
        self._common = {"id": name, "object": kind, "created": created, "model": model, "system_fingerprint": mark}
        self._chunk = self._common | {"object": "chat.completion.chunk"} if chat else self._common
        before, after = encoded(self._with_text("\0", None)).split(encoded("\0")[1:-1])
        self._before, self._after = b"data: " + before, after + b"\n\n"

    def role(self) -> bytes | None:
        """Return the first event of a chat, which bears no token; None for completions."""
        return self._event([self._choice({"role": "assistant", "content": ""}, None)]) if self._chat else None

    def text(self, text: str) -> bytes:
        """Return the event of some text in mid-stream."""
        return self._before + text.encode() + self._after

    def last(self, text: str, reason: str | None, usage: dict[str, Any] | None) -> list[tuple[bytes, bool]]:
        """Return the events that end a stream, and of each whether it bears the text. reason None: none is told."""
        if reason is None:
            events = [(self.text(text), True)]
        elif self._family.name == "vllm":
            events = [(self._event(self._with_text(text, reason)["choices"]), True)]
        else:
            joined = usage if self._family.usage == "joined" else None
            events = [(self.text(text), True), (self._event([self._ending(reason)], joined), False)]
        if usage is not None and self._wants_usage:
            events.append((self._event([], usage), False))
        if self._family.done:
            events.append((DONE, False))
        return events

    def whole(self, text: str, reason: str, usage: dict[str, Any] | None) -> bytes:
        """Return the answer that is not streamed."""
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": reason}
        choice |= {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return encoded(self._common | {"choices": [choice]} | ({"usage": usage} if usage is not None else {}))

    def _with_text(self, text: str, reason: str | None) -> dict[str, Any]:
        choice = self._choice({"content": text}, reason) if self._chat else self._completion(text, reason)
        told: dict[str, Any] = {"usage": None} if self._wants_usage else {}
        return self._chunk | {"choices": [choice]} | told

    def _ending(self, reason: str) -> dict[str, Any]:
        return self._choice({}, reason) if self._chat else self._completion("", reason)

    @staticmethod
    def _choice(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    @staticmethod
    def _completion(text: str, reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        told: dict[str, Any] = {"usage": usage} if usage is not None or self._wants_usage else {}
        return b"data: " + encoded(self._chunk | {"choices": choices} | told) + b"\n\n"

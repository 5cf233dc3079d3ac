"""One answer in the making: from what was asked to the last event; standard library alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from . import tokens
from .errors import Refused
from .harm import ArmedFault, EventWriter
from .http11 import Connection, Request
from .schedule import Job
from .wording import DONE, Wording, encoded

if TYPE_CHECKING:
    from .api import Service

_TAIL = 0.005
"""How long the end of a cut event stays back where no event follows, real s."""


class Answer:
    """One answer to a request for tokens, streamed or whole."""

    def __init__(
        self,
        service: Service,
        connection: Connection,
        request: Request,
        asked: dict[str, Any],
        *,
        chat: bool,
        prompt_tokens: int,
        cached: int,
        faults: dict[str, ArmedFault],
    ) -> None:
        settings = service.settings
        self._service, self._connection, self._faults = service, connection, faults
        self._streamed = bool(asked.get("stream"))
        self._prompt_tokens, self._cached = prompt_tokens, cached
        most = asked.get("max_completion_tokens") or asked.get("max_tokens")
        most = int(most) if most is not None else (settings["context"] - prompt_tokens if chat else 16)
        if most < 1 or prompt_tokens + most > settings["context"]:
            raise Refused(
                400,
                f"This model's maximum context length is {settings['context']} tokens. However, you requested "
                f"{prompt_tokens + most} tokens ({prompt_tokens} in the prompt, {most} in the completion).",
            )
        limit, self._reason = self._length(asked, most)
        self._wording = Wording(
            service.family,
            model=settings["model"],
            name=service.next_name(chat),
            created=settings["created"],
            chat=chat,
            wants_usage=bool((asked.get("stream_options") or {}).get("include_usage")),
            mark=settings["version"],
        )
        self._record = service.records.new(
            request.path, prompt_tokens=prompt_tokens, asked=most, streamed=self._streamed
        )
        self._first = self._told = self._record.number * 7
        self._last_due = 0
        self._writer = EventWriter(connection.part, self._record.stamp, faults)
        self._job = Job(
            prompt_tokens,
            limit,
            self._reason,
            self._deliver if self._streamed else self._hold,
            self._ended,
            processed=prompt_tokens - cached,
            bundle=int(faults["bundled"].amount) if "bundled" in faults else 1,
            delay=faults["slow_first"].amount if "slow_first" in faults else 0.0,
            pause_before=limit // 2,
            pause=faults["stall"].amount if "stall" in faults else 0.0,
        )

    def start(self) -> None:
        """Begin: the head of a stream goes at once, tokens when they are due."""
        self._connection.on_gone = self._gone
        if self._streamed:
            wrong = "wrong_content_type" in self._faults
            self._connection.begin("application/json" if wrong else "text/event-stream; charset=utf-8")
        self._service.engine.submit(self._job)
        self._service.wake()

    def _length(self, asked: dict[str, Any], most: int) -> tuple[int, str]:
        """Return how many tokens come, and why no more do."""
        controls = self._service.family.end_control
        bias = asked.get("logit_bias") or {}
        endless = ("ignore_eos" in controls and bool(asked.get("ignore_eos"))) or (
            "logit_bias" in controls and float(bias.get(str(tokens.END), 0)) <= -100
        )
        limit, reason = most, "length"
        natural = max(
            self._service.natural_length(), int(asked.get("min_tokens") or 0) + 1 if "min_tokens" in controls else 0
        )
        if not endless and natural <= most:
            limit, reason = natural, "stop"
        if "early_stop" in self._faults:
            return max(1, limit // 2), "stop"
        if "overrun" in self._faults:
            return max(limit + 1, int(limit * self._faults["overrun"].amount)), reason
        return limit, reason

    def _usage(self) -> dict[str, Any] | None:
        if "no_usage" in self._faults:
            return None
        made = self._job.made
        if "false_usage" in self._faults:
            made = round(made * self._faults["false_usage"].amount)
        usage: dict[str, Any] = {
            "prompt_tokens": self._prompt_tokens,
            "total_tokens": self._prompt_tokens + made,
            "completion_tokens": made,
        }
        if self._service.settings["prompt_cache"]:
            usage["prompt_tokens_details"] = {"cached_tokens": self._cached}
        return usage

    def _hold(self, count: int, due: float) -> None:
        self._told += count
        self._last_due = self._service.due_ns(due)

    def _deliver(self, count: int, due: float) -> None:
        job, wording, writer = self._job, self._wording, self._writer
        due_ns = self._service.due_ns(due)
        if self._told == self._first and (role := wording.role()) is not None:
            writer.event(role)
        text = tokens.text_of(self._told, count)
        self._told += count
        if job.made < job.limit:
            writer.event(wording.text(text), count, due_ns)
            if self._faults and job.made > job.limit // 2:
                self._break_off()
            return
        for event, bears_text in wording.last(text, self._reason, self._usage()):
            writer.event(event, count if bears_text else 0, due_ns)

    def _break_off(self) -> None:
        """End the answer in the middle, where a fault says so."""
        faults, service = self._faults, self._service
        if "dies" in faults:
            self._over("died")
            service.die()
        elif "drop" in faults:
            self._over("dropped")
            self._writer.flush()
            self._connection.cut()
        elif "truncated" in faults:
            self._over("truncated")
            self._writer.event(DONE)
            self._finish()
        elif "error_event" in faults:
            status = int(faults["error_event"].amount)
            self._over(f"error {status}")
            error = {"message": "broken by a fault", "type": "InternalServerError", "param": None, "code": status}
            self._writer.event(b"data: " + encoded({"error": error}) + b"\n\n")
            self._writer.event(DONE)
            self._finish()

    def _over(self, outcome: str) -> None:
        self._connection.on_gone = None
        self._service.finished(self._record, outcome, self._job.made)
        self._service.engine.cancel(self._job)

    def _gone(self) -> None:
        """The client has gone: no more tokens are made for it, as the engines do."""
        self._over("abort")
        self._service.wake()

    def _ended(self) -> None:
        self._service.finished(self._record, self._reason, self._job.made)
        self._connection.on_gone = None
        if self._streamed:
            self._finish()
            return
        text = tokens.text_of(self._first, self._told - self._first)
        content = self._wording.whole(text, self._reason, self._usage())
        kind = "text/html" if "wrong_content_type" in self._faults else "application/json"
        if "drop" in self._faults:
            self._connection.send_head(200, kind, f"Content-Length: {len(content)}\r\n")
            self._connection.write(content[: len(content) // 2])
            self._connection.cut()
            return
        if "garble" in self._faults:
            content = content.replace(b'"', b"'")
        self._connection.reply(200, content, kind)
        self._record.stamp(self._told - self._first, self._last_due)

    def _finish(self) -> None:
        if self._writer.cut:
            asyncio.get_running_loop().call_later(_TAIL, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._writer.flush()
        self._connection.end()

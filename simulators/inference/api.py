"""The OpenAI-compatible paths: what is asked becomes a job of the engine, its tokens become events.

Not simulated, and answered with status 501: several answers, echo, log probabilities, stop texts, tools, templates.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from . import tokens
from .answers import Answer
from .errors import Refused, body_of, counted
from .families import FAMILIES
from .harm import REQUEST, STREAM, ArmedFault
from .http11 import Connection, Request
from .metrics import CONTENT_TYPE, Counts
from .metrics import text_of as metrics_of
from .records import Record, Records
from .schedule import Engine
from .wording import encoded

_UNSIMULATED = ("echo", "logprobs", "top_logprobs", "stop", "suffix", "tools", "functions", "response_format")
_BLOCK = 16
"""Tokens of a block of the prompt cache: whole blocks but the last are taken from it."""
_KEPT = 2000
"""Exchanges kept in the log."""


class Host(Protocol):
    """What the service runs in."""

    def restart(self, after: float) -> None: ...
    def die(self) -> None: ...


class Service:
    """One served model. settings: the options of `openai.Options` as data; strikes: whether a fault strikes now."""

    def __init__(
        self,
        settings: dict[str, Any],
        seed: int,
        now: Callable[[], float],
        nanoseconds: Callable[[float], int],
        strikes: Callable[[str], ArmedFault | None],
        host: Host,
    ) -> None:
        self.settings, self._strikes, self._host = settings, strikes, host
        self.family = FAMILIES[settings["engine"]]
        self._now, self.due_ns = now, nanoseconds
        self._random = random.Random(seed)
        self.log: list[tuple[str, str]] = []
        self.records = Records()
        self.wake: Callable[[], None] = lambda: None
        self._serial = 0
        self._before = [0.0, 0, 0]
        self.engine = Engine(settings, now)
        self.power_up()
        self._paths: dict[tuple[str, str], Callable[[Connection, Request], None]] = {
            ("GET", "/health"): lambda c, _: c.reply(200, b"" if self.family.name == "vllm" else b'{"status":"ok"}'),
            ("GET", "/v1/models"): lambda c, _: c.reply(200, encoded(self._models())),
            ("GET", "/metrics"): lambda c, _: c.reply(200, self._metrics(), CONTENT_TYPE),
            ("POST", "/v1/completions"): lambda c, r: self._generate(c, r, chat=False),
            ("POST", "/v1/chat/completions"): lambda c, r: self._generate(c, r, chat=True),
            ("POST", "/tokenize"): lambda c, r: c.reply(200, encoded(self._tokenize(body_of(r.body)))),
            ("POST", "/detokenize"): lambda c, r: c.reply(
                200, encoded({"prompt": tokens.text_of_numbers(body_of(r.body).get("tokens", []))})
            ),
        }
        if not settings["metrics"] or not self.family.metrics:
            del self._paths["GET", "/metrics"]
        for path in {"/version", self.family.version_path} - {""}:
            self._paths["GET", path] = lambda c, _: c.reply(200, encoded(self._version()))

    def power_up(self) -> None:
        """Forget everything that a restart of the server forgets; what was sent stays recorded."""
        self._before = [self.work, self.tokens, self.prompt_tokens]
        self.engine = Engine(self.settings, self._now)
        self._finished: Counter[str] = Counter()
        self._counted_at_end = 0
        self._frozen = b""
        self._seen: set[bytes] = set()

    @property
    def work(self) -> float:
        """Work done since the start, restarts or not, s of full load."""
        return self._before[0] + self.engine.work

    @property
    def tokens(self) -> int:
        """Tokens generated since the start, restarts or not."""
        return int(self._before[1]) + self.engine.tokens

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens processed since the start, restarts or not."""
        return int(self._before[2]) + self.engine.prompt_tokens

    def handle(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        self.keep(">", f"{request.method} {request.path} {request.body.decode(errors='replace')}")
        reboot = self._strikes("reboot")
        if reboot is not None:
            self._host.restart(reboot.amount)
            return
        stuck = self._strikes("stuck")
        if stuck is not None:
            asyncio.get_running_loop().call_later(stuck.amount, connection.cut)
            return
        delay = self._strikes("delay")
        if delay is not None:
            asyncio.get_running_loop().call_later(delay.amount, self._answer, connection, request)
            return
        self._answer(connection, request)

    def keep(self, direction: str, text: str) -> None:
        """Note what passed, without what authorises it."""
        self.log.append((direction, text[:500]))
        del self.log[:-_KEPT]

    def _answer(self, connection: Connection, request: Request) -> None:
        try:
            if request.path.startswith("/v1"):
                self._authorise(request)
            answer = self._paths.get((request.method, request.path))
            if answer is None:
                known = any(path == request.path for _, path in self._paths)
                text = "Method Not Allowed" if known else "Not Found"
                self._reply_error(connection, 405 if known else 404, {"detail": text})
                return
            try:
                answer(connection, request)
            except (TypeError, ValueError, AttributeError, OverflowError) as wrong:
                raise Refused(400, f"a field of the request has a value of another kind: {wrong}") from wrong
        except Refused as refused:
            error = {
                "message": str(refused),
                "type": refused.kind,
                "param": refused.param,
                "code": refused.status,
            }
            bare = refused.status == 401 and self.family.bare_unauthorised
            self._reply_error(connection, refused.status, {"error": "Unauthorized" if bare else error})

    def _reply_error(self, connection: Connection, status: int, body: dict[str, Any]) -> None:
        self.keep("<", f"{status} {body}")
        connection.reply(status, encoded(body), extra="Retry-After: 1\r\n" if status in (429, 503) else "")

    def _authorise(self, request: Request) -> None:
        key = self.settings["api_key"]
        given = request.headers.get("authorization", "")
        if self._strikes("unauthorised") is not None or (key is not None and given != f"Bearer {key}"):
            raise Refused(401, "Incorrect API key provided", "invalid_request_error")

    def _models(self) -> dict[str, Any]:
        model = {
            "id": self.settings["model"],
            "object": "model",
            "created": self.settings["created"],
            "owned_by": self.settings["version"],
            "max_model_len": self.settings["context"],
        }
        return {"object": "list", "data": [model]}

    def _version(self) -> dict[str, Any]:
        told = dict.fromkeys(("version", *self.family.version_fields), self.settings["version"])
        return told | ({"model_id": self.settings["model"]} if self.family.name == "tgi" else {})

    def counts(self) -> Counts:
        """Return what the engine has counted since its start."""
        engine = self.engine
        return Counts(
            prompt_tokens=engine.prompt_tokens,
            tokens=self._counted_at_end if self.family.counts_at_end else engine.tokens,
            finished=dict(self._finished),
            running=engine.running,
            waiting=engine.waiting,
            steps=engine.steps,
            prompt_seconds=engine.prompt_seconds,
            seconds=engine.seconds,
        )

    def _metrics(self) -> bytes:
        if self._strikes("counters_frozen") is None or not self._frozen:
            settings = self.settings
            self._frozen = metrics_of(
                self.family.metrics, self.counts(), model=settings["model"], engines=settings["engines"]
            )
        return self._frozen

    def _tokenize(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "messages" in asked:
            count = counted(tokens.chat_tokens, asked["messages"])
            numbers = [0] * count
        else:
            numbers = tokens.numbers_of(str(asked.get("prompt", asked.get("content", ""))))
        return {"count": len(numbers), "max_model_len": self.settings["context"], "tokens": numbers}

    def _generate(self, connection: Connection, request: Request, *, chat: bool) -> None:
        error = self._strikes("http_error")
        if error is not None:
            raise Refused(int(error.amount), "refused by a fault", "ServiceError")
        asked = body_of(request.body)
        if self.family.checks_model and asked.get("model") != self.settings["model"]:
            raise Refused(404, f"The model `{asked.get('model')}` does not exist.", "NotFoundError", "model")
        unsimulated = [name for name in _UNSIMULATED if asked.get(name) not in (None, False, [], "", 0)]
        unsimulated += [name for name in ("n", "best_of") if asked.get(name) not in (None, 1)]
        if unsimulated:
            raise Refused(501, f"{', '.join(unsimulated)}: not simulated", "NotSimulated")
        count = (
            counted(tokens.chat_tokens, asked.get("messages"))
            if chat
            else counted(tokens.prompt_tokens, asked.get("prompt"))
        )
        if count < 1:
            raise Refused(400, "the prompt is empty", param="prompt")
        faults = {kind: fault for kind in (*REQUEST, *STREAM) if (fault := self._strikes(kind)) is not None}
        cached = self._cached(asked, count)
        answer = Answer(self, connection, request, asked, chat=chat, prompt_tokens=count, cached=cached, faults=faults)
        answer.start()

    def _cached(self, asked: dict[str, Any], count: int) -> int:
        if not self.settings["prompt_cache"]:
            return 0
        prompt = encoded([asked.get("prompt"), asked.get("messages")])
        cached = (count - 1) // _BLOCK * _BLOCK if prompt in self._seen else 0
        self._seen.add(prompt)
        return cached

    def next_name(self, chat: bool) -> str:
        """Return the id of one more answer."""
        self._serial += 1
        return f"{'chatcmpl' if chat else 'cmpl'}-SIM{self._serial:012x}"

    def natural_length(self) -> int:
        """Return after how many tokens the next answer ends by itself: within 50 % of the option."""
        return max(1, int(self.settings["natural_length"] * self._random.uniform(0.5, 1.5)))

    def finished(self, record: Record, reason: str, made: int) -> None:
        """Note the end of a request that has made so many tokens."""
        record.outcome = reason
        self._finished[reason] += 1
        self._counted_at_end += made

    def die(self) -> None:
        """Let the server be gone for good."""
        self._host.die()

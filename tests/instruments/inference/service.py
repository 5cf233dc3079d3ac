"""An OpenAI-compatible service on aiohttp's server, written from the API's documentation, with the habits of real ones.

A token is a word; prompts are counted in words. Where habits differ between servers, or where a server is at fault, it
is a field of `Habits`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass
class Habits:
    """gap: s between tokens. first: s until the first. usage: "apart", "with-finish" or "never"; lie: added to it.

    a_event: tokens in one event. done: whether [DONE] is sent. line_end: of the event stream. splits: bytes of one
    write. most: tokens after which the text ends by itself. refuses: fields that are no fields here. dies_after: tokens
    in all, after which every connection is cut. key: that must come. counters: whether /metrics is served. fails: the
    status of every request of more than 16 tokens. stalls: after the first token of these.
    """

    gap: float = 0.01
    first: float = 0.01
    usage: str = "apart"
    lie: int = 0
    a_event: int = 1
    done: bool = True
    line_end: str = "\n"
    splits: int = 0
    comments: bool = False
    most: int = 1 << 40
    refuses: tuple[str, ...] = ()
    dies_after: int = 1 << 60
    key: str = ""
    counters: bool = True
    lists_models: int = 200
    fails: int = 0
    stalls: bool = False


@dataclass
class Service:
    """One such service on a free port of loopback; a context manager. What it counted itself stands in `generated`."""

    habits: Habits = field(default_factory=Habits)
    tls: ssl.SSLContext | None = None
    generated: int = 0
    prompted: int = 0
    prompts: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    sent: list[int] = field(default_factory=list)
    port: int = 0
    _at_once: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself where the service has died
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    @property
    def address(self) -> str:
        """The driver's address of it."""
        return f"openai+{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def metrics(self) -> str:
        """The driver's address of its counters."""
        return f"prometheus+http://127.0.0.1:{self.port}/metrics"

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._over = asyncio.Event()
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._over.wait()
        await runner.cleanup()

    def _refusal(self, request: web.Request) -> web.Response | None:
        sent = request.headers.get("Authorization", "")
        if self.habits.key and sent != f"Bearer {self.habits.key}":
            said = f"Incorrect API key provided: {sent.removeprefix('Bearer ')}."
            return web.json_response({"error": {"message": said, "type": "invalid_request_error"}}, status=401)
        return None

    async def _models(self, request: web.Request) -> web.Response:
        if refused := self._refusal(request):
            return refused
        if self.habits.lists_models != 200:
            return web.json_response({"detail": "no cache"}, status=self.habits.lists_models)
        return web.json_response({"object": "list", "data": [{"id": "words", "object": "model", "owned_by": "tests"}]})

    async def _metrics(self, request: web.Request) -> web.Response:
        if not self.habits.counters:
            raise web.HTTPNotFound
        return web.Response(
            text=(
                "# HELP vllm:generation_tokens_total Number of generation tokens processed.\n"
                "# TYPE vllm:generation_tokens_total counter\n"
                f'vllm:generation_tokens_total{{engine="0",model_name="words"}} {self.generated}.0\n'
                f'vllm:prompt_tokens_total{{engine="0",model_name="words"}} {self.prompted}.0\n'
                f'vllm:num_requests_running{{engine="0",model_name="words"}} {self._at_once}.0\n'
            )
        )

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refusal(request):
            return refused
        asked = await request.json()
        self.bodies.append(asked)
        if asked["model"] != "words":
            said = {"error": {"message": f"The model `{asked['model']}` does not exist.", "code": 404}}
            return web.json_response(said, status=404)
        if strange := [name for name in asked if name in self.habits.refuses]:
            return web.json_response({"detail": f"Unexpected keys in the request: {strange}"}, status=422)
        if self.habits.fails and asked["max_tokens"] > 16:
            return web.json_response({"error": "overloaded"}, status=self.habits.fails)
        chat = "messages" in asked
        text = asked["messages"][0]["content"] if chat else asked["prompt"]
        self.prompts.append(text)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._answer(request, asked, len(text.split()), chat=chat)
        except ConnectionError:  # the client has gone, as it may
            return web.Response()
        finally:
            self._at_once -= 1

    async def _answer(
        self, request: web.Request, asked: dict[str, Any], prompt: int, *, chat: bool
    ) -> web.StreamResponse:
        habits = self.habits
        tokens = min(asked["max_tokens"], habits.most)
        finish = "length" if tokens == asked["max_tokens"] else "stop"
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens + habits.lie, "total_tokens": prompt + tokens}
        self.prompted += prompt
        if not asked.get("stream"):
            await asyncio.sleep(habits.first + habits.gap * (tokens - 1))
            self.generated += tokens
            whole = " wörd" * tokens
            choice = {"message": {"role": "assistant", "content": whole}} if chat else {"text": whole}
            return web.json_response({"choices": [{"index": 0, "finish_reason": finish, **choice}], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if chat:
            await self._event(response, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        due = time.monotonic() + habits.first
        for number in range(0, tokens, habits.a_event):
            count = min(habits.a_event, tokens - number)
            await asyncio.sleep(due - time.monotonic())
            due += habits.gap * count
            if habits.stalls and number and asked["max_tokens"] > 16:
                await asyncio.sleep(60)
            if self.generated >= habits.dies_after:
                self._over.set()
                request.transport.abort()  # type: ignore[union-attr]
                return response
            piece = " wörd" * count
            self.generated += count
            self.sent.append(time.monotonic_ns())
            part = {"delta": {"content": piece}} if chat else {"text": piece}
            await self._event(response, {"choices": [{"index": 0, **part, "finish_reason": None}]})
        empty: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        last: dict[str, Any] = {"choices": [{"index": 0, **empty, "finish_reason": finish}]}
        await self._event(response, {**last, "usage": usage} if habits.usage == "with-finish" else last)
        if habits.usage == "apart" and asked.get("stream_options", {}).get("include_usage"):
            await self._event(response, {"choices": [], "usage": usage})
        if habits.done:
            await self._write(response, f"data: [DONE]{habits.line_end * 2}".encode())
        await response.write_eof()
        return response

    async def _event(self, response: web.StreamResponse, said: dict[str, Any]) -> None:
        comment = f": ping{self.habits.line_end}" if self.habits.comments else ""
        end = self.habits.line_end
        await self._write(response, f"{comment}data: {json.dumps(said, ensure_ascii=False)}{end}{end}".encode())

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        size = self.habits.splits or len(data)
        for begin in range(0, len(data), size):
            await response.write(data[begin : begin + size])
            if self.habits.splits:
                await asyncio.sleep(0.0005)

"""A paced source of events on loopback, against which a client proves itself before it measures anything.

Run by `_crew.run_module`. It answers each request with `max_tokens` events `gap_ns` apart, each written by itself when
it is due; the text of an event is the moment, monotonic ns, at which it was written, so that the client's delay shows
in every event. It generates nothing and serves nobody else: it is no simulator of a service.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import time

from ._parent import is_gone

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = (
    b'data: {"id":"cmpl-0","object":"text_completion","created":1700000000,"model":"paced-source-of-the-client-proof",'
    b'"choices":[{"index":0,"text":"%d","logprobs":null,"finish_reason":null}]}\n\n'
)
_LAST = (
    b'data: {"choices":[{"index":0,"text":"","finish_reason":"length"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
)
_CHECK_PARENT = 0.5


class _Pace:
    """Writes to every stream when its next event is due; schedules are absolute, so that nothing accumulates."""

    def __init__(self, streams: int, parent: int) -> None:
        self._streams = streams
        self._parent = parent
        self._started = 0
        self._due: list[tuple[float, int, _Stream]] = []
        self._added = asyncio.Event()

    def add(self, stream: _Stream) -> None:
        """Let a stream begin, each at a phase of its own."""
        phase = (self._started % self._streams) / self._streams
        self._started += 1
        heapq.heappush(self._due, (time.monotonic_ns() + (0.05e9 + phase * stream.gap), self._started, stream))
        self._added.set()

    async def run(self) -> None:
        """Go on until the process that asked for this is gone."""
        while not is_gone(self._parent):
            if not self._due:
                self._added.clear()
                try:
                    await asyncio.wait_for(self._added.wait(), _CHECK_PARENT)
                except TimeoutError:
                    continue
            wait = (self._due[0][0] - time.monotonic_ns()) / 1e9
            if wait > 0:
                await asyncio.sleep(wait)
            present = time.monotonic_ns()
            while self._due and self._due[0][0] <= present:
                due, order, stream = self._due[0]
                if stream.emit():
                    heapq.heapreplace(self._due, (due + stream.gap, order, stream))
                else:
                    heapq.heappop(self._due)
            await asyncio.sleep(0)


class _Stream(asyncio.Protocol):
    """One connection: takes a request, and is answered at the pace that it asks for. gap: ns between two events."""

    def __init__(self, pace: _Pace) -> None:
        self._pace = pace
        self._received = b""
        self._left = self._asked = 0
        self.gap = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of a new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Send nothing more to a client that is gone."""
        self._left = 0

    def data_received(self, data: bytes) -> None:
        """Begin to answer when the whole request has come."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.lower().partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields.get(b"content-length", b"0")):
            return
        self._received = b""
        asked = json.loads(body)
        self._asked = self._left = int(asked["max_tokens"])
        self.gap = float(asked["gap_ns"])
        self._transport.write(_HEAD)
        self._pace.add(self)

    def emit(self) -> bool:
        """Write one event, and the end after the last; False if there is no next one."""
        if not self._left:
            return False
        event = _EVENT % time.monotonic_ns()
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._left -= 1
        if not self._left:
            last = _LAST % (self._asked, self._asked + 1)
            self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        return bool(self._left)


async def serve(streams: int, parent: int) -> None:
    """Serve on a free port of loopback, and tell which."""
    pace = _Pace(streams, parent)
    server = await asyncio.get_running_loop().create_server(lambda: _Stream(pace), "127.0.0.1", 0, backlog=4096)
    os.write(1, json.dumps({"port": server.sockets[0].getsockname()[1]}).encode() + b"\n")
    async with server:
        await pace.run()


def main(streams: str, parent: str) -> None:
    """Serve so many streams together until the process of this number, which asked for it, is gone."""
    asyncio.run(serve(int(streams), int(parent)))

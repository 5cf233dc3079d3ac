"""One client process: sends its share of a load, stamps what the network gives, decodes it when all has come.

Run by `_crew.run_module`; it carries one load after another until it is ended. While a load runs, a read costs a stamp,
three numbers and a copy into a buffer; JSON is decoded when no more arrives. It tells of its state in lines of JSON on
its output.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import random
import shutil
import ssl
import threading
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import aiohttp

from ._events import Answer, Splitter, words_of
from ._job import CUT, GO, HURRY, JOB, STOP, Effort, Job, Request
from ._parent import is_gone

_GO_EVERY = 0.01
_LOOK_EVERY = 0.02
_WATCH_EVERY = 0.5
_UNIQUE_WORDS = 24
"""Words at the beginning of a prompt that differ from request to request, so that no prefix cache knows it."""

_MOST_FAILURES = 5
"""Requests that fail one after another, after which nothing more is sent."""

_HURRIED = 0.35
"""s for which an aborted load is still decoded, as nobody waits longer than a second for an abort."""

_LOOK_AFTER_READS = 512

_READ_BUFFER = 1 << 20
"""aiohttp stops reading at twice its own default of 64 KiB, which collapses many streams."""

_now = time.monotonic_ns


class Client:
    """The share of a load that this process carries for the process `parent`."""

    def __init__(self, job: Job, spool: IO[bytes], parent: int) -> None:
        self._job = job
        self._parent = parent
        self._spool = spool
        self._times, self._numbers, self._sizes = array("q"), array("q"), array("q")
        self._lag_times, self._lags = array("q"), array("q")
        self.requests: list[Request] = []
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._latest: dict[int, int] = {}
        self._stopping = asyncio.Event()
        self._failed_in_a_row = 0
        self._hurried_at = 0
        self._heard = False
        self._completed: dict[int, int] = {}
        self.gone, self.gone_kind, self.gone_status = "", "", 0
        self._chosen = random.Random(f"{job.prompt_seed} {job.number}")
        self._tail = self._words(max(0, job.count - _UNIQUE_WORDS)) + job.closing
        self._session: aiohttp.ClientSession

    async def run(self) -> None:
        """Carry the load until the signal to stop, and wait for the answers that are due by then."""
        async with _session(self._job) as self._session:
            tell({"ready": True})
            begin = await self._begin()
            watching = asyncio.create_task(self._watch())
            with self._looked_after():
                if self._job.slots:
                    await asyncio.gather(*(self._slot(slot) for slot in range(self._job.slots)))
                else:
                    await self._arrivals(begin)
            watching.cancel()

    async def _begin(self) -> int:
        go = Path(self._job.signals) / GO
        while not go.exists():
            _end_with_parent(self._parent, self._job.directory)
            await asyncio.sleep(_GO_EVERY)
        return int(go.read_text())

    def _stop(self, *, cut: bool) -> None:
        self._stopping.set()
        for number in tuple(self._tasks) if cut else ():
            self._give_up(number, "cut", "dropped at the end")

    async def _watch(self) -> None:
        """End requests to which nothing more comes, or that last for ever."""
        job = self._job
        while True:
            await asyncio.sleep(_WATCH_EVERY)
            present = _now()
            for number in tuple(self._tasks):
                if present - self._latest[number] > job.silence * 1e9:
                    self._give_up(number, "silent", f"nothing came for {job.silence:g} s")
                elif present - self.requests[number].sent > job.longest * 1e9:
                    self._give_up(number, "overrun", f"not at its end after {job.longest:g} s")

    def _give_up(self, number: int, kind: str, why: str) -> None:
        request = self.requests[number]
        if not request.failure:
            request.failure, request.kind = why, kind
        self._tasks[number].cancel()

    async def _slot(self, slot: int) -> None:
        limit = self._job.most_requests
        for count in itertools.count():
            if self._stopping.is_set() or count == limit > 0:
                return
            request = await self._one(None)
            if request.complete:
                self._completed[slot] = self._completed.get(slot, 0) + 1
                if self._completed[slot] == self._job.warm_requests:
                    enough = sum(count >= self._job.warm_requests for count in self._completed.values())
                    if enough == self._job.slots:
                        tell({"warm": _now()})
            elif not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), min(1.0, 0.05 * 2**self._failed_in_a_row))

    async def _arrivals(self, begin: int) -> None:
        """Send each request when it is due, however many are under way.

        A thread wakes the loop: its own timers are rounded up to whole milliseconds, which every latency would show.
        """
        loop, over = asyncio.get_running_loop(), threading.Event()
        under_way: set[asyncio.Task[Request]] = set()

        def send(due: int) -> None:
            if self._stopping.is_set():
                return
            task = loop.create_task(self._one(due))
            under_way.add(task)
            task.add_done_callback(self._count_open)
            task.add_done_callback(under_way.discard)

        def wake() -> None:
            for due in self._schedule(begin):
                if over.wait(max(0.0, (due - _now()) / 1e9)):
                    return
                loop.call_soon_threadsafe(send, due)

        thread = threading.Thread(target=wake, name="arrivals", daemon=True)
        thread.start()
        try:
            await self._stopping.wait()
        finally:
            over.set()
            thread.join()
        await asyncio.gather(*under_way)

    def _count_open(self, task: asyncio.Task[Request]) -> None:
        if not task.cancelled() and task.exception() is None and task.result().complete:
            count = self._completed[0] = self._completed.get(0, 0) + 1
            if count == self._job.warm_requests:
                tell({"warm": _now()})

    def _schedule(self, begin: int) -> Iterator[int]:
        """The moments at which requests are due, ns: this process' share of all."""
        job = self._job
        gap = 1e9 * job.processes / job.rate
        if job.constant:
            first = begin + 1e9 * job.number / job.rate
            yield from (round(first + index * gap) for index in itertools.count())
        at = float(begin)
        draw = random.Random(f"arrivals {job.seed} {job.number}")
        while True:
            at += draw.expovariate(1.0) * gap
            yield round(at)

    async def _one(self, due: int | None) -> Request:
        """Send one request and take what comes; whatever becomes of it stands in the request."""
        number = len(self.requests)
        body = self._body()
        made = _now()
        request = Request(number, made if due is None else due, made, closed=due is None)
        self.requests.append(request)
        self._latest[number] = made
        task = self._tasks[number] = asyncio.create_task(self._receive(request, body))
        try:
            await task
        except asyncio.CancelledError:
            if not request.failure:
                raise
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if not request.failure:
                unreachable = isinstance(error, aiohttp.ClientConnectorError)
                request.kind = "unreachable" if unreachable else "broken"
                request.failure = " ".join(str(error).split()) or type(error).__name__
        finally:
            request.ended = _now()
            del self._tasks[number], self._latest[number]
        self._judge(request)
        return request

    async def _receive(self, request: Request, body: bytes) -> None:
        """The hot path: stamp every read when it comes, and put it away."""
        job, number = self._job, request.number
        add_time, add_number, add_size = self._times.append, self._numbers.append, self._sizes.append
        latest, put, now = self._latest, self._spool.write, _now
        left = job.most_bytes
        how: dict[str, Any] = {"headers": job.headers, "trace_request_ctx": request, "allow_redirects": False}
        sending = self._session.post(job.url, data=body, **how)
        async with sending as response:
            request.status = response.status
            if response.status != 200:
                request.kind = "refused"
                request.failure = f"status {response.status}: {_words(await response.content.read(65536))}"
                return
            read = response.content.readany
            while data := await read():
                at = now()
                if not self._heard:
                    self._heard = True
                    tell({"first": at})
                add_time(at)
                add_number(number)
                add_size(len(data))
                try:
                    put(data)
                except OSError as error:
                    self._out_of_room(error)
                    return
                latest[number] = at
                left -= len(data)
                if left < 0:
                    request.kind, request.failure = "overrun", f"the answer is longer than {job.most_bytes} bytes"
                    return

    def put_away(self) -> None:
        """Write out what is still held of what came; call it once, when nothing more comes."""
        try:
            self._spool.close()
        except OSError as error:
            self._out_of_room(error)

    def _out_of_room(self, error: OSError) -> None:
        """Drop all that is under way: what comes from now on would be lost."""
        if not self.gone:
            place = Path(self._job.directory).parents[1]
            self.gone, self.gone_kind = f"what comes cannot be kept in {place}: {error.strerror}", "room"
            tell({"gone": self.gone})
        self._stop(cut=True)

    def _judge(self, request: Request) -> None:
        """Stop sending where nothing but failures comes."""
        if request.complete or request.kind == "cut":
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _MOST_FAILURES and not self.gone:
            self.gone, self.gone_kind, self.gone_status = request.failure, request.kind, request.status
            self._stopping.set()
            tell({"gone": self.gone})

    def _body(self) -> bytes:
        job = self._job
        text = f"{job.opening}{self._words(min(job.count, _UNIQUE_WORDS))}{self._tail}"
        prompt: dict[str, Any] = {"messages": [{"role": "user", "content": text}]} if job.chat else {"prompt": text}
        return json.dumps({**job.body, **prompt}).encode()

    def _words(self, count: int) -> str:
        return "".join(f" {word}" for word in self._chosen.choices(self._job.words, k=count))

    @contextlib.contextmanager
    def _looked_after(self) -> Iterator[None]:
        """Look every 20 ms, from a thread, for the signals, and ask the loop how long what has come must wait."""
        loop, over = asyncio.get_running_loop(), threading.Event()
        stop, cut = (os.path.join(self._job.signals, name) for name in (STOP, CUT))

        def note(asked: int) -> None:
            self._lag_times.append(asked)
            self._lags.append(_now() - asked)

        def look() -> None:
            stopped = False
            while not over.wait(_LOOK_EVERY):
                _end_with_parent(self._parent, self._job.directory)
                if os.path.exists(cut):
                    loop.call_soon_threadsafe(lambda: self._stop(cut=True))
                elif not stopped and os.path.exists(stop):
                    stopped = True
                    loop.call_soon_threadsafe(lambda: self._stop(cut=False))
                loop.call_soon_threadsafe(note, _now())

        thread = threading.Thread(target=look, name="look", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def decode(self, spool: IO[bytes]) -> tuple[array[int], array[int], array[int], array[int]]:
        """Split and decode what was put away; return of each text event: time, request, joined, stamp in its text.

        Of an aborted load what a moment allows, and where room ran out what had been kept: from its begin on, without a
        gap.
        """
        times, numbers, joined, stamps = array("q"), array("q"), array("q"), array("q")
        answers = [Answer() for _ in self.requests]
        splitters = [Splitter() for _ in self.requests]
        last = [0] * len(self.requests)
        stamped, streaming = self._job.stamped, self._job.streaming
        whole: dict[int, list[bytes]] = {}
        for index, (at, number, size) in enumerate(zip(self._times, self._numbers, self._sizes, strict=True)):
            if not index % _LOOK_AFTER_READS and self._hurried_enough():
                self._leave_out(index, "not decoded, as the load was aborted")
                break
            data = spool.read(size)
            if len(data) < size:
                self._leave_out(index, "not kept to its end, for want of room")
                break
            last[number] = at
            if not streaming:
                whole.setdefault(number, []).append(data)
                continue
            before = len(times)
            for payload in splitters[number].feed(data):
                text = self._take(number, answers[number], payload)
                if text:
                    times.append(at)
                    numbers.append(number)
                    joined.append(len(times) - 1 > before)
                    if stamped:
                        stamps.append(int(text))
        for number, request in enumerate(self.requests):
            rest = splitters[number].end() if streaming else [b"".join(whole.get(number, ()))]
            for payload in rest if request.complete else ():
                if self._take(number, answers[number], payload):
                    times.append(last[number])
                    numbers.append(number)
                    joined.append(0)
        for number in numbers:
            self.requests[number].events += 1
        for request, answer in zip(self.requests, answers, strict=True):
            _settle(request, answer)
        return times, numbers, joined, stamps

    def _hurried_enough(self) -> bool:
        if not self._hurried_at and os.path.exists(os.path.join(self._job.signals, HURRY)):
            self._hurried_at = _now()
        return bool(self._hurried_at) and _now() - self._hurried_at > _HURRIED * 1e9

    def _leave_out(self, index: int, why: str) -> None:
        """Take no answer for whole of which a read, from this one on, was not decoded."""
        for number in set(self._numbers[index:]):
            request = self.requests[number]
            if request.complete:
                request.kind, request.failure = "cut", why

    def _take(self, number: int, answer: Answer, payload: bytes) -> str:
        try:
            return answer.take(payload)
        except (ValueError, TypeError, AttributeError) as error:
            request = self.requests[number]
            if request.complete:
                request.kind, request.failure = "garbled", f"what came is no answer of this kind: {error}"
            return ""

    @property
    def volume(self) -> tuple[int, int]:
        """Bytes and reads that came."""
        return sum(self._sizes), len(self._sizes)

    @property
    def lags(self) -> tuple[array[int], array[int]]:
        """When the loop was asked, and how long it took to answer, ns."""
        return self._lag_times, self._lags


def _settle(request: Request, answer: Answer) -> None:
    """Write what an answer said into its request; it is complete only if it told why it ended."""
    request.prompt_tokens, request.output_tokens = answer.prompt_tokens, answer.output_tokens
    request.cached_tokens, request.finish = answer.cached_tokens, answer.finish
    request.fingerprint, request.done = answer.fingerprint, answer.done
    if request.complete and answer.error:
        request.kind, request.failure = "refused", answer.error
    elif request.complete and not answer.finish:
        request.kind, request.failure = "unfinished", "the answer ended without a finish_reason"


@contextlib.asynccontextmanager
async def _session(job: Job) -> AsyncIterator[aiohttp.ClientSession]:
    trusted = ssl.create_default_context(cafile=job.certificate) if job.url.startswith("https") else True
    connector = aiohttp.TCPConnector(limit=0, ssl=trusted, keepalive_timeout=600)
    limits = aiohttp.ClientTimeout(total=None, connect=job.silence)
    watched = aiohttp.TraceConfig()
    watched.on_request_chunk_sent.append(_handed_over)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=limits,
        read_bufsize=_READ_BUFFER,
        headers={"Accept-Encoding": "identity"},
        trace_configs=[watched],
    ) as session:
        yield session


async def _handed_over(_: aiohttp.ClientSession, context: Any, __: aiohttp.TraceRequestChunkSentParams) -> None:
    """Stamp a request when its body goes to the socket: what waited here before is no time of the service."""
    request: Request = context.trace_request_ctx
    request.sent = _now()
    if request.closed:
        request.due = request.sent


def tell(state: dict[str, Any]) -> None:
    """Write one line for the process that started this one."""
    os.write(1, json.dumps(state).encode() + b"\n")


def _words(body: bytes) -> str:
    try:
        return words_of(json.loads(body))
    except ValueError:
        return words_of(body.decode("utf-8", "replace"))


def _end_with_parent(parent: int, directory: str) -> None:
    """Leave nothing loading a service when the process that started this one is gone, and no file of it."""
    if is_gone(parent):
        _clear(directory)
        os._exit(1)


def _clear(directory: str) -> None:
    """Remove what nobody will read any more: the folder of all client processes, which all end now."""
    shutil.rmtree(os.path.dirname(directory), ignore_errors=True)


def main(directory: str, parent: str) -> None:
    """Carry out one job after another that comes into this directory, and leave what was seen beside it.

    It goes on until it is ended, or the process of this number, which started it, is gone.
    """
    gc.disable()  # a collection would hold up every stream; a load leaves few cycles behind
    path = Path(directory) / JOB
    try:
        while True:
            _end_with_parent(int(parent), directory)
            if path.exists():
                _carry_out(Job.read(path), int(parent))
                gc.collect()
            time.sleep(_GO_EVERY)
    except BrokenPipeError:  # nobody hears: the process that started this one is gone
        _clear(directory)
        raise


def _carry_out(job: Job, parent: int) -> None:
    directory = Path(job.directory)
    began = time.process_time()
    kept = open(directory / "reads", "wb", buffering=1 << 20)  # noqa: SIM115 - `put_away` closes it
    client = Client(job, kept, parent)
    try:
        asyncio.run(client.run())
    finally:
        client.put_away()
    received = time.process_time()
    with open(directory / "reads", "rb", buffering=1 << 20) as spool:
        columns = client.decode(spool)
    os.unlink(directory / "reads")  # where room ran out, this makes some for what was decoded
    size, reads = client.volume
    effort = Effort(received - began, time.process_time() - received, size, reads)
    for name, column in zip(
        ("times", "numbers", "joined", "stamps", "lag_times", "lags"), (*columns, *client.lags), strict=True
    ):
        with open(directory / name, "wb") as file:
            column.tofile(file)
    said = {
        "requests": [asdict(request) for request in client.requests],
        "effort": asdict(effort),
        "gone": client.gone,
        "gone_kind": client.gone_kind,
        "gone_status": client.gone_status,
    }
    (directory / "said.json").write_text(json.dumps(said), encoding="utf-8")
    tell({"done": True})

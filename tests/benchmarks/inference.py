"""CPU time of the client for one token event, beside guidellm and aiperf against the same source.

The source is the simulated service, a process of its own: paced (64 streams of 50 token/s, each event its own write),
in bursts (16 events a write), and as fast as it goes. What counts is the time of a long run less that of a short one,
so that nobody's start is counted, which is stated apart; ours includes decoding, and what puts the shares of several
processes together runs in the one that measures, and is in none. Bars, paced and in bursts: below both peers; two
processes cost at most 1.1 times as much for an event as one. Each of them does what the one did: it has as many
streams, of a source of its own, as one source feeds two clients at half the speed of each. That is how a load that is
too much for one process is shared.

Waking up for a read was measured as 29 of 39 µs where each event comes by itself, and as 1.5 of 12 µs where twenty come
together. So costs are compared where the source sets how many do; that two processes got as many in a read as one,
within a tenth, is part of the bar. As fast as it goes, that is for the kernel to say, by who gets a processor when: two
clients and two sources are to be compared with one of each where each of the four has a processor of its own. On two,
which they share, 16 events came in a read for one process and 5 for two, 41 and 17 in another run; there that row is
stated, with the events of a read, and not judged. No bar has sharing the streams of one among two, which nobody needs
to do: each then wakes up for half as many.

Of each the least of several rounds counts, as whatever else runs only adds: processors that share a core, or a cache,
take more CPU time for the same work where all are busy.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from aicalib_hw.instruments.inference._crew import Crew
from aicalib_hw.instruments.inference._job import Job
from aicalib_hw.instruments.inference.engine import tiny_model

from aicalib_hw import registry

STREAMS = 64
TOKENS = 100
PACED, BURSTS, FASTEST = 50.0, 200.0, 1e5
"""token/s of one stream."""

TOGETHER = 16
"""Events of a burst, in one write."""

ALIKE = 0.1
"""Share by which the events of a read may differ where two processes are compared with one."""

SHORT, LONG = 64, 512
"""Requests of a run."""

MOST_OF_TWO = 1.1

ENOUGH = 4
"""Processors for two clients and two sources, each with one of its own."""

ROUNDS = 3
_ENVIRONMENT = Path("build/peers-inference")
_NEEDS = ("torch==2.13.0", "guidellm==0.8.1", "aiperf==0.13.0")
_MODEL = "simulated-8b"


class Spent(NamedTuple):
    """CPU time, user and system, of one more event, and of everything else (start, end), s; events of a read, 0 = not
    known."""

    event: float
    start: float
    together: float

    def __str__(self) -> str:
        return f"{self.event * 1e6:.1f} ({self.together:.1f} events a read)"


@contextmanager
def source(rate: float, together: int) -> Iterator[str]:
    """Serve streams of `rate` token/s each, so many events in a write, and give the base URL."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1, "seed": 1})
    service = registry.simulator("openai")(
        world, "service", follows_platform=False, stream_rate=rate, capacity=1e9, first_token=0.001
    )
    world.start()
    service.start()
    if together > 1:
        service.inject({"kind": "coalesced", "amount": float(together), "count": None})
    try:
        yield service.address.removeprefix("openai+")
    finally:
        service.stop()
        world.stop()


@contextmanager
def sources(count: int, rate: float, together: int) -> Iterator[list[str]]:
    """Serve streams of `rate` token/s each from so many sources, and give their base URLs."""
    with ExitStack() as undo:
        yield [undo.enter_context(source(rate, together)) for _ in range(count)]


Receiver = Callable[[str, int], int]
"""What receives so many answers of a source, and returns in how many reads, 0 = not known."""


def ours(processes: int, streams: int = STREAMS, others: Sequence[str] = ()) -> Receiver:
    """Return what receives `requests` answers with the project's own client processes on so many streams together.

    others: sources of the further processes, none = all have the same one.
    """

    def receive(base: str, requests: int) -> int:
        def job(number: int, directory: str, signals: str) -> Job:
            return Job(
                directory,
                signals,
                f"{[base, *others][number] if others else base}/completions",
                {"Content-Type": "application/json"},
                {"model": _MODEL, "max_tokens": TOKENS, "ignore_eos": True, "stream": True},
                chat=False,
                streaming=True,
                slots=streams // processes,
                count=16,
                number=number,
                most_requests=requests // streams,
                warm_requests=requests // streams,
            )

        with Crew(processes, trace=None, aborted=threading.Event()) as crew:
            crew.take(job)
            crew.go()
            crew.wait_until_warm(120)
            seen = crew.collect(120)
        assert len(seen.times) == requests * TOKENS, f"{len(seen.times)} events of {requests * TOKENS} came"
        return sum(effort.reads for effort in seen.efforts)

    return receive


def peers() -> dict[str, Receiver]:
    """Return what receives answers with each peer; their environment is made once, apart from the project's."""
    programs = _ENVIRONMENT / "bin"
    noted = _ENVIRONMENT / "needs.txt"
    if not noted.exists() or noted.read_text().split() != list(_NEEDS):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], check=True)
        subprocess.run([str(programs / "python"), "-m", "pip", "install", "-q", *_NEEDS], check=True)
        made = [str(programs / "python"), tiny_model.__file__, str(_ENVIRONMENT / "tokenizer")]
        subprocess.run(made, check=True, capture_output=True)
        noted.write_text("\n".join(_NEEDS))
    tokenizer = str((_ENVIRONMENT / "tokenizer").resolve())

    def guidellm(base: str, requests: int) -> int:
        work = tempfile.mkdtemp()
        return _run(
            [str(programs / "guidellm"), "run", "--disable-console"],
            ["--backend", f"kind=openai_http,target={base.removesuffix('/v1')},model={_MODEL}"],
            ["--profile", f"kind=concurrent,streams={STREAMS}"],
            ["--constraint", f"kind=max_requests,count={requests}"],
            ["--tokenizer", f"kind=huggingface_auto,model={tokenizer}"],
            ["--data", f"kind=synthetic_text,prompt_tokens=16,output_tokens={TOKENS}"],
            ["--output", f"kind=json,path={work}/report.json"],
            work=work,
        )

    def aiperf(base: str, requests: int) -> int:
        work = tempfile.mkdtemp()
        return _run(
            [str(programs / "aiperf"), "profile", "--ui", "none", "-m", _MODEL, "--url", base.removesuffix("/v1")],
            ["--endpoint-type", "completions", "--streaming", "--use-legacy-max-tokens", "--use-server-token-count"],
            ["--tokenizer", tokenizer, "--concurrency", str(STREAMS), "--request-count", str(requests)],
            ["--prompt-input-tokens-mean", "16", "--prompt-output-tokens-mean", str(TOKENS)],
            ["--extra-inputs", "ignore_eos:true", "--output-artifact-dir", work],
            work=work,
        )

    return {"guidellm": guidellm, "aiperf": aiperf}


def _run(*arguments: list[str], work: str) -> int:
    program, *words = (word for part in arguments for word in part)
    try:
        subprocess.run([str(Path(program).absolute()), *words], check=True, capture_output=True, timeout=300, cwd=work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def cpu(receive: Receiver, base: str, times: int = 1) -> Spent:
    """Return what one more token event costs, and everything else; times: so many times the usual requests."""

    def spent(requests: int) -> tuple[float, int]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        reads = receive(base, requests)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, reads

    (short, few), (long, many) = spent(times * SHORT), spent(times * LONG)
    events = times * (LONG - SHORT) * TOKENS
    each = (long - short) / events
    return Spent(each, short - each * times * SHORT * TOKENS, events / (many - few) if many > few else 0.0)


def processes_compared(base: str, second: str) -> tuple[Spent, Spent, Spent]:
    """Return the least that one process takes of a source, two of a source each, and two that share the one's streams.

    In turns, so that whatever else runs meets all alike.
    """
    turns = [
        (cpu(ours(1), base), cpu(ours(2, 2 * STREAMS, [second]), base, times=2), cpu(ours(2), base))
        for _ in range(ROUNDS)
    ]
    one, two, shared = (min(side) for side in zip(*turns, strict=True))
    return one, two, shared


def main() -> int:
    """Compare, print a line each; exit status 0 if the bars are met."""
    met, others, processors = True, peers(), len(os.sched_getaffinity(0))
    print(
        f"\nclient of inference services, CPU µs for one token event, {STREAMS} streams, {processors} processors",
        flush=True,
    )
    for name, rate, together in (
        ("paced", PACED, 1),
        (f"in bursts of {TOGETHER}", BURSTS, TOGETHER),
        ("as fast as it goes", FASTEST, 1),
    ):
        with sources(2, rate, together) as (base, second):
            one, two, shared = processes_compared(base, second)
            found = {peer: min(cpu(receive, base) for _ in range(ROUNDS)).event for peer, receive in others.items()}
        ratio = two.event / one.event
        alike = abs(two.together / one.together - 1) <= ALIKE
        verdict = f"not judged on {processors} processors"
        if rate != FASTEST or processors >= ENOUGH:
            below = all(one.event < spent for spent in found.values())
            fine = below and ratio <= MOST_OF_TWO and (alike or rate == FASTEST)
            met &= fine
            verdict = f"{MOST_OF_TWO:g} allowed{'' if alike else ', though events came otherwise bunched'}"
            verdict += "  met" if fine else "  NOT MET"
        shown = "".join(f"; {peer} {spent * 1e6:.1f}" for peer, spent in found.items())
        print(
            f"{name}: {one}, two processes of as many streams each {two}: {ratio:.2f} times{shown}; {verdict}\n"
            f"  beside it: the streams of one shared by two {shared}: {shared.event / one.event:.2f} times, and "
            f"{one.start:.2f} s to start and end one process, in none of these",
            flush=True,
        )
    return 0 if met else 1

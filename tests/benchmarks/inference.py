"""CPU time of the client for one token event, beside guidellm and aiperf against the same source.

The source is the simulated service, a process of its own, once paced (64 streams of 50 token/s, each event its own
write) and once in bursts (as fast as it goes). What counts is the time of a long run less that of a short one, so that
nobody's start is counted, which is stated apart; ours includes decoding. Bars: below both peers, paced and in bursts;
two processes cost at most 1.1 times as much for an event as one, each of them doing what the one did: as many streams,
of a source of its own, as one source feeds two clients at half the speed of each. That is how a load that is too much
for one process is shared. What it costs to share the streams of one among two, which nobody needs to do, is stated
beside it without a bar: each process then wakes up for half as many events, and waking up is most of what one costs.

Of each the least of several rounds counts, as whatever else runs only adds: processors that share a core, or a cache,
take more CPU time for the same work where all are busy. Two clients and two sources need four of them to be compared
with one of each; how many there are is stated.
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

from aicalib_hw.instruments.inference._crew import Crew
from aicalib_hw.instruments.inference._job import Job
from aicalib_hw.instruments.inference.engine import tiny_model

from aicalib_hw import registry

STREAMS = 64
TOKENS = 100
PACED, BURST = 50.0, 1e5
"""token/s of one stream."""

SHORT, LONG = 64, 512
"""Requests of a run."""

MOST_OF_TWO = 1.1
ROUNDS = 3
_ENVIRONMENT = Path("build/peers-inference")
_NEEDS = ("torch==2.13.0", "guidellm==0.8.1", "aiperf==0.13.0")
_MODEL = "simulated-8b"


@contextmanager
def source(rate: float) -> Iterator[str]:
    """Serve streams of `rate` token/s each, and give the base URL."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1, "seed": 1})
    service = registry.simulator("openai")(
        world, "service", follows_platform=False, stream_rate=rate, capacity=1e9, first_token=0.001
    )
    world.start()
    service.start()
    try:
        yield service.address.removeprefix("openai+")
    finally:
        service.stop()
        world.stop()


@contextmanager
def sources(count: int, rate: float) -> Iterator[list[str]]:
    """Serve streams of `rate` token/s each from so many sources, and give their base URLs."""
    with ExitStack() as undo:
        yield [undo.enter_context(source(rate)) for _ in range(count)]


def ours(processes: int, streams: int = STREAMS, others: Sequence[str] = ()) -> Callable[[str, int], None]:
    """Return what receives `requests` answers with the project's own client processes on so many streams together.

    others: sources of the further processes, none = all have the same one.
    """

    def receive(base: str, requests: int) -> None:
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

        with Crew(processes, job, trace=None, aborted=threading.Event()) as crew:
            crew.go()
            crew.wait_until_warm(120)
            seen = crew.collect(120)
        assert len(seen.times) == requests * TOKENS, f"{len(seen.times)} events of {requests * TOKENS} came"

    return receive


def peers() -> dict[str, Callable[[str, int], None]]:
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

    def guidellm(base: str, requests: int) -> None:
        work = tempfile.mkdtemp()
        _run(
            [str(programs / "guidellm"), "run", "--disable-console"],
            ["--backend", f"kind=openai_http,target={base.removesuffix('/v1')},model={_MODEL}"],
            ["--profile", f"kind=concurrent,streams={STREAMS}"],
            ["--constraint", f"kind=max_requests,count={requests}"],
            ["--tokenizer", f"kind=huggingface_auto,model={tokenizer}"],
            ["--data", f"kind=synthetic_text,prompt_tokens=16,output_tokens={TOKENS}"],
            ["--output", f"kind=json,path={work}/report.json"],
            work=work,
        )

    def aiperf(base: str, requests: int) -> None:
        work = tempfile.mkdtemp()
        _run(
            [str(programs / "aiperf"), "profile", "--ui", "none", "-m", _MODEL, "--url", base.removesuffix("/v1")],
            ["--endpoint-type", "completions", "--streaming", "--use-legacy-max-tokens", "--use-server-token-count"],
            ["--tokenizer", tokenizer, "--concurrency", str(STREAMS), "--request-count", str(requests)],
            ["--prompt-input-tokens-mean", "16", "--prompt-output-tokens-mean", str(TOKENS)],
            ["--extra-inputs", "ignore_eos:true", "--output-artifact-dir", work],
            work=work,
        )

    return {"guidellm": guidellm, "aiperf": aiperf}


def _run(*arguments: list[str], work: str) -> None:
    program, *words = (word for part in arguments for word in part)
    try:
        subprocess.run([str(Path(program).absolute()), *words], check=True, capture_output=True, timeout=300, cwd=work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def cpu(receive: Callable[[str, int], None], base: str, times: int = 1) -> tuple[float, float]:
    """Return the CPU time, user and system, of one more token event, and of everything else (start, end), s.

    times: so many times the usual requests.
    """

    def spent(requests: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        receive(base, requests)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    short, long = spent(times * SHORT), spent(times * LONG)
    each = (long - short) / (times * (LONG - SHORT) * TOKENS)
    return each, short - each * times * SHORT * TOKENS


def main() -> int:
    """Compare, print a line each; exit status 0 if the bars are met."""
    met = True
    others = peers()
    print(
        f"\nclient of inference services, CPU µs for one token event, {STREAMS} streams, {os.cpu_count()} processors",
        flush=True,
    )
    for name, rate in (("paced", PACED), ("in bursts", BURST)):
        with sources(2, rate) as (base, second):
            turns = [
                (
                    cpu(ours(1), base),
                    cpu(ours(2, 2 * STREAMS, [second]), base, times=2),
                    cpu(ours(2), base),
                )
                for _ in range(ROUNDS)
            ]
            one, two, shared = (min(each for each, _ in side) for side in zip(*turns, strict=True))
            start = min(turn[0][1] for turn in turns)
            ratio, beside = two / one, shared / one
            found = {peer: cpu(receive, base)[0] for peer, receive in others.items()}
        shown = ", ".join(f"{peer} {spent * 1e6:.1f}" for peer, spent in found.items())
        fine = one < min(found.values()) and ratio <= MOST_OF_TWO
        met &= fine
        print(
            f"{name}: {one * 1e6:.1f}, two processes of as many streams each {two * 1e6:.1f} ({ratio:.2f} times, "
            f"{MOST_OF_TWO:g} allowed); {shown}  {'met' if fine else 'NOT MET'}\n"
            f"  beside it: the streams of one shared by two {shared * 1e6:.1f} ({beside:.2f} times), and {start:.2f} s "
            "to start and end one process, in none of these",
            flush=True,
        )
    return 0 if met else 1

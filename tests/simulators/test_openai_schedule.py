"""The schedule of the simulated engine: what arithmetic says of it, and how well the wire keeps to it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aicalib_hw.simulators.inference.schedule import Engine, Job
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .serving import asked, reads, served

SETTINGS = {
    "capacity": 1000.0,
    "stream_rate": 50.0,
    "prompt_rate": 10_000.0,
    "first_token": 0.1,
    "tokens_per_event": 1,
    "slots": 8,
}


class Run:
    """An engine on a clock that jumps from one due moment to the next, or as `wakes` says."""

    def __init__(self, **settings: Any) -> None:
        self.now = 0.0
        self.engine = Engine(SETTINGS | settings, lambda: self.now)
        self.times: list[list[tuple[float, int]]] = []
        self.ended: list[float | None] = []

    def job(self, limit: int, prompt: int = 10, **more: Any) -> Job:
        number = len(self.times)
        self.times.append([])
        self.ended.append(None)

        def end() -> None:
            self.ended[number] = self.times[number][-1][0]

        job = Job(prompt, limit, "length", lambda count, due: self.times[number].append((due, count)), end, **more)
        self.engine.submit(job)
        return job

    def finish(self, wake: Callable[[float], float] = lambda due: due) -> None:
        while (due := self.engine.due()) is not None:
            self.now = max(self.now, wake(due))
            self.engine.run()


def test_one_stream_has_its_first_token_after_the_prompt_and_then_its_own_pace() -> None:
    run = Run()
    run.job(5, prompt=100)
    run.finish()
    assert [due for due, _ in run.times[0]] == pytest.approx([0.11, 0.13, 0.15, 0.17, 0.19])


def test_many_streams_share_what_the_platform_can_do() -> None:
    run = Run(slots=64)
    for _ in range(40):
        run.job(100)
    run.finish()
    last = [times[-1][0] for times in run.times]
    first = [times[0][0] for times in run.times]
    assert 40 * 99 / (max(last) - min(first)) == pytest.approx(1000.0, rel=0.01)


def test_a_slower_clock_and_other_work_slow_everything_down_in_proportion() -> None:
    paces = {}
    for clock, share in ((1.0, 1.0), (0.8, 1.0), (1.0, 0.5)):
        run = Run(slots=64)
        run.engine.clock, run.engine.share = clock, share
        paces[clock, share] = 40 / run.engine.step_time(40)
    assert paces[1.0, 1.0] == pytest.approx(1000)
    assert paces[0.8, 1.0] == pytest.approx(800)
    assert paces[1.0, 0.5] == pytest.approx(500)


def test_work_is_tokens_over_the_capacity_and_prompts_over_their_rate() -> None:
    run = Run()
    run.job(50, prompt=200)
    run.job(30, prompt=100, processed=20)
    run.finish()
    assert run.engine.work == pytest.approx(80 / 1000 + 220 / 10_000)
    assert (run.engine.tokens, run.engine.prompt_tokens) == (80, 300)


@settings(max_examples=60, deadline=None)
@given(
    limits=st.lists(st.integers(1, 40), min_size=1, max_size=20),
    step=st.integers(1, 4),
    bundle=st.integers(1, 5),
    lateness=st.lists(st.floats(0, 0.5), min_size=1, max_size=10),
)
def test_late_wake_ups_move_no_token_and_lose_none(
    limits: list[int], step: int, bundle: int, lateness: list[float]
) -> None:
    runs = []
    for late in (False, True):
        run = Run(tokens_per_event=step)
        for limit in limits:
            run.job(limit, bundle=bundle)
        delays = itertools.cycle(lateness if late else [0.0])
        run.finish(lambda due, delays=delays: due + next(delays))  # type: ignore[misc]
        runs.append(run)
    punctual, late_run = runs
    assert punctual.times == late_run.times
    for limit, times, ended in zip(limits, punctual.times, punctual.ended, strict=True):
        assert sum(count for _, count in times) == limit
        assert all(count <= step * bundle for _, count in times)
        assert [due for due, _ in times] == sorted(due for due, _ in times)
        assert ended == times[-1][0]
    assert punctual.engine.running == punctual.engine.waiting == 0


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=25), st.integers(1, 4))
@example([(1, 0.0), (1, 0.0), (3, 0.0), (2, 0.0), (1, 0.0), (4, 0.0), (5, 0.0), (2, 0.0)], 2)
def test_no_more_run_than_there_are_slots_and_a_client_that_leaves_gives_its_slot_to_the_next(
    jobs: list[tuple[int, float]], slots: int
) -> None:
    run = Run(slots=slots)
    made = [(run.job(limit), leaves) for limit, leaves in jobs]
    while (due := run.engine.due()) is not None:
        assert run.engine.running <= slots
        run.now = due
        run.engine.run()
        for job, leaves in made:
            if leaves < 0.3 and job.made > 3 and not job.gone:
                run.engine.cancel(job)
    assert run.engine.waiting == run.engine.running == 0
    assert run.engine.tokens == sum(job.made for job, _ in made)
    assert all(job.made == limit for (job, leaves), (limit, _) in zip(made, jobs, strict=True) if leaves >= 0.3)


@pytest.mark.parametrize(
    ("streams", "stream_rate", "a_step", "tokens"),
    [(1, 10.0, 1, 10), (1, 1000.0, 1, 800), (10, 100.0, 1, 80), (1, 20_000.0, 20, 16_000), (100, 200.0, 1, 160)],
)
def test_the_wire_keeps_the_pace_of_ten_to_twenty_thousand_tokens_a_second(
    streams: int, stream_rate: float, a_step: int, tokens: int
) -> None:
    options = {"stream_rate": stream_rate, "tokens_per_event": a_step, "capacity": 1e6, "context": 10**6}
    got: list[Any] = []
    with served(**options) as service:
        clients = [threading.Thread(target=lambda: got.append(reads(service, asked(tokens)))) for _ in range(streams)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        events = service.truth.events()
        assert service.truth.pace(streams) == streams * stream_rate
    assert len(got) == len(events) == streams
    for one in events:
        lasted = (one.due[-1] - one.due[0]) / 1e9
        first = one.counts[0]
        assert (sum(one.counts) - first) / lasted == pytest.approx(stream_rate, rel=0.002 if streams == 1 else 0.02)
        lateness = sorted(sent - due for sent, due in zip(one.sent, one.due, strict=True))
        assert lateness[0] >= -1_000  # rounding to ns, never before it is due
        assert lateness[len(lateness) // 2] < 250e6  # how late depends on who else uses the processors
    assert sum(b"".join(data for _, data in one).count(b'"text":" ') for one in got) == streams * tokens // a_step

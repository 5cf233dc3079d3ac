"""The simulated engine: which token of which request is due when, on an absolute schedule; standard library alone.

Continuous batching: a request waits for a slot, its prompt is processed, which gives its first token, and from then on
it gets its tokens in steps that all running requests share. A step lasts as long as the slower of one stream's own
pace and of what the platform can do for so many streams. Times follow from each other by addition, never from when
somebody woke up, so that a late process catches up and the mean rate is exact.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any


class Job:
    """One request for tokens. limit: tokens that it gets; reason: why it ends then. Times in s of world time.

    deliver(count, due): gets tokens when they are due. ended(): is called after the last. bundle: steps whose tokens
    are delivered together. pause_before, pause: s by which everything from that token on comes later.
    """

    def __init__(
        self,
        prompt_tokens: int,
        limit: int,
        reason: str,
        deliver: Callable[[int, float], None],
        ended: Callable[[], None],
        *,
        processed: int | None = None,
        bundle: int = 1,
        delay: float = 0.0,
        pause_before: int = 0,
        pause: float = 0.0,
    ) -> None:
        self.prompt_tokens, self.limit, self.reason = prompt_tokens, limit, reason
        self.processed = prompt_tokens if processed is None else processed
        self.deliver, self.ended = deliver, ended
        self.bundle, self.delay, self.pause_before, self.pause = bundle, delay, pause_before, pause
        self.made = 0
        self.held = 0
        self.gone = False


class Engine:
    """Runs jobs. capacity, stream_rate, prompt_rate: token/s; first_token: s.

    clock, share: of the nominal rates, from what heat permits and what other work leaves. work: s of full load that
    everything done so far has taken. seconds, prompt_seconds: spent on generating and on prompts, summed over requests.
    """

    def __init__(self, settings: dict[str, Any], now: Callable[[], float]) -> None:
        self._now = now
        self._capacity = float(settings["capacity"])
        self._stream_rate = float(settings["stream_rate"])
        self._prompt_rate = float(settings["prompt_rate"])
        self._first_token = float(settings["first_token"])
        self._tokens_a_step = int(settings["tokens_per_event"])
        self._slots = int(settings["slots"])
        self.clock = 1.0
        self.share = 1.0
        self.work = 0.0
        self.prompt_tokens = 0
        self.tokens = 0
        self.steps = 0
        self.prompt_seconds = 0.0
        self.seconds = 0.0
        self._waiting: deque[Job] = deque()
        self._ready: list[tuple[float, int, Job]] = []
        self._joining: list[Job] = []
        self._running: list[Job] = []
        self._step_ends = self._step_lasts = 0.0
        self._order = 0

    @property
    def running(self) -> int:
        """Requests that have a slot."""
        return len(self._ready) + len(self._joining) + len(self._running)

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Take a job in."""
        self._waiting.append(job)
        self._admit(self._now())

    def cancel(self, job: Job) -> None:
        """Give up a job whose client has gone; idempotent."""
        job.gone = True
        for group in (self._joining, self._running, self._waiting):
            if job in group:
                group.remove(job)
        self._ready = [entry for entry in self._ready if entry[2] is not job]
        heapq.heapify(self._ready)
        if not self._running:
            self._next_step(self._now())  # who waited for the step of the one that left would wait for ever
        self._admit(self._now())

    def due(self) -> float | None:
        """Return when something is due next, s of world time; None while nothing is."""
        moments = [self._ready[0][0]] if self._ready else []
        if self._running:
            moments.append(self._step_ends)
        return min(moments, default=None)

    def run(self) -> None:
        """Do all that is due by now."""
        now = self._now()
        while (moment := self.due()) is not None and moment <= now:
            if self._running and self._step_ends == moment:
                self._step(moment)
            else:
                self._begin(heapq.heappop(self._ready)[2], moment)

    def _admit(self, moment: float) -> None:
        while self._waiting and self.running < self._slots:
            job = self._waiting.popleft()
            processing = job.processed / (self._prompt_rate * self.clock * self.share)
            self.prompt_seconds += processing
            self._at(moment + self._first_token + processing + job.delay, job)

    def _at(self, moment: float, job: Job) -> None:
        self._order += 1
        heapq.heappush(self._ready, (moment, self._order, job))

    def _begin(self, job: Job, moment: float) -> None:
        if not job.made:
            self.prompt_tokens += job.prompt_tokens
            self.work += job.processed / (self._prompt_rate * self.clock)
        self._give(job, min(self._tokens_a_step, job.limit - job.made), moment)
        if job.made >= job.limit:
            self._end(job, moment)
        elif not job.gone:
            self._joining.append(job)
            if not self._running:
                self._next_step(moment)

    def _step(self, moment: float) -> None:
        finished = []
        self.steps += 1
        self.seconds += len(self._running) * self._step_lasts
        for job in tuple(self._running):
            if job.pause and job.made >= job.pause_before:
                self._running.remove(job)
                self._at(moment + job.pause, job)
                job.pause = 0.0
                continue
            self._give(job, min(self._tokens_a_step, job.limit - job.made), moment)
            if job.made >= job.limit:
                finished.append(job)
        for job in finished:
            self._end(job, moment)
        self._next_step(moment)

    def _next_step(self, moment: float) -> None:
        self._running += self._joining
        self._joining.clear()
        if self._running:
            self._step_lasts = self.step_time(len(self._running))
            self._step_ends = moment + self._step_lasts

    def step_time(self, streams: int) -> float:
        """Return how long a step of so many streams takes now, s."""
        each = max(1 / self._stream_rate, streams / (self._capacity * self.share))
        return self._tokens_a_step * each / self.clock

    def _give(self, job: Job, count: int, moment: float) -> None:
        job.made += count
        job.held += count
        self.tokens += count
        self.work += count / (self._capacity * self.clock)
        if job.held >= job.bundle * self._tokens_a_step or job.made >= job.limit:
            held, job.held = job.held, 0
            job.deliver(held, moment)

    def _end(self, job: Job, moment: float) -> None:
        if job.gone:
            return
        job.gone = True
        if job in self._running:
            self._running.remove(job)
        job.ended()
        self._admit(moment)

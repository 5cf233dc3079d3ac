"""From the lines of a log to steps: how many, how many tokens, how long, and what in the log speaks against it.

Tokens are sequences × length of the steps that were applied: a step that the loss scaler skipped consumed its sequences
and changed no weight. The first line that is seen only begins the count, as nobody knows how many steps it sums up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aicalib_hw.errors import ProtocolError
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import Instant

from ._formats import Format, Logged


@dataclass(frozen=True, slots=True)
class Moment:
    """When a line came: here (None if it was there before we looked), and by its own stamp and its last digit in s."""

    here: Instant | None
    stamped: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Span:
    """The steps `first` + 1 to `last`, which one line sums up.

    tokens: of the applied ones. seconds: of all of them, by the log; last_step_only: it timed the last of them.
    half_width: of `seconds`, relative, from the digits that the log writes. raw: the line. told: the log says how many
    of them were skipped; if not, `tokens` are those of all.
    """

    first: int
    last: int
    tokens: int
    seconds: float
    half_width: float
    begin: Moment
    end: Moment
    last_step_only: bool
    loss: float | None
    raw: str
    told: bool

    @property
    def steps(self) -> int:
        """How many steps."""
        return self.last - self.first


class Tally:
    """Counts the steps of a log of `format`, of a job whose batch and length are those of `plan`.

    objections, remarks: what speaks against a result, and what its reader must know; each once, in order. overflowed: a
    loss scaler is at work, as the log says somewhere that it skipped a step.
    """

    def __init__(self, format: Format, plan: TrainingPlan, where: str) -> None:
        self.format = format
        self.spans: list[Span] = []
        self.seen = 0
        self._plan = plan
        self._where = where
        self._before: tuple[Logged, Moment, int] | None = None
        self._objections: dict[str, None] = {}
        self._remarks: dict[str, None] = {}
        self._skipped_so_far: dict[int, int] = {}
        self.overflowed = False

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the steps so far give no valid result; nothing if they do."""
        return tuple(self._objections)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of the steps so far."""
        return tuple(self._remarks)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a step, by the plan."""
        return self._plan.global_batch * self._plan.sequence_length

    def note_skipped(self, step: int, so_far: int) -> None:
        """Keep how many steps up to `step` the log says were not applied."""
        self._skipped_so_far[step] = so_far
        self.overflowed = self.overflowed or so_far > 0

    def untold(self, spans: Sequence[Span]) -> list[Span]:
        """Return those of the spans of which the log does not say how many steps were skipped, also not by now."""
        return [span for span in spans if not span.told and not self._none_skipped(span)]

    def object(self, reason: str) -> None:
        """Keep a reason against the result."""
        self._objections[reason] = None

    def remark(self, text: str) -> None:
        """Keep what a reader must know."""
        self._remarks[text] = None

    def add(self, logged: Logged, here: Instant | None, raw: str) -> Span | None:
        """Count what a line says; return its steps, None where it gives none. Raises ProtocolError if steps go back."""
        self.seen += 1
        if logged.remark:
            self.remark(logged.remark)
        number = self._number(logged)
        moment = Moment(here, logged.at)
        before, self._before = self._before, (logged, moment, number)
        if logged.batch not in (None, self._plan.global_batch):
            self.object(f"the log says a global batch of {logged.batch}, and the plan {self._plan.global_batch}")
        if before is None:
            return None
        if number == before[2]:
            self.remark("a step is logged more than once, by several processes perhaps; each counts once")
            self._before = before
            return None
        if number < before[2]:
            raise ProtocolError(
                f"the log goes back from step {before[2]} to step {number}",
                where=self._where,
                why="the job began again, from a checkpoint perhaps, and what it repeats does not count",
                advice="measure again while the job runs undisturbed",
            )
        span = self._span(before, (logged, moment, number), raw)
        self.spans.append(span)
        return span

    def warm(self, steps: int) -> int:
        """Return from which span on at least so many steps were let pass."""
        passed = 0
        for index, span in enumerate(self.spans):
            if passed >= steps:
                return index
            passed += span.steps
        return len(self.spans)

    def gaps(self, spans: list[Span]) -> tuple[str, ...]:
        """Return where lines are missing: a span longer than most are."""
        if not spans:
            return ()
        counts = Counter(span.steps for span in spans)
        usual = max(counts, key=lambda steps: (counts[steps], steps))
        return tuple(
            f"lines are missing between steps {span.first} and {span.last}: the others stand {usual} steps apart"
            for span in spans
            if span.steps > usual
        )

    def _number(self, logged: Logged) -> int:
        """The step's number; where the log counts tokens only, how many whole steps they make."""
        if logged.step is not None:
            return logged.step
        tokens = logged.tokens or 0
        number = round(tokens / self.tokens_per_step)
        if number * self.tokens_per_step != tokens:
            self.object(
                f"{tokens} tokens that the log counts are no whole steps of {self._plan.global_batch} × "
                f"{self._plan.sequence_length}: batch or length is another, or padding is not counted"
            )
        if self._before is not None and number == self._before[2] and tokens > (self._before[0].tokens or 0):
            return number + 1
        return number

    def _span(self, before: tuple[Logged, Moment, int], now: tuple[Logged, Moment, int], raw: str) -> Span:
        (then, begin, first), (logged, end, last) = before, now
        steps = last - first
        batch = logged.batch or self._plan.global_batch
        if logged.samples is not None and then.samples is not None and logged.samples - then.samples != steps * batch:
            self.object(
                f"the log counts {logged.samples - then.samples} sequences over {steps} steps, and {batch} make a step"
            )
        known = self._skipped(logged, first, last)
        skipped = known or 0
        if skipped:
            self.overflowed = True
            self.remark(f"{skipped} steps up to {last} were skipped; their tokens do not count")
        if not 0 <= skipped <= steps:
            self.object(f"the log counts {skipped} skipped steps among {steps} up to {last}")
        if logged.spoiled or (logged.loss is not None and not math.isfinite(logged.loss)):
            self.object(f"the loss is not finite up to step {last}")
        seconds, half = self._seconds(then, logged, steps)
        tokens = max(0, steps - max(0, skipped)) * batch * self._plan.sequence_length
        if logged.tokens is not None and then.tokens is not None:
            tokens = logged.tokens - then.tokens
        loss = logged.loss if logged.loss is not None and math.isfinite(logged.loss) else None
        return Span(first, last, tokens, seconds, half, begin, end, logged.last_step_only, loss, raw, known is not None)

    def _skipped(self, logged: Logged, first: int, last: int) -> int | None:
        """Steps after `first` up to `last` that were not applied; None where the log does not tell, so far."""
        if logged.skipped is not None:
            return logged.skipped
        if first not in self._skipped_so_far or last not in self._skipped_so_far:
            return None
        return self._skipped_so_far[last] - self._skipped_so_far[first]

    def _none_skipped(self, span: Span) -> bool:
        """True if the log counts as many skipped steps at some step before the span as at some step after it."""
        before = [count for step, count in self._skipped_so_far.items() if step <= span.first]
        after = [count for step, count in self._skipped_so_far.items() if step >= span.last]
        return bool(before and after) and max(before) == min(after)

    def _seconds(self, then: Logged, now: Logged, steps: int) -> tuple[float, float]:
        """Seconds of all the steps by the log, and their relative half-width."""
        half = now.half_digit / now.pace
        match now.unit:
            case "s/step":
                return now.pace * steps, half
            case "sample/s":
                return self._plan.global_batch / now.pace * steps, half
            case "token/s/device":
                return self.tokens_per_step / (now.pace * self._plan.processors) * steps, half
            case "s in all" | "s/sample in all":
                passed = now.pace - then.pace
                if passed <= 0:
                    raise ProtocolError(
                        f"the log's running time goes from {then.pace:g} s to {now.pace:g} s",
                        where=self._where,
                        why="the job began again, or its lines are of several jobs",
                    )
                scale = 1 if now.unit == "s in all" else self._plan.global_batch
                return scale * passed, (then.half_digit + now.half_digit) / passed

"""One job that is followed: where its lines come from, its command if it was started here, and the steps so far."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aicalib_hw.errors import Aborted, ConnectionLost, DeadlineExceeded, ProtocolError
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Finished, Process

from ._formats import FORMATS, Format, overflows, plain
from ._lines import FileLines, Line, Lines, OutputLines
from ._tally import Span, Tally

_LOOK_EVERY = 0.02
_OTHERS = 20
"""Steps of another framework's form, without one of the own, after which the log is that framework's."""

_KEPT = 3
_WORDS = 160
"""Lines that an error quotes, and the characters of each."""

_LEAST_FREE = 1 << 20
"""Bytes below which a disk is called full."""

_MARK = re.compile(r"\b(?i:serial|uuid|build|version)\b\W{1,80}(SIM(?!D\b)[\w.-]*)")
_SEQUENCE = re.compile(r"^\W*seq_length\W+(\d+)\s*$", re.MULTILINE)
_PER_STEP = re.compile(r"tokens per iteration will be:\s*([\d,]+)")


def mark_in(text: str) -> str:
    """Return the serial number, build or version by which a job says that it is simulated, "" if it does not."""
    found = _MARK.search(text)
    return found[1] if found else ""


class Following:
    """The steps of a job as its log tells them, from now on or from the beginning of the log.

    path: the log; None = the output of the plan's command. mark: by what the job says that it is simulated.
    used: how many spans earlier measurements have used.
    """

    def __init__(
        self, format: Format, plan: TrainingPlan, path: Path | None, history: bool, trace: Trace | None
    ) -> None:
        self.mark = ""
        self.used = 0
        self.where = str(path) if path else " ".join(plan.command)
        self.tally = Tally(format, plan, self.where)
        self._format = format
        self._plan = plan
        self._path = path
        self._history = history
        self._last: deque[str] = deque(maxlen=_KEPT)
        self._lines = 0
        self._others = 0
        self._most_others = 0
        self._process: Process | None = None
        self._started = False
        self._finished: Finished | None = None
        output = OutputLines()
        if plan.command:
            self._process = Process(
                plan.command, trace=trace, on_line=output.put if path is None else None, merged=True, guarded=True
            )
        self._source: Lines = output if path is None else FileLines(path, history=history, expected=bool(plan.command))

    def same_as(self, plan: TrainingPlan) -> bool:
        """True if this job is the plan's, and still goes on."""
        mine = self._plan
        ours = (mine.command, mine.global_batch, mine.sequence_length, mine.processors)
        running = self._process is None or self._process.running
        return running and ours == (plan.command, plan.global_batch, plan.sequence_length, plan.processors)

    def introduce(self, head: str) -> None:
        """Take what the beginning of a log says of the job."""
        for line in head.splitlines():
            self._introduced(plain(line))

    def spans(self, aborted: threading.Event, *, until: float | None = None) -> Iterator[Span | None]:
        """Yield the steps of each line as it comes, None whenever nothing came, until a monotonic time in s.

        Raises ProtocolError for a log that changes its form or goes back, DeadlineExceeded where no step comes,
        ConnectionLost where the command ends, Aborted.
        """
        self._source.resume()
        if self._process is not None and not self._started:
            self._started = True
            self._process.start()
        heard = time.monotonic()
        while until is None or time.monotonic() < until:
            ended = self._ended(aborted)
            came = False
            for line in self._source.poll():
                came = True
                seen = self.tally.seen
                span = self._take(line)
                if self.tally.seen > seen:
                    heard = time.monotonic()
                if span is not None:
                    yield span
            if aborted.is_set():
                raise Aborted("following the log was stopped", where=self.where)
            if came:
                continue
            if ended is not None:
                raise self._over(ended)
            if time.monotonic() - heard > self._plan.step_timeout:
                raise self._hanging()
            yield None
            aborted.wait(_LOOK_EVERY)

    def since(self, plan: TrainingPlan) -> list[Span]:
        """Return the steps after the warm-up that no measurement has used, of `plan.steps` or as few more as can be."""
        tally = self.tally
        begin = max(self.used, tally.warm(plan.warm_up_steps))
        spans = tally.spans[begin:]
        if not self._history:
            while spans and None in (spans[0].begin.here, spans[0].end.here):
                spans = spans[1:]
        steps = 0
        for index, span in enumerate(spans):
            steps += span.steps
            if steps >= plan.steps:
                return spans[: index + 1]
        return spans

    def facts(self) -> dict[str, Any]:
        """Return what is known of the log, as plain data."""
        return {
            "path": str(self._path) if self._path else None,
            "command": list(self._plan.command),
            "lines": self._lines,
            "events": list(self._source.events),
            "last_lines": list(self._last),
        }

    def abort(self) -> None:
        """End the command now; from any thread; never raises."""
        if self._process is not None:
            self._process.abort()

    def close(self) -> bool:
        """Ask the command to end, end it, and close the log; True if it was still running."""
        running = self._process is not None and self._process.running
        if self._process is not None:
            self._process.stop()
        self._source.close()
        return running

    def _take(self, line: Line) -> Span | None:
        text = plain(line.text)
        self._lines += 1
        if text.strip():
            self._last.append(text[:400])
        self._introduced(text)
        for event in self._source.events:
            self.tally.remark(event)
        if told := self._format.skipped_so_far(text):
            self.tally.note_skipped(*told)
        if overflows(text):
            self.tally.overflowed = True
        try:
            logged = self._format.read(text)
        except ValueError as error:
            raise ProtocolError(
                f"a line of {self._format.title} does not say what it should",
                where=self.where,
                why=f"{error}: {text[:200]}",
                advice="the form of the log has changed, or it is another framework's",
            ) from error
        if logged is None:
            self._watch_others(text)
            return None
        self._most_others = max(self._most_others, self._others)
        self._others = 0
        return self.tally.add(logged, line.here, text)

    def _introduced(self, text: str) -> None:
        """Hold what the job says of itself against the plan."""
        self.mark = self.mark or mark_in(text)
        if (found := _SEQUENCE.search(text)) and int(found[1]) != self._plan.sequence_length:
            self.tally.object(f"the job says seq_length {found[1]}, and the plan {self._plan.sequence_length}")
        if found := _PER_STEP.search(text):
            stated = int(found[1].replace(",", ""))
            if stated != self.tally.tokens_per_step:
                self.tally.object(f"the job says {stated} tokens in a step, and the plan {self.tally.tokens_per_step}")

    def _watch_others(self, text: str) -> None:
        for other in FORMATS.values():
            if other.read is self._format.read:
                continue
            try:
                found = other.read(text) is not None
            except ValueError:
                found = True
            if not found:
                continue
            self._others += 1
            if self._others > max(_OTHERS, 3 * self._most_others):
                raise ProtocolError(
                    f"the log is of {other.title}, and {self._format.title} was expected",
                    where=self.where,
                    why=f"{self._others} steps in its form: {text[:200]}",
                    advice=f"framework={other.name}",
                )
            return

    def _ended(self, aborted: threading.Event) -> Finished | None:
        """How the command ended, all it wrote read; None while it runs."""
        if self._finished is None and self._process is not None and not self._process.running and not aborted.is_set():
            self._finished = self._process.wait(1.0)
        return self._finished

    def _over(self, ended: Finished) -> ConnectionLost:
        """What to say of a command that has ended before its steps were there."""
        how = f"by signal {-ended.status}" if ended.status < 0 else f"with status {ended.status}"
        return ConnectionLost(
            f"the job ended {how} after {sum(span.steps for span in self.tally.spans)} steps",
            where=self.where,
            why=(ended.output.strip().splitlines() or [self._last_words()])[-1] + self._full(),
            advice="let it run longer than warm-up and window together" if ended.status == 0 else "",
        )

    def _hanging(self) -> DeadlineExceeded:
        steps = sum(span.steps for span in self.tally.spans)
        return DeadlineExceeded(
            f"no step was logged for {self._plan.step_timeout:g} s",
            where=self.where,
            why=f"{steps} steps and {self._lines} lines came before; {self._last_words()}{self._full()}",
            advice="look whether the job hangs, logs elsewhere, or logs more seldom than step_timeout",
        )

    def _last_words(self) -> str:
        return " / ".join(line.strip()[:_WORDS] for line in self._last) if self._last else "it wrote nothing"

    def _full(self) -> str:
        """Say so if the disk of the log is full, as a job that cannot write says nothing of its own."""
        if self._path is None or not hasattr(os, "statvfs"):
            return ""
        try:
            system = os.statvfs(self._path.parent)
        except OSError:
            return ""
        return "; the disk of the log is full" if system.f_bavail * system.f_frsize < _LEAST_FREE else ""

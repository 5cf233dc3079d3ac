"""The clocks that a followed job's stop-watch is held against: the arrival of its lines here, and their time stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._tally import Span

_LATE = 0.1
"""s by which a line may come late: buffers, and looking at a file now and then."""

_STAMPED_LATE = 0.02
"""s by which a line may be stamped late, on a host that is busy training."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How long the steps took by a clock that is not the job's stop-watch, in s, and what it cannot tell of it."""

    name: str
    length: float
    allowance: float

    def share(self, seconds: float) -> float:
        """By what share of the job's own times it disagrees with them."""
        return self.length / seconds - 1

    def agrees(self, seconds: float, outside: float) -> bool:
        """True if no more than `outside` passed outside the job's times, as far as this clock can tell."""
        return abs(self.share(seconds)) <= outside + self.allowance / seconds


def clocks_of(spans: Sequence[Span]) -> list[Clock]:
    """The other clocks that saw the steps, the one that tells most first."""
    found: list[Clock] = []
    if not spans:
        return found
    first, last = spans[0].begin, spans[-1].end
    if first.here is not None and last.here is not None:
        found.append(Clock("arrival of the lines", last.here.seconds_since(first.here), _LATE))
    if first.stamped is not None and last.stamped is not None:
        allowance = _STAMPED_LATE + max(first.stamped[1], last.stamped[1])
        found.append(Clock("time stamps of the log", last.stamped[0] - first.stamped[0], allowance))
    return sorted(found, key=lambda one: one.allowance)


def disagreement(
    clocks: Sequence[Clock], seconds: float, outside: float
) -> tuple[float | None, tuple[str, ...], list[str]]:
    """Return by what share another clock disagrees with the job's times, the objection to that, and what to remark.

    The clock that tells most judges. If it disagrees, another that could tell `outside` and agrees has the last word:
    lines may be held back, and a host's clock may be set.
    """
    if not clocks or not seconds:
        return None, (), []
    judge = clocks[0]
    if not judge.agrees(seconds, outside):
        judge = next(
            (one for one in clocks if one.agrees(seconds, outside) and one.allowance <= outside * seconds), judge
        )
    share = judge.share(seconds)
    others = [
        f"by the {one.name} the steps took {one.length:.3f} s, and {seconds:.3f} s by the job's times: lines were held "
        "back, or a clock was set"
        for one in clocks
        if one is not judge and not one.agrees(seconds, outside)
    ]
    if judge.agrees(seconds, outside):
        return share, (), others
    if share > 0:
        why = "evaluation, checkpoints or waiting for data between the steps are not in the job's times"
    else:
        why = "a time in another unit, a wrong batch, length or number of processors, or lines of several jobs"
    said = f"the steps took {judge.length:.3f} s by the {judge.name}, and {seconds:.3f} s by the job's own times: {why}"
    return share, (said,), []

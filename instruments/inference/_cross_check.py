"""Usage held against what the engine itself counted, from before a load to after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aicalib_hw.errors import Aborted, InstrumentError

from ._crew import Seen
from ._page import Page

_SETTLE = 3.0
"""s for which counters may run on after the last answer, or before the first request."""


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """The counters of one page. pause: waits so many seconds, and raises where the measurement was aborted.

    before: tokens generated and prompt tokens when nothing was under way, None = none are served. remark: why.
    """

    page: Page | None
    model: str
    pause: Callable[[float], None]
    before: tuple[int, int | None] | None = None
    remark: str = ""

    @classmethod
    def begun(cls, page: Page | None, model: str, pause: Callable[[float], None]) -> CrossCheck:
        """Read the counters before a load, once they stand still."""
        if page is None:
            return cls(page, model, pause)
        try:
            found = page.total(model)
            end = time.monotonic() + _SETTLE
            while found is not None and time.monotonic() < end:
                pause(0.2)
                again = page.total(model)
                if again == found:
                    break
                found = again
        except Aborted:
            raise
        except InstrumentError as error:  # a page that hangs is no reason to measure nothing
            return cls(page, model, pause, remark=f"no counters of the engine: {error.what}")
        remark = "no counters of the engine that are known here" if found is None else ""
        return cls(page, model, pause, found, remark)

    def after(self, seen: Seen) -> tuple[tuple[str, ...], dict[str, Any] | None]:
        """Read the counters after a load; return the objections, and both counts, None where none are served."""
        if self.before is None or self.page is None:
            return (), None
        by_usage = sum(one.output_tokens or 0 for one in seen.requests)
        whole = all(one.complete and one.output_tokens is not None for one in seen.requests)
        end = time.monotonic() + _SETTLE
        generated: int | None = None
        while True:
            before = generated
            try:
                after = self.page.total(self.model)
            except InstrumentError as error:
                return (f"the engine's counters could not be read again: {error.what}",), None
            generated = 0 if after is None else after[0] - self.before[0]
            # where usage does not tell of every token, what there is to wait for is that they stand still
            settled = generated >= by_usage if whole else generated == before
            if settled or time.monotonic() > end:  # counters that are beyond the usage will not come back
                break
            self.pause(0.1 if whole else 0.2)
        prompts = (None if after is None else after[1]), self.before[1]
        found = {
            "generated_tokens": generated,
            "generated_tokens_by_usage": by_usage,
            "prompt_tokens": None if prompts[0] is None or prompts[1] is None else prompts[0] - prompts[1],
            "prompt_tokens_by_usage": sum(one.prompt_tokens or 0 for one in seen.requests),
        }
        if not whole or generated == by_usage:
            return (), found
        if generated < by_usage:
            return (
                f"the engine counted {generated} tokens, and usage states {by_usage}: one of the two is wrong",
            ), found
        return (f"the engine counted {generated} tokens, {by_usage} by usage: others used it, or one is wrong",), found

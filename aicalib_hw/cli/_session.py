"""One calibration session: an opened bench, a record, the procedures in a worker thread that can be stopped at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aicalib_hw.bench import Bench
from aicalib_hw.errors import Aborted
from aicalib_hw.interfaces import Progress
from aicalib_hw.metrology import Calibration
from aicalib_hw.readings import to_plain
from aicalib_hw.trace import redacted

_ABORT_EVERY = 0.1
_ABORT_WITHIN = 10.0

Step = Callable[..., Calibration]
"""Takes the record and a progress callable by keyword, measures one quantity, returns its calibration."""


class Session:
    """Runs `steps` (by title) one after the other in a thread and keeps what they measured.

    calibrations: what was measured so far. error: why it ended early, None if it did not.
    released: what giving the bench back did, None before.
    """

    def __init__(
        self,
        bench: Bench,
        steps: Mapping[str, Step],
        *,
        record: Path,
        plan: Mapping[str, Any],
        progress: Callable[[str, float, str], None],
    ) -> None:
        self.calibrations: list[Calibration] = []
        self.error: BaseException | None = None
        self.released: Any = None
        self._bench = bench
        self._steps = steps
        self._record_path = record
        self._plan = plan
        self._progress = progress
        self._stop_asked = threading.Event()
        self._measuring = threading.Event()
        # An event, and not Thread.join: an exception raised into a join makes the thread look ended when it is not.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="calibration", daemon=True)

    def run(self) -> None:
        """Start, and wait until the session has ended; a KeyboardInterrupt here leaves it running for `abort()`."""
        self._thread.start()
        while not self._ended.wait(_ABORT_EVERY):
            pass

    def abort(self) -> bool:
        """Stop everything that moves and wait until all is given back; False if that did not end in time."""
        self._stop_asked.set()
        deadline = time.monotonic() + _ABORT_WITHIN
        while not self._ended.is_set() and time.monotonic() < deadline:
            # Repeated, because an abort that falls between two operations ends neither of them.
            if self._measuring.is_set():
                self._bench.abort()
            self._ended.wait(_ABORT_EVERY)
        return self._ended.is_set()

    def _work(self) -> None:
        from aicalib_hw.records.store import Record

        settings = self._bench.settings
        try:
            with Record.create(
                self._record_path,
                title=settings.bench.title or settings.bench.name,
                bench={"file": settings.origin, **_without_secrets(settings.model_dump(mode="json"))},
                rule=settings.decision.rule,
                plan=self._plan,
            ) as record:
                try:
                    self._measure(record)
                finally:
                    self._measuring.clear()
                    self.released = self._bench.close()
                    record.event("released", **to_plain(self.released))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which shows it
            self.error = error
        finally:
            try:
                self._bench.close()
            finally:
                self._ended.set()

    def _measure(self, record: Any) -> None:
        certificates = self._bench.certificates
        for name, instrument in self._bench.instruments.items():
            record.equipment(
                name,
                instrument.identity,
                driver=to_plain(instrument.DRIVER),
                certificate=certificates.get(name),
                snapshot=instrument.snapshot(),
            )
        self._measuring.set()
        for title, step in self._steps.items():
            self._raise_if_stopped()
            self.calibrations.append(step(record=record, progress=self._reporter(title)))
            self._progress(title, 1.0, "done")

    def _reporter(self, title: str) -> Progress:
        def report(done: float, note: str) -> None:
            self._raise_if_stopped()
            self._progress(title, done, note)

        return report

    def _raise_if_stopped(self) -> None:
        if self._stop_asked.is_set():
            raise Aborted("the calibration was stopped", why="it was asked to stop")


def _without_secrets(bench: dict[str, Any]) -> dict[str, Any]:
    """Return a bench file as plain data whose addresses hold no password."""
    for entry in bench["instruments"].values():
        if entry["address"] is not None:
            entry["address"] = redacted(entry["address"])
    return bench


def verdict_failed(calibrations: Sequence[Calibration]) -> bool:
    """True if any verdict is a fail, conditional or not."""
    from aicalib_hw.metrology import Verdict

    failing = {Verdict.FAIL, Verdict.CONDITIONAL_FAIL}
    return any(result.decision.verdict in failing for calibration in calibrations for result in calibration.results)


def all_valid(calibrations: Sequence[Calibration]) -> bool:
    """True if every result may be used."""
    return all(calibration.validity and all(r.validity for r in calibration.results) for calibration in calibrations)

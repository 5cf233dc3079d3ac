"""Several accelerators at once: one thread each, and what they did in the time in which all of them worked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from aicalib_hw import definitions
from aicalib_hw.errors import Aborted
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import Accelerator, PeakMeasurement, Progress, Ready
from aicalib_hw.readings import Instant, Measurement, Validity, ValidityStatus, Window

LEAST_COMMON = 0.5
"""Share of the longest window that all must have in common: below it they did not work together."""


def measure_together(
    accelerators: Sequence[Accelerator],
    precision: Any,
    *,
    path: Any,
    duration: float,
    progress: Progress | None = None,
) -> list[PeakMeasurement]:
    """Run `measure_peak` on all of them at once and return the results in their order.

    What counts begins when all are warm, and until then each goes on working. If one fails the others are stopped, and
    its error is raised when all have ended. Nothing computes any more when this returns, by an interrupt neither.
    """
    if len(accelerators) == 1:
        return [accelerators[0].measure_peak(precision, path=path, duration=duration, progress=progress)]
    results: dict[int, PeakMeasurement] = {}
    failures: list[BaseException] = []
    start = _Start(len(accelerators))
    # Not join(): one that an interrupt has ended takes its thread for ended too (Python 3.11).
    ended = [threading.Event() for _ in accelerators]

    def call_off() -> None:
        start.called_off.set()
        for one in accelerators:
            one.abort()

    def work(index: int) -> None:
        try:
            told, ready = progress if index == 0 else None, start.joined()
            results[index] = accelerators[index].measure_peak(
                precision, path=path, duration=duration, ready=ready, progress=told
            )
            # For one that never asked, or the others would go on warming without end.
            ready(0.0)
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            failures.append(error)
            call_off()
        finally:
            ended[index].set()

    threads = [
        threading.Thread(target=work, args=(index,), name=f"measuring {one.address}", daemon=True)
        for index, one in enumerate(accelerators)
    ]
    try:
        for thread in threads:
            thread.start()
        for one in ended:
            one.wait()
    except BaseException:
        call_off()
        for thread, one in zip(threads, ended, strict=True):
            if thread.ident is not None:
                one.wait()
        raise
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(accelerators))]


class _Start:
    """Lets `count` threads begin together, when the last device is warm, or none of them once it is called off."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._lock = threading.Lock()
        self._all_here = threading.Event()
        self.called_off = threading.Event()

    def joined(self) -> Ready:
        """Return what one thread calls: the first call says that its device is warm, each whether all others are."""
        came = False

        def ready(seconds: float) -> bool:
            nonlocal came
            if self.called_off.is_set():
                raise Aborted("the measurement did not begin", why="another accelerator failed before it")
            if not came:
                came = True
                with self._lock:
                    self._missing -= 1
                    if self._missing == 0:
                        self._all_here.set()
            return self._all_here.wait(seconds)

        return ready


def sum_of(parts: Sequence[Measurement]) -> Measurement:
    """Return what accelerators did together: their work inside the common window over its length.

    parts: of one definition and unit, each with runs that cover its window. A part alone comes back as it is.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    definitions.require_same(*(part.definition for part in parts))
    start = max((part.window.start for part in parts), key=lambda instant: instant.monotonic_ns)
    stop = min((part.window.stop for part in parts), key=lambda instant: instant.monotonic_ns)
    length = stop.seconds_since(start)
    longest = max(part.window.duration for part in parts)
    reasons = _told_by([part for part in parts if not part.validity], of=parts)
    value = None
    if length < LEAST_COMMON * longest:
        reasons.append(f"the accelerators worked together for {max(length, 0.0):.3f} s of {longest:.3f} s only")
    else:
        value = sum(_work_inside(part, start, stop) for part in parts) / length
    remarks = _told_by([part for part in parts if part.validity], of=parts)
    status = ValidityStatus.INVALID if reasons else ValidityStatus.VALID
    return Measurement(
        quantity=first.quantity,
        definition=first.definition,
        value=value,
        unit=first.unit,
        window=Window(start, stop, "from the latest begin to the earliest end of all accelerators"),
        identity=_identity([part.identity for part in parts]),
        settings=_settings_of(parts),
        evidence={
            "operations": None if value is None else round(value * length),
            "common_s": length,
            "addresses": [part.identity.address for part in parts],
        },
        validity=Validity(status, (*reasons, *remarks)),
        load=1.0,
    )


def _told_by(parts: Sequence[Measurement], *, of: Sequence[Measurement]) -> list[str]:
    """What parts say, each thing once, and behind whom: by address, or all of them."""
    by_text: dict[str, list[str]] = {}
    for part in parts:
        for text in part.validity.reasons:
            by_text.setdefault(text, []).append(part.identity.address)
    return [
        f"{' '.join(addresses) if len(addresses) < len(of) else f'all {len(of)} accelerators'}: {text}"
        for text, addresses in by_text.items()
    ]


def _work_inside(part: Measurement, start: Instant, stop: Instant) -> float:
    """Operations of one accelerator in the window, from its runs; a run counts as far as it lies inside."""
    work = 0.0
    for run in part.runs:
        if run.value is None:
            continue
        begin = max(run.window.start.monotonic_ns, start.monotonic_ns)
        end = min(run.window.stop.monotonic_ns, stop.monotonic_ns)
        work += run.value * max(0, end - begin) / 1e9
    return work


def _settings_of(parts: Sequence[Measurement]) -> dict[str, Any]:
    """What was set: once where it is the same for all, else for each."""
    each = [dict(part.settings) for part in parts]
    if all(one == each[0] for one in each):
        return {"accelerators": len(parts), **each[0]}
    return {"accelerators": each}


def _identity(parts: Sequence[Identity]) -> Identity:
    """Who they are together; one simulated part makes the whole simulated."""
    ordered = sorted(parts, key=lambda one: not one.simulated)

    def all_of(texts: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(text for text in texts if text))

    extra = {}
    marked = [text for one in ordered for text in (one.extra.get("uuid", ""),) if text]
    if marked:
        extra["uuid"] = " ".join(marked)
    if times := all_of([one.extra.get("times", "") for one in ordered]):
        extra["times"] = times
    return Identity(
        maker=all_of([one.maker for one in ordered]),
        model=f"{len(parts)} accelerators: {all_of([one.model for one in ordered])}",
        serial=" ".join(one.serial for one in ordered if one.serial),
        firmware=all_of([one.firmware for one in ordered]),
        address=" ".join(one.address for one in parts),
        extra=extra,
    )

"""The matrix product of the installed BLAS, through numpy: what a user's program reaches, beside what the cores can."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import MissingExtra
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PeakMeasurement, Ready
from aicalib_hw.interfaces.instrument import Progress
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window

from ...bystanders import Bystanders
from .evidence import BUSY_SHARE
from .results import MOST_REJECTED, TIME_BASE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[Any]

PRECISIONS = {"fp64": "float64", "fp32": "float32"}
LEAST_CALLS = 10
_SLOW = 1.1
"""Duration of a call over that of the fastest, from which it counts as disturbed."""

_REMARKED_OTHERS = 0.02
_SIZE, _SMALL_SIZE = 2048, 512
_LONGEST_CALL_S = 0.25


def available() -> bool:
    """True where numpy is installed."""
    return importlib.util.find_spec("numpy") is not None


def measure(
    precision: str,
    duration: float,
    *,
    identity: Identity,
    cores: int,
    stopped: Callable[[], bool],
    ready: Ready | None = None,
    progress: Progress | None = None,
) -> PeakMeasurement | None:
    """Multiply square matrices for `duration` s and at least ten calls; None if `stopped()` ended it.

    sustained: all calls over the whole window. peak: the fastest call. Entries are small whole numbers, so
    the product is exact and is checked with a random vector (Freivalds) against integer arithmetic. ready: whether
    the accelerators that this one is measured with are warm too; until they are it multiplies, and nothing counts.
    Both are not valid where other programs took more than a fifth of the time.
    """
    if not available():
        raise MissingExtra("a matrix product needs numpy, which is not installed", advice="pip install numpy")
    import numpy as np

    generator = np.random.default_rng(1)
    size = _fitting_size(precision)
    left, right = (generator.integers(-2, 3, (size, size)).astype(PRECISIONS[precision]) for _ in range(2))
    product = np.empty((size, size), PRECISIONS[precision])
    if stopped():  # what comes before takes a second on a busy host
        return None
    np.matmul(left, right, out=product)
    while ready is not None and not ready(0.0):
        if stopped():
            return None
        np.matmul(left, right, out=product)
    spans: list[tuple[int, int]] = []
    worked: list[int] = []
    others, begin = Bystanders(), time.monotonic_ns()
    while len(spans) < LEAST_CALLS or time.monotonic_ns() - begin < duration * 1e9:
        if stopped():
            return None
        cpu_ns, start = time.process_time_ns(), time.monotonic_ns()
        np.matmul(left, right, out=product)
        spans.append((start, time.monotonic_ns()))
        worked.append(time.process_time_ns() - cpu_ns)
        if progress is not None:
            progress(min((spans[-1][1] - begin) / (duration * 1e9), 1.0), f"{precision} matrix product")
    held = others.share()
    right_result = _is_product(left, right, product)
    used = sum(worked) / (spans[-1][1] - spans[0][0])
    durations = [stop - start for start, stop in spans]
    obtained = share_obtained(worked, durations, cores)
    evidence = {
        "size": size,
        "calls": len(spans),
        "operations_a_call": 2 * size**3,
        "library": _library(),
        "processors_used": used,
        "share": obtained,
        "load_of_others": held,
        "disturbed_calls": slow_calls(durations),
    }
    validity = judged(obtained, held, durations)
    if not right_result:
        validity = Validity(ValidityStatus.INVALID, ("the matrix product is wrong", *validity.reasons))
    return _measurements(precision, spans, 2 * size**3, validity, evidence, identity, min(used / cores, 1.0))


def share_obtained(worked: Sequence[int], durations: Sequence[int], cores: int) -> float:
    """Return the share of its time, 0…1, for which the product's threads had processors.

    worked: processor time of each call, ns. As many threads as in the call that got most are taken to be at work, for
    the BLAS may have been told to use fewer than there are cores.
    """
    most = max(cpu / wall for cpu, wall in zip(worked, durations, strict=True))
    threads = min(cores, max(1, round(most)))
    return min(sum(worked) / (sum(durations) * threads), 1.0)


def slow_calls(durations: Sequence[int]) -> int:
    """Return how many calls took clearly longer than the fastest."""
    return sum(duration > _SLOW * min(durations) for duration in durations)


def judged(share: float, others: float | None, durations: Sequence[int]) -> Validity:
    """Return whether the host was ours: not valid where more than a fifth was taken, as with the rate of the kernel.

    share: of its time for which the product had processors; others: share of all processors that other programs held,
    None = not counted; durations: of the calls, ns. Less than a fifth is told, and does not invalidate.
    """
    signs, taken = [], []
    for lost, allowed, text in (
        (1 - share, 1 - BUSY_SHARE, f"busy host: the product had its processors for {share:.1%} of the time"),
        (others or 0.0, _REMARKED_OTHERS, f"busy host: other programs held {others or 0.0:.1%} of the processors"),
    ):
        if lost > allowed:
            signs.append(text)
        if lost > MOST_REJECTED:
            taken.append(text)
    slow = slow_calls(durations)
    if slow > MOST_REJECTED * len(durations):
        taken.append(
            f"{slow} of {len(durations)} calls took more than {_SLOW - 1:.0%} longer than the fastest: the clock fell, "
            "or a hypervisor took time; measure when warm, and with no other guests"
        )
    if not taken:
        return Validity(reasons=tuple(signs))
    return Validity(ValidityStatus.INVALID, (*dict.fromkeys((*taken, *signs)),))


def _measurements(
    precision: str,
    spans: list[tuple[int, int]],
    operations: int,
    validity: Validity,
    evidence: Mapping[str, Any],
    identity: Identity,
    share: float,
) -> PeakMeasurement:
    best = min(spans, key=lambda span: span[1] - span[0])
    whole = (spans[0][0], spans[-1][1])
    rates = [operations * 1e9 / (stop - start) for start, stop in spans]
    counted = Component(
        name="operations",
        kind="B",
        unit="1",
        relative=True,
        half_width=0.0,
        source="2 n³ of a dense product, by definition",
    )

    def measurement(kind: str, value: float, window: tuple[int, int], rule: str) -> Measurement:
        return Measurement(
            quantity="compute",
            definition=f"flop/{precision}-accumulate-{precision}/gemm/{kind}",
            value=value,
            unit="FLOP/s",
            window=_window(*window, rule),
            identity=identity,
            runs=tuple(Run(rate, _window(*span, "one call")) for rate, span in zip(rates, spans, strict=True)),
            components=(counted, TIME_BASE),
            settings={"precision": precision, "path": "gemm", "size": evidence["size"]},
            evidence={**evidence, "repeatability": statistics.stdev(rates) / statistics.mean(rates)},
            validity=validity,
            load=1.0,
        )

    sustained = len(spans) * operations * 1e9 / (whole[1] - whole[0])
    return PeakMeasurement(
        sustained=measurement("sustained", sustained, whole, "from the first call to the last"),
        peak=measurement("best-call", max(rates), best, "the fastest call"),
        clock=None,
        efficiency_measured_clock=None,
        efficiency_maximum_clock=None,
        share=share,
        throttle=None,
        rejected=0,
    )


def _fitting_size(precision: str) -> int:
    """The largest power of two up to 2048 of which one call is expected to end within a quarter of a second."""
    import numpy as np

    probe = np.ones((_SMALL_SIZE, _SMALL_SIZE), PRECISIONS[precision])
    durations = []
    for _ in range(4):
        start = time.monotonic_ns()
        np.matmul(probe, probe)
        durations.append((time.monotonic_ns() - start) / 1e9)
    size = _SIZE
    while size > _SMALL_SIZE and min(durations) * (size / _SMALL_SIZE) ** 3 > _LONGEST_CALL_S:
        size //= 2
    return size


def _is_product(left: Matrix, right: Matrix, product: Matrix) -> bool:
    import numpy as np

    vector = np.random.default_rng(2).integers(-9, 10, left.shape[0])
    wanted = left.astype(np.int64) @ (right.astype(np.int64) @ vector)
    return bool(np.array_equal(product.astype(np.int64) @ vector, wanted))


def _library() -> str:
    """Name and version of the BLAS that numpy was built with."""
    import numpy as np

    told: Any = np.show_config(mode="dicts")
    blas = (told or {}).get("Build Dependencies", {}).get("blas", {})
    return f"numpy {np.__version__}, {blas.get('name', 'unknown BLAS')} {blas.get('version', '')}".strip()


def _window(begin: int, end: int, rule: str) -> Window:
    return Window(Instant.at_monotonic(begin), Instant.at_monotonic(end), rule)

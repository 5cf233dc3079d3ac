"""The matrix product of the installed BLAS, through numpy: what a user's program reaches, beside what the cores can."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import MissingExtra
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PeakMeasurement, Ready
from aicalib_hw.interfaces.instrument import Progress
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window

from .results import TIME_BASE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[Any]

PRECISIONS = {"fp64": "float64", "fp32": "float32"}
LEAST_CALLS = 10
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
    """
    if not available():
        raise MissingExtra("a matrix product needs numpy, which is not installed", advice="pip install numpy")
    import numpy as np

    generator = np.random.default_rng(1)
    size = _fitting_size(precision)
    left, right = (generator.integers(-2, 3, (size, size)).astype(PRECISIONS[precision]) for _ in range(2))
    product = np.empty((size, size), PRECISIONS[precision])
    np.matmul(left, right, out=product)
    while ready is not None and not ready(0.0):
        if stopped():
            return None
        np.matmul(left, right, out=product)
    spans: list[tuple[int, int]] = []
    cpu_ns, begin = time.process_time_ns(), time.monotonic_ns()
    while len(spans) < LEAST_CALLS or time.monotonic_ns() - begin < duration * 1e9:
        if stopped():
            return None
        start = time.monotonic_ns()
        np.matmul(left, right, out=product)
        spans.append((start, time.monotonic_ns()))
        if progress is not None:
            progress(min((spans[-1][1] - begin) / (duration * 1e9), 1.0), f"{precision} matrix product")
    cpu_ns = time.process_time_ns() - cpu_ns
    right_result = _is_product(left, right, product)
    wall_ns = spans[-1][1] - spans[0][0]
    evidence = {
        "size": size,
        "calls": len(spans),
        "operations_a_call": 2 * size**3,
        "library": _library(),
        "processors_used": cpu_ns / wall_ns,
    }
    return _measurements(
        precision, spans, 2 * size**3, right_result, evidence, identity, min(cpu_ns / wall_ns / cores, 1.0)
    )


def _measurements(
    precision: str,
    spans: list[tuple[int, int]],
    operations: int,
    right_result: bool,
    evidence: Mapping[str, Any],
    identity: Identity,
    share: float,
) -> PeakMeasurement:
    best = min(spans, key=lambda span: span[1] - span[0])
    whole = (spans[0][0], spans[-1][1])
    validity = Validity() if right_result else Validity(ValidityStatus.INVALID, ("the matrix product is wrong",))
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

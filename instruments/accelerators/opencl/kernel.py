"""The multiply-add kernel on one OpenCL device, launched and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double, c_float, c_int, c_void_p
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..offload import CHAINS
from . import library
from .library import Device, OpenCL, Session

ACCUMULATORS = 16
"""As many as multiply_add.cl has: latency times pipes of any device known here, and they fit into its registers."""

KERNEL = "multiply_add"
_SCALARS: dict[str, tuple[str, Any]] = {"fp32": ("float", c_float), "fp64": ("double", c_double)}


@dataclass(frozen=True, slots=True)
class Shape:
    """Work-items in a group, groups for each compute unit, and numbers in one accumulator."""

    group: int
    groups_per_unit: int
    lanes: int


# A processor's vectors are written out and one work-item fills a core; elsewhere the work-items are the lanes.
_BY_TYPE = {"cpu": (1, 1), "gpu": (256, 16), "accelerator": (64, 4), "custom": (64, 4)}


def source() -> str:
    """Return the kernel's source, which an FPGA's own compiler takes as well."""
    return files(__package__).joinpath("multiply_add.cl").read_text(encoding="utf-8")


def options(precision: str, lanes: int) -> str:
    """Return the options that make the source a kernel of this precision and width."""
    scalar, suffix = _SCALARS[precision][0], "" if lanes == 1 else str(lanes)
    double = " -DFP64" if precision == "fp64" else ""
    return f"-cl-std=CL1.2 -DSCALAR={scalar} -DVECTOR={scalar}{suffix} -DLANES={lanes} -DWHOLE=int{suffix}{double}"


def shape_of(opencl: OpenCL, device: Device, precision: str) -> Shape:
    """Return the shape for this device: its own native width of vectors."""
    kind = library.DEVICE_TYPES.get(opencl.number(device, library.DEVICE_TYPE) & ~1, "custom")
    asked = library.DEVICE_WIDTH_FP64 if precision == "fp64" else library.DEVICE_WIDTH_FP32
    width = opencl.number(device, asked)
    return Shape(*_BY_TYPE[kind], width if width in (2, 4, 8, 16) else 1)


@contextmanager
def prepared(opencl: OpenCL, device: Device, precision: str, binary: bytes | None) -> Iterator[MultiplyAdd]:
    """The kernel built on the device; whatever runs is waited for, and all is given back, on leaving."""
    shape = shape_of(opencl, device, precision)
    with Session(opencl, device) as session:
        program = session.program(source(), options(precision, shape.lanes), binary)
        units = opencl.number(device, library.DEVICE_UNITS)
        yield MultiplyAdd(session, session.kernel(program, KERNEL), precision, shape, units)


class MultiplyAdd:
    """One launch is `size` pairs of steps of every accumulator of every work-item."""

    def __init__(self, session: Session, kernel: c_void_p, precision: str, shape: Shape, units: int) -> None:
        self._session = session
        self._kernel = kernel
        self._shape = shape
        self._items = units * shape.groups_per_unit * shape.group
        self._out = session.buffer(4 * self._items)
        chain = CHAINS[precision]
        self._factors = [_SCALARS[precision][1](one) for one in chain.factors]
        self.most_size = chain.most_pairs
        self.size = 64
        self._expected = 0
        self._origin_ns: int | None = None

    @property
    def operations(self) -> int:
        """Steps x accumulators x lanes x two operations, of all work-items."""
        return self.size * 2 * ACCUMULATORS * self._shape.lanes * 2 * self._items

    def launch(self) -> c_void_p:
        """Queue one launch; returns its event."""
        self._session.arguments(self._kernel, self._out, c_int(self.size), *self._factors)
        gained = sum(begin + self.size for begin in range(ACCUMULATORS))
        self._expected = (self._expected + self._shape.lanes * gained) % 2**32
        return self._session.launch(self._kernel, self._items, self._shape.group)

    def finish(self, token: c_void_p) -> tuple[float, float]:
        """Wait for a launch; begin and duration in s by its profiling event."""
        start, stop = self._session.times(token)
        if self._origin_ns is None:
            self._origin_ns = start
        return (start - self._origin_ns) / 1e9, (stop - start) / 1e9

    def reset(self) -> None:
        """Clear the results."""
        self._session.write(self._out, bytes(4 * self._items))
        self._expected = 0
        self._origin_ns = None

    def wrong(self) -> str:
        """Compare the sum of every work-item with the whole number that its steps make."""
        sums = memoryview(self._session.read(self._out, 4 * self._items)).cast("I")
        bad = sum(one != self._expected for one in sums)
        if not bad:
            return ""
        return f"wrong results: {bad} of {len(sums)} work-items, for example {sums[0]} and {self._expected} is right"

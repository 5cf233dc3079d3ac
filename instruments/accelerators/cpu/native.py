"""The native extension as Python objects; imported when first needed, because it may not be there."""

from __future__ import annotations

import importlib
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aicalib_hw.errors import MissingExtra, UsageError

from .arithmetic import Kernel

SPANS_A_CALL = 200
"""Slices of at most 0.3 ms in one call, so that a call ends well within 0.1 s."""

_SPAN_BYTES = 16


@dataclass(frozen=True, slots=True)
class Processor:
    """What CPUID says; empty or 0 where the processor cannot be asked. Clocks in MHz.

    withheld: instruction sets that it has and the operating system does not let this process use.
    """

    vendor: str
    brand: str
    family: int
    model: int
    stepping: int
    hypervisor: bool
    base_mhz: int
    maximum_mhz: int
    instruction_sets: tuple[str, ...]
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What one core is to do: `pairs` pairs of steps a slice; see aicalib_native.h for the rest."""

    kernel: Kernel
    pairs: int
    clock_pairs: int = 0
    clock_variant: int = 0
    slices_per_clock: int = 0


@dataclass(slots=True)
class Spans:
    """What one core did: start and stop of each slice in turn, in ns of the monotonic clock.

    gained, clock_gained: the least and the most that a lane gained in a slice, and in a clock slice; one value
        each if all is right.
    """

    slices: array[int] = field(default_factory=lambda: array("q"))
    clocks: array[int] = field(default_factory=lambda: array("q"))
    gained: set[int] = field(default_factory=set)
    clock_gained: set[int] = field(default_factory=set)

    def extend(self, other: Spans) -> None:
        """Append what one more call did."""
        self.slices.extend(other.slices)
        self.clocks.extend(other.clocks)
        self.gained |= other.gained
        self.clock_gained |= other.clock_gained


@dataclass(frozen=True, slots=True)
class LoadDone:
    """What one call of `load` did; ns. debt_ns: what it owes, to be given to the next call."""

    slices: int
    busy_ns: int
    wall_ns: int
    debt_ns: int
    least: int
    greatest: int


@cache
def extension() -> Any:
    """Return the native extension; raises MissingExtra, saying how to get it, where it was not built."""
    try:
        return importlib.import_module("aicalib_hw._native")
    except ImportError as error:
        if sys.platform == "win32":
            raise MissingExtra(
                "the processor cannot be measured on Windows",
                where="cpu://local",
                why="the kernels have not been ported",
                advice="measure it under Linux; what is no accelerator needs no kernels",
            ) from error
        raise MissingExtra(
            "the processor cannot be measured: the native extension of aicalib-hw is not built",
            where="cpu://local",
            why=f"{error}; it is left out when no C compiler is found during installation",
            advice="install a C compiler and Python's headers (Debian, Ubuntu: sudo apt-get install -y gcc libc6-dev "
            "python3-dev), then: pip install --force-reinstall --no-deps --no-binary aicalib-hw aicalib-hw "
            "(in a clone of the repository: pip install -e .)",
        ) from error


def kernels() -> tuple[Kernel, ...]:
    """Return every kernel that was built, the widest instruction sets first."""
    native = extension()
    described = native.ffi.new("aicalib_kernel *")
    found = []
    for index in range(native.lib.aicalib_kernel_count()):
        native.lib.aicalib_kernel_describe(index, described)
        found.append(
            Kernel(
                index=index,
                precision=_text(native, described.precision),
                accumulator=_text(native, described.accumulator),
                instruction_set=_text(native, described.instruction_set),
                path=_text(native, described.path),
                accumulators=described.accumulators,
                lanes=described.lanes,
                products=described.products,
                form=described.form,
                chain_cycles=described.chain_cycles,
                variants=described.variants,
                supported=bool(described.supported),
            )
        )
    return tuple(found)


def processor() -> Processor:
    """Ask the processor what it is."""
    native = extension()
    said = native.ffi.new("aicalib_processor *")
    native.lib.aicalib_processor_describe(said)
    return Processor(
        vendor=_text(native, said.vendor).strip(),
        brand=" ".join(_text(native, said.brand).split()),
        family=said.family,
        model=said.model,
        stepping=said.stepping,
        hypervisor=bool(said.hypervisor),
        base_mhz=said.base_mhz,
        maximum_mhz=said.maximum_mhz,
        instruction_sets=tuple(_text(native, said.instruction_sets).split()),
        withheld=tuple(_text(native, said.withheld).split()),
    )


class Control:
    """Stops the calls that were given it, from any thread, and counts the slices they have done."""

    def __init__(self) -> None:
        native = extension()
        self._lib = native.lib
        self.pointer = native.ffi.gc(native.lib.aicalib_control_new(), native.lib.aicalib_control_free)
        if self.pointer == native.ffi.NULL:
            raise MemoryError("no memory for a control block")
        self.stopped = False

    def stop(self) -> None:
        """End every call that uses this control, within one slice."""
        self.stopped = True
        self._lib.aicalib_control_stop(self.pointer)

    @property
    def progress(self) -> int:
        """Slices (of a load: periods) done so far."""
        return int(self._lib.aicalib_control_progress(self.pointer))


class Core:
    """Runs plans on the thread that calls it; one for each computing thread, because it owns the buffers."""

    def __init__(self, control: Control) -> None:
        self._native = extension()
        self._control = control
        self._slices = self._native.ffi.new("aicalib_span[]", SPANS_A_CALL)
        self._clocks = self._native.ffi.new("aicalib_span[]", SPANS_A_CALL)
        self._outcome = self._native.ffi.new("aicalib_outcome *")
        self._load_outcome = self._native.ffi.new("aicalib_load_outcome *")

    def run(self, plan: Plan, *, until_ns: int, not_before_ns: int = 0, most: int = SPANS_A_CALL) -> Spans:
        """Run slices until `until_ns`, a stop, or `most` of them; wait for `not_before_ns` first (busily)."""
        spans, lib, ffi = Spans(), self._native.lib, self._native.ffi
        given = self._plan(plan, not_before_ns=not_before_ns, until_ns=until_ns)
        capacity = min(most, SPANS_A_CALL)
        status = lib.aicalib_run(
            given, self._control.pointer, self._slices, capacity, self._clocks, SPANS_A_CALL, self._outcome
        )
        _require_done(status, plan)
        spans.slices.frombytes(ffi.buffer(self._slices, self._outcome.slices * _SPAN_BYTES)[:])
        spans.clocks.frombytes(ffi.buffer(self._clocks, self._outcome.clocks * _SPAN_BYTES)[:])
        if self._outcome.slices:
            spans.gained = {self._outcome.least, self._outcome.greatest}
        if self._outcome.clocks:
            spans.clock_gained = {self._outcome.clock_least, self._outcome.clock_greatest}
        return spans

    def load(self, plan: Plan, fraction: float, periods_ns: Sequence[int], *, debt_ns: int, until_ns: int) -> LoadDone:
        """Work for `fraction` of each period and sleep for the rest, until all are over, `until_ns` or a stop."""
        given = self._plan(plan, not_before_ns=0, until_ns=until_ns)
        periods = self._native.ffi.new("int64_t[]", list(periods_ns))
        done = self._load_outcome
        status = self._native.lib.aicalib_load(
            given, self._control.pointer, fraction, periods, len(periods_ns), debt_ns, done
        )
        _require_done(status, plan)
        return LoadDone(done.slices, done.busy_ns, done.wall_ns, done.debt_ns, done.least, done.greatest)

    def _plan(self, plan: Plan, *, not_before_ns: int, until_ns: int) -> Any:
        return self._native.ffi.new(
            "aicalib_plan *",
            {
                "kernel": plan.kernel.index,
                "clock_variant": plan.clock_variant,
                "slices_per_clock": plan.slices_per_clock,
                "operands": list(plan.kernel.operands),
                "pairs": plan.pairs,
                "clock_pairs": plan.clock_pairs,
                "not_before_ns": not_before_ns,
                "until_ns": until_ns,
            },
        )


def time_chains(multiplications: bool, links: int, count: int) -> tuple[int, list[int]]:
    """Time chains of dependent additions or multiplications alone: cycles a link (0 = no such chain), and ns each."""
    native = extension()
    spans = native.ffi.new("aicalib_span[]", count)
    cycles = native.lib.aicalib_time_chains(int(multiplications), links, spans, count)
    return cycles, [span.stop_ns - span.start_ns for span in spans] if cycles else []


def _require_done(status: int, plan: Plan) -> None:
    if status != 0:
        raise UsageError(
            f"the native extension refuses the plan for {plan.kernel.precision} on {plan.kernel.instruction_set}",
            where="cpu://local",
            why=f"pairs {plan.pairs}, clock variant {plan.clock_variant}, supported: {plan.kernel.supported}",
        )


def _text(native: Any, characters: Any) -> str:
    return bytes(native.ffi.string(characters)).decode("ascii", "replace")

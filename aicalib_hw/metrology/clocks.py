"""What is known of the host's clock, and what it contributes to a measured duration.

Durations come from CLOCK_MONOTONIC, whose rate the kernel disciplines with at most 500 ppm of slew.
Whether it is disciplined at all, adjtimex(2) tells; without that evidence the full 500 ppm stand. So they do, as an
assumption, on systems that have neither.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from dataclasses import dataclass

from aicalib_hw.readings import Component, Instant

UNKNOWN_RATE = 500e-6
"""Half-width of the clock's relative rate error where nothing is known: the kernel's limit of slew."""

LOCKED_RATE = 10e-6
"""Half-width where the kernel says that the clock is synchronised (assumption of this project)."""

SHARED = "host clock"
"""Key of every component that this host's clock causes."""

_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIME_ERROR = 5


@dataclass(frozen=True, slots=True)
class ClockEvidence:
    """What the kernel says of its clock at `at`: s and ratios; None = it does not tell.

    synchronised: a time service disciplines the clock. offset, maximum_error: s.
    frequency: correction in force, as a ratio (1e-6 = 1 ppm). source: where this comes from.
    """

    at: Instant
    synchronised: bool | None
    offset: float | None
    maximum_error: float | None
    frequency: float | None
    source: str


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2) on 64-bit Linux, as far as it is read here, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def clock_evidence() -> ClockEvidence:
    """Ask the kernel about its clock; on systems without adjtimex(2), say that nothing is known."""
    at = Instant.now()
    if not sys.platform.startswith("linux"):
        return ClockEvidence(at, None, None, None, None, f"{sys.platform} has no adjtimex(2)")
    state = _Timex()
    code = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    if code < 0:
        return ClockEvidence(at, None, None, None, None, f"adjtimex(2) failed, errno {ctypes.get_errno()}")
    return ClockEvidence(
        at=at,
        synchronised=code != _TIME_ERROR and not state.status & _STA_UNSYNC,
        offset=state.offset * (1e-9 if state.status & _STA_NANO else 1e-6),
        maximum_error=state.maxerror * 1e-6,
        frequency=state.freq / 65536e6,
        source=f"adjtimex(2) returned {code}, status {state.status:#x}",
    )


def time_base(evidence: ClockEvidence) -> Component:
    """Return the relative component that the host's clock brings into any duration it measured."""
    locked = evidence.synchronised is True
    if locked:
        source = "CLOCK_MONOTONIC, synchronised by the kernel's account"
    elif sys.platform.startswith("linux"):
        source = "CLOCK_MONOTONIC of a host not known to be synchronised: limit of the kernel's slew"
    else:
        source = f"monotonic clock of {sys.platform}, of whose rate nothing is known: an assumption of this project"
    return Component(
        name="time base",
        kind="B",
        unit="1",
        relative=True,
        half_width=LOCKED_RATE if locked else UNKNOWN_RATE,
        source=source,
        shared=SHARED,
    )

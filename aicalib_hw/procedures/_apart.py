"""Whether what asks a service ran apart from what serves it, as a calibration point has it."""

from __future__ import annotations

from collections.abc import Iterable

from aicalib_hw.readings import Measurement

SHARED = (
    "client and service shared one host's processors, which the value does not tell apart: no point of a calibration; "
    "ask from another machine"
)


def why_unjudged(measured: Iterable[Measurement]) -> str:
    """Return why a rate of tokens gets no verdict although it is valid, "" where it may get one.

    A client that takes processors from the service lowers what it measures, by nobody knows how much. A simulated
    service serves on no processors of a platform.
    """
    shared = any(one.evidence.get("client_on_same_host") and not one.identity.simulated for one in measured)
    return SHARED if shared else ""

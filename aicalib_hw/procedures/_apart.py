"""Whether what asks a service ran apart from what serves it, as a calibration point has it."""

from __future__ import annotations

from collections.abc import Iterable

from aicalib_hw.metrology.indications import CLIENT_BESIDE_SERVICE
from aicalib_hw.readings import Measurement


def why_unjudged(measured: Iterable[Measurement]) -> str:
    """Return why a rate of tokens gets no verdict although it is valid, "" where it may get one.

    A client that takes processors from the service lowers what it measures, by nobody knows how much. A simulated
    service serves on no processors of a platform.
    """
    shared = any(one.evidence.get("client_on_same_host") and not one.identity.simulated for one in measured)
    return CLIENT_BESIDE_SERVICE if shared else ""

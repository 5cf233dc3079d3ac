"""Hardware layer for calibrating AI computing platforms: one uniform interface over every instrument.

    import aicalib_hw as hw

    with hw.open_instrument("TCPIP::192.168.1.7::INSTR") as meter:
        print(meter.read().active_power)

Names are imported when first used, so that `import aicalib_hw` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aicalib_hw import interfaces, metrology, procedures, records, reports
    from aicalib_hw.bench import Bench, open_bench
    from aicalib_hw.discovery import discover, open_instrument
    from aicalib_hw.errors import AicalibError, InstrumentError
    from aicalib_hw.identity import Certificate, CertificatePoint, Identity
    from aicalib_hw.interfaces import (
        Accelerator,
        InferenceService,
        Instrument,
        NetworkTester,
        PowerMeter,
        StorageTester,
        TrainingJob,
    )
    from aicalib_hw.readings import (
        Component,
        Instant,
        Measurement,
        Reading,
        Run,
        Series,
        Status,
        Validity,
        Window,
    )
    from aicalib_hw.sampling import sample_together

_HOMES = {
    "open_instrument": "aicalib_hw.discovery",
    "discover": "aicalib_hw.discovery",
    "open_bench": "aicalib_hw.bench",
    "Bench": "aicalib_hw.bench",
    **dict.fromkeys(("AicalibError", "InstrumentError"), "aicalib_hw.errors"),
    **dict.fromkeys(("Identity", "Certificate", "CertificatePoint"), "aicalib_hw.identity"),
    **dict.fromkeys(
        (
            "Accelerator",
            "InferenceService",
            "Instrument",
            "NetworkTester",
            "PowerMeter",
            "StorageTester",
            "TrainingJob",
        ),
        "aicalib_hw.interfaces",
    ),
    **dict.fromkeys(
        ("Component", "Instant", "Measurement", "Reading", "Run", "Series", "Status", "Validity", "Window"),
        "aicalib_hw.readings",
    ),
    "sample_together": "aicalib_hw.sampling",
}
_MODULES = ("interfaces", "metrology", "procedures", "records", "reports")

__all__ = [
    "Accelerator",
    "AicalibError",
    "Bench",
    "Certificate",
    "CertificatePoint",
    "Component",
    "Identity",
    "InferenceService",
    "Instant",
    "Instrument",
    "InstrumentError",
    "Measurement",
    "NetworkTester",
    "PowerMeter",
    "Reading",
    "Run",
    "Series",
    "Status",
    "StorageTester",
    "TrainingJob",
    "Validity",
    "Window",
    "__version__",
    "discover",
    "interfaces",
    "metrology",
    "open_bench",
    "open_instrument",
    "procedures",
    "records",
    "reports",
    "sample_together",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"aicalib_hw.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'aicalib_hw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""What ran, and where: versions, host, clocks, and the digests of the code in use."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import sys
import time
from pathlib import Path
from typing import Any

import aicalib_hw
from aicalib_hw.records.canonical import digest

_LIBRARIES = ("cffi", "GTC", "numpy", "pydantic", "pyserial", "PyVISA", "PyVISA-py")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def describe() -> dict[str, Any]:
    """Return software, host and clocks as plain data; what cannot be known is left out."""
    clock = time.get_clock_info("monotonic")
    found: dict[str, dict[str, Any]] = {
        "software": {"aicalib-hw": aicalib_hw.__version__, "Python": platform.python_version(), **_libraries()},
        "host": {
            "name": platform.node(),
            "system": platform.platform(),
            "machine": platform.machine(),
            "boot id": _boot_id(),
        },
        "clock": {
            "monotonic": clock.implementation,
            "resolution_s": clock.resolution,
            "utc_bracket_ns": _bracket_ns(),
        },
    }
    return {group: {key: value for key, value in facts.items() if value != ""} for group, facts in found.items()}


def code_in_use() -> dict[str, str]:
    """Return the SHA-256 of the file of every module of this package that is loaded, drivers and native code too."""
    found = {}
    for name, module in sorted(sys.modules.copy().items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] == "aicalib_hw" and file is not None:
            with contextlib.suppress(OSError):
                found[name] = digest(Path(file).read_bytes())
    return found


def _libraries() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _boot_id() -> str:
    # Monotonic stamps of two records compare only within one boot.
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _bracket_ns() -> int:
    """Least time between two monotonic readings round one of UTC: how well the two clocks are paired."""
    widths = []
    for _ in range(5):
        before = time.monotonic_ns()
        time.time_ns()
        widths.append(time.monotonic_ns() - before)
    return min(widths)

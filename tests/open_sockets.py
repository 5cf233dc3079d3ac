"""Which sockets this process has open: what tests of closing compare."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def sockets() -> set[str]:
    """The sockets that this process has open, the simulated instrument's own among them."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(descriptor.readlink()))
    return {name for name in found if name.startswith("socket:")}


def none_left(before: set[str]) -> bool:
    """Wait until what has come since is closed; the instrument notices a moment later."""
    deadline = time.monotonic() + 5
    while sockets() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    return not sockets() - before

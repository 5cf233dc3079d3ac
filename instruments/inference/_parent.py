"""Whether the process that started this one is gone, so that nothing goes on loading a service for nobody."""

from __future__ import annotations

import os
import sys


def is_gone(parent: int) -> bool:
    """Return True if the process of this number, which started this one and told it so, has ended.

    It has to be told: asked for here, the number may already be that of who adopted this one. Windows keeps the number
    of who started a process, and a launcher may stand between: never True there.
    """
    return sys.platform != "win32" and os.getppid() != parent

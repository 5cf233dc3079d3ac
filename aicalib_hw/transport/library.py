"""A vendor's shared library, found by the system's loader and called through ctypes.

Nothing is linked: a library that is not there is a sentence, not a failed import, and a function that an older
library lacks is a capability less. Foreign calls release the interpreter lock.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any

from aicalib_hw.errors import ConnectionFailed, NotSupported


class SharedLibrary:
    """The first of `names` that the loader finds.

    purpose: what needs it, for the message. where: the address concerned. advice: how to get it.
    Raises ConnectionFailed, with the loader's own words, if none can be loaded.
    """

    def __init__(self, names: Sequence[str], *, purpose: str, where: str, advice: str) -> None:
        self.where = where
        said = []
        for name in names:
            try:
                self._library = ctypes.CDLL(name)
            except OSError as error:
                said.append(str(error))
            else:
                self.name = name
                return
        raise ConnectionFailed(
            f"{purpose} needs the library {names[0]}, which cannot be loaded",
            where=where,
            why="; ".join(said),
            advice=advice,
        )

    def has(self, symbol: str) -> bool:
        """Return whether the library has this function."""
        return hasattr(self._library, symbol)

    def function(self, symbol: str, *arguments: Any, result: Any = ctypes.c_int) -> Callable[..., Any]:
        """Return the function of these argument types; raises NotSupported, naming it, if the library lacks it."""
        try:
            # Item access makes a new object each time: two users of one library cannot spoil each other's types.
            found = self._library[symbol]
        except AttributeError:
            raise NotSupported(
                f"{self.name} has no function {symbol}",
                where=self.where,
                why="the installed library is older, or newer, than this function",
                advice="update the vendor's driver",
            ) from None
        found.argtypes = arguments
        found.restype = result
        return found


def told_by_environment(name: str) -> str:
    """Return what a vendor's runtime is told by an environment variable, "" if nothing."""
    return os.environ.get(name, "")

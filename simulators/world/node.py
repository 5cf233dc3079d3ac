"""The accelerators of a simulated world: a state page that the simulated vendor libraries of every process share."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from aicalib_hw.errors import UsageError

from ..vendor_libraries import NODE, path_of
from .clock import Clock

GRID = 0.01
"""Spacing of the node's history of energy, s of world time."""

UNITS = (
    "fp64",
    "fp32",
    "fp16",
    "bf16",
    "integer",
    "special",
    "memory",
    "matrix-fp64",
    "matrix-tf32",
    "matrix-fp16",
    "matrix-bf16",
    "matrix-fp32",
    "matrix-int8",
    "matrix-fp8",
)
"""Execution units that operations are counted in, in the order of the C header."""

LIMITS = ("idle", "power", "thermal-soft", "thermal-hard", "locked", "brake")
"""Why a clock is below the highest, in the order of the C header's bits."""


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(path_of(NODE)))
    page, text, integer, real = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_double
    signatures: dict[str, tuple[object, list[object]]] = {
        "create": (integer, [text, real, ctypes.c_int64]),
        "open": (page, [text]),
        "model": (text, [ctypes.c_uint]),
        "add": (integer, [page, text, text]),
        "close": (None, [page]),
        "advance": (real, [page, ctypes.c_int64]),
        "stepped": (real, [page]),
        "energy": (real, [page, ctypes.c_uint64]),
        "load": (None, [page, integer, real]),
        "get": (integer, [page, ctypes.c_uint, text, ctypes.POINTER(real)]),
        "set": (integer, [page, ctypes.c_uint, text, real]),
        "ambient": (None, [page, real]),
        "limits": (ctypes.c_uint32, [page, ctypes.c_uint]),
        "fault": (None, [page, integer, ctypes.c_uint32, ctypes.c_uint32]),
        "ecc": (None, [page, ctypes.c_uint, ctypes.c_uint64, ctypes.c_uint64]),
        "operations": (real, [page, ctypes.c_uint, ctypes.c_uint]),
        "busy": (real, [page, ctypes.c_uint]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"aicalib_node_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Node:
    """Simulated devices that follow one world's clock. Indices count all devices of the node from 0.

    path: of the state page, to be told to the vendor libraries. Raises UsageError where they have not been built.
    """

    def __init__(self, clock: Clock, ambient: float) -> None:
        self._c = _library()
        self._clock = clock
        shared = Path("/dev/shm")
        folder = tempfile.mkdtemp(prefix="aicalib-node-", dir=shared if os.access(shared, os.W_OK) else None)
        self.path = Path(folder) / "page"
        if self._c.aicalib_node_create(os.fsencode(self.path), clock.rate, round(clock.origin * 1e9)) != 0:
            raise UsageError("the state page of a simulated node cannot be made", where=str(self.path))
        self._unlink = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # also when nobody closes it
        self._mapped = self._c.aicalib_node_open(os.fsencode(self.path))
        if not self._mapped:
            raise UsageError("the state page of a simulated node cannot be opened", where=str(self.path))
        self._c.aicalib_node_ambient(self._page, ambient)
        self.devices: list[str] = []
        self._last = (0.0, 0.0)
        self.advance()

    @property
    def _page(self) -> int:
        if not self._mapped:
            raise UsageError("the simulated node is closed", where=str(self.path))
        return int(self._mapped)

    @staticmethod
    def models() -> tuple[str, ...]:
        """Return the device models that there are."""
        library = _library()
        found: list[str] = []
        while (key := library.aicalib_node_model(len(found))) is not None:
            found.append(key.decode())
        return tuple(found)

    def add(self, model: str, serial: str) -> int:
        """Put a device into the node and return its index; raises UsageError for an unknown model."""
        index = int(self._c.aicalib_node_add(self._page, model.encode(), serial.encode()))
        if index < 0:
            raise UsageError(f"no device {model!r} can be added", why=f"models: {', '.join(self.models())}; at most 64")
        self.devices.append(model)
        return index

    def advance(self) -> float:
        """Bring the node up to the present of the world's clock; return it, s."""
        if not self._mapped:
            return self._clock.now()
        stepped = round(self._clock.now() * 1e9) if self._clock.rate == 0 else 0
        return float(self._c.aicalib_node_advance(self._page, stepped))

    def waited_until(self) -> float:
        """Return how far programs that waited for a device have moved a stepped clock, s."""
        return float(self._c.aicalib_node_stepped(self._mapped)) if self._mapped else 0.0

    def energy_at(self, moment: float) -> float:
        """Return the energy of all devices from the beginning to `moment` s, on a grid of 10 ms, J.

        A moment that the history has forgotten (it holds 160 s), or that lies before its beginning, gives the nearest
        that was asked for before, so that no energy is lost.
        """
        energy = float(self._c.aicalib_node_energy(self._page, round(moment / GRID)))
        if math.isnan(energy):
            return self._last[1]
        self._last = (moment, energy)
        return energy

    def load(self, fraction: float, index: int = -1) -> None:
        """Keep all devices (-1) or one busy to `fraction` of their matrix units, beside what is launched on them."""
        self.advance()
        self._c.aicalib_node_load(self._page, index, fraction)

    def get(self, index: int, quantity: str) -> float:
        """Return the true value of a quantity now, SI, degC; raises KeyError."""
        self.advance()
        value = ctypes.c_double()
        if self._c.aicalib_node_get(self._page, index, quantity.encode(), ctypes.byref(value)) != 0:
            raise KeyError(quantity)
        return value.value

    def set(self, index: int, quantity: str, value: float) -> None:
        """Change a property of a device, SI, degC; raises KeyError."""
        self.advance()
        if self._c.aicalib_node_set(self._page, index, quantity.encode(), value) != 0:
            raise KeyError(quantity)

    def limits(self, index: int) -> frozenset[str]:
        """Return why the clock of a device is below its highest now."""
        self.advance()
        bits = int(self._c.aicalib_node_limits(self._page, index))
        return frozenset(name for bit, name in enumerate(LIMITS) if bits >> bit & 1)

    def operations(self, index: int) -> dict[str, float]:
        """Return the arithmetic operations finished so far by execution unit, as counted by the simulator."""
        self.advance()
        counts = {
            unit: float(self._c.aicalib_node_operations(self._page, index, number)) for number, unit in enumerate(UNITS)
        }
        return {unit: count for unit, count in counts.items() if count > 0}

    def busy(self, index: int) -> float:
        """Return how long a device has been busy since the beginning, s."""
        self.advance()
        return float(self._c.aicalib_node_busy(self._page, index))

    def fault(self, index: int, bits: int, *, clear: int = 0) -> None:
        """Set and clear faults of a device, or of the node with -1."""
        self.advance()
        self._c.aicalib_node_fault(self._page, index, bits, clear)

    def count_ecc(self, index: int, *, corrected: int = 0, uncorrected: int = 0) -> None:
        """Let memory errors happen."""
        self.advance()
        self._c.aicalib_node_ecc(self._page, index, corrected, uncorrected)

    def close(self) -> None:
        """Take the node away from every program that uses it; idempotent."""
        if self._mapped:
            self._c.aicalib_node_close(self._mapped)
            self._mapped = None
            self._unlink()

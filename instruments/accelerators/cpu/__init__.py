"""This machine's own processor: driver `cpu`, address cpu://local.

What it measures is described in `driver`; how, in `native/README.md`.
"""

from .driver import CpuAccelerator

__all__ = ["CpuAccelerator"]

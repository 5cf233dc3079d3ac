"""Tiles of AMX are asked for and given back; the same holds, with nothing to ask for, where the processor has none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: apt-get install gcc libc6-dev")

_STACK_BYTES = 6144
"""A signal stack that holds the registers of AVX-512 and not the 8 KiB of tiles beside them."""

# Gives its thread that signal stack, so that Linux refuses tiles to the whole process, then says what can be computed.
_ON_A_SMALL_STACK = f"""
import ctypes, json
class Stack(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer({_STACK_BYTES})
libc = ctypes.CDLL(None, use_errno=True)
given = libc.sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, {_STACK_BYTES})), None)
from aicalib_hw.errors import NotSupported
from aicalib_hw.instruments.accelerators.cpu import CpuAccelerator
with CpuAccelerator() as cpu:
    try:
        cpu.measure_peak("bf16", path="matrix", duration=0.1)
        why = ""
    except NotSupported as error:
        why = error.why
    can = cpu.capabilities
    print(json.dumps([given, can.notes.get("withheld", ""), [one.implementation for one in can.supports], why]))
"""


def tiles_of_this_processor() -> set[str]:
    """Those that the system shows, by the names of the kernels that need them."""
    shown = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if Path("/proc/cpuinfo").exists() else []
    return {name for name in ("amx-bf16", "amx-int8") if name.replace("-", "_") in shown}


def test_no_thread_holds_tiles_after_its_work(exercise: Any) -> None:
    lines = exercise("cc")
    left = [line for line in lines if line["what"] == "left"]
    assert left
    assert not [line for line in left if line["holds_tiles"]]
    assert set(lines[0]["instruction_sets"].split()) & {"amx-bf16", "amx-int8"} == tiles_of_this_processor()
    assert {line["instruction_set"] for line in lines if line.get("supported")} >= tiles_of_this_processor()


def test_tiles_that_the_system_refuses_are_not_offered_and_the_notes_say_so() -> None:
    ran = subprocess.run([sys.executable, "-c", _ON_A_SMALL_STACK], capture_output=True, text=True, check=True)
    given, withheld, implementations, why = json.loads(ran.stdout)
    assert given == 0
    assert {name for name in ("amx-bf16", "amx-int8") if name in withheld} == tiles_of_this_processor()
    assert not {"amx-bf16", "amx-int8"} & set(implementations)
    assert "bf16 needs AMX-BF16" in why
    assert ("the system withholds" in why) == bool(tiles_of_this_processor())

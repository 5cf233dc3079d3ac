"""Drivers of network instruments and their simulators use nothing that only Linux has."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for name in ("fcntl", "pty", "termios", "resource", "pwd", "grp"):
    sys.modules[name] = None
import os
for name in [n for n in dir(os) if n.startswith("sched_")] + ["fork"]:
    if hasattr(os, name):
        delattr(os, name)
from aicalib_hw import registry
world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
for name, entry in registry.entries(registry.SIMULATORS).items():
    if name == registry.WORLD:
        continue
    if any(".so" in wire for wire in entry.load().wires):
        continue  # no network instrument: vendor libraries are loaded where the platform runs, on Linux
    if entry.load().wires == ("serial",):
        continue  # pseudo-terminals are of Linux and macOS; a real port is pySerial's business
    instrument = entry.load()(world, name)
    address = instrument.start()
    if name not in registry.entries(registry.DRIVERS) or registry.driver(name).DRIVER.simulator != name:
        instrument.stop()
        continue  # a simulator that no driver names
    with registry.driver(name)(address) as opened:
        assert opened.identity.simulated, name
    instrument.stop()
    print("opened", name)
"""


def test_every_simulator_is_served_and_opened_without_linux_modules() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "opened yokogawa-wt300" in done.stdout

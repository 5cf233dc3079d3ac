"""What Linux tells of the processor: utilisation, clock, temperature, memory, and energy where RAPL may be read.

Sources: proc(5); Documentation/admin-guide/pm/cpufreq.rst, hwmon/sysfs-interface.rst and
power/powercap/powercap.rst of the kernel. A quantity that is not there is None, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import TelemetryReading
from aicalib_hw.readings import Instant, Reading, Status, Window

from .cores import ROOT, CoreOfHost, read_text

_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_IDLE, _IOWAIT = 3, 4
_PROBE_S = 0.03
"""Three ticks of the slowest kernel clock, so that the counters have moved."""


class Telemetry:
    """Reads the processor's state; power and utilisation are means over the time between two looks."""

    def __init__(self, cores: tuple[CoreOfHost, ...], identity: Identity, *, root: Path = ROOT) -> None:
        self._processors = tuple(processor for core in cores for processor in core.siblings)
        self._identity = identity
        self._root = root

    @property
    def provided(self) -> tuple[str, ...]:
        """Names of the fields of TelemetryReading that this host provides, from probing."""
        reading = self.read(lambda: time.sleep(_PROBE_S))
        fields = ("power", "energy", "clock", "temperature", "utilisation", "memory_used")
        return tuple(name for name in fields if getattr(reading, name) is not None)

    def read(self, wait: Callable[[], object] | None) -> TelemetryReading:
        """Look, `wait()`, look again, and return what lay between; without a wait there is no mean."""
        start, jiffies, energy = Instant.now(), self._jiffies(), self._energy()
        if wait is not None:
            wait()
        stop, jiffies_after, energy_after = Instant.now(), self._jiffies(), self._energy()
        window = Window(start, stop, "between two looks at the kernel's counters")
        power = None
        if wait is not None and energy is not None and energy_after is not None and energy_after >= energy:
            power = (energy_after - energy) / window.duration
        return TelemetryReading(
            window=window,
            power=self._reading(power, "W", "package, RAPL", window),
            energy=self._reading(energy_after, "J", "package counter, RAPL", window),
            clock=self._reading(self._clock(), "Hz", "mean of the cores, cpufreq", window),
            temperature=self._reading(self._temperature(), "degC", "hottest sensor of the processor", window),
            utilisation=self._reading(_utilisation(jiffies, jiffies_after), "1", "of these processors", window),
            memory_used=self._reading(self._memory_used(), "B", "main memory in use", window),
        )

    def _reading(self, value: float | None, unit: str, channel: str, window: Window) -> Reading | None:
        if value is None:
            return None
        return Reading(value, unit, Status.VALID, window, self._identity, channel)

    def _jiffies(self) -> tuple[int, int] | None:
        """Idle and all jiffies of our processors."""
        wanted = {f"cpu{number}" for number in self._processors}
        rows = [line.split() for line in read_text(self._root / "proc/stat").splitlines()]
        # The eighth value is the last that is not already part of another (guest time is within user time).
        ours = [[int(text) for text in row[1:9]] for row in rows if row and row[0] in wanted]
        if not ours:
            return None
        return sum(row[_IDLE] + row[_IOWAIT] for row in ours), sum(map(sum, ours))

    def _clock(self) -> float | None:
        folder = self._root / "sys/devices/system/cpu"
        texts = [read_text(folder / f"cpu{n}" / "cpufreq/scaling_cur_freq") for n in self._processors]
        clocks = [int(text) * 1e3 for text in texts if text.isdigit()]
        return sum(clocks) / len(clocks) if clocks else None

    def _temperature(self) -> float | None:
        degrees = [
            int(text) / 1e3
            for monitor in sorted((self._root / "sys/class/hwmon").glob("hwmon*"))
            if read_text(monitor / "name") in _SENSORS
            for file in sorted(monitor.glob("temp*_input"))
            if (text := read_text(file)).lstrip("-").isdigit()
        ]
        return max(degrees, default=None)

    def _energy(self) -> float | None:
        zones = sorted((self._root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        packages = [zone for zone in zones if read_text(zone / "name").startswith("package")]
        microjoules = [int(text) for zone in packages if (text := read_text(zone / "energy_uj")).isdigit()]
        return sum(microjoules) / 1e6 if microjoules and len(microjoules) == len(packages) else None

    def _memory_used(self) -> int | None:
        rows = dict(line.split(":", 1) for line in read_text(self._root / "proc/meminfo").splitlines() if ":" in line)
        if "MemTotal" not in rows or "MemAvailable" not in rows:
            return None
        total, available = (int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return (total - available) * 1024


def _utilisation(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return 1 - idle / total if total > 0 else None

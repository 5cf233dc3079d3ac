"""Simulated SPEC PTDaemon with a power analyzer behind it, over TCP (port 8888 where the program runs).

From the exchange that public harnesses have with the program: MLPerf Power's client and checker (mlcommons/power-dev).
Not simulated: temperature sensors, the log file, `Time`. Unconfirmed: what Identify says beside name and version, and
which ranges the analyzer has: those of a WT310E, and the next larger one is taken.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from ..dialects.exchange import Exchange, Session
from ..dialects.scpi.status import Status
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.tcp import TcpServer
from ..world import World
from ..world.faults import FaultPlan
from .inputs import Behaviour, InputOptions, Inputs
from .metering import AutoRange, Limits
from .served import SimulatedMeter

_MOST = 500_000
"""Samples that an untimed measurement keeps."""
_BAD = -1.0
_VOLTAGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
_CURRENTS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LIMITS = Limits(0.001, 0.0005)
"""WT310E, 45 to 66 Hz (IM WT310E-02EN p. 7-8)."""


class Options(InputOptions):
    """`options` of the simulated daemon, beside those of its analyzer's inputs.

    serial: the version in Identify, begins with SIM. analyzer: name in Identify. channels: of the analyzer. dc: started
    with -D, or with a type for DC. start_delay: real s until the first client is let in (a WT333E over USB takes 17).
    """

    serial: str = Field(default="SIM1.11.1", pattern="^SIM")
    analyzer: str = "YokogawaWT310"
    channels: Literal[1, 2, 3] = 1
    dc: bool = False
    start_delay: float = Field(default=0.0, ge=0)


@dataclass(frozen=True, slots=True)
class Line:
    """One sample: world s, and (watts, volts, amps, power factor) of the sum and of each channel; -1 where bad."""

    moment: float
    total: tuple[float, float, float, float]
    channels: tuple[tuple[float, float, float, float], ...]
    uncertainty: float


class Daemon(Exchange):
    """The program: one text line a command, one a reply, but for the sample lists."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world, self.options, self.faults = world, options, faults
        auto = AutoRange(up=1.3, down=0.3, fits=1.25, peak=3.0)
        analyzer = Behaviour(_VOLTAGES, _CURRENTS, 1.4, auto, auto, lambda _: _LIMITS)
        self.inputs = Inputs(world, options, faults, analyzer, options.channels, options.serial, interval=1.0)
        self.inputs.on_update = self._sample
        self._epoch = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=world.clock.now())
        self._running = False
        self._ramp = 0
        self._mark = ""
        self._lines: list[Line] = []
        self._set: dict[str, float] = {}
        super().__init__(Status())

    def power_up(self) -> None:
        super().power_up()
        self.inputs.reset()
        self._running, self._lines, self._set = False, [], {}

    def execute(self, session: Session, message: bytes) -> bytes | None:
        """Execute one line."""
        self.inputs.catch_up()
        text = message.decode("ascii", "replace").strip()
        word, _, rest = text.partition(",")
        fields = rest.split(",") if rest else []
        answers = {
            "Hello": self._hello,
            "Identify": self._identify,
            "RR": self._ranges,
            "SR": self._set_range,
            "Go": self._go,
            "Stop": self._stop,
            "RL": self._last,
            "DC-RL": self._last_dc,
            "Watts": lambda _: self._statistics("Watts", 0),
            "Volts": lambda _: self._statistics("Volts", 1),
            "Amps": lambda _: self._statistics("Amps", 2),
            "PF": lambda _: self._statistics("PF", 3),
            "Uncertainty": self._uncertainty,
        }
        answer = answers.get(word)
        return (answer(fields) if answer is not None else "Unknown command").encode("ascii", "replace")

    def _hello(self, _: Sequence[str]) -> str:
        return "Hello, PTDaemon here!" if self.faults.strikes("wrong_identity") is None else "Hello, SIMPTDaemon gone!"

    def _identify(self, _: Sequence[str]) -> str:
        mode = "power-dc" if self.options.dc else "power"
        return (
            f"{self.options.analyzer},1000,{self.options.channels},version={self.options.serial}-0-20200101,mode={mode}"
        )

    def _ranges(self, _: Sequence[str]) -> str:
        parts = []
        for letter, auto in (("A", self.inputs.elements[0].current_auto), ("V", self.inputs.elements[0].voltage_auto)):
            parts += [str(int(auto)), f"{_BAD if auto else self._set[letter]:.1f}"]
        return ",".join(["Ranges", *parts])

    def _set_range(self, fields: Sequence[str]) -> str:
        if len(fields) != 2 or fields[0] not in ("A", "V"):
            return "Error: invalid parameters"
        if self.faults.strikes("panel_locked") is not None:
            return "Error: the analyzer does not take settings"
        quantity, ranges = ("current", _CURRENTS) if fields[0] == "A" else ("voltage", _VOLTAGES)
        if fields[1] == "Auto":
            for element in self.inputs.elements:
                setattr(element, f"{quantity}_auto", True)
            return f"Range {fields[0]} changed"
        try:
            wanted = float(fields[1])
        except ValueError:
            return "Error: invalid parameters"
        fitting = [full for full in ranges if full >= wanted * (1 - 1e-9)]
        if not fitting or not wanted > 0 or self.faults.strikes("range_refused") is not None:
            return f"Error: the analyzer has no range {fields[0]} for {fields[1]}"
        for element in self.inputs.elements:
            setattr(element, f"{quantity}_auto", False)
            setattr(element, f"{quantity}_range", fitting[0])
        self._set[fields[0]] = fitting[0]
        return f"Range {fields[0]} changed"

    def _go(self, fields: Sequence[str]) -> str:
        try:
            interval, ramp = int(fields[0]), int(fields[1])
        except (IndexError, ValueError):
            return "Error: invalid parameters"
        if interval <= 0 or ramp < 0:
            return "Error: invalid parameters"
        if self._running:
            return "Error: a measurement is running"
        self.inputs.set_interval(interval / 1000)
        self._running, self._ramp, self._lines = True, ramp, []
        self._mark = ",".join(fields[2:])
        return f"Starting untimed measurement, maximum {_MOST} samples at {interval}ms with {ramp} rampup samples"

    def _stop(self, _: Sequence[str]) -> str:
        if not self._running:
            return "Error: no measurement to stop"
        self._running = False
        return "Stopping untimed measurement"

    def _last(self, fields: Sequence[str]) -> str:
        if self.options.dc:
            return "Unknown command"
        if fields and self.options.channels == 1:
            return "Invalid number of parameters"
        return self._listed()

    def _last_dc(self, _: Sequence[str]) -> str:
        return self._listed() if self.options.dc else "Unknown command"

    def _listed(self) -> str:
        lines = [f"Last {len(self._lines)} samples"]
        for line in self._lines:
            moment = self._epoch + datetime.timedelta(seconds=line.moment)
            stamp = f"{moment:%m-%d-%Y %H:%M:%S}.{moment.microsecond // 1000:03d}"
            text = f"Time,{stamp},{self._fields(line.total)},Mark,{self._mark}"
            if len(line.channels) > 1:
                for number, channel in enumerate(line.channels, start=1):
                    text += f",Ch{number},{self._fields(channel)}"
            lines.append(text)
        return "\r\n".join(lines)

    @staticmethod
    def _fields(values: tuple[float, float, float, float]) -> str:
        return ",".join(
            f"{name},{value:.6f}" for name, value in zip(("Watts", "Volts", "Amps", "PF"), values, strict=True)
        )

    def _statistics(self, name: str, index: int) -> str:
        values = [line.total[index] for line in self._lines]
        good = [value for line, value in zip(self._lines, values, strict=True) if line.total[0] != _BAD]
        shown = (sum(good) / len(good), min(good), max(good)) if good else (_BAD, _BAD, _BAD)
        counts = (len(values), len(values) - len(good), len(good))
        return ",".join([name, *(f"{value:.6f}" for value in shown), *(str(count) for count in counts)])

    def _uncertainty(self, _: Sequence[str]) -> str:
        good = [line.uncertainty for line in self._lines if line.uncertainty != _BAD]
        shown = (sum(good) / len(good), min(good), max(good)) if good else (_BAD, _BAD, _BAD)
        total = len(self._lines)
        counts = f"{total},{total - len(good)},{len(good)},0"
        return ",".join(["Uncertainty", *(f"{value:.6f}" for value in shown), counts])

    def _sample(self) -> None:
        if not self._running or len(self._lines) >= _MOST:
            return
        if self._ramp:
            self._ramp -= 1
            return
        channels: list[tuple[float, float, float, float]] = []
        limit = 0.0
        for element in self.inputs.elements:
            sample = element.sample
            if element.no_data or sample.voltage is None or sample.current is None or sample.active is None:
                channels.append((_BAD, _BAD, _BAD, _BAD))
                continue
            apparent = sample.apparent or math.nan
            factor = sample.active / apparent
            channels.append((sample.active, sample.voltage, sample.current, factor if factor == factor else _BAD))
            limit += _LIMITS.reading * abs(sample.active) + _LIMITS.range * element.full("P")
        total = channels[0]
        if len(channels) > 1:
            watts = [channel[0] for channel in channels]
            total = (_BAD if _BAD in watts else sum(watts), _BAD, _BAD, _BAD)
        relative = limit / abs(total[0]) if total[0] not in (_BAD, 0.0) else _BAD
        self._lines.append(Line(self.inputs.updated_at, total, tuple(channels), relative))


class PtdServer(TcpServer):
    """Lets nobody in until the program has found its analyzer, `delay` real s after the start."""

    def __init__(self, wire: FaultyWire, delay: float) -> None:
        super().__init__(wire, reply_terminator=b"\r\n")
        self._ready_at = time.monotonic() + delay

    @property
    def address(self) -> str:
        """ptdaemon://HOST:PORT."""
        _, host, port, _ = super().address.split("::")
        return f"ptdaemon://{host}:{port}"

    def _admit(self) -> bool:
        return time.monotonic() >= self._ready_at and super()._admit()


class SimulatedPTDaemon(SimulatedMeter):
    """A simulated PTDaemon on one world, served over TCP on loopback."""

    simulates: ClassVar[str] = "ptdaemon"
    wires: ClassVar[tuple[str, ...]] = ("TCP",)
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Daemon:
        return Daemon(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return (PtdServer(wire, self.options.start_delay),)

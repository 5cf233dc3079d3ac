"""Simulated Hioki PW3390, over raw TCP (port 3390 on the instrument): what is confirmed of reading it.

From the communications manual PW3390A975-01: selecting items by masks, reading them, header, hold and *TRG. Not
simulated, because nothing is confirmed: ranges, wiring commands, integration, harmonics, RS-232C. Unconfirmed, hence
options: ranges (which choose themselves here), limits of error, the update interval. Numbers are written as by the
PW3336 (by analogy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from ..dialects.scpi.engine import CommandError
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.tcp import TcpServer
from ..world import World
from ..world.faults import FaultPlan
from .hioki_meter import EXECUTION, Data, HiokiMeter, choice, masks
from .hioki_values import shown, summed_up
from .inputs import Behaviour, Element, InputOptions, Inputs
from .metering import AutoRange, Limits
from .served import SimulatedMeter

_NORMAL = ("U", "I", "P", "S", "Q", "PF", "DEG", "FREQ")
_SUM = ("U", "I", "P", "S", "Q", "PF", "DEG")
_SUMS = {1: ("12", (1, 2)), 2: ("34", (3, 4)), 4: ("123", (1, 2, 3))}
"""Bits of the masks of :MEASure:ITEM:SUM: name of the sum, its channels."""
_SUMS_OF = {"1P2W": (), "1P3W": (1, 2), "3P4W": (4,)}
_CHANNELS = 4


class Options(InputOptions):
    """`options` of the simulated meter, beside those of its inputs.

    serial: must begin with SIM. wiring: as set at the panel; it decides which sums can be selected. Unconfirmed are:
    update_interval, s; voltage_ranges, current_ranges, V, A; reading_limit, range_limit, of active power.
    """

    serial: str = Field(default="SIM0PW3390", pattern="^SIM")
    wiring: Literal["1P2W", "1P3W", "3P4W"] = "3P4W"
    update_interval: float = Field(default=0.2, gt=0)
    voltage_ranges: tuple[float, ...] = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0, 1500.0)
    current_ranges: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
    reading_limit: float = Field(default=0.0005, ge=0)
    range_limit: float = Field(default=0.0005, ge=0)


class Meter(HiokiMeter):
    """The instrument behind the wire."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.options = options
        auto = AutoRange(up=1.1, down=1.0, fits=1.0, peak=3.0)
        limits = Limits(options.reading_limit, options.range_limit)
        family = Behaviour(options.voltage_ranges, options.current_ranges, 1.1, auto, auto, lambda _: limits)
        self.inputs = Inputs(
            world, options, faults, family, _CHANNELS, options.serial, interval=options.update_interval
        )
        self.normal: list[int] = []
        self.sums: list[int] = []
        super().__init__(world, faults, f"HIOKI,PW3390,{options.serial},V1.00", self.inputs)
        self._clear_settings()
        self.command(":MEASure", ask=self._measure, headless=True)
        for word in ("MEASure", "DATAout"):
            self.setting(f":{word}:ITEM:NORMal", self._shown(self.normal), self._select(self.normal, 15))
            self.setting(f":{word}:ITEM:SUM", self._shown(self.sums), self._select(self.sums, 7))
        self.setting(":HOLD", lambda _: self.hold, self._set_hold)

    def default_settings(self) -> None:
        super().default_settings()
        with self.guard:
            self.inputs.reset()
            self._clear_settings()

    def _clear_settings(self) -> None:
        self.normal[:], self.sums[:] = [0] * len(_NORMAL), [0] * len(_SUM)
        self.held: list[Element] = []

    def take(self) -> None:
        """*TRG: in hold, take new data."""
        self.catch_up()
        if self.hold != "OFF":
            self._keep()

    def catch_up(self) -> None:
        """Make every update that is due."""
        with self.guard:
            self.inputs.catch_up()

    def _keep(self) -> None:
        self.held = [element.copy() for element in self.inputs.elements]

    def _set_hold(self, _: Sequence[int], data: Data) -> None:
        word = choice(data, ("OFF", "ON", "PEAK"))
        self.catch_up()
        self.hold = word
        if word == "OFF":
            self.held = []
        else:
            self._keep()

    @staticmethod
    def _shown(masks_now: list[int]) -> Callable[[Sequence[int]], str]:
        return lambda _: ",".join(str(mask) for mask in masks_now)

    def _select(self, masks_now: list[int], most: int) -> Callable[[Sequence[int], Data], None]:
        """Take all masks of a command, or none of them where one cannot be selected."""

        def select(_: Sequence[int], data: Data) -> None:
            wanted = masks(data, len(masks_now), most)
            if most == 7:
                allowed = sum(_SUMS_OF[self.options.wiring])
                if any(mask & ~allowed for mask in wanted):
                    raise CommandError(EXECUTION)
            masks_now[:] = wanted

        return select

    def _measure(self, _: Sequence[int], data: Data) -> str:
        self.leave_header_on()
        if data:
            raise CommandError(108)
        with self.guard:
            self.catch_up()
            elements = self.held or self.inputs.elements
            found: list[tuple[str, str]] = []
            for name, mask in zip(_NORMAL, self.normal, strict=True):
                for channel in range(1, _CHANNELS + 1):
                    if mask & 1 << channel - 1:
                        text = shown("FREQU" if name == "FREQ" else name, elements[channel - 1], self.inputs)
                        found.append((f"{name}{channel}", text))
            for name, mask in zip(_SUM, self.sums, strict=True):
                for bit, (label, channels) in _SUMS.items():
                    if mask & bit:
                        text = summed_up(name, [elements[channel - 1] for channel in channels])
                        found.append((f"{name}{label}", text))
        if not found:
            raise CommandError(EXECUTION)
        return self.separator.join(f"{item} {text}" if self.header else text for item, text in found)


class SimulatedPW3390(SimulatedMeter):
    """A simulated PW3390 on one world, served on a raw socket on loopback."""

    simulates: ClassVar[str] = "hioki-pw3390"
    wires: ClassVar[tuple[str, ...]] = ("TCP",)
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Meter:
        return Meter(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return (TcpServer(wire, reply_terminator=b"\r\n"),)

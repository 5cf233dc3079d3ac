"""Simulated Hioki PW8001, over raw TCP (port 23 on the instrument): what is confirmed of reading it.

From the communications manual PW8001A964-03 (only exact long or exact short words, header, voltage ranges) and the user
manual p. 228 (limits of error with the U7005). Not simulated, because nothing is confirmed: current ranges (they choose
themselves here), wiring, integration, harmonics. By analogy with the PW3336: `:MEASure?` with items, how numbers are
written. Unconfirmed, hence options: ranges, the update interval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from ..dialects.scpi.data import CommandError, number
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.tcp import TcpServer
from ..world import World
from ..world.faults import FaultPlan
from .hioki_meter import EXECUTION, Data, HiokiMeter, shortest
from .hioki_values import shown
from .inputs import Behaviour, Element, InputOptions, Inputs
from .metering import AutoRange, Limits
from .served import SimulatedMeter

_ITEM = re.compile(r"(U|I|P|S|Q|PF|DEG|FREQ)(\d)")
_LIMITS = Limits(0.0001, 0.0002)
"""Active power, 45 to 440 Hz."""


class Options(InputOptions):
    """`options` of the simulated meter, beside those of its inputs.

    serial: must begin with SIM. channels: of its modules. update_interval: s (unconfirmed). voltage_ranges,
    current_ranges: V, A (unconfirmed).
    """

    serial: str = Field(default="SIM0PW8001", pattern="^SIM")
    channels: int = Field(default=4, ge=1, le=8)
    update_interval: float = Field(default=0.2, gt=0)
    voltage_ranges: tuple[float, ...] = (6.0, 15.0, 30.0, 60.0, 150.0, 300.0, 600.0, 1500.0)
    current_ranges: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


class Meter(HiokiMeter):
    """The instrument behind the wire."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.options = options
        auto = AutoRange(up=1.1, down=1.0, fits=1.0, peak=3.0)
        family = Behaviour(options.voltage_ranges, options.current_ranges, 1.1, auto, auto, lambda _: _LIMITS)
        self.inputs = Inputs(
            world, options, faults, family, options.channels, options.serial, interval=options.update_interval
        )
        super().__init__(world, faults, f"HIOKI,PW8001,{options.serial},V1.00", self.inputs)
        self.command(":MEASure", ask=self._measure, headless=True)
        self.setting(":VOLTage<x>:RANGe", self._range, self._set_range)

    def default_settings(self) -> None:
        super().default_settings()
        with self.guard:
            self.inputs.reset()

    def _element(self, channel: int) -> Element:
        if not 1 <= channel <= self.options.channels:
            raise CommandError(EXECUTION)
        return self.inputs.elements[channel - 1]

    def _measure(self, _: Sequence[int], data: Data) -> str:
        self.leave_header_on()
        if not data:
            raise CommandError(109)
        found = []
        with self.guard:
            self.inputs.catch_up()
            for part in data:
                item = part.decode("ascii", "replace").upper()
                match = _ITEM.fullmatch(item)
                if match is None:
                    raise CommandError(EXECUTION)
                element = self._element(int(match.group(2)))
                name = "FREQU" if match.group(1) == "FREQ" else match.group(1)
                text = shown(name, element, self.inputs)
                found.append(f"{item} {text}" if self.header else text)
        return self.separator.join(found)

    def _range(self, suffixes: Sequence[int]) -> str:
        self.inputs.catch_up()
        return shortest(self._element(suffixes[0]).voltage_range)

    def _set_range(self, suffixes: Sequence[int], data: Data) -> None:
        self.refuse_settings()
        self.inputs.catch_up()
        value, element = number(data), self._element(suffixes[0])
        fitting = [full for full in self.options.voltage_ranges if math.isclose(full, value, rel_tol=1e-6)]
        if not fitting or self.faults.strikes("range_refused") is not None:
            raise CommandError(EXECUTION)
        element.voltage_range, element.voltage_auto = fitting[0], False


class SimulatedPW8001(SimulatedMeter):
    """A simulated PW8001 on one world, served on a raw socket on loopback."""

    simulates: ClassVar[str] = "hioki-pw8001"
    wires: ClassVar[tuple[str, ...]] = ("TCP",)
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Meter:
        return Meter(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return (TcpServer(wire, reply_terminator=b"\r\n"),)

"""Simulated Hioki PW3335, PW3336 and PW3337, over raw TCP (port 3300 on the instrument).

From the communications manual PW3336A987-01 (PW3335A985-01), its data sheet, and the older 3332 for the rules of
scaling and integration. Not simulated: harmonic lists, external current sensors, saving, RS-232C (how it confirms each
command is not documented to us). Unconfirmed, hence options: ranges, where a range ends, the update interval, the
index of the sum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from ..dialects.scpi.data import CommandError, number
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.tcp import TcpServer
from ..world import World
from ..world.faults import FaultPlan
from .hioki_format import NO_DATA, NO_DATA_SUM, OVER_RANGE, OVER_RANGE_SUM, duration, integrated, measured, ratio
from .hioki_meter import DEVICE, EXECUTION, Data, HiokiMeter, choice, shortest
from .hioki_tables import MODELS, OVER_AT, WIRINGS, behaviour
from .hioki_values import full_scale, shown, summed_up
from .inputs import Element, InputOptions, Inputs
from .served import SimulatedMeter

_ITEM = re.compile(r"([A-Z]+?)(?:_(MAX|MIN))?(\d)?")
_MEASURED = ("U", "I", "P", "S", "Q", "PF", "DEG", "FREQU", "FREQI", "UPK", "IPK", "UCF", "ICF", "MCR", "UTHD", "ITHD")
_VARIANTS = {f"{quantity}{kind}" for quantity in "UIP" for kind in ("DC", "AC", "FND")}
_SUMMED = ("WP", "PWP", "MWP", "IH", "PIH", "MIH", "ITAV", "PTAV")
_MOST_ITEMS = 180
_LONGEST = 10_000 * 3600.0
"""Longest integration, s."""
_LARGEST_SUM = 999_999e6
"""Largest W h and A h."""


class Options(InputOptions):
    """`options` of the simulated meter, beside those of its inputs.

    model: which of the family. serial: must begin with SIM. update_interval: s (unconfirmed). over_range_at: multiple
    of the range from which over-range is shown (unconfirmed). voltage_ranges, current_ranges: V, A (unconfirmed;
    empty = the model's). sum_index: index of the sum in item names (unconfirmed). header: state at power-up.
    """

    model: Literal["PW3335", "PW3336", "PW3337"] = "PW3336"
    serial: str = Field(default="SIM0PW3336", pattern="^SIM")
    update_interval: float = Field(default=0.2, gt=0)
    over_range_at: float = Field(default=OVER_AT, gt=1)
    voltage_ranges: tuple[float, ...] = ()
    current_ranges: tuple[float, ...] = ()
    sum_index: int = Field(default=0, ge=0, le=9)
    header: bool = True


class Meter(HiokiMeter):
    """The instrument behind the wire."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.options = options
        self.model = MODELS[options.model]
        family = behaviour(
            options.voltage_ranges or self.model.voltages,
            options.current_ranges or self.model.currents,
            options.over_range_at,
        )
        self.inputs = Inputs(
            world, options, faults, family, self.model.channels, options.serial, interval=options.update_interval
        )
        super().__init__(world, faults, f"HIOKI,{self.model.name},{options.serial},V1.00", self.inputs)
        self._clear_settings()
        self.inputs.on_update = self._updated
        self._register()

    def default_settings(self) -> None:
        super().default_settings()
        with self.guard:
            self.header = self.options.header
            self.inputs.reset()
            self._clear_settings()

    def _clear_settings(self) -> None:
        self.wiring = self.model.default_wiring
        self.items: list[str] = []
        self.integration, self.timer = "RESET", (0, 0)
        self._began = 0.0
        self.held: list[Element] = []
        self.largest: dict[tuple[str, int], float] = {}
        self.smallest: dict[tuple[str, int], float] = {}

    def catch_up(self) -> None:
        """Make what is due: updates, and the end of an integration."""
        with self.guard:
            self.inputs.catch_up()
            self._end_when_due()

    def _updated(self) -> None:
        for channel, element in enumerate(self.inputs.elements, start=1):
            sample = element.sample
            if sample.peak_over_voltage or sample.peak_over_current:
                self.registers.device_events[0] |= 1
            if element.over:
                self.registers.device_events[0] |= 2
            for name, value in (("U", sample.voltage), ("I", sample.current), ("P", sample.active)):
                if value is None or element.no_data:
                    continue
                key = (name, channel)
                self.largest[key] = max(self.largest.get(key, value), value)
                self.smallest[key] = min(self.smallest.get(key, value), value)

    def refuse_settings(self) -> None:
        """Refuse in hold and during integration (3332 manual p. 158), and while the panel is locked."""
        super().refuse_settings()
        self.catch_up()
        if self.hold != "OFF" or self.integration == "START":
            raise CommandError(DEVICE)

    # Integration

    def _integrate(self, word: str) -> None:
        self.catch_up()
        running = self.integration == "START"
        if running != (word == "STOP"):
            raise CommandError(DEVICE)
        if word == "START":
            if self.inputs.elements[0].sums.seconds >= _LONGEST:
                raise CommandError(DEVICE)
            self.inputs.adapts = False
            hours, minutes = self.timer
            limit = min(hours * 3600.0 + minutes * 60.0 or _LONGEST, _LONGEST)
            self.inputs.start_sums(limit - self.inputs.elements[0].sums.seconds)
        elif word == "STOP":
            self.inputs.stop_sums()
            self.inputs.adapts = True
        else:
            self.inputs.clear_sums()
        self.integration = word

    def _end_when_due(self) -> None:
        if self.integration != "START":
            return
        full = any(abs(element.sums.taken) / 3600 > _LARGEST_SUM for element in self.inputs.elements)
        if self.world.clock.now() < self.inputs.ends_at and not full:
            return
        self.inputs.integrating, self.inputs.adapts, self.integration = False, True, "STOP"

    # Values

    def value(self, item: str) -> str:
        """Return the text of one item; raises CommandError for one that there is not."""
        if item == "TIME":
            return duration(self._now()[0].sums.seconds)
        if item == "STATUS":
            return f"{self._status():08X}"
        if item == "EFF1":
            return self._efficiency()
        match = _ITEM.fullmatch(item)
        if match is None:
            raise CommandError(EXECUTION)
        name, extreme, index = match.group(1), match.group(2), match.group(3)
        channel = 1 if index is None else int(index)
        known = name in _MEASURED or name in _SUMMED or name in _VARIANTS
        if not known or (extreme is not None and name not in ("U", "I", "P")):
            raise CommandError(EXECUTION)
        if channel == self.options.sum_index and index is not None and self.model.channels > 1:
            return self._sum(name)
        if not 1 <= channel <= self.model.channels:
            raise CommandError(EXECUTION)
        element = self._now()[channel - 1]
        if name in _SUMMED:
            return self._summed(name, [element])
        if extreme is not None:
            extremes = self.largest if extreme == "MAX" else self.smallest
            return measured(extremes.get((name, channel), math.nan), full_scale(name, element))
        return shown(name, element, self.inputs)

    def _now(self) -> list[Element]:
        """The channels as they are displayed."""
        return self.held or self.inputs.elements

    @staticmethod
    def _summed(name: str, elements: Sequence[Element]) -> str:
        sums = [element.sums for element in elements]
        seconds = sums[0].seconds
        if name in ("ITAV", "PTAV"):
            if not seconds:
                return NO_DATA
            total = sum(s.charge if name == "ITAV" else s.taken + s.given for s in sums) / seconds
            return measured(total, elements[0].full("I" if name == "ITAV" else "P"))
        if any(element.no_data for element in elements):
            return NO_DATA_SUM
        if any(element.sample.active is None for element in elements):
            return OVER_RANGE_SUM
        values = {
            "WP": sum(s.taken + s.given for s in sums),
            "PWP": sum(s.taken for s in sums),
            "MWP": sum(s.given for s in sums),
            "IH": sum(s.charge for s in sums),
            "PIH": sum(s.charge for s in sums),
            "MIH": 0.0,
        }
        return integrated(values[name] / 3600, abs(values[name]) / 3600 or 1.0)

    def _sum(self, name: str) -> str:
        elements = self._now()
        if name in _SUMMED:
            return self._summed(name, elements)
        if name not in ("U", "I", "P", "S", "Q", "PF", "DEG"):
            raise CommandError(EXECUTION)
        return summed_up(name, elements, math.sqrt(3) / 2 if self._two_wattmeters else 1.0)

    @property
    def _two_wattmeters(self) -> bool:
        return WIRINGS.get(self.wiring) == "3P3W2M"

    def _status(self) -> int:
        """STATUS: peak over U, I from bits 0, 4; over range U, I from bits 8, 12; one bit a channel (unconfirmed)."""
        word = 0
        for channel, element in enumerate(self._now()):
            sample = element.sample
            word |= sample.peak_over_voltage << channel | sample.peak_over_current << (4 + channel)
            word |= sample.over_voltage << (8 + channel) | sample.over_current << (12 + channel)
        return word

    def _efficiency(self) -> str:
        if self.model.channels < 2:
            raise CommandError(EXECUTION)
        first, second = self._now()[:2]
        if first.no_data or second.no_data:
            return NO_DATA
        if first.sample.active is None or second.sample.active is None:
            return OVER_RANGE
        return measured(100 * second.sample.active / (first.sample.active or math.nan), 100.0)

    # Commands

    def _register(self) -> None:
        self.command(":MEASure", ask=self._measure, headless=True)
        self.command(":MEASure:ITEM:ALLClear", set=lambda *_: self.items.clear())
        for name in (*_MEASURED, *sorted(_VARIANTS), *_SUMMED):
            self.command(f":MEASure[:NORMal]:ITEM:{name}:CH<x>", set=self._item(name))
        self._register_ranges()
        self.setting(":HOLD", lambda _: self.hold, self._set_hold)
        self.setting(":INTEGrate:STATe", lambda _: self._state(), lambda _, data: self._integrate(self._word(data)))
        self.setting(":INTEGrate:TIME", lambda _: self._timer(), self._set_timer)
        self.command(":INTEGrate", ask=lambda *_: f"{self._timer()};{self._state()}", headless=True)
        if self.model.wirings:
            self.setting(":WIRing", lambda _: self.wiring, self._set_wiring)

    def _register_ranges(self) -> None:
        for word, quantity in (("VOLTage", "voltage"), ("CURRent", "current")):
            for channel in ("", "<x>"):
                self.setting(f":{word}{channel}:RANGe", self._range(quantity), self._set_range(quantity))
                self.setting(f":{word}{channel}:AUTO", self._auto(quantity), self._set_auto(quantity))
        for channel in ("", "<x>"):
            for name in ("VT", "CT"):
                self.setting(f":SCALe{channel}:{name}", self._ratio(name.lower()), self._set_ratio(name.lower()))
        self.setting(":CURRent<x>:TYPE", lambda _: "OFF", lambda _, data: choice(data, ("OFF",)))

    def _elements(self, suffixes: Sequence[int]) -> list[Element]:
        """The elements that a header names: one, or all where it names none."""
        if not suffixes:
            return self.inputs.elements
        if not 1 <= suffixes[0] <= self.model.channels:
            raise CommandError(EXECUTION)
        return [self.inputs.elements[suffixes[0] - 1]]

    def _measure(self, _: Sequence[int], data: Data) -> str:
        self.leave_header_on()
        with self.guard:
            self.catch_up()
            wanted = [part.decode("ascii", "replace").upper() for part in data] or self.items
            if not wanted or len(wanted) > _MOST_ITEMS:
                raise CommandError(EXECUTION)
            shown = [f"{item} {self.value(item)}" if self.header else self.value(item) for item in wanted]
        return self.separator.join(shown)

    def _item(self, name: str) -> Callable[[Sequence[int], Data], None]:
        def select(suffixes: Sequence[int], data: Data) -> None:
            on = choice(data, ("1", "0", "ON", "OFF")) in ("1", "ON")
            item = f"{name}{suffixes[0]}"
            with self.guard:
                self.value(item)
                self.items = [other for other in self.items if other != item] + [item] * on

        return select

    def _range(self, quantity: str) -> Callable[[Sequence[int]], str]:
        def ask(suffixes: Sequence[int]) -> str:
            self.catch_up()
            return shortest(getattr(self._elements(suffixes)[0], f"{quantity}_range"))

        return ask

    def _set_range(self, quantity: str) -> Callable[[Sequence[int], Data], None]:
        def set_range(suffixes: Sequence[int], data: Data) -> None:
            self.refuse_settings()
            value = number(data)
            ranges: tuple[float, ...] = getattr(self.inputs.elements[0].behaviour, f"{quantity}_ranges")
            fitting = [full for full in ranges if math.isclose(full, value, rel_tol=1e-6)]
            if not fitting or self.faults.strikes("range_refused") is not None:
                raise CommandError(EXECUTION)
            for element in self._elements(suffixes):
                setattr(element, f"{quantity}_range", fitting[0])
                setattr(element, f"{quantity}_auto", False)

        return set_range

    def _auto(self, quantity: str) -> Callable[[Sequence[int]], str]:
        return lambda suffixes: "ON" if getattr(self._elements(suffixes)[0], f"{quantity}_auto") else "OFF"

    def _set_auto(self, quantity: str) -> Callable[[Sequence[int], Data], None]:
        def set_auto(suffixes: Sequence[int], data: Data) -> None:
            self.refuse_settings()
            on = choice(data, ("ON", "OFF")) == "ON"
            for element in self._elements(suffixes):
                setattr(element, f"{quantity}_auto", on)

        return set_auto

    def _ratio(self, name: str) -> Callable[[Sequence[int]], str]:
        return lambda suffixes: ratio(getattr(self._elements(suffixes)[0], name))

    def _set_ratio(self, name: str) -> Callable[[Sequence[int], Data], None]:
        def set_ratio(suffixes: Sequence[int], data: Data) -> None:
            self.refuse_settings()
            value = number(data)
            if not 0.001 <= value <= 9999:
                raise CommandError(EXECUTION)
            for element in self._elements(suffixes):
                setattr(element, name, float(f"{value:.4g}"))

        return set_ratio

    def _set_hold(self, _: Sequence[int], data: Data) -> None:
        word = choice(data, ("ON", "OFF", "MAX", "MIN"))
        self.catch_up()
        self.hold = word
        self.held = [element.copy() for element in self.inputs.elements] if word != "OFF" else []

    def _set_wiring(self, _: Sequence[int], data: Data) -> None:
        self.refuse_settings()
        self.wiring = choice(data, self.model.wirings)

    def _state(self) -> str:
        self.catch_up()
        return self.integration

    @staticmethod
    def _word(data: Data) -> str:
        return choice(data, ("START", "STOP", "RESET"))

    def _timer(self) -> str:
        return f"{self.timer[0]:04d},{self.timer[1]:02d}"

    def _set_timer(self, _: Sequence[int], data: Data) -> None:
        self.refuse_settings()
        if len(data) != 2:
            raise CommandError(109)
        hours, minutes = (int(number([part])) for part in data)
        if not (0 <= hours <= 10_000 and 0 <= minutes < 60):
            raise CommandError(EXECUTION)
        self.timer = (hours, minutes)


class SimulatedPW3336(SimulatedMeter):
    """A simulated PW3335, PW3336 or PW3337 on one world, served on a raw socket on loopback."""

    simulates: ClassVar[str] = "hioki-pw3336"
    wires: ClassVar[tuple[str, ...]] = ("TCP",)
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Meter:
        return Meter(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return (TcpServer(wire, reply_terminator=b"\r\n"),)

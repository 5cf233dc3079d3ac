"""Simulated Tektronix PA1000 and PA3000, over raw TCP (port 5025 on the instrument; one driver uses 3490).

From the PA1000 user manual p. 54 and public drivers. Not a SCPI tree: keywords of three letters, one command a line.

Unconfirmed, hence options or simply so here: update interval; what stands for over-range and for no data (the numbers
of SCPI-99); ranges, which are chosen by their number from 1 on; accuracy; what a wrong command does (an event bit, no
reply); what `:FRF?` calls the results (their keywords). Not simulated: channels beyond the first, `:SYST:CTYPE?`,
harmonics, integration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from ..dialects.exchange import Exchange, Session
from ..dialects.scpi.status import CME, EXE, Status
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.tcp import TcpServer
from ..world import World
from ..world.faults import FaultPlan
from .inputs import Behaviour, Element, InputOptions, Inputs
from .metering import AutoRange, Limits
from .served import SimulatedMeter

NEW_DATA = 2
"""Bit of the display status register: a new set of results is there."""
RESULTS = ("VLT", "AMP", "WAT", "VAS", "VAR", "FRQ", "PWF", "VPK+", "VPK-", "APK+", "APK-")
_DEFAULT = ("VLT", "AMP", "WAT")
_LEAST_RATIO, _MOST_RATIO = 0.0001, 100_000.0


class Options(InputOptions):
    """Options beyond those of the inputs.

    model, serial: as *IDN? gives them. update_interval, selection_time: s, the latter from choosing results to having
    them. reset_time: s that *RST takes. over_range, no_data: numbers that stand for them. voltage_ranges,
    current_ranges: V and A of the 20 A shunt, small_ranges: A of the 1 A shunt. accuracy: ratios of reading and range.
    calibrated_on: day of the calibration, dd-mm-yyyy. port: TCP, 0 = the system chooses.
    """

    model: Literal["PA1000", "PA3000"] = "PA1000"
    serial: str = Field(default="SIM0PA1000", pattern="^SIM")
    update_interval: float = Field(default=0.5, gt=0)
    selection_time: float = Field(default=0.5, ge=0)
    reset_time: float = Field(default=5.0, ge=0)
    over_range: float = 9.9e37
    no_data: float = 9.91e37
    voltage_ranges: tuple[float, ...] = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
    current_ranges: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    small_ranges: tuple[float, ...] = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    accuracy: tuple[float, float] = (5e-4, 5e-4)
    calibrated_on: str = Field(default="01-06-2026", pattern=r"^\d\d-\d\d-\d{4}$")
    port: int = 0


class PowerAnalyzer(Exchange):
    """The instrument behind the wire."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world, self.options, self.faults = world, options, faults
        self.inputs = Inputs(
            world, options, faults, self._behaviour(options.current_ranges), 1, options.serial,
            interval=options.update_interval,
        )  # fmt: skip
        self.inputs.on_update = self._updated
        self._clear_settings()
        self._actions: dict[str, Callable[[], object]] = {
            "*RST": self._reset,
            "*CLS": self._clear_status,
            ":SYST:REM": lambda: None,
            ":SYST:LOC": lambda: None,
            ":SEL:CLR": lambda: self._select(None),
            ":BLK:DIS": lambda: None,
            ":BLK:ENB": lambda: None,
            ":SHU:INT": lambda: self._shunt(options.current_ranges),
            ":SHU:INT1A": lambda: self._shunt(options.small_ranges),
            ":RNG:VLT:AUT": lambda: self._auto("voltage_auto"),
            ":RNG:AMP:AUT": lambda: self._auto("current_auto"),
        }
        for word in RESULTS:
            self._actions[f":SEL:{word}"] = lambda word=word: self._select(word)  # type: ignore[misc]
        self._settings: dict[str, Callable[[float], object]] = {
            ":DSE": self._enable,
            ":RNG:VLT": lambda number: self._range("voltage", number),
            ":RNG:AMP": lambda number: self._range("current", number),
            ":SCL:VLT": lambda ratio: self._ratio("vt", ratio),
            ":SCL:AMP": lambda ratio: self._ratio("ct", ratio),
            ":INP:FILT:LPAS": self._filter,
            ":AVG": self._average,
            ":SYST:ZERO": lambda _: None,
        }
        self._queries: dict[str, Callable[[str], str | None]] = {
            "*IDN?": lambda _: self._identify(),
            "*ESR?": lambda _: str(self.status.read_event()),
            "*OPC?": lambda _: "1",
            ":DSR?": lambda _: self._display_status(),
            ":DSE?": lambda _: str(self._enabled),
            ":FRD?": lambda _: ",".join(self._number(word) for word in self._listed()),
            ":FRF?": lambda _: ",".join(self._listed()),
            ":RNG:VLT?": lambda _: self._range_number("voltage"),
            ":RNG:AMP?": lambda _: self._range_number("current"),
            ":RNG:VLT:AUT?": lambda _: str(int(self._input.voltage_auto)),
            ":RNG:AMP:AUT?": lambda _: str(int(self._input.current_auto)),
            ":SCL:VLT?": lambda _: f"{self._input.vt:g}",
            ":SCL:AMP?": lambda _: f"{self._input.ct:g}",
            ":INP:FILT:LPAS?": lambda _: str(self._low_pass),
            ":AVG?": lambda _: str(self._averages),
            ":CAL:DATE?": lambda _: options.calibrated_on,
        }
        super().__init__(Status())

    def power_up(self) -> None:
        super().power_up()
        with self.inputs.guard:
            self._clear_settings()

    def execute(self, session: Session, message: bytes) -> bytes | None:
        stuck = self.faults.strikes("stuck")
        if stuck is not None:
            self.cancelled.wait(stuck.amount)
        line = message.decode("ascii", "replace").strip().upper()
        head, _, data = line.partition(" ")
        with self.inputs.guard:
            self.inputs.catch_up()
            if head in self._queries:
                reply = self._queries[head](data)
                return None if reply is None else reply.encode("ascii")
            if head in self._actions and not data and not self._refused(head):
                if head != "*RST":
                    self._actions[head]()
            elif head in self._settings and not self._refused(head):
                self._set(head, data)
            elif head not in self._actions and head not in self._settings:
                self.status.event |= CME
        if head == "*RST":
            self._reset()
        return None

    def _refused(self, head: str) -> bool:
        """True where a locked panel or a refused range keeps a setting from being changed; sets the event bit."""
        setting = head[:4] in (":RNG", ":SCL", ":SHU", ":INP", ":AVG", ":BLK")
        locked = setting and self.faults.strikes("panel_locked") is not None
        ranged = head.startswith(":RNG") and self.faults.strikes("range_refused") is not None
        if locked or ranged:
            self.status.event |= EXE
        return locked or ranged

    def _set(self, head: str, data: str) -> None:
        try:
            value = float(data)
        except ValueError:
            self.status.event |= CME
            return
        if not math.isfinite(value) or self._settings[head](value) is False:
            self.status.event |= EXE

    def _clear_settings(self) -> None:
        self.inputs.reset()
        self._shunt(self.options.current_ranges)
        self._selected: list[str] = list(_DEFAULT)
        self._before: list[str] = list(_DEFAULT)
        self._selected_at = -math.inf
        self._enabled = self._register = 0
        self._low_pass, self._averages = 0, 1

    def _reset(self) -> None:
        self.world.clock.wait_until(self.world.clock.now() + self.options.reset_time, self.cancelled)
        with self.inputs.guard:
            self.inputs.catch_up()
            self._clear_settings()

    def _clear_status(self) -> None:
        self.status.clear()
        self._register = 0

    def _behaviour(self, currents: tuple[float, ...]) -> Behaviour:
        change = AutoRange(1.1, 0.4, 0.9, 3.0)
        limits = Limits(*self.options.accuracy)
        return Behaviour(self.options.voltage_ranges, currents, 1.2, change, change, lambda _: limits)

    @property
    def _input(self) -> Element:
        return self.inputs.elements[0]

    def _shunt(self, ranges: tuple[float, ...]) -> None:
        self._input.behaviour = self._behaviour(ranges)
        self._input.current_range = ranges[-1]

    def _auto(self, which: str) -> None:
        setattr(self._input, which, True)

    def _enable(self, mask: float) -> bool:
        if not 0 <= mask <= 255:
            return False
        self._enabled = int(mask)
        return True

    def _ranges(self, which: str) -> tuple[float, ...]:
        kind = self._input.behaviour
        return kind.voltage_ranges if which == "voltage" else kind.current_ranges

    def _range(self, which: str, number: float) -> bool:
        ranges = self._ranges(which)
        if number != int(number) or not 1 <= number <= len(ranges):
            return False
        setattr(self._input, f"{which}_range", ranges[int(number) - 1])
        setattr(self._input, f"{which}_auto", False)
        return True

    def _range_number(self, which: str) -> str:
        return str(self._ranges(which).index(getattr(self._input, f"{which}_range")) + 1)

    def _ratio(self, which: str, ratio: float) -> bool:
        if not _LEAST_RATIO <= ratio <= _MOST_RATIO:
            return False
        setattr(self._input, which, ratio)
        return True

    def _filter(self, on: float) -> bool:
        if on not in (0, 1):
            return False
        self._low_pass = int(on)
        return True

    def _average(self, count: float) -> bool:
        if count < 1 or count != int(count):
            return False
        self._averages = int(count)
        return True

    def _identify(self) -> str:
        if self.faults.strikes("wrong_identity") is not None:
            return "Tektronix,DMM4050,SIM0OTHER,1.0"
        return f"Tektronix,{self.options.model},{self.options.serial},1.000.000"

    def _display_status(self) -> str:
        register, self._register = self._register, 0
        return str(register & self._enabled)

    def _updated(self) -> None:
        self._register |= NEW_DATA

    def _select(self, word: str | None) -> None:
        now = self.world.clock.now()
        if now > self._selected_at:
            self._before = list(self._listed())
        self._selected_at = now + self.options.selection_time
        self._selected = [] if word is None else [*self._selected, word]

    def _listed(self) -> Sequence[str]:
        """The results that are shown: for a while after another choice still the ones before."""
        return self._selected if self.world.clock.now() >= self._selected_at else self._before

    def _number(self, word: str) -> str:
        return f"{self._value(word):.5E}"

    def _value(self, word: str) -> float:
        element = self._input
        sample, over = element.sample, self.options.over_range
        if element.no_data:
            return self.options.no_data
        found: dict[str, float | None] = {
            "VLT": sample.voltage,
            "AMP": sample.current,
            "WAT": sample.active,
            "VAS": sample.apparent,
            "VAR": sample.reactive,
            "FRQ": self.inputs.frequency,
            "PWF": sample.active / sample.apparent if sample.active is not None and sample.apparent else 0.0,
            "VPK+": sample.voltage_peak,
            "VPK-": -sample.voltage_peak,
            "APK+": sample.current_peak,
            "APK-": -sample.current_peak,
        }
        value = found[word]
        return over if value is None else value


class SimulatedPA1000(SimulatedMeter):
    """A simulated PA1000 or PA3000, served on a raw socket."""

    simulates: ClassVar[str] = "tektronix-pa1000"
    wires: ClassVar[tuple[str, ...]] = ("TCP",)
    Options: ClassVar[type[Options]] = Options

    def make_device(self) -> PowerAnalyzer:
        return PowerAnalyzer(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return [TcpServer(wire, port=self.options.port, most_clients=None)]

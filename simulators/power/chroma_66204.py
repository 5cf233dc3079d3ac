"""Simulated Chroma 66203 and 66204, over a serial line.

From the 66203/66204 user manual v1.0 (chapter 5; ranges and their changes from the 66200 series manual, p. 4-3, 4-5).
GPIB and USB are not simulated. Each channel is a meter of its own; commands act on the selected one.

Unconfirmed, hence options: the serial line itself (known of the 66202), its speed and terminators, current ranges,
update interval, how long an energy measurement takes (set at the panel here) and its unit, accuracy, which number
prefix *IDN? has. Not simulated: GONG and INRUSH measurements, and how ranges are set, for their commands are not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from ..dialects.scpi.engine import CommandError, Device, integer
from ..dialects.scpi.status import Status
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.serial_pty import SerialServer
from ..world import World
from ..world.faults import FaultPlan
from .inputs import Behaviour, Element, InputOptions, Inputs
from .metering import AutoRange, Limits
from .served import SimulatedMeter

OVR, OCR, OCP, INTEGRATE_RCE, INRUSH_RCE, ENERGY_RCE, FAN = 1, 2, 4, 8, 16, 32, 32768
"""Alarms of `PROTection?`; RCE: a range changed while something was integrated."""
NOT_COMPLETE, RANGE_CHANGED, INVALID = "-1", "-2", "-3"
ITEMS = (
    "V", "VPK+", "VPK-", "THDV", "I", "IPK+", "IPK-", "IS", "CFI", "THDI", "W", "PF", "VA", "VAR", "ENEG", "FREQ",
    "VDC", "IDC", "WDC",
)  # fmt: skip
_VOLTAGES = (150.0, 300.0, 500.0)
_VOLTAGE_PEAK = 1.6
_DOWN = 0.8
_CHANNEL_BITS = 0x3F
Data = Sequence[bytes]


class Options(InputOptions):
    """Options beyond those of the inputs.

    model, serial: as CHANnel:ID? gives them. baud, terminator: of the line. current_ranges: A. crest_factor: 2 or 4, as
    set at the panel. update_interval, energy_time: s. energy_unit: of ENEG. accuracy: ratios of reading and of range.
    """

    model: Literal["66203", "66204"] = "66204"
    serial: str = Field(default="SIM66204M", pattern="^SIM")
    baud: int = Field(default=9600, gt=0)
    current_ranges: tuple[float, ...] = (0.2, 0.5, 2.0, 5.0, 20.0)
    crest_factor: Literal[2, 4] = 4
    update_interval: float = Field(default=0.5, gt=0)
    energy_time: float = Field(default=10.0, gt=0)
    energy_unit: Literal["J", "Wh"] = "J"
    accuracy: tuple[float, float] = (1e-3, 1e-3)


class Channel:
    """What a channel keeps beside its input: alarms, an energy measurement."""

    def __init__(self) -> None:
        self.mode = "NONE"
        self.alarms = 0
        self.state = "STOP"
        self.energy: float | None = None
        self.events = self.enabled = 0
        self.rising, self.falling = _CHANNEL_BITS, 0
        self.ranges: tuple[float, float] | None = None

    def alarm(self, bits: int) -> None:
        """Change the alarms; their edges become events where the transition filters let them."""
        up, down = bits & ~self.alarms, self.alarms & ~bits
        self.events |= (up & self.rising | down & self.falling) & _CHANNEL_BITS
        self.alarms = bits


class PowerMeter(Device):
    """The instrument behind the wire."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world, self.options, self.faults = world, options, faults
        count = int(options.model[-1])
        limits = Limits(*options.accuracy)
        crest = float(options.crest_factor)
        behaviour = Behaviour(
            _VOLTAGES, options.current_ranges, math.inf,
            AutoRange(math.inf, math.inf, math.inf, _VOLTAGE_PEAK, _DOWN),
            AutoRange(math.inf, math.inf, math.inf, crest, _DOWN),
            lambda _: limits,
        )  # fmt: skip
        self.inputs = Inputs(world, options, faults, behaviour, count, options.serial, interval=options.update_interval)
        self.inputs.on_update = self._updated
        self._default_settings()
        super().__init__(Status())
        self._register()

    def power_up(self) -> None:
        super().power_up()
        with self.inputs.guard:
            self.inputs.reset()
            self._default_settings()

    def _default_settings(self) -> None:
        self.header, self.separator, self.selected = True, ",", 1
        self.channels = [Channel() for _ in self.inputs.elements]

    def _register(self) -> None:
        self._query("*IDN", lambda _: self._identify(), "")
        self._query("*RST", None, "", lambda data: self._reset(data))
        self._query("CHANnel", lambda _: str(self.selected), ":CHANNEL", self._select)
        self._query("CHANnel:ID", lambda _: self._channel_id(), ":CHANNEL:ID")
        self._query("SYSTem:HEADer", lambda _: "ON" if self.header else "OFF", ":SYSTEM:HEADER", self._set_header)
        self._query(
            "SYSTem:TRANsmit:SEParator",
            lambda _: str(int(self.separator == ";")),
            ":SYSTEM:TRANSMIT:SEPARATOR",
            self._set_separator,
        )
        self._query("FETCh", self._fetch, "")
        self.command("MEASure", ask=lambda _, data: self._measure(data), headless=True)
        self._query("TRIGger:MODE", lambda _: self._channel.mode, ":TRIGGER:MODE", self._set_mode)
        self._query("TRIGger", self._trigger_state, ":TRIGGER", self._trigger)
        self._query("PROTection", lambda _: self._joined([str(one.alarms) for one in self.channels]), ":PROTECTION")
        self._query("PROTection:CLEar", None, "", lambda _: self._channel.alarm(self._channel.alarms & FAN))
        head = ":STATUS:CHANNEL"
        self._query(
            "STATus:CHANnel:CONDition", lambda _: str(self._channel.alarms & _CHANNEL_BITS), f"{head}:CONDITION"
        )
        self._query("STATus:CHANnel:EVENt", lambda _: self._events(), f"{head}:EVENT")
        for word, field in (("ENABle", "enabled"), ("PTRansition", "rising"), ("NTRansition", "falling")):
            self._query(
                f"STATus:CHANnel:{word}",
                lambda _, field=field: str(getattr(self._channel, field)),  # type: ignore[misc]
                f"{head}:{word.upper()}",
                lambda data, field=field: setattr(self._channel, field, integer(data) & _CHANNEL_BITS),  # type: ignore[misc]
            )
        self._query("STATus:CSUMmary:EVENt", lambda _: str(self._summary()), ":STATUS:CSUMMARY:EVENT")
        self._query("STATus:QUEStionable:CONDition", lambda _: "0", ":STATUS:QUESTIONABLE:CONDITION")
        self._query("STATus:QUEStionable[:EVENt]", lambda _: "0", ":STATUS:QUESTIONABLE:EVENT")

    def _query(
        self,
        path: str,
        ask: Callable[[Data], str] | None,
        header: str,
        set: Callable[[Data], object] | None = None,
    ) -> None:
        """Register a command; its reply begins with `header`, where it has one, while headers are on."""

        def answer(_: Sequence[int], data: Data) -> str:
            with self.inputs.guard:
                self._before()
                text = ask(data)  # type: ignore[misc]
                return f"{header} {text}" if header and self.header else text

        def take(_: Sequence[int], data: Data) -> None:
            with self.inputs.guard:
                self._before()
                set(data)  # type: ignore[misc]

        self.command(path, ask=answer if ask else None, set=take if set else None, headless=True)

    def _before(self) -> None:
        stuck = self.faults.strikes("stuck")
        if stuck is not None:
            self.cancelled.wait(stuck.amount)
        if self.faults.strikes("header_on") is not None:
            self.header = True
        self.inputs.catch_up()

    @property
    def _channel(self) -> Channel:
        return self.channels[self.selected - 1]

    def _joined(self, parts: Sequence[str]) -> str:
        return self.separator.join(parts)

    def _identify(self) -> str:
        if self.faults.strikes("wrong_identity") is not None:
            return "Chroma ATE,61505,SIM0OTHER,1.00"
        return f"Chroma ATE,{self.options.model},{self.options.serial},1.00"

    def _channel_id(self) -> str:
        return f"Chroma ATE,{self.options.model},{self.options.serial},1.00,1.00,1.00"

    def _reset(self, data: Data) -> None:
        if data:
            raise CommandError(108)
        self.inputs.reset()
        header = self.header
        self._default_settings()
        self.header = header

    def _select(self, data: Data) -> None:
        number = integer(data)
        if not 1 <= number <= len(self.channels):
            raise CommandError(222)
        self.selected = number

    def _set_header(self, data: Data) -> None:
        self.header = _word(data, ("ON", "OFF")) == "ON"

    def _set_separator(self, data: Data) -> None:
        self.separator = {"0": ",", "1": ";"}[_word(data, ("0", "1"))]

    def _locked(self) -> None:
        if self.faults.strikes("panel_locked") is not None:
            raise CommandError(221)

    def _set_mode(self, data: Data) -> None:
        self._locked()
        self._channel.mode = _word(data, ("NONE", "GONG", "INRUSH", "ENERGY"))

    def _trigger(self, data: Data) -> None:
        self._locked()
        channel = self._channel
        if _word(data, ("ON", "OFF")) == "OFF":
            channel.state = "STOP" if channel.state == "RUNNING" else channel.state
            self.inputs.stop_sums()
            return
        if channel.mode != "ENERGY":
            raise CommandError(221)
        channel.state, channel.energy = "RUNNING", None
        channel.alarm(channel.alarms & ~(ENERGY_RCE | INTEGRATE_RCE))
        element = self.inputs.elements[self.selected - 1]
        channel.ranges = (element.voltage_range, element.current_range)
        self.inputs.clear_sums()
        self.inputs.start_sums(self.options.energy_time)

    def _trigger_state(self, data: Data) -> str:
        number = integer(data) if data else self.selected
        if not 0 <= number <= len(self.channels):
            raise CommandError(222)
        for element, channel in zip(self.inputs.elements, self.channels, strict=True):
            if channel.state == "RUNNING" and self.world.clock.now() >= self.inputs.ends_at:
                self._finish(element, channel)
        states = [channel.state for channel in self.channels]
        return self._joined(states) if number == 0 else states[number - 1]

    def _finish(self, element: Element, channel: Channel) -> None:
        channel.state = "FINISH"
        sums = element.sums
        channel.energy = (sums.taken + sums.given) / (3600 if self.options.energy_unit == "Wh" else 1)

    def _updated(self) -> None:
        for element, channel in zip(self.inputs.elements, self.channels, strict=True):
            sample = element.sample
            bits = channel.alarms & (OCP | ENERGY_RCE | INTEGRATE_RCE | FAN)
            full = element.behaviour.current_ranges[-1], _VOLTAGES[-1]
            bits |= OVR * (sample.peak_over_voltage and element.voltage_range == full[1])
            if sample.peak_over_current or sample.over_current:
                bits |= OCR | OCP * (element.current_range == full[0])
            if channel.state == "RUNNING" and channel.ranges != (element.voltage_range, element.current_range):
                bits |= ENERGY_RCE
            channel.alarm(bits)

    def _events(self) -> str:
        events, self._channel.events = self._channel.events, 0
        return str(events)

    def _summary(self) -> int:
        return sum(bool(one.events & one.enabled) << place for place, one in enumerate(self.channels))

    def _measure(self, data: Data) -> str:
        """Acquire, then answer: waits for the next update."""
        with self.inputs.guard:
            self._before()
            moment = self.inputs.next_update
        self.world.clock.wait_until(moment, self.cancelled)
        with self.inputs.guard:
            self._before()
            return self._fetch(data)

    def _fetch(self, data: Data) -> str:
        if not 1 <= len(data) <= 10:
            raise CommandError(109 if not data else 108)
        return self._joined([self._value(_word([part], ITEMS)) for part in data])

    def _value(self, item: str) -> str:
        element, channel = self.inputs.elements[self.selected - 1], self._channel
        sample = element.sample
        if item == "ENEG":
            self._trigger_state(())
            if channel.alarms & ENERGY_RCE:
                return RANGE_CHANGED
            return NOT_COMPLETE if channel.energy is None else f"{channel.energy:.4f}"
        if element.no_data:
            return NOT_COMPLETE
        if channel.alarms & (OVR | OCR | OCP) or sample.current is None or sample.voltage is None:
            return INVALID
        apparent, active, reactive = sample.apparent, sample.active or 0.0, sample.reactive
        found = {
            "V": sample.voltage,
            "VPK+": sample.voltage_peak,
            "VPK-": -sample.voltage_peak,
            "THDV": 100 * self.options.voltage_distortion,
            "I": sample.current,
            "IPK+": sample.current_peak,
            "IPK-": -sample.current_peak,
            "IS": sample.current_peak,
            "CFI": sample.current_peak / sample.current if sample.current else 0.0,
            "THDI": 100 * self.options.current_distortion,
            "W": active,
            "PF": active / apparent if apparent else 0.0,
            "VA": apparent,
            "VAR": reactive,
            "FREQ": self.inputs.frequency,
            "VDC": 0.0,
            "IDC": 0.0,
            "WDC": 0.0,
        }
        return f"{found[item]:.4f}"


def _word(data: Data, words: Sequence[str]) -> str:
    if len(data) != 1:
        raise CommandError(109 if not data else 108)
    given = data[0].decode("ascii", "replace").upper()
    if given not in words:
        raise CommandError(224)
    return given


class SimulatedChroma66204(SimulatedMeter):
    """A simulated 66203 or 66204, served over a serial line."""

    simulates: ClassVar[str] = "chroma-66204"
    wires: ClassVar[tuple[str, ...]] = ("serial",)
    Options: ClassVar[type[Options]] = Options

    def make_device(self) -> PowerMeter:
        return PowerMeter(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return [SerialServer(wire, baud=self.options.baud)]

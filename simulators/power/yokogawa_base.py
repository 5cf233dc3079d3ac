"""What Yokogawa's WT meters have in common: elements on the simulated mains, updates, averaging, faults, the wire.

From IM WT3001E-17EN and IM WT310E-17EN. Time is the world's: whatever an instrument would have done by itself since it
was last asked is done, in order, before a command is executed.
"""

from __future__ import annotations

import math
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..dialects.scpi.engine import CommandError, Device
from ..dialects.scpi.status import Status
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server, SimulatedInstrument
from ..servers.vxi11 import Vxi11Server
from ..world import Truth, World
from ..world.faults import FaultPlan
from ..world.mains import Connection, Mains, Seen
from .metering import NO_SIGNAL, AutoRange, Averages, Limits, Sample, Specimen
from .yokogawa_grammar import TEXTS as GRAMMAR_TEXTS
from .yokogawa_grammar import Data, SettingTree, Suffixes, boolean, integer_in, nr3, number, one_of
from .yokogawa_integration import TEXTS as INTEGRATION_TEXTS
from .yokogawa_integration import WHILE_INTEGRATING, Integration
from .yokogawa_items import Integral, Scale, Sum, Update
from .yokogawa_numeric import NumericList
from .yokogawa_status import Communication, ExtendedStatus, PowerOnClear

UPD, ITG, ITM = 1, 2, 4
_TEXTS = {85: "The panel is locked", 863: "Elements have different current ranges"}
"""Words of ours for numbers that are known."""
_DATE_ZERO = datetime(2026, 1, 1)
"""What the meter's calendar shows at world time 0."""

_LEAD = 0.1
"""How long the update bit is up, as a part of the interval: unconfirmed, and nothing depends on it."""

_ZERO_BELOW = 0.005
"""Below this part of its range an rms value counts as zero: the WT1800's rule, taken for its sisters."""

_EDGE_CURRENT, _EDGE_POWER = -3.199 / 20.0, -27.0 / 6000.0
"""What hunting between ranges shows, in ranges: -3.199 A and -27 W on 20 A, 300 V (mlcommons/power-dev #253)."""


class YokogawaOptions(BaseModel):
    """Options of every simulated WT meter.

    most_links: clients at once, None = any. connection: how the terminals are wired, None = as the platform's phases
    suggest. ct, vt: ratios (primary : secondary) of the transformers before the inputs; ct_error: of the current
    transformer's ratio; ct_phase: its phase error, rad. sensor_ratio: mV/A of a current sensor at the external inputs,
    with nothing at the direct ones then. reversed_elements: whose current transformer is the wrong way round.
    error_fraction: which part of the limits of error the specimen may use; noise: likewise, of its noise.

    Unconfirmed, therefore options: before_integration: what WH shows before any. over_range_at: beyond how many ranges
    (rms) a value is not shown. panel_error: number for a setting that a locked panel refuses. range_ends_auto: whether
    setting a range switches auto range off. auto_range: whether it is on after power-up, when ranges are the greatest.
    zero_time, self_test_time: how long *CAL? and *TST? take, s of world time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    most_links: int | None = Field(default=1, ge=1)
    connection: Connection | None = None
    ct: float = Field(default=1.0, gt=0)
    vt: float = Field(default=1.0, gt=0)
    ct_error: float = 0.0
    ct_phase: float = 0.0
    sensor_ratio: float | None = Field(default=None, gt=0)
    reversed_elements: tuple[int, ...] = ()
    before_integration: Literal["nan", "zero"] = "nan"
    over_range_at: float = Field(default=1.4, gt=1)
    panel_error: int = 85
    range_ends_auto: bool = False
    auto_range: bool = False
    error_fraction: float = Field(default=1.0, ge=0, le=1)
    noise: float = Field(default=1.0, ge=0, le=1)
    zero_time: float = Field(default=0.0, ge=0)
    self_test_time: float = Field(default=0.0, ge=0)

    def before(self) -> float | None:
        """Return what integrals show before any integration; None = no data."""
        return None if self.before_integration == "nan" else 0.0


@dataclass(slots=True)
class Element:
    """One input element and its settings. Ranges in V and A (V at the external input), sensor_ratio in mV/A."""

    number: int
    specimen: Specimen
    voltage_range: float = 0.0
    current_range: float = 0.0
    voltage_auto: bool = True
    current_auto: bool = True
    external: bool = False
    sensor_ratio: float = 10.0
    scaling: bool = False
    vt: float = 1.0
    ct: float = 1.0
    sfactor: float = 1.0
    voltage_mode: str = "RMS"
    current_mode: str = "RMS"
    line_filter: str = "OFF"
    frequency_filter: bool = False
    synchronize: str = ""
    integrates: str = "RMS"
    moved: bool = False
    """Auto range moved at the last update."""

    def reset(self) -> None:
        """Put the settings to their defaults, except ranges."""
        fresh = Element(self.number, self.specimen, self.voltage_range, self.current_range)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    @property
    def full_current(self) -> float:
        """Current range in A."""
        return self.current_range * 1000 / self.sensor_ratio if self.external else self.current_range

    def scale(self) -> Scale:
        """Ranges and factors for what is shown."""
        if not self.scaling:
            return Scale(self.voltage_range, self.full_current)
        return Scale(self.voltage_range, self.full_current, self.vt, self.ct, self.vt * self.ct * self.sfactor)


class _Status(Status):
    """Status registers; *CLS clears the extended events too."""

    def __init__(self, extended: ExtendedStatus) -> None:
        self.extended = extended
        super().__init__(sign=1, texts=GRAMMAR_TEXTS | INTEGRATION_TEXTS | _TEXTS)

    def clear(self) -> None:
        super().clear()
        self.extended.events = 0


class YokogawaMeter(Device, ABC):
    """The model of a WT meter on the mains of the simulated platform. serial: begins with SIM."""

    numeric: NumericList
    intervals: tuple[float, ...]
    default_interval: ClassVar[float]
    average_counts: ClassVar[Mapping[str, tuple[int, ...]]]
    integration_features: ClassVar[Mapping[str, bool]] = {}
    """Which parts of the INTEGrate group it has beyond the smallest meter's."""

    def __init__(
        self, world: World, name: str, serial: str, faults: FaultPlan, options: YokogawaOptions, elements: int
    ) -> None:
        self.world = world
        self.serial = serial
        self.options: Any = options
        self.faults = faults
        self.mains = Mains(world.platform, elements, options.connection)
        self.elements = [
            Element(k, Specimen(world.seed, name, k, options.error_fraction, options.noise))
            for k in range(1, elements + 1)
        ]
        self.state_lock = threading.RLock()
        self.extended = ExtendedStatus()
        self._averages = Averages(("voltage", "current", "active"))
        self._samples: dict[int, Sample] = {}
        self.interval = self.default_interval
        self._next_update = 0.0
        self._updating = self._hold = self._single = False
        self.integration = Integration(
            [element.number for element in self.elements],
            world.clock.now,
            self._integrand,
            self._state_changed,
            self.check_panel,
            _DATE_ZERO,
        )
        super().__init__(_Status(self.extended), lengths="between")
        self.tree = SettingTree(self, self.state_lock, self._before)
        self._communication = Communication(self.extended, world.clock, self.follow, self._next_change)
        self._reset_inputs_and_updates()
        self._register()
        self.register_inputs(self.tree)
        self.tree.grow()

    @abstractmethod
    def idn(self) -> str:
        """Return the reply to *IDN?."""

    @abstractmethod
    def limits(self, element: Element) -> Limits:
        """Return the limits of error of an element's active power at its ranges and the platform's frequency."""

    @abstractmethod
    def condition(self, samples: Mapping[int, Sample]) -> int:
        """Return the family's bits of the condition register, without those of update and integration."""

    @abstractmethod
    def reset_inputs(self) -> None:
        """Put the inputs' settings to their defaults."""

    @abstractmethod
    def register_inputs(self, tree: SettingTree) -> None:
        """Register the commands that the family does not share."""

    @abstractmethod
    def sums(self) -> Mapping[str, tuple[Sum, tuple[int, ...]]]:
        """Return how SIGMA, SIGMB … are summed, by name."""

    @abstractmethod
    def move_ranges(self, seen: Mapping[int, Seen], stretch: float, hunting: bool) -> None:
        """Move the ranges that are automatic after an update. stretch: of element 1's peak; hunting: move anyhow."""

    @property
    @abstractmethod
    def auto(self) -> AutoRange:
        """The thresholds of auto range at the crest factor in force."""

    def power_up(self) -> None:
        """Lose power and come back: settings at their defaults, a running integration in ERROR."""
        self.clear()
        with self.state_lock:
            self.follow()
            interrupted = self.integration.running
            enables = self.status.event_enable, self.status.service_enable, self.extended.enabled, self.extended.filters
            self.status.power_up()
            self.extended.reset()
            if not self._power_on.clears:
                self.status.event_enable, self.status.service_enable = enables[:2]
                self.extended.enabled, self.extended.filters = enables[2:]
            self._communication.reset()
            self.tree.header = self.tree.verbose = True
            self._reset_settings()
            if interrupted:
                self.integration.interrupt()

    def follow(self) -> None:
        """Do what is due up to now: updates, and the end of an integration's time."""
        with self.state_lock:
            now = self.world.clock.now()
            while True:
                if not self._updating and self._next_update - _LEAD * self.interval <= now:
                    self._updating = True
                    self._refresh_condition()
                if self._next_update > now:
                    break
                start, stop = self._next_update - self.interval, self._next_update
                self.integration.follow(stop)
                self._update(start, stop)
                self._next_update += self.interval
                self._updating = False
                self._refresh_condition()
            due = self.integration.due
            if self.integration.state == "READY" or (due is not None and due <= now):
                self.integration.follow(now)

    def extended_summary(self) -> bool:
        """Return bit 3 of the status byte."""
        with self.state_lock:
            self.follow()
            return self.extended.summary

    def guard(self) -> None:
        """Raise what refuses a setting of the measurement: 813 unless integration is reset, or a locked panel."""
        if self.integration.state != "RESET":
            raise CommandError(WHILE_INTEGRATING, own=True)
        self.check_panel()

    def check_panel(self) -> None:
        """Raise the error of a locked panel, where somebody locked it."""
        if self.faults.strikes("panel_locked") is not None:
            raise CommandError(self.options.panel_error, own=True)

    @property
    def samples(self) -> Mapping[int, Sample]:
        """What the elements saw at the last update."""
        return self._samples

    def over_bits(self, what: str) -> int:
        """Return "over" or "peak_over" as bits: U1, I1, U2, I2, …"""
        found = 0
        for key, sample in self._samples.items():
            voltage, current = getattr(sample, f"{what}_voltage"), getattr(sample, f"{what}_current")
            found |= (voltage | current << 1) << 2 * (key - 1)
        return found

    def check_range(self) -> None:
        """Refuse a range that there is, where a fault wants it."""
        if self.faults.strikes("range_refused") is not None:
            raise CommandError(222)

    def shown(self) -> Update:
        """Return what the display shows."""
        return self._shown

    def _before(self) -> None:
        stuck = self.faults.strikes("stuck")
        if stuck is not None:
            self.cancelled.wait(stuck.amount)
        if self.faults.strikes("header_on") is not None:
            self.tree.header = True
        self.follow()

    def _next_change(self) -> float:
        with self.state_lock:
            rise = self._next_update - _LEAD * self.interval
            return self._next_update if self._updating else rise

    def _update(self, start: float, stop: float) -> None:
        if self._hold and not self._single:
            return
        self._single = False
        if self.faults.strikes("frozen") is not None:
            return
        seen = {element.number: self._seen(element, start, stop) for element in self.elements}
        stretch = self._spike(seen)
        samples = {
            element.number: self._sample(element, seen[element.number], stretch if element.number == 1 else 1.0)
            for element in self.elements
        }
        hunting = self.faults.strikes("range_edge") is not None
        samples[1] = self._disturbed(samples[1], hunting)
        self._samples = {number: self._averages.take(number, sample) for number, sample in samples.items()}
        self._show(blank=self.faults.strikes("no_data") is not None)
        for element in self.elements:
            element.moved = False
        self.move_ranges(seen, stretch, hunting)

    def _show(self, *, blank: bool = False) -> None:
        self._shown = Update(
            self._samples or {element.number: NO_SIGNAL for element in self.elements},
            {element.number: element.scale() for element in self.elements},
            {e.number: self.mains.frequency * (1 + 6e-4 * e.specimen.frequency) for e in self.elements},
            self.sums(),
            self._integrals(),
            self.integration.elapsed,
            self.integration.state != "RESET",
            blank,
        )

    def _integrals(self) -> dict[int, Integral]:
        return {number: Integral(dict(one.values)) for number, one in self.integration.integrals.items()}

    def _state_changed(self) -> None:
        self._shown = replace(
            self._shown,
            integrals=self._integrals(),
            elapsed=self.integration.elapsed,
            integrated=self.integration.state != "RESET",
        )
        self._refresh_condition()

    def _seen(self, element: Element, start: float, stop: float) -> Seen:
        """Return what comes to the element's input behind the bench's transformers and sensors."""
        options = self.options
        seen = self.mains.seen(element.number, start, stop)
        if element.external:
            by = (options.sensor_ratio or 0.0) / element.sensor_ratio
        else:
            by = 0.0 if options.sensor_ratio is not None else (1 + options.ct_error) / options.ct
        sign = -1.0 if element.number in options.reversed_elements else 1.0
        return seen.transformed(1 / options.vt, sign * by, options.ct_phase)

    def _sample(self, element: Element, seen: Seen, stretch: float = 1.0, *, integrating: bool = False) -> Sample:
        auto = self.auto
        filter_error = 0.0 if element.line_filter == "OFF" else 3e-3 if self.mains.frequency >= 45 else 1e-2
        sample = element.specimen.shown(
            seen,
            self.limits(element),
            element.voltage_range,
            element.full_current,
            over_at=math.inf if integrating else self.options.over_range_at * auto.up / 1.3,
            peak_at=auto.peak,
            zero_below=_ZERO_BELOW,
            noise=not integrating,
            filter_error=filter_error,
            peak_stretch=stretch,
        )
        if element.voltage_mode == "DC" and sample.voltage is not None:
            sample = replace(sample, voltage=0.0)
        if element.current_mode == "DC" and sample.current is not None:
            sample = replace(sample, current=0.0)
        return sample

    def _integrand(self, number: int, start: float, stop: float) -> Sample:
        element = self.elements[number - 1]
        return self._sample(element, self._seen(element, start, stop), integrating=True)

    def _spike(self, seen: Mapping[int, Seen]) -> float:
        spike, peak = self.faults.strikes("spike"), seen[1].current_peak
        if spike is None or not peak:
            return 1.0
        return self.auto.peak * self.elements[0].full_current * (1 + spike.amount) / peak

    def _disturbed(self, sample: Sample, hunting: bool) -> Sample:
        if self.faults.strikes("over_range") is not None:
            sample = replace(sample, current=None, active=None, over_current=True)
        if self.faults.strikes("peak_over") is not None:
            less = None if sample.active is None else sample.active * 0.97
            sample = replace(sample, active=less, peak_over_current=True)
        gain = self.faults.strikes("gain")
        if gain is not None and sample.active is not None:
            sample = replace(sample, active=sample.active * gain.amount)
        if hunting:
            element = self.elements[0]
            current, volts = element.full_current, element.voltage_range
            sample = replace(sample, current=_EDGE_CURRENT * current, active=_EDGE_POWER * volts * current)
        return sample

    def _refresh_condition(self) -> None:
        integration = self.integration
        condition = UPD * self._updating | ITG * integration.running | ITM * integration.timed
        self.extended.change(condition | self.condition(self._samples))

    def _reset_settings(self) -> None:
        self._reset_inputs_and_updates()
        self.numeric.reset()

    def _reset_inputs_and_updates(self) -> None:
        self._hold = self._single = False
        self._averages.reset(min(self.average_counts["EXPONENT"]))
        self._samples = {}
        for element in self.elements:
            element.reset()
            element.voltage_auto = element.current_auto = self.options.auto_range
        self.reset_inputs()
        self._restart(self.default_interval)
        self.integration.reset_settings()
        self._show(blank=True)

    def _restart(self, interval: float) -> None:
        self.interval = interval
        self._updating = False
        self._next_update = self.world.clock.now() + interval

    def _register(self) -> None:
        tree, averages = self.tree, self._averages
        tree.ask("*IDN", lambda *_: self._identify())
        tree.act("*RST", self._reset_settings)
        tree.act("*TRG", self._trigger)
        self._power_on = PowerOnClear(tree)
        for path, seconds in (("*CAL", self.options.zero_time), ("*TST", self.options.self_test_time)):
            self.command(path, ask=lambda *_, seconds=seconds: self._takes(seconds), headless=True)
        self._communication.register(tree, self)
        self.extended.register(tree, self.status, self)
        self.integration.register(tree, **self.integration_features)
        tree.add("RATE", set=self._set_interval, get=lambda _: nr3(self.interval, 4))
        tree.add("HOLD", set=self._set_hold, get=lambda _: str(int(self._hold)))
        tree.speak("EXPonent", "LINear")
        tree.add("MEASure:AVERaging[:STATe]", set=self._set_averaging, get=lambda _: str(int(averages.on)))
        tree.add("MEASure:AVERaging:TYPE", set=self._set_average_type, get=lambda _: averages.kind)
        tree.add("MEASure:AVERaging:COUNt", set=self._set_average_count, get=lambda _: str(averages.count))
        tree.add("MEASure:MHOLd", set=self._set_maximum_hold, get=lambda _: str(int(averages.maximum)))

    def each(self, path: str, field: str, take: Callable[[Data], object], tell: Callable[[object], str]) -> None:
        """Register a setting that each element has, with `[:ALL]` for all and `:ELEMent<x>` for one."""

        def set_it(numbers: Iterable[int], data: Data) -> None:
            self.guard()
            value = take(data)
            for key in numbers:
                setattr(self._element(key), field, value)

        numbers = [element.number for element in self.elements]
        self.tree.add(f"{path}[:ALL]", set=lambda _, data: set_it(numbers, data))
        self.tree.add(
            f"{path}:ELEMent<x>",
            set=lambda suffixes, data: set_it(suffixes, data),
            get=lambda suffixes: tell(getattr(self._element(suffixes[0]), field)),
            listed=lambda: [(number,) for number in numbers],
        )

    def shared(self, path: str, field: str, take: Callable[[Data], object], tell: Callable[[Any], str]) -> None:
        """Register a setting that all elements have in common."""

        def set_it(_: Suffixes, data: Data) -> None:
            self.guard()
            value = take(data)
            for element in self.elements:
                setattr(element, field, value)

        self.tree.add(path, set=set_it, get=lambda _: tell(getattr(self.elements[0], field)))

    def word(self, path: str, name: str, words: tuple[str, ...], *, guarded: bool = True) -> None:
        """Register a setting that is one of some words, kept as attribute `name`."""

        def set_it(_: Suffixes, data: Data) -> None:
            if guarded:
                self.guard()
            setattr(self, name, one_of(data, words))

        self.tree.add(path, set=set_it, get=lambda _: str(getattr(self, name)))

    def switch(self, path: str, name: str, *, guarded: bool = True) -> None:
        """Register a setting that is on or off, kept as attribute `name`."""

        def set_it(_: Suffixes, data: Data) -> None:
            if guarded:
                self.guard()
            setattr(self, name, boolean(data))

        self.tree.add(path, set=set_it, get=lambda _: str(int(getattr(self, name))))

    def _element(self, number: int) -> Element:
        if not 1 <= number <= len(self.elements):
            raise CommandError(114)
        return self.elements[number - 1]

    def _identify(self) -> str:
        if self.faults.strikes("wrong_identity") is not None:
            return f"YOKOGAWA,WT500,{self.serial},F1.00"
        return self.idn()

    def _trigger(self) -> None:
        self._single = True

    def _takes(self, seconds: float) -> str:
        """Return the result "good" of zero calibration or self-test, when the time for it has passed."""
        self.world.clock.wait_until(self.world.clock.now() + seconds, self.cancelled)
        return "0"

    def _set_interval(self, _: Suffixes, data: Data) -> None:
        self.guard()
        wanted = number(data, "S")
        fitting = [interval for interval in self.intervals if math.isclose(interval, wanted, rel_tol=1e-6)]
        if not fitting:
            raise CommandError(222)
        self._restart(fitting[0])

    def _set_hold(self, _: Suffixes, data: Data) -> None:
        self._hold = boolean(data)

    def _set_averaging(self, _: Suffixes, data: Data) -> None:
        self.guard()
        self._averages.turn(boolean(data))

    def _set_average_type(self, _: Suffixes, data: Data) -> None:
        self.guard()
        kind = one_of(data, ("EXPonent", "LINear"))
        counts = self.average_counts[kind]
        self._averages.change(kind, self._averages.count if self._averages.count in counts else min(counts))

    def _set_average_count(self, _: Suffixes, data: Data) -> None:
        self.guard()
        count = integer_in(data, 1, 1024)
        if count not in self.average_counts[self._averages.kind]:
            raise CommandError(222)
        self._averages.change(self._averages.kind, count)

    def _set_maximum_hold(self, _: Suffixes, data: Data) -> None:
        self._averages.hold_maximum(boolean(data))


class SimulatedYokogawa(SimulatedInstrument):
    """A simulated WT meter, served over VXI-11."""

    wires: ClassVar[tuple[str, ...]] = ("VXI-11",)

    @property
    def identity_serial(self) -> str:
        """The serial number that it answers with; begins with SIM."""
        return f"SIM{zlib.crc32(f'{self.name}/{self.world.seed}'.encode()) % 10**6:06d}"

    @property
    def truth(self) -> Truth:
        """True values of the platform."""
        return self.world.truth

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return [Vxi11Server(wire, most_links=self.options.most_links)]

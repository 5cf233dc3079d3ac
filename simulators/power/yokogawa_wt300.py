"""Simulated Yokogawa WT310, WT310E, WT310EH, WT332E and WT333E, over VXI-11.

From IM WT310E-17EN (grammar chapter 5, status chapter 7) and what is known of the WT series beside it.
Not simulated: harmonics, MATH, store, Modbus/TCP, external sensor input. Where the manuals leave a
point open, the option that decides it says "unconfirmed".
"""

from __future__ import annotations

import math
import random
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..dialects.scpi.engine import CommandError, Device, integer
from ..dialects.scpi.status import Status
from ..dialects.scpi.tree import Row
from ..servers.faulty import FaultyWire
from ..servers.vxi11 import Vxi11Server
from ..world import World
from ..world.faults import Fault, FaultPlan
from .wt300_tables import (
    ALREADY_STARTED,
    CANNOT_WHILE_INTEGRATING,
    ERROR_TEXTS,
    MODELS,
    NOT_RUNNING,
    RANGE_LIMIT,
    READING_LIMIT,
    STOP_FIRST,
    VOLTAGE_RANGES,
)

UPD, ITG, ITM, OVRS, FOV = 1, 2, 4, 8, 16
_ELEMENT_BITS = ((64, 128, 256), (512, 1024, 2048), (4096, 8192, 16384))
NAN, INF = math.nan, math.inf
_FUNCTIONS = [
    "U",
    "I",
    "P",
    "S",
    "Q",
    "LAMBDA",
    "PHI",
    "FU",
    "FI",
    "UPPEAK",
    "UMPEAK",
    "IPPEAK",
    "IMPEAK",
    "TIME",
    "WH",
    "WHP",
    "WHM",
    "AH",
    "AHP",
    "AHM",
    "URANGE",
    "IRANGE",
    "NONE",
]
_DEFAULT_ITEMS = ("U", "I", "P", "S", "Q", "LAMBDA", "PHI", "FU", "FI", "NONE")
_WIRINGS = {1: ("P1W2",), 2: ("P1W2", "P1W3", "P3W3"), 3: ("P1W2", "P1W3", "P3W3", "P3W4", "V3A3")}


class Options(BaseModel):
    """`options` of the simulated meter.

    model: which of the family. serial: must begin with SIM. error_fraction: how much of its limits of
    error this specimen uses, 0…1 (drawn by the seed within ±). noise: of range, one standard deviation.
    over_range_at: multiple of range from which a fixed range shows over-range (unconfirmed, 1.4).
    energy_before_start: what WH shows before any integration (unconfirmed). header: state at power-up.
    most_links: clients at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Literal["WT310", "WT310E", "WT310EH", "WT332E", "WT333E"] = "WT310E"
    serial: str = Field(default="SIM0WT300", pattern="^SIM")
    error_fraction: float = Field(default=0.5, ge=0)
    noise: float = Field(default=2e-5, ge=0)
    over_range_at: float = Field(default=1.4, gt=1)
    energy_before_start: Literal["nan", "0"] = "nan"
    header: bool = True
    most_links: int | None = 1


class Sample:
    """One update of one element: V, A, W, VA, var, Hz and flags."""

    __slots__ = ("apparent", "current", "frequency", "over", "peak_over", "power", "reactive", "voltage")

    def __init__(self) -> None:
        self.voltage = self.current = self.power = self.apparent = self.reactive = self.frequency = NAN
        self.over = self.peak_over = False


class _Meter(Device):
    """The instrument behind the wire: settings, measuring, integrating."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world = world
        self.options = options
        self.model = MODELS[options.model]
        self.faults = faults
        self._guard = threading.RLock()
        seed = random.Random(f"{world.seed}/{options.serial}")
        self._noise = random.Random(seed.random())
        self._errors = [
            {q: (seed.uniform(-1, 1), seed.uniform(-1, 1)) for q in "UIP"} for _ in range(self.model.elements)
        ]
        self.header, self.verbose, self.remote, self.messages = options.header, True, False, True
        self._reset_settings()
        self.samples = [Sample() for _ in range(self.model.elements)]
        self.shown = self.samples
        self.condition = 0
        self.extended = 0
        self.extended_enable = 0
        self.filters = ["NEVER"] * 16
        self._next_update = world.clock.now() + self.interval
        super().__init__(Status(sign=1, texts=ERROR_TEXTS), lengths="between", wrap=self._with_header)
        self._register()

    def _reset_settings(self) -> None:
        self.voltage_range = VOLTAGE_RANGES[-1]
        self.current_range = self.model.current_ranges[-1]
        self.voltage_auto = self.current_auto = True
        self.crest = 3
        self.crest_word = "3"
        self.interval_word, self.interval = "250MS", 0.25
        self.wiring = _WIRINGS[self.model.elements][-1] if self.model.elements > 1 else "P1W2"
        if self.model.elements == 3:
            self.wiring = "P3W4"
        self.flags = {"HOLD": False, "NUMHOLD": False, "LINE": False, "FREQ": False, "SCAL": False, "AVER": False}
        self.mode, self.sync, self.average_type, self.average_count = "RMS", "VOLTAGE", "LINEAR", 8
        self.ratios = {
            "VT": [1.0] * self.model.elements,
            "CT": [1.0] * self.model.elements,
            "SFACTOR": [1.0] * self.model.elements,
        }
        self.format = "ASCII"
        self.items: dict[int, tuple[str, str]] = {}
        for element in range(self.model.elements):
            for position, function in enumerate(_DEFAULT_ITEMS):
                self.items[10 * element + position + 1] = (function, str(element + 1))
        self.count = 10 * self.model.elements
        self.integration = "RESET"
        self.integration_mode = "NORMAL"
        self.timer = (0, 0, 0)
        self._begin = 0.0
        self._elapsed = 0.0
        self._energy = [0.0] * self.model.elements
        self._charge = [0.0] * self.model.elements
        self._integrated_to = 0.0
        self._averaged: list[list[tuple[float, float, float]]] = [[] for _ in range(self.model.elements)]

    def extended_summary(self) -> bool:
        return bool(self.extended & self.extended_enable)

    # The clock drives everything below: called before any answer that depends on time.

    def catch_up(self) -> None:
        """Make every update and every integration step that is due."""
        with self._guard:
            now = self.world.clock.now()
            while self._next_update <= now:
                self._update(self._next_update)
                self._next_update += self.interval
            self._integrate(now)

    def _update(self, moment: float) -> None:
        self._integrate(moment)
        if self.faults.strikes("frozen") is None:
            fresh = [self._measure(element, moment) for element in range(self.model.elements)]
            self.samples = fresh
            self._adapt_ranges(fresh)
        if not self.flags["HOLD"]:
            self.shown = self.samples
        self._set_condition(self.condition | UPD)
        bits = UPD * 0
        for element, sample in enumerate(self.samples):
            over, peak, auto = _ELEMENT_BITS[element]
            bits |= over * sample.over | peak * sample.peak_over | auto * (self.voltage_auto or self.current_auto)
        running = self.integration == "START"
        self._set_condition(bits | ITG * running | ITM * (running and self.timer != (0, 0, 0)))

    def _set_condition(self, value: int) -> None:
        for bit in range(16):
            mask = 1 << bit
            if (self.condition ^ value) & mask:
                rises = bool(value & mask)
                if self.filters[bit] in (("RISE", "BOTH") if rises else ("FALL", "BOTH")):
                    self.extended |= mask
        self.condition = value

    def _mains(self, start: float, stop: float) -> tuple[float, float, float, float]:
        """True voltage, current, power of one element over an interval, and the current's crest factor."""
        platform = self.world.platform
        power = (platform.energy_at(stop) - platform.energy_at(start)) / (stop - start)
        crest = platform.crest_factor(power)
        factor = platform.power_factor(power)
        share = power / (3 if self.model.elements == 3 else 1)
        voltage = platform.settings.voltage
        return voltage, share / (voltage * factor), share, crest

    def _measure(self, element: int, moment: float) -> Sample:
        sample = Sample()
        single = self.model.elements == 2 and element == 1
        voltage, current, power, crest = self._mains(max(0.0, moment - self.interval), moment)
        if single:
            current = power = 0.0
        vt, ct = self._scale("VT", element), self._scale("CT", element)
        voltage, current, power = voltage / vt, current / ct, power / (vt * ct)
        limit = 3.0 if self.crest == 3 else 6.0
        over = max(voltage / self.voltage_range, current / self.current_range) > self.options.over_range_at * (
            1 if self.crest_word != "A6" else 2
        )
        sample.peak_over = (
            voltage * math.sqrt(2) > limit * self.voltage_range or current * crest > limit * self.current_range
        ) or self.faults.strikes("peak_over") is not None
        sample.over = over or self.faults.strikes("over_range") is not None
        if sample.over:
            sample.voltage = sample.current = sample.power = sample.apparent = sample.reactive = INF
            return sample
        if self.faults.strikes("no_data") is not None:
            return sample
        gain = self.faults.strikes("gain")
        factor = gain.amount if gain is not None else 1.0
        product = self.voltage_range * self.current_range
        u = self._wrong(element, "U", voltage, self.voltage_range)
        i = self._wrong(element, "I", current, self.current_range)
        p = self._wrong(element, "P", power, product) * factor
        sample.voltage, sample.current, sample.power = u * vt, i * ct, p * vt * ct
        sample.apparent = sample.voltage * sample.current
        sample.reactive = math.sqrt(max(0.0, sample.apparent**2 - sample.power**2))
        sample.frequency = self.world.platform.settings.frequency * (1 + self._noise.gauss(0, 2e-5))
        if self.flags["AVER"]:
            self._average(element, sample)
        return sample

    def _average(self, element: int, sample: Sample) -> None:
        past = self._averaged[element]
        past.append((sample.voltage, sample.current, sample.power))
        del past[: -self.average_count]
        sample.voltage, sample.current, sample.power = (sum(column) / len(past) for column in zip(*past, strict=True))

    def _wrong(self, element: int, quantity: str, value: float, full: float) -> float:
        """The value as this specimen sees it: its own gain and offset within the limits, and noise."""
        gain, offset = self._errors[element][quantity]
        range_limit = RANGE_LIMIT * (1 if self.crest == 3 else 2)
        share = self.options.error_fraction
        noise = self._noise.gauss(0, self.options.noise) * full
        return value * (1 + gain * share * READING_LIMIT) + offset * share * range_limit * full + noise

    def _scale(self, name: str, element: int) -> float:
        return self.ratios[name][element] if self.flags["SCAL"] else 1.0

    def _adapt_ranges(self, samples: Sequence[Sample]) -> None:
        """Auto range: up beyond 130 % (260 % at 6A) or on peaks, down at or below 30 %; forced up from small ranges."""
        top = 1.3 if self.crest_word != "A6" else 2.6
        limit = 3.0 if self.crest == 3 else 6.0
        voltage, current, _, crest = self._mains(max(0.0, self._next_update - self.interval), self._next_update)
        voltage, current = voltage / self._scale("VT", 0), current / self._scale("CT", 0)
        for auto, name, ranges, rms, peak in (
            (self.voltage_auto, "voltage_range", self._voltage_ranges(), voltage, voltage * math.sqrt(2)),
            (self.current_auto, "current_range", self._current_ranges(), current, current * crest),
        ):
            full = getattr(self, name)
            index = ranges.index(full)
            too_small = rms > top * full or peak > limit * full
            if not auto:
                if name == "current_range" and too_small and full <= 0.2 and max(ranges) >= 1.0:
                    self.current_range, self.current_auto = 1.0 if 1.0 in ranges else ranges[-1], True
                continue
            if too_small and index + 1 < len(ranges):
                setattr(self, name, ranges[index + 1])
            elif index and rms <= 0.3 * full and rms <= 1.25 * ranges[index - 1] and peak <= limit * ranges[index - 1]:
                setattr(self, name, ranges[index - 1])

    def _voltage_ranges(self) -> tuple[float, ...]:
        return tuple(value / (1 if self.crest == 3 else 2) for value in VOLTAGE_RANGES)

    def _current_ranges(self) -> tuple[float, ...]:
        return tuple(value / (1 if self.crest == 3 else 2) for value in self.model.current_ranges)

    def _integrate(self, moment: float) -> None:
        if self.integration != "START":
            return
        end = moment
        limit = self.timer[0] * 3600 + self.timer[1] * 60 + self.timer[2]
        finished = bool(limit) and self._elapsed + (moment - self._begin) >= limit
        if finished:
            end = self._begin + limit - self._elapsed
        start = self._integrated_to
        if end > start:
            _, current, power, _ = self._mains(start, end)
            hours = (end - start) / 3600
            for element in range(self.model.elements):
                if self.model.elements == 2 and element == 1:
                    continue
                product = (
                    self.voltage_range * self.current_range * self._scale("VT", element) * self._scale("CT", element)
                )
                gain, offset = self._errors[element]["P"]
                share = self.options.error_fraction
                seen = power * (1 + gain * share * READING_LIMIT) + offset * share * RANGE_LIMIT * product
                self._energy[element] += seen * hours
                self._charge[element] += current * hours
            self._integrated_to = end
        if finished:
            self._elapsed = float(limit)
            self.integration = "TIMEUP"
            if self.integration_mode == "CONTINUOUS":
                self._start_again(end)

    def _start_again(self, moment: float) -> None:
        self._energy = [0.0] * self.model.elements
        self._charge = [0.0] * self.model.elements
        self._elapsed, self._begin, self._integrated_to, self.integration = 0.0, moment, moment, "START"

    def _elapsed_now(self) -> float:
        if self.integration == "START":
            return self._elapsed + self.world.clock.now() - self._begin
        return self._elapsed

    # What the commands do.

    def _start(self) -> None:
        if self.integration == "START":
            raise CommandError(ALREADY_STARTED, own=True)
        if self.integration not in ("RESET", "STOP"):
            raise CommandError(STOP_FIRST, own=True)
        now = self.world.clock.now()
        self._begin = self._integrated_to = now
        self.integration = "START"

    def _stop(self) -> None:
        self.catch_up()
        if self.integration != "START":
            raise CommandError(NOT_RUNNING, own=True)
        self._elapsed = self._elapsed_now()
        self.integration = "STOP"

    def _reset(self) -> None:
        self.catch_up()
        if self.integration == "START":
            raise CommandError(STOP_FIRST, own=True)
        self.integration = "RESET"
        self._elapsed = 0.0
        self._energy = [0.0] * self.model.elements
        self._charge = [0.0] * self.model.elements

    def _refuse_while_integrating(self) -> None:
        self.catch_up()
        if self.integration != "RESET":
            raise CommandError(CANNOT_WHILE_INTEGRATING, own=True)

    def _value(self, function: str, element: str) -> float | int | None:
        """The value of one item; None = NONE."""
        if function == "NONE":
            return None
        if function == "TIME":
            return round(self._elapsed_now())
        if element == "SIGMA":
            return self._sigma(function)
        number = int(element) - 1
        if number >= self.model.elements:
            return NAN
        sample = self.shown[number]
        if function in ("WH", "WHP", "AH", "AHP"):
            if self.integration == "RESET":
                return NAN if self.options.energy_before_start == "nan" else 0.0
            return (self._energy if function.startswith("WH") else self._charge)[number]
        if function in ("WHM", "AHM"):
            return NAN if self.integration == "RESET" else 0.0
        if function == "URANGE":
            return self.voltage_range * self._scale("VT", number)
        if function == "IRANGE":
            return self.current_range * self._scale("CT", number)
        if function == "LAMBDA":
            return sample.power / sample.apparent if 0 < abs(sample.apparent) < INF else (INF if sample.over else NAN)
        if function == "PHI":
            ratio = sample.power / sample.apparent if 0 < abs(sample.apparent) < INF else NAN
            return math.degrees(math.acos(min(1.0, ratio))) if ratio == ratio else NAN
        peak = {"UPPEAK": 1.414, "UMPEAK": -1.414, "IPPEAK": 1.8, "IMPEAK": -1.8}
        if function in peak:
            return peak[function] * (sample.voltage if function.startswith("U") else sample.current)
        field = {
            "U": "voltage",
            "I": "current",
            "P": "power",
            "S": "apparent",
            "Q": "reactive",
            "FU": "frequency",
            "FI": "frequency",
        }
        return float(getattr(sample, field[function]))

    def _sigma(self, function: str) -> float:
        if self.model.elements == 1:
            return NAN
        values = [float(self._value(function, str(element + 1)) or 0.0) for element in range(self.model.elements)]
        if function in ("U", "I"):
            return sum(values) / len(values)
        if function in ("P", "Q", "WH", "WHP", "WHM", "AH", "AHP", "AHM"):
            if self.model.elements == 3 and self.wiring in ("P3W3", "V3A3", "P1W3"):
                return values[0] + values[2]
            return sum(values)
        if function == "S":
            factor = {"P3W3": math.sqrt(3) / 2, "V3A3": math.sqrt(3) / 3}.get(self.wiring, 1.0)
            used = (values[0], values[2]) if self.wiring == "P3W3" and self.model.elements == 3 else values
            return factor * sum(used)
        if function == "LAMBDA":
            apparent = self._sigma("S")
            return self._sigma("P") / apparent if 0 < abs(apparent) < INF else NAN
        return NAN

    def _values(self, suffixes: Sequence[int], data: Sequence[bytes]) -> str | bytes:
        self.catch_up()
        wanted = [integer(data)] if data else list(range(1, self.count + 1))
        values = [self._value(*self.items.get(position, ("NONE", "1"))) for position in wanted]
        if self.format == "FLOAT":
            packed = b"".join(
                struct.pack(">f", 9.91e37 if v is None or v != v else 9.9e37 if abs(v) == INF else v) for v in values
            )
            return b"#4%04d" % len(packed) + packed
        return ",".join(_number(value) for value in values)

    def _wait(self, mask: int) -> None:
        while True:
            with self._guard:
                self.catch_up()
                if self.extended & mask:
                    return
                due = self._next_update
            stuck = self.faults.strikes("stuck")
            if stuck is not None:
                self.cancelled.wait(stuck.amount)
            if not self.world.clock.wait_until(due, cancel=self.cancelled):
                return

    def _with_header(self, row: Row, text: str) -> str:
        return f"{row.long_header} {text}" if self.header else text

    def _word(self, long: str) -> str:
        """A word in full, or its first letters where VERBOSE is off."""
        return long if self.verbose else _short(long)

    def _register(self) -> None:
        add = self.command
        self._register_common(add)
        self._register_communication(add)
        self._register_status(add)
        self._register_input(add)
        self._register_measurement(add)
        self._register_numeric(add)

    def _register_common(self, add: Callable[..., None]) -> None:
        def identity(*_: Any) -> str:
            serial = self.options.serial
            if self.faults.strikes("wrong_identity"):
                return "YOKOGAWA,WT1806E-5A3-50A3,SIM0OTHER,F1.01"
            return f"YOKOGAWA,{self.model.name},{serial},F1.03"

        def reset(*_: Any) -> None:
            with self._guard:
                self._reset_settings()

        def calibrate(*_: Any) -> str:
            self.world.clock.wait_until(self.world.clock.now() + 2.0, cancel=self.cancelled)
            return "0"

        def clear(_: Any, data: Sequence[bytes]) -> None:
            self.status.clear()
            self.extended = 0

        add("*CLS", set=clear)
        add("*IDN", ask=identity)
        add("*OPT", ask=lambda *_: "0")
        add("*RST", set=reset)
        add("*CAL", ask=calibrate)
        add("*TST", ask=lambda *_: "0")
        add("*TRG", set=lambda *_: None)

    def _register_communication(self, add: Callable[..., None]) -> None:
        def toggle(name: str) -> dict[str, Any]:
            return {
                "set": lambda _, data: setattr(self, name, _boolean(data)),
                "ask": lambda *_: str(int(getattr(self, name))),
            }

        add(":COMMunicate:HEADer", **toggle("header"))
        add(":COMMunicate:VERBose", **toggle("verbose"))
        add(":COMMunicate:REMote", **toggle("remote"))
        add(":COMMunicate:LOCKout", set=lambda *_: None, ask=lambda *_: "0")
        add(":COMMunicate:STATus", ask=lambda *_: "0")

        def wait(_: Any, data: Sequence[bytes]) -> None:
            self._wait(integer(data))

        def wait_reply(_: Any, data: Sequence[bytes]) -> str:
            self._wait(integer(data))
            return "1"

        add(":COMMunicate:WAIT", set=wait, ask=wait_reply, headless=True)
        add(":SYSTem:COMMunicate:COMMand", set=lambda *_: None, ask=lambda *_: "WT300")
        add(":SYSTem:KLOCk", set=lambda *_: None, ask=lambda *_: "0")

    def _register_status(self, add: Callable[..., None]) -> None:
        def condition(*_: Any) -> str:
            self.catch_up()
            return str(self.condition)

        def events(*_: Any) -> str:
            with self._guard:
                self.catch_up()
                value, self.extended = self.extended, 0
            return str(value)

        def error(*_: Any) -> str:
            number, text = self.status.next_error()
            return f'{number},"{text}"' if self.messages else str(number)

        def set_filter(suffixes: Sequence[int], data: Sequence[bytes]) -> None:
            number = suffixes[0]
            if not 1 <= number <= 16:
                raise CommandError(114)
            self.filters[number - 1] = _choice(data, ("RISE", "FALL", "BOTH", "NEVer"))

        add(":STATus:CONDition", ask=condition, headless=True)
        add(":STATus:EESR", ask=events, headless=True)
        add(
            ":STATus:EESE",
            set=lambda _, data: setattr(self, "extended_enable", integer(data) & 0xFFFF),
            ask=lambda *_: str(self.extended_enable),
        )
        add(":STATus:ERRor", ask=error, headless=True)
        add(":STATus:FILTer<x>", set=set_filter, ask=lambda suffixes, _: self._word(self.filters[suffixes[0] - 1]))
        add(
            ":STATus:QMESsage",
            set=lambda _, data: setattr(self, "messages", _boolean(data)),
            ask=lambda *_: str(int(self.messages)),
        )

    def _register_input(self, add: Callable[..., None]) -> None:
        def guarded(action: Callable[[Sequence[int], Sequence[bytes]], None]) -> Callable[..., None]:
            def run(suffixes: Sequence[int], data: Sequence[bytes]) -> None:
                self._refuse_while_integrating()
                with self._guard:
                    action(suffixes, data)

            return run

        def set_range(name: str, ranges: Callable[[], tuple[float, ...]], unit: str) -> Callable[..., None]:
            def run(_: Sequence[int], data: Sequence[bytes]) -> None:
                value = _quantity(data, unit)
                fitting = [full for full in ranges() if math.isclose(full, value, rel_tol=1e-6)]
                if not fitting:
                    raise CommandError(222)
                setattr(self, name, fitting[0])

            return guarded(run)

        def flag(name: str) -> dict[str, Any]:
            return {
                "set": guarded(lambda _, data: self.flags.__setitem__(name, _boolean(data))),
                "ask": lambda *_: str(int(self.flags[name])),
            }

        def shown(name: str) -> str:
            self.catch_up()
            return str(int(getattr(self, name)))

        def attribute(name: str) -> dict[str, Any]:
            return {
                "set": guarded(lambda _, data: setattr(self, name, _boolean(data))),
                "ask": lambda *_: shown(name),
            }

        def set_crest(_: Sequence[int], data: Sequence[bytes]) -> None:
            word = _choice(data, ("3", "6", "A6"))
            was, now = self.crest, 3 if word == "3" else 6
            if was != now:
                factor = 2.0 if now == 3 else 0.5
                self.voltage_range *= factor
                self.current_range *= factor
            self.crest, self.crest_word = now, word

        def current(*_: Any) -> str:
            self.catch_up()
            return _setting(self.current_range)

        def voltage(*_: Any) -> str:
            self.catch_up()
            return _setting(self.voltage_range)

        add(":INPut:VOLTage:RANGe", set=set_range("voltage_range", self._voltage_ranges, "V"), ask=voltage)
        add(":INPut:CURRent:RANGe", set=set_range("current_range", self._current_ranges, "A"), ask=current)
        add(":INPut:VOLTage:AUTO", **attribute("voltage_auto"))
        add(":INPut:CURRent:AUTO", **attribute("current_auto"))
        add(":INPut:CFACtor", set=guarded(set_crest), ask=lambda *_: self.crest_word)
        add(
            ":INPut:WIRing",
            set=guarded(lambda _, data: setattr(self, "wiring", _choice(data, _WIRINGS[self.model.elements]))),
            ask=lambda *_: self.wiring,
        )
        add(
            ":INPut:MODE",
            set=guarded(lambda _, data: setattr(self, "mode", _choice(data, ("RMS", "VMEan", "DC")))),
            ask=lambda *_: self._word(self.mode),
        )
        add(
            ":INPut:SYNChronize",
            set=guarded(lambda _, data: setattr(self, "sync", _choice(data, ("VOLTage", "CURRent", "OFF")))),
            ask=lambda *_: self._word(self.sync),
        )
        add(":INPut:FILTer:LINE", **flag("LINE"))
        add(":INPut:FILTer:FREQuency", **flag("FREQ"))
        add(":INPut:SCALing[:STATe]", **flag("SCAL"))
        for word, name in (("VT", "VT"), ("CT", "CT"), ("SFACtor", "SFACTOR")):
            self._register_ratio(add, word, name, guarded)
        add(
            ":INPut:CRANge", ask=lambda *_: str(sum(s.over << 2 * i for i, s in enumerate(self.samples))), headless=True
        )
        add(
            ":INPut:POVer",
            ask=lambda *_: str(sum(s.peak_over << 2 * i for i, s in enumerate(self.samples))),
            headless=True,
        )

    def _register_ratio(
        self, add: Callable[..., None], word: str, name: str, guarded: Callable[..., Callable[..., None]]
    ) -> None:
        def set_ratio(suffixes: Sequence[int], data: Sequence[bytes]) -> None:
            value = _quantity(data, "")
            if not 0.001 <= value <= 9999:
                raise CommandError(222)
            if not 1 <= suffixes[0] <= self.model.elements:
                raise CommandError(114)
            self.ratios[name][suffixes[0] - 1] = value

        def ask_ratio(suffixes: Sequence[int], _: Sequence[bytes]) -> str:
            if not 1 <= suffixes[0] <= self.model.elements:
                raise CommandError(114)
            return _number(self.ratios[name][suffixes[0] - 1])

        add(f":INPut:SCALing:{word}:ELEMent<x>", set=guarded(set_ratio), ask=ask_ratio)

    def _register_measurement(self, add: Callable[..., None]) -> None:
        def set_rate(_: Sequence[int], data: Sequence[bytes]) -> None:
            self._refuse_while_integrating()
            value = _quantity(data, "S")
            fitting = [w for w, s in self.model.intervals.items() if math.isclose(s, value, rel_tol=1e-6)]
            if not fitting:
                raise CommandError(222)
            with self._guard:
                self.catch_up()
                self.interval_word, self.interval = fitting[0], self.model.intervals[fitting[0]]
                self._next_update = self.world.clock.now() + self.interval

        def rate(*_: Any) -> str:
            return _setting(self.interval)

        def set_timer(_: Sequence[int], data: Sequence[bytes]) -> None:
            self._refuse_while_integrating()
            if len(data) != 3:
                raise CommandError(109)
            hours, minutes, seconds = (integer([part]) for part in data)
            if not (0 <= hours <= 10000 and 0 <= minutes < 60 and 0 <= seconds < 60):
                raise CommandError(222)
            self.timer = (hours, minutes, seconds)

        def state(*_: Any) -> str:
            self.catch_up()
            return self._word(self.integration)

        def set_mode(_: Sequence[int], data: Sequence[bytes]) -> None:
            self._refuse_while_integrating()
            self.integration_mode = _choice(data, ("NORMal", "CONTinuous"))

        def set_count(_: Sequence[int], data: Sequence[bytes]) -> None:
            self.average_count = int(_choice(data, ("8", "16", "32", "64")))

        for header in (":RATE", ":SAMPle:RATE"):
            add(header, set=set_rate, ask=rate)
        for header in (":HOLD", ":SAMPle:HOLD"):
            add(
                header,
                set=lambda _, data: self.flags.__setitem__("HOLD", _boolean(data)),
                ask=lambda *_: str(int(self.flags["HOLD"])),
            )
        add(
            ":MEASure:AVERaging[:STATe]",
            set=lambda _, data: self.flags.__setitem__("AVER", _boolean(data)),
            ask=lambda *_: str(int(self.flags["AVER"])),
        )
        add(
            ":MEASure:AVERaging:TYPE",
            set=lambda _, data: setattr(self, "average_type", _choice(data, ("LINear", "EXPonent"))),
            ask=lambda *_: self._word(self.average_type),
        )
        add(":MEASure:AVERaging:COUNt", set=set_count, ask=lambda *_: str(self.average_count))
        add(":INTEGrate:MODE", set=set_mode, ask=lambda *_: self._word(self.integration_mode))
        add(":INTEGrate:TIMer", set=set_timer, ask=lambda *_: ",".join(str(part) for part in self.timer))
        add(":INTEGrate:STARt", set=lambda *_: self._start())
        add(":INTEGrate:STOP", set=lambda *_: self._stop())
        add(":INTEGrate:RESet", set=lambda *_: self._reset())
        add(":INTEGrate:STATe", ask=state, headless=True)

    def _register_numeric(self, add: Callable[..., None]) -> None:
        def set_item(suffixes: Sequence[int], data: Sequence[bytes]) -> None:
            if not 1 <= suffixes[0] <= 255:
                raise CommandError(114)
            if not data:
                raise CommandError(109)
            function = _choice(data[:1], tuple(_FUNCTIONS))
            element = data[1].decode("ascii", "replace").upper() if len(data) > 1 else "1"
            if element.startswith("SIG"):
                element = "SIGMA"
            elif not (element.isdigit() and 1 <= int(element) <= self.model.elements):
                raise CommandError(222)
            self.items[suffixes[0]] = (function, element)

        def item(suffixes: Sequence[int], _: Sequence[bytes]) -> str:
            function, element = self.items.get(suffixes[0], ("NONE", "1"))
            return function if function in ("NONE", "TIME") else f"{function},{element}"

        def number(_: Sequence[int], data: Sequence[bytes]) -> None:
            value = integer(data)
            if not 1 <= value <= 255:
                raise CommandError(222)
            self.count = value

        def clear(_: Sequence[int], data: Sequence[bytes]) -> None:
            self.items = {}

        add(
            ":NUMeric:FORMat",
            set=lambda _, data: setattr(self, "format", _choice(data, ("ASCii", "FLOat"))),
            ask=lambda *_: self._word(self.format),
        )
        add(
            ":NUMeric:HOLD",
            set=lambda _, data: self.flags.__setitem__("NUMHOLD", _boolean(data)),
            ask=lambda *_: str(int(self.flags["NUMHOLD"])),
        )
        add(":NUMeric[:NORMal]:NUMber", set=number, ask=lambda *_: str(self.count))
        add(":NUMeric[:NORMal]:ITEM<x>", set=set_item, ask=item)
        add(":NUMeric[:NORMal]:VALue", ask=self._values, headless=True)
        add(":NUMeric[:NORMal]:CLEar", set=clear)


class MeterTruth:
    """What the meter's input truly is, W and J, on the world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def active_power(self) -> float:
        """Active power now, W."""
        return self._world.truth.active_power

    def energy_between(self, start: float, stop: float) -> float:
        """Energy between two world times, J."""
        return self._world.truth.energy_between(start, stop)


class SimulatedWT300:
    """A simulated meter of the WT300 family on one world, served over VXI-11 on loopback."""

    simulates: ClassVar[str] = "yokogawa-wt300"
    wires: ClassVar[tuple[str, ...]] = ("VXI-11",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name = name
        self.options = Options.model_validate(options)
        self.world = world
        self.faults = FaultPlan(world.seed)
        self.truth = MeterTruth(world)
        self.exchanges: list[tuple[str, bytes]] = []
        self._meter: _Meter | None = None
        self._server: Vxi11Server | None = None
        self.address = ""

    @property
    def identity_serial(self) -> str:
        """The serial number on the wire; begins with SIM."""
        return self.options.serial

    def start(self) -> str:
        """Serve the meter; return the address a driver opens."""
        if self._server is None:
            self._meter = _Meter(self.world, self.options, self.faults)
            wire = FaultyWire(self.faults, self._meter, self.exchanges)
            self._server = Vxi11Server(wire, most_links=self.options.most_links)
            self._server.start()
            self.address = self._server.address
        return self.address

    def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._server is not None and self._meter is not None:
            self._meter.stop()
            self._server.stop()
            self._server = self._meter = None

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)


def _boolean(data: Sequence[bytes]) -> bool:
    if not data:
        raise CommandError(109)
    text = data[0].upper()
    if text in (b"ON", b"OFF"):
        return text == b"ON"
    return bool(integer(data))


def _choice(data: Sequence[bytes], words: Sequence[str]) -> str:
    """Return the word in capitals that the data abbreviate: from its capitals up to its full length."""
    if not data:
        raise CommandError(109)
    given = data[0].decode("ascii", "replace").upper()
    for word in words:
        short = "".join(c for c in word if not c.islower())
        if given == word.upper() or (given.startswith(short) and word.upper().startswith(given)):
            return word.upper()
    try:
        value = float(given)
    except ValueError:
        raise CommandError(141) from None
    for word in words:
        if word.isdigit() and float(word) == value:
            return word
    raise CommandError(222)


_MULTIPLIERS = {
    "EX": 1e18,
    "PE": 1e15,
    "T": 1e12,
    "G": 1e9,
    "MA": 1e6,
    "K": 1e3,
    "M": 1e-3,
    "U": 1e-6,
    "N": 1e-9,
    "P": 1e-12,
    "F": 1e-15,
    "": 1.0,
}


def _quantity(data: Sequence[bytes], unit: str) -> float:
    """Return a number with an optional multiplier and unit ("300.00 V", "500MS", "20MA" = 20 milliampere)."""
    if not data:
        raise CommandError(109)
    text = data[0].decode("ascii", "replace").upper().replace(" ", "")
    end = len(text)
    while end:
        try:
            value = float(text[:end])
            break
        except ValueError:
            end -= 1
    else:
        raise CommandError(104)
    rest = text[end:]
    if rest and not unit:
        raise CommandError(138)
    if unit and rest.endswith(unit):
        rest = rest[: -len(unit)]
    if rest not in _MULTIPLIERS:
        raise CommandError(131)
    return value * _MULTIPLIERS[rest]


def _engineering(value: float) -> tuple[float, int]:
    if value == 0:
        return 0.0, 0
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    mantissa = value / 10.0**exponent
    if abs(round(mantissa, 4)) >= 1000:
        return mantissa / 1000, exponent + 3
    return mantissa, exponent


def _exponent(power: int) -> str:
    return f"E{'-' if power < 0 else '+'}{abs(power):02d}"


def _number(value: float | int | None) -> str:
    """A measured value as NR3 with five digits, TIME as NR1, the words NAN and INF."""
    if value is None:
        return "NAN"
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NAN"
    if abs(value) == INF:
        return "INF"
    mantissa, power = _engineering(value)
    digits = 4 - max(0, math.floor(math.log10(abs(mantissa)))) if mantissa else 4
    return f"{mantissa:.{digits}f}{_exponent(power)}"


def _setting(value: float) -> str:
    """A setting as NR3: 300.0E+00, 1.000E+03, 500.0E-03."""
    mantissa, power = _engineering(value)
    return f"{mantissa:.{1 if abs(mantissa) >= 10 else 3}f}{_exponent(power)}"


def _short(word: str) -> str:
    special = {"TIMEUP": "TIM", "RESET": "RES", "START": "STAR", "ERROR": "ERR", "ASCII": "ASC", "FLOAT": "FLO"}
    return special.get(word, word[:4] if len(word) > 4 else word)

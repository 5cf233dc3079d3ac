"""Settings of the WT300 family: checked against the model's tables, set, read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aicalib_hw.errors import OutOfRange, ProtocolError, UsageError
from aicalib_hw.interfaces import PowerSettings, Setting
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Instant
from aicalib_hw.scpi import setting
from aicalib_hw.scpi.codec import BOOLEAN, INTEGER, NUMBER, choice, number_text
from aicalib_hw.scpi.session import ScpiSession

from . import _wt300_tables as tables
from ._choices import require_one_of, require_ratio
from ._yokogawa_values import current_input

AVERAGING = (1, 8, 16, 32, 64)
RATIO = (0.001, 9999.0)
"""Limits of VT and CT ratios."""


class Settings:
    """The settings of one open meter."""

    voltage_range = setting.Setting(":INPut:VOLTage:RANGe", NUMBER, "V")
    current_range = setting.Setting(":INPut:CURRent:RANGe", NUMBER, "A")
    voltage_auto = setting.Setting(":INPut:VOLTage:AUTO", BOOLEAN)
    current_auto = setting.Setting(":INPut:CURRent:AUTO", BOOLEAN)
    line_filter = setting.Setting(":INPut:FILTer:LINE", BOOLEAN)
    frequency_filter = setting.Setting(":INPut:FILTer:FREQuency", BOOLEAN)
    scaling = setting.Setting(":INPut:SCALing:STATe", BOOLEAN)
    update_interval = setting.Setting(":RATE", NUMBER, "s")
    averaging_on = setting.Setting(":MEASure:AVERaging:STATe", BOOLEAN)
    averaging_count = setting.Setting(":MEASure:AVERaging:COUNt", INTEGER)
    wiring = setting.Setting(":INPut:WIRing", choice(tables.WIRINGS))
    mode = setting.Setting(":INPut:MODE", choice({"rms": "RMS", "voltage mean": "VMEan", "dc": "DC"}))
    synchronisation = setting.Setting(
        ":INPut:SYNChronize", choice({"voltage": "VOLTage", "current": "CURRent", "off": "OFF"})
    )

    def __init__(self, session: ScpiSession, model: tables.Model, *, crest_factor_6a: str) -> None:
        self.session = session
        self._model = model
        self._crest = choice({"3": "3", "6": "6", "6A": crest_factor_6a})
        self._asked = {
            "mode": ":INPut:MODE?",
            "wiring": ":INPut:WIRing?",
            "voltage auto": ":INPut:VOLTage:AUTO?",
            "current auto": ":INPut:CURRent:AUTO?",
            "crest factor": ":INPut:CFACtor?",
            "update interval": ":RATE?",
            "line filter": ":INPut:FILTer:LINE?",
            "averaging": ":MEASure:AVERaging:STATe?",
            "averaging count": ":MEASure:AVERaging:COUNt?",
            "scaling": ":INPut:SCALing:STATe?",
            **{
                f"{word}{element}": f":INPut:SCALing:{word}:ELEMent{element}?"
                for word in ("CT", "VT")
                for element in range(1, model.elements + 1)
            },
        }
        self.rms = (True,) * model.elements
        self.questions = tuple(self._asked.values())
        self.range_questions = (":INPut:VOLTage:RANGe?", ":INPut:CURRent:RANGe?")

    @property
    def crest_factor(self) -> str:
        """Crest factor in force: "3", "6" or "6A"."""
        return self._crest.decode(self.session.query(":INPut:CFACtor?"))

    def in_force(self) -> PowerSettings:
        """Read back everything that a reading depends on, in one exchange."""
        asked = (*self.range_questions, *self.questions)
        answers = self.session.query(";".join(asked)).split(";")
        if len(answers) != len(asked):
            raise ProtocolError(f"{';'.join(answers)!r} does not answer {len(asked)} questions")
        first = len(self.range_questions)
        return self.from_answers(answers[:first], answers[first:])

    def ranges(self, answers: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the ranges of all elements, V and A at the meter's input, from the answers to `range_questions`."""
        return self._inputs(answers)[:2]

    def from_answers(self, ranges: Sequence[str], answers: Sequence[str]) -> PowerSettings:
        """Return the settings in force from the answers to `range_questions` and `questions`."""
        voltage, current, sensors = self._inputs(ranges)
        count = self._model.elements
        taken = dict(zip(self._asked, answers, strict=True))
        scaled = BOOLEAN.decode(taken["scaling"])
        self.rms = (type(self).mode.codec.decode(taken["mode"]) != "dc",) * count

        def ratios(word: str) -> tuple[float, ...]:
            return tuple(NUMBER.decode(taken[f"{word}{e}"]) if scaled else 1.0 for e in range(1, count + 1))

        return PowerSettings(
            elements=tuple(range(1, count + 1)),
            wiring=cast(Wiring, type(self).wiring.codec.decode(taken["wiring"])),
            voltage_range=voltage,
            current_range=current,
            auto_range=BOOLEAN.decode(taken["voltage auto"]) or BOOLEAN.decode(taken["current auto"]),
            crest_factor=self._crest.decode(taken["crest factor"]),
            update_interval=NUMBER.decode(taken["update interval"]) if taken["update interval"] != "AUTO" else None,
            ct_ratio=ratios("CT"),
            vt_ratio=ratios("VT"),
            line_filter=BOOLEAN.decode(taken["line filter"]),
            averaging=INTEGER.decode(taken["averaging count"]) if BOOLEAN.decode(taken["averaging"]) else 1,
            sensor_ratio=sensors if any(sensors) else None,
        )

    def snapshot(self) -> Mapping[str, Setting]:
        """Return every setting with value, unit, time and origin."""
        with self.session.lock:
            settings, now = self.in_force(), Instant.now()
            units = {"voltage_range": "V", "current_range": "A", "update_interval": "s", "sensor_ratio": "mV/A"}
            found = {
                name: Setting(getattr(settings, name), units.get(name, ""), now, "instrument")
                for name in PowerSettings.__slots__
                if name != "elements"
            }
            found["elements"] = Setting(settings.elements, "", now, "driver")
            for name, value in (
                ("mode", self.mode),
                ("synchronisation", self.synchronisation),
                ("frequency_filter", self.frequency_filter),
            ):
                found[name] = Setting(value, "", now, "instrument")
            return found

    def apply(self, **wanted: Any) -> None:
        """Check all that is given, then set it in an order the instrument accepts."""
        given = {name: value for name, value in wanted.items() if value is not None}
        self._check(given)
        with self.session.lock:
            if "wiring" in given:
                self.wiring = given["wiring"]
            if "crest_factor" in given:
                self.session.command(f":INPut:CFACtor {self._crest.encode(given['crest_factor'])}")
            if "auto_range" in given:
                self.voltage_auto = given["auto_range"]
                self.current_auto = given["auto_range"]
            if "voltage_range" in given:
                self.voltage_auto = False
                self.voltage_range = given["voltage_range"]
            if "current_range" in given:
                self.current_auto = False
                self.current_range = given["current_range"]
            for name, word in (("ct_ratio", "CT"), ("vt_ratio", "VT")):
                if name in given:
                    self._set_ratio(word, given[name])
            if "line_filter" in given:
                self.line_filter = given["line_filter"]
            if "averaging" in given:
                if given["averaging"] > 1:
                    self.averaging_count = given["averaging"]
                self.averaging_on = given["averaging"] > 1
            if "update_interval" in given:
                self.update_interval = given["update_interval"]

    def select_sensor(self, voltage_range: float, millivolts_per_ampere: float) -> None:
        """Measure current as the voltage of an external sensor: range in V, ratio in mV/A (0.001 to 9999)."""
        factor = tables.CREST_FACTORS[self.crest_factor]
        require_one_of("external range", voltage_range, tuple(full * factor for full in tables.EXTERNAL_RANGES), "V")
        if not RATIO[0] <= millivolts_per_ampere <= RATIO[1]:
            raise OutOfRange(
                f"a ratio of {millivolts_per_ampere:g} mV/A cannot be set",
                why=f"this meter takes {RATIO[0]:g} to {RATIO[1]:g} mV/A",
                advice="give what stands on the sensor",
            )
        with self.session.lock:
            self.current_auto = False
            self.session.command(f":INPut:CURRent:RANGe EXTERNAL,{number_text(voltage_range)}")
            for element in range(1, self._model.elements + 1):
                self.session.command(f":INPut:CURRent:SRATio:ELEMent{element} {number_text(millivolts_per_ampere)}")

    def _inputs(self, answers: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float | None, ...]]:
        """Ranges of all elements, V and A, and the mV/A of their sensors, from the answers to `range_questions`."""
        voltage, current = answers
        elements = range(1, self._model.elements + 1)
        inputs = [current_input(self.session, current, element) for element in elements]
        full = (NUMBER.decode(voltage),) * len(inputs)
        return full, tuple(amperes for amperes, _ in inputs), tuple(ratio for _, ratio in inputs)

    def _check(self, given: Mapping[str, Any]) -> None:
        """Raise OutOfRange for what this model does not have, before anything is sent."""
        model = self._model
        if "elements" in given and tuple(given["elements"]) != tuple(range(1, model.elements + 1)):
            raise OutOfRange(
                f"elements {tuple(given['elements'])} cannot be chosen",
                why=f"this meter always measures with all of its {model.elements}",
            )
        if given.get("auto_range") and given.keys() & {"voltage_range", "current_range"}:
            raise UsageError("auto_range=True and a fixed range exclude each other", advice="give one of them")
        if "crest_factor" in given:
            require_one_of("crest factor", given["crest_factor"], tuple(tables.CREST_FACTORS))
        if "wiring" in given:
            require_one_of("wiring", given["wiring"], tables.WIRINGS_OF[model.elements])
        if given.keys() & {"voltage_range", "current_range"}:
            factor = tables.CREST_FACTORS[given.get("crest_factor") or self.crest_factor]
            for name, ranges in (("voltage_range", tables.VOLTAGE_RANGES), ("current_range", model.current_ranges)):
                if name in given:
                    unit = "V" if name == "voltage_range" else "A"
                    require_one_of(
                        name.replace("_", " "),
                        given[name],
                        tuple(full * factor for full in ranges),
                        unit,
                        advice="choose one of these; at crest factor 6 every range is halved",
                    )
        if "update_interval" in given:
            require_one_of("update interval", given["update_interval"], model.intervals, "s")
        if "averaging" in given:
            require_one_of("averaging", given["averaging"], AVERAGING)
        for name in ("ct_ratio", "vt_ratio"):
            if name in given:
                require_ratio(name, given[name], RATIO)

    def _ratio(self, word: str, element: int) -> float:
        return NUMBER.decode(self.session.query(f":INPut:SCALing:{word}:ELEMent{element}?"))

    def _set_ratio(self, word: str, ratio: float) -> None:
        elements = range(1, self._model.elements + 1)
        for element in elements:
            self.session.command(f":INPut:SCALing:{word}:ELEMent{element} {number_text(ratio)}")
        other = "VT" if word == "CT" else "CT"
        self.scaling = ratio != 1.0 or any(self._ratio(other, element) != 1.0 for element in elements)

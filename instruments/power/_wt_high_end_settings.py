"""Settings of the WT3000, WT1800 and WT5000: each element for itself; checked, set, read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from aicalib_hw.errors import OutOfRange, ProtocolError, UsageError
from aicalib_hw.interfaces import PowerSettings, Setting
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Instant
from aicalib_hw.scpi import setting
from aicalib_hw.scpi.codec import BOOLEAN, INTEGER, NUMBER, choice, number_text
from aicalib_hw.scpi.session import ScpiSession

from . import _wt_high_end_tables as tables
from ._choices import require_one_of, require_ratio
from ._yokogawa_values import current_input

_CREST = choice({"3": "3", "6": "6"})
_WIRING = choice(tables.WIRINGS)


class Settings:
    """The settings of one open meter; modules: code of the current input of each element."""

    update_interval = setting.Setting(":RATE", NUMBER, "s")
    averaging_on = setting.Setting(":MEASure:AVERaging:STATe", BOOLEAN)
    averaging_type = setting.Setting(":MEASure:AVERaging:TYPE", choice({"exponential": "EXPonent", "linear": "LINear"}))
    averaging_count = setting.Setting(":MEASure:AVERaging:COUNt", INTEGER)
    null = setting.Setting(":INPut:NULL", BOOLEAN)

    def __init__(
        self,
        session: ScpiSession,
        family: tables.Family,
        modules: Sequence[int],
        *,
        line_filter_cutoff: str,
        always_rms: bool,
    ) -> None:
        self.session = session
        self._family = family
        self._modules = tuple(family.modules[code] for code in modules)
        self._elements = tuple(range(1, len(self._modules) + 1))
        self._cutoff = line_filter_cutoff
        self.range_questions = (
            *self._of_each(":INPut:VOLTage:RANGe"),
            *self._of_each(":INPut:CURRent:RANGe"),
        )
        self._groups = {
            "voltage auto": ":INPut:VOLTage:AUTO",
            "current auto": ":INPut:CURRent:AUTO",
            "scaling": ":INPut:SCALing:STATe",
            "VT": ":INPut:SCALing:VT",
            "CT": ":INPut:SCALing:CT",
            "line filter": ":INPut:FILTer:LINE",
        }
        if not always_rms:
            self._groups["mode"] = ":INPut:CURRent:MODE"
        self.rms = (True,) * len(self._elements)
        self.questions = (
            ":INPut:WIRing?",
            ":INPut:CFACtor?",
            ":RATE?",
            ":MEASure:AVERaging:STATe?",
            ":MEASure:AVERaging:COUNt?",
            *(question for header in self._groups.values() for question in self._of_each(header)),
        )

    @property
    def crest_factor(self) -> str:
        """Crest factor in force: "3" or "6"."""
        return _CREST.decode(self.session.query(":INPut:CFACtor?"))

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
        wiring, crest, interval, averaging, average_count, *rest = answers
        count = len(self._elements)
        of = {name: rest[place * count : (place + 1) * count] for place, name in enumerate(self._groups)}
        if "mode" in of:
            self.rms = tuple(text.strip().upper() != "DC" for text in of["mode"])
        scaled = [BOOLEAN.decode(text) for text in of["scaling"]]
        return PowerSettings(
            elements=self._elements,
            wiring=cast(Wiring, _WIRING.decode(wiring.partition(",")[0])),
            voltage_range=voltage,
            current_range=current,
            auto_range=any(BOOLEAN.decode(text) for text in (*of["voltage auto"], *of["current auto"])),
            crest_factor=_CREST.decode(crest),
            update_interval=None if interval.strip().upper() == "AUTO" else NUMBER.decode(interval),
            ct_ratio=tuple(NUMBER.decode(text) if on else 1.0 for text, on in zip(of["CT"], scaled, strict=True)),
            vt_ratio=tuple(NUMBER.decode(text) if on else 1.0 for text, on in zip(of["VT"], scaled, strict=True)),
            line_filter=any(text.strip().upper() != "OFF" for text in of["line filter"]),
            averaging=INTEGER.decode(average_count) if BOOLEAN.decode(averaging) else 1,
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
            found["averaging_type"] = Setting(self.averaging_type, "", now, "instrument")
            return found

    def apply(self, **wanted: Any) -> None:
        """Check all that is given, then set it in an order the instrument accepts."""
        given = {name: value for name, value in wanted.items() if value is not None}
        chosen = tuple(given.get("elements", self._elements))
        self._check(given, chosen)
        with self.session.lock:
            if "wiring" in given:
                self.session.command(f":INPut:WIRing {self._wiring_list(given['wiring'])}")
            if "crest_factor" in given:
                self.session.command(f":INPut:CFACtor {_CREST.encode(given['crest_factor'])}")
            for element in chosen:
                self._apply_to(element, given)
            if "averaging" in given:
                if given["averaging"] > 1:
                    self.averaging_type = "linear"
                    self.averaging_count = given["averaging"]
                self.averaging_on = given["averaging"] > 1
            if "update_interval" in given:
                self.update_interval = given["update_interval"]

    def select_sensor(self, voltage_range: float, millivolts_per_ampere: float, elements: Sequence[int] | None) -> None:
        """Measure current as the voltage of an external sensor: range in V, ratio in mV/A."""
        chosen = tuple(elements or self._elements)
        self._check_elements(chosen)
        factor = tables.CREST_FACTORS[self.crest_factor]
        require_one_of("external range", voltage_range, tuple(full * factor for full in tables.EXTERNAL), "V")
        _check_ratio("ratio in mV/A", millivolts_per_ampere)
        with self.session.lock:
            for element in chosen:
                self.session.command(f":INPut:CURRent:AUTO:ELEMent{element} OFF")
                # the bare number: with its unit it is refused after EXTERNAL
                self.session.command(f":INPut:CURRent:RANGe:ELEMent{element} EXTERNAL,{number_text(voltage_range)}")
                self.session.command(f":INPut:CURRent:SRATio:ELEMent{element} {number_text(millivolts_per_ampere)}")

    def _inputs(self, answers: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float | None, ...]]:
        """Ranges of all elements, V and A, and the mV/A of their sensors, from the answers to `range_questions`."""
        count = len(self._elements)
        asked = zip(answers[count:], self._elements, strict=True)
        inputs = [current_input(self.session, text, element) for text, element in asked]
        full = tuple(map(NUMBER.decode, answers[:count]))
        return full, tuple(amperes for amperes, _ in inputs), tuple(ratio for _, ratio in inputs)

    def _apply_to(self, element: int, given: Mapping[str, Any]) -> None:
        set_to = self.session.command
        if "auto_range" in given:
            on = BOOLEAN.encode(given["auto_range"])
            set_to(f":INPut:VOLTage:AUTO:ELEMent{element} {on}")
            set_to(f":INPut:CURRent:AUTO:ELEMent{element} {on}")
        for name, word in (("voltage_range", "VOLTage"), ("current_range", "CURRent")):
            if name in given:
                set_to(f":INPut:{word}:AUTO:ELEMent{element} OFF")
                set_to(f":INPut:{word}:RANGe:ELEMent{element} {number_text(given[name])}")
        ratios = {word: given[name] for name, word in (("ct_ratio", "CT"), ("vt_ratio", "VT")) if name in given}
        for word, ratio in ratios.items():
            set_to(f":INPut:SCALing:{word}:ELEMent{element} {number_text(ratio)}")
        if ratios:
            in_force = [
                ratios[word] if word in ratios else NUMBER.decode(self._ratio(word, element)) for word in ("CT", "VT")
            ]
            set_to(f":INPut:SCALing:STATe:ELEMent{element} {BOOLEAN.encode(in_force != [1.0, 1.0])}")
        if "line_filter" in given:
            set_to(f":INPut:FILTer:LINE:ELEMent{element} {self._cutoff if given['line_filter'] else 'OFF'}")

    def _check(self, given: Mapping[str, Any], chosen: Sequence[int]) -> None:
        """Raise OutOfRange for what this meter does not have, before anything is sent."""
        family = self._family
        self._check_elements(chosen)
        if given.get("auto_range") and given.keys() & {"voltage_range", "current_range"}:
            raise UsageError("auto_range=True and a fixed range exclude each other", advice="give one of them")
        if "crest_factor" in given:
            require_one_of("crest factor", given["crest_factor"], tuple(tables.CREST_FACTORS))
        if "wiring" in given:
            require_one_of("wiring", given["wiring"], self.wirings)
        if given.keys() & {"voltage_range", "current_range"}:
            factor = tables.CREST_FACTORS[given.get("crest_factor") or self.crest_factor]
            advice = "choose one of these; at crest factor 6 every range is halved"
            if "voltage_range" in given and family.voltage_ranges:
                allowed = tuple(full * factor for full in family.voltage_ranges)
                require_one_of("voltage range", given["voltage_range"], allowed, "V", advice)
            for element in chosen if "current_range" in given else ():
                allowed = tuple(full * factor for full in self._modules[element - 1].ranges)
                if allowed:
                    what = f"current range on element {element}"
                    require_one_of(what, given["current_range"], allowed, "A", advice)
        if "update_interval" in given and family.intervals:
            require_one_of("update interval", given["update_interval"], family.intervals, "s")
        if "averaging" in given:
            require_one_of("averaging", given["averaging"], family.averaging)
        for name in ("ct_ratio", "vt_ratio"):
            if name in given:
                _check_ratio(name, given[name])

    @property
    def wirings(self) -> tuple[Wiring, ...]:
        """Those that this many elements can form."""
        count = len(self._elements)
        return tuple(cast(Wiring, name) for name, needed in tables.ELEMENTS_OF.items() if needed <= count)

    def _check_elements(self, chosen: Sequence[int]) -> None:
        if not chosen or not set(chosen) <= set(self._elements):
            raise OutOfRange(f"elements {tuple(chosen)} cannot be chosen", why=f"this meter has {self._elements}")

    def _wiring_list(self, wiring: str) -> str:
        """The wiring of element 1 and those it is joined with; every other element stands for itself."""
        single = len(self._elements) - tables.ELEMENTS_OF[wiring]
        return ",".join([tables.WIRINGS[wiring], *[tables.WIRINGS["1P2W"]] * single])

    def _of_each(self, header: str) -> Iterator[str]:
        """The question of each element; the path stays, so the header stands once."""
        yield f"{header}:ELEMent1?"
        yield from (f"ELEMent{element}?" for element in self._elements[1:])

    def _ratio(self, word: str, element: int) -> str:
        return self.session.query(f":INPut:SCALing:{word}:ELEMent{element}?")


def _check_ratio(name: str, ratio: float) -> None:
    require_ratio(name, ratio, tables.RATIO)

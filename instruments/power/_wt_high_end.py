"""What Yokogawa's WT3000, WT1800 and WT5000 have in common beyond the WT series: elements that differ, Σ, harmonics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from aicalib_hw.errors import OutOfRange
from aicalib_hw.interfaces import PowerMeterCapabilities, PowerReading
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import measured, parse_integer
from aicalib_hw.scpi.session import Link
from aicalib_hw.trace import Trace

from . import _wt_high_end_accuracy as accuracy
from . import _wt_high_end_tables as tables
from ._evaluation import later
from ._wt_high_end_settings import Settings
from ._yokogawa import YokogawaMeter

LARGEST_INFLUENCE = 0.002
"""Of S at power factor 0: the largest that any data sheet of this maker at hand states (WT210, WT330)."""


class HighEndMeter(YokogawaMeter):
    """A power analyzer with several elements, each with ranges of its own.

    line_filter_cutoff: what `line_filter=True` sets, as the instrument spells it. power_factor_influence: ratio
    of S at power factor 0, for which no data sheet at hand states a limit. unconfirmed_accuracy: reckon with
    limits of error that no manual at hand confirms. peak_over_query: ask `:INPut:POVer?` with each update.
    Of several Σ groups the first, which holds element 1, is the total.
    """

    FAMILY: ClassVar[tables.Family]

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        line_filter_cutoff: str = "500HZ",
        power_factor_influence: float = LARGEST_INFLUENCE,
        unconfirmed_accuracy: bool = False,
        peak_over_query: bool = True,
        link: Link | None = None,
    ) -> None:
        super().__init__(
            address, timeout=timeout, trace=trace, visa_library=visa_library, baud_rate=baud_rate, link=link
        )
        self._cutoff = line_filter_cutoff
        self._influence = power_factor_influence
        self._unconfirmed = unconfirmed_accuracy
        self._asks_peak_over = peak_over_query
        self._modules: tuple[int, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings of the open instrument, by subsystem; raises NotOpen."""
        return cast(Settings, self._settings_now())

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What this very unit can do: ranges in V and A at crest factor 3 of all its elements; intervals in s."""
        family = self._family
        settings = self.settings
        modules = [family.modules[code] for code in self._modules]
        common = tuple(full for full in modules[0].ranges if all(full in module.ranges for module in modules))
        stated = all(m.accuracy is not None and (m.accuracy.confirmed or self._unconfirmed) for m in modules)
        return PowerMeterCapabilities(
            notes=family.notes,
            elements=len(modules),
            wirings=settings.wirings,
            voltage_ranges=family.voltage_ranges or None,
            current_ranges=common or None,
            crest_factors=tuple(tables.CREST_FACTORS),
            update_intervals=family.intervals or None,
            auto_range=True,
            line_filter=True,
            averaging_counts=family.averaging,
            scaling=True,
            energy=True,
            hold=True,
            zero=True,
            uncertainty=stated or None,
        )

    def select_sensor(
        self, voltage_range: float, millivolts_per_ampere: float, *, elements: Sequence[int] | None = None
    ) -> None:
        """Measure current by external sensors: range in V and ratio in mV/A, on these elements or on all.

        `components` are those of the meter alone: what the sensor adds is for who knows it.
        Raises OutOfRange before the wire, InstrumentReportedError for what the instrument refuses.
        """
        with self._lock:
            self._configured += 1
            self._ranges = None
            self.settings.select_sensor(voltage_range, millivolts_per_ampere, elements)

    def null(self, on: bool) -> None:
        """Subtract what the inputs show now from what they show later, or stop doing so."""
        self.settings.null = on

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the total active power, W, at the ranges in force.

        Raises UnusableReading for a reading that is not VALID, NotSupported where the facts have no accuracy:
        with the line filter on, or for a family whose limits of error are unconfirmed.
        """
        wiring = reading.settings.wiring
        return accuracy.components(
            reading,
            [self._family.modules[code] for code in self._modules],
            (0,) if wiring == "1P2W" else self._summed(wiring),
            f"{self.identity.model} {self.identity.serial}",
            power_factor_influence=self._influence,
            use_unconfirmed=self._unconfirmed,
        )

    def total_harmonic_distortion(self) -> tuple[tuple[Reading, Reading], ...]:
        """Return the total harmonic distortion of voltage and current of each element, %, of the next update.

        Raises NotSupported where the instrument has no harmonics option, InstrumentReportedError.
        """
        self._require_harmonics()
        count = self._elements()
        items = [(function, element) for element in range(1, count + 1) for function in ("UTHD", "ITHD")]
        first = len(self._items) + 1
        with self._lock:
            interval = self._interval(self.settings.in_force())
            for place, (function, element) in enumerate(items, first):
                self.session.command(f":NUMeric:NORMal:ITEM{place} {function},{element}")
            self.session.query(":STATus:EESR?")
            self.session.query(":COMMunicate:WAIT? 1", timeout=2 * interval + self._link.timeout)
            questions = [f"VALue? {place}" for place in range(first, first + len(items))]
            texts = self.session.query(":NUMeric:NORMal:" + ";".join(questions)).split(";")
        now = Instant.now()
        window = Window(later(now, -interval), now, "one update interval")
        found = []
        for (function, element), text in zip(items, texts, strict=True):
            value, status = measured(text)
            found.append(Reading(value, "%", status, window, self.identity, f"{function},{element}", raw=text))
        return tuple(zip(found[::2], found[1::2], strict=True))

    @property
    def _family(self) -> tables.Family:
        return self.FAMILY

    def _require_harmonics(self) -> None:
        """Raise NotSupported where it is known that the instrument measures no harmonics."""

    def _find_modules(self) -> tuple[int, ...]:
        """Ask for the current input of each element; 0 is an empty place."""
        reply = self.session.checked_query(":INPut:MODUle?")
        codes = tuple(parse_integer(text) for text in reply.split(","))
        fitted = tuple(code for code in codes if code)
        if not fitted or not set(fitted) <= set(self._family.modules) or fitted != codes[: len(fitted)]:
            raise OutOfRange(
                f"current inputs {reply!r} are not among {sorted(self._family.modules)}, from element 1 on",
                where=str(self.identity),
                advice="report this instrument, with its trace",
            )
        return fitted

    def _make_settings(self) -> Settings:
        self._modules = self._find_modules()
        return Settings(
            self.session, self._family, self._modules, line_filter_cutoff=self._cutoff, always_rms="I" in self.WORDS
        )

    def _elements(self) -> int:
        return len(self._modules)

    def _status_questions(self) -> tuple[str, ...]:
        return (":STATus:CONDition?", ":INPut:POVer?") if self._asks_peak_over else (":STATus:CONDition?",)

    def _flags(self, answers: Sequence[str]) -> tuple[Status, ...]:
        over = self._over(parse_integer(answers[0]))
        peaks = parse_integer(answers[1]) if len(answers) > 1 else 0
        return tuple(
            (Status.OVER_RANGE if over >> index & 1 else Status.VALID)
            | (Status.PEAK_OVER if peaks >> 2 * index & 3 else Status.VALID)
            for index in range(len(self._modules))
        )

    def _over(self, condition: int) -> int:
        """Bits of the elements that are over range, from the condition register; none where those are unconfirmed."""
        return 0

    def _summed(self, wiring: Wiring | None) -> tuple[int, ...]:
        return tuple(range(tables.ELEMENTS_OF.get(wiring or "1P2W", 1)))

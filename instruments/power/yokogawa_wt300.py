"""Yokogawa WT310, WT310E, WT310EH, WT332E and WT333E digital power meters.

Sources: IM WT310E-17EN (grammar ch. 5, status ch. 7), IM WT310E-01EN p. 2-7 (ranges), IM WT310E-02EN
p. 7-7 (accuracy), and what public programs that drive these instruments agree on. Not covered:
harmonics (the names of their items are unconfirmed), MATH, store, Modbus/TCP, the RS-232 of models without GPIB
(its settings are unconfirmed), update interval AUTO. Unconfirmed and therefore settable: the spelling of crest
factor 6A on the wire (`crest_factor_6a`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from aicalib_hw.interfaces import DriverInfo, PowerMeterCapabilities, PowerReading
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Status
from aicalib_hw.scpi.codec import parse_integer
from aicalib_hw.scpi.session import Link
from aicalib_hw.trace import Trace

from . import _wt300_accuracy as accuracy
from . import _wt300_tables as tables
from ._wt300_settings import AVERAGING, Settings
from ._yokogawa import YokogawaMeter
from ._yokogawa_values import either

_OVER = (64, 512, 4096)
_PEAK = (128, 1024, 8192)


class YokogawaWT300(YokogawaMeter):
    """A power meter of the WT300 family; crest_factor_6a: how crest factor 6A is spelled on the wire."""

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="yokogawa-wt300",
        role="power_meter",
        summary="Yokogawa WT310, WT310E, WT310EH, WT332E, WT333E power meters",
        manual="IM WT310E-17EN, IM WT310E-01EN, IM WT310E-02EN",
        models=((r"YOKOGAWA", r"WT310|WT310E|WT310EH|WT332E|WT333E"),),
        wires=("VXI-11", "USBTMC", "GPIB"),
        simulator="yokogawa-wt300",
    )

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        crest_factor_6a: str = "A6",
        link: Link | None = None,
    ) -> None:
        super().__init__(
            address, timeout=timeout, trace=trace, visa_library=visa_library, baud_rate=baud_rate, link=link
        )
        self._six_a = crest_factor_6a

    @property
    def settings(self) -> Settings:
        """The settings of the open instrument, by subsystem; raises NotOpen."""
        return cast(Settings, self._settings_now())

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What this model can do: ranges in V and A at crest factor 3, update intervals in s."""
        model = self._model
        return PowerMeterCapabilities(
            notes={"serial": "no facts: the settings of its RS-232 are not in what is at hand"},
            elements=model.elements,
            wirings=cast(tuple[Wiring, ...], tables.WIRINGS_OF[model.elements]),
            voltage_ranges=tables.VOLTAGE_RANGES,
            current_ranges=model.current_ranges,
            crest_factors=tuple(tables.CREST_FACTORS),
            update_intervals=model.intervals,
            auto_range=True,
            line_filter=True,
            averaging_counts=AVERAGING,
            scaling=True,
            energy=True,
            hold=True,
            zero=True,
            uncertainty=True,
        )

    def select_sensor(self, voltage_range: float, millivolts_per_ampere: float) -> None:
        """Measure current by an external sensor (option /EX1 or /EX2): its range in V and its ratio in mV/A.

        `components` are those of the meter alone: what the sensor adds is for who knows it.
        Raises OutOfRange before the wire, InstrumentReportedError where the option is missing.
        """
        with self._lock:
            self._configured += 1
            self._ranges = None
            self.settings.select_sensor(voltage_range, millivolts_per_ampere)

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the total active power, W, at the range in force (IM WT310E-02EN p. 7-7).

        Raises UnusableReading for a reading that is not VALID.
        """
        return accuracy.components(reading, self.identity.model.upper(), self.identity.serial)

    @property
    def _model(self) -> tables.Model:
        return tables.MODELS[self.identity.model.upper()]

    def _prepare(self) -> None:
        if self.identity.model.upper() == "WT310":
            self.session.command(":SYSTem:COMMunicate:COMMand WT300")

    def _make_settings(self) -> Settings:
        return Settings(self.session, self._model, crest_factor_6a=self._six_a)

    def _elements(self) -> int:
        return self._model.elements

    def _flags(self, answers: Sequence[str]) -> tuple[Status, ...]:
        condition = parse_integer(answers[0])
        return tuple(
            either(
                Status.OVER_RANGE if condition & _OVER[number] else Status.VALID,
                Status.PEAK_OVER if condition & _PEAK[number] else Status.VALID,
            )
            for number in range(self._model.elements)
        )

    def _summed(self, wiring: Wiring | None) -> tuple[int, ...]:
        return tuple(range(self._model.elements))

"""Any IEEE 488.2 instrument that answers one question with one power; named by the user, never found by itself.

Source: IEEE 488.2 clauses 10 (common commands) and 11 (status), SCPI-99 volume 1 section 7.2 (markers for no number).
What it cannot know: ranges, whether a range was exceeded unless the instrument says so in the number, when a value
was measured, whether updates passed unread, wiring, accuracy. Voltage and current are not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aicalib_hw import units
from aicalib_hw.errors import ProtocolError, UsageError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    Setting,
)
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import measured
from aicalib_hw.scpi.events import without_header

from . import _evaluation
from ._polled_meter import PolledPowerMeter

_UNKNOWN = "nothing is known of this instrument but its answer to one question"


class GenericMeter(PolledPowerMeter):
    """An instrument of unknown family.

    query: the question that is answered by the active power that is shown, and nothing else; SCPI-99 has FETCh for it.
    unit: of the answer, one of power. update_interval: s, as far as it is known. A bench file gives the three as
    driver_options = { query = "MEAS:POW?", unit = "kW", update_interval = 0.25 }.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="generic-meter",
        role="power_meter",
        summary="any IEEE 488.2 instrument that answers one question with one power; to be named, never found",
        manual="IEEE 488.2, SCPI-99",
        models=((r".*", r".*"),),
        wires=("VXI-11", "TCP", "HiSLIP", "serial", "USBTMC", "GPIB"),
        simulator="generic-meter",
        by_name_only=True,
    )

    def __init__(
        self,
        address: str,
        *,
        query: str = "FETCh:POWer?",
        unit: str = "W",
        update_interval: float = 0.5,
        **link: Any,
    ) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        if units.require(unit).dimension != "power":
            raise UsageError(f"{unit!r} is no unit of power", where=address, advice="W, mW, kW or MW")
        if not query.strip().partition(" ")[0].endswith("?"):
            raise UsageError(f"{query!r} is no question: it has no question mark", where=address)
        self._query = query
        self._unit = unit

    def _prepare(self) -> None:
        """Nothing: what it understands beside the question is not known."""

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """Nothing but the power, W, is provided."""
        return PowerMeterCapabilities(
            notes=dict.fromkeys(
                ("ranges", "energy", "uncertainty", "missed", "voltage and current"), f"no facts: {_UNKNOWN}"
            )
        )

    def _in_force(self) -> PowerSettings:
        return self._bare_settings()

    def snapshot(self) -> Mapping[str, Setting]:
        """Give what the driver was told: question, unit, interval, s."""
        now = Instant.now()
        return {
            "query": Setting(self._query, "", now, "driver"),
            "unit": Setting(self._unit, "", now, "driver"),
            "update_interval": Setting(self._interval, "s", now, "driver"),
        }

    def _ask(self) -> str:
        return self._link.query(self._query).strip()

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        text = without_header(shown)
        if "," in text or ";" in text:
            raise ProtocolError(
                f"{self._query!r} was answered by several values: {shown[:80]!r}",
                where=self.address,
                advice="give a question that is answered by the active power alone",
            )
        value, status = measured(text)
        if value is not None:
            value = units.convert(value, self._unit, "W")
        step = _evaluation.last_digit(text) if value is not None else None
        power = Reading(
            value=value,
            unit="W",
            status=status | extra,
            window=window,
            source=self.identity,
            channel=self._query,
            resolution=None if step is None else units.convert(step, self._unit, "W"),
            raw=shown,
        )

        def unknown(unit: str) -> Reading:
            return Reading(None, unit, Status.NO_DATA | extra, window, self.identity, channel="not asked", raw=shown)

        element = ElementReading(voltage=unknown("V"), current=unknown("A"), active_power=power)
        return PowerReading((element,), element, in_force, window, power.status)

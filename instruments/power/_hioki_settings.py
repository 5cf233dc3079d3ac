"""Settings of the Hioki PW333x: ranges, scaling and wiring, set and read back.

Sources: PW3336A987-01 and PW3335A985-01; limits of the ratios from the 3332's manual p. 158, here by analogy.
"""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import Any, cast

from aicalib_hw.errors import OutOfRange
from aicalib_hw.interfaces import PowerSettings
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.scpi.codec import NUMBER, number_text

from . import _hioki_tables as tables
from ._choices import require_full_scale, require_one_of, require_ratio
from ._polled_meter import PolledPowerMeter

_SET_BY = {
    "voltage_range": ":VOLTage{}:RANGe",
    "current_range": ":CURRent{}:RANGe",
    "ct_ratio": ":SCALe{}:CT",
    "vt_ratio": ":SCALe{}:VT",
}
"""Setting → header, by channel."""


class HiokiSettings(PolledPowerMeter):
    """A meter with these settings; a family says how many channels it has."""

    SETTINGS = (
        "elements",
        "wiring",
        "voltage_range",
        "current_range",
        "auto_range",
        "ct_ratio",
        "vt_ratio",
    )

    _external: tuple[bool, ...] = ()
    """Which channels measure the current through a sensor, as read back with the settings."""

    @property
    @abc.abstractmethod
    def _count(self) -> int:
        """Number of channels."""

    @property
    def _channels(self) -> range:
        return range(1, self._count + 1)

    def _apply(self, *, auto_range: bool | None = None, **wanted: Any) -> None:
        elements, wiring = wanted.get("elements"), wanted.get("wiring")
        if elements is not None and tuple(elements) != tuple(self._channels):
            raise OutOfRange(
                f"elements {tuple(elements)} cannot be chosen",
                where=str(self.identity),
                why=f"this meter always measures with all of its {self._count}",
                advice="leave it out",
            )
        if wiring is not None:
            require_one_of("wiring", wiring, tables.WIRINGS_OF[self._count])
        for name in ("ct_ratio", "vt_ratio"):
            if name in wanted:
                _require_ratio(name, wanted[name])
        for name in ("voltage_range", "current_range"):
            if name in wanted:
                require_full_scale(name, wanted[name], "V" if name == "voltage_range" else "A")
        if wiring is not None and self._count > 1:
            self.session.command(f":WIRing TYPE{tables.WIRINGS[wiring]}")
        for channel in self._channels:
            if auto_range is not None:
                for quantity in ("VOLTage", "CURRent"):
                    self.session.command(f":{quantity}{channel}:AUTO {'ON' if auto_range else 'OFF'}")
            for name, header in _SET_BY.items():
                if name in wanted:
                    self.session.command(f"{header.format(channel)} {number_text(wanted[name])}")

    def _numbers(self, name: str) -> tuple[float, ...]:
        """A setting of each channel, as it is in force."""
        return tuple(NUMBER.decode(self.session.query(f"{_SET_BY[name].format(c)}?")) for c in self._channels)

    def _in_force(self) -> PowerSettings:
        channels = self._channels
        kind = self._wiring_type()
        names = {f"TYPE{number}": name for name, number in tables.WIRINGS.items()}
        autos = [self.session.query(f":{what}{c}:AUTO?").strip() for c in channels for what in ("VOLTage", "CURRent")]
        self._external = tuple(self.session.query(f":CURRent{c}:TYPE?").strip().upper() != "OFF" for c in channels)
        return self._bare_settings(
            elements=tuple(channels),
            wiring=cast(Wiring | None, names.get(kind)),
            auto_range=any(text.upper() in ("ON", "1") for text in autos),
            **{name: self._numbers(name) for name in _SET_BY},
        )

    def _ranged(self, in_force: PowerSettings) -> PowerSettings:
        if not in_force.auto_range:
            return in_force
        ranges = {name: self._numbers(name) for name in ("voltage_range", "current_range")}
        return replace(in_force, voltage_range=ranges["voltage_range"], current_range=ranges["current_range"])

    def _wiring_type(self) -> str:
        """`TYPE1` to `TYPE7`; a meter of one channel has one wiring, and need not know the question."""
        return self.session.query(":WIRing?").strip().upper() if self._count > 1 else "TYPE1"


def _require_ratio(name: str, ratio: float) -> None:
    """Refuse a ratio that the instrument would round: it would then scale by another than it was told."""
    require_ratio(name, ratio, tables.RATIO)
    if float(f"{ratio:.4g}") != ratio:
        raise OutOfRange(
            f"a {name} of {ratio} cannot be set",
            why=f"the instrument keeps four digits, and would scale by {float(f'{ratio:.4g}'):g}",
            advice="give four digits, and correct the rest in the transducer's certificate",
        )

"""From what a WT meter shows to readings: one exchange's values, status and ranges, element by element.

Sources: IM WT310E-17EN and IM WT3001E-17EN, numeric items (ch. 6): U, I, P, S, Q, LAMBda, FU; markers NAN and INF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aicalib_hw.errors import ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import ElementReading, PowerSettings
from aicalib_hw.readings import Reading, Status, Window
from aicalib_hw.scpi.codec import NUMBER, measured
from aicalib_hw.scpi.session import ScpiSession

from . import _evaluation

UNITS = {"U": "V", "I": "A", "P": "W", "S": "VA", "Q": "var", "LAMBDA": "1", "FU": "Hz"}
PER_ELEMENT = tuple(UNITS)
OF_SUM = ("U", "I", "P", "S", "Q", "LAMBDA")
_VALID = Status.VALID


@dataclass(frozen=True, slots=True)
class Shown:
    """One exchange: values, what the status says of each element, ranges."""

    values: tuple[str, ...]
    flags: tuple[Status, ...]
    voltage: tuple[float, ...]
    current: tuple[float, ...]

    def full(self, in_force: PowerSettings, index: int) -> dict[str, float]:
        """Full scale of an element after scaling, V, A, W."""
        voltage = self.voltage[index] * (in_force.vt_ratio[index] if in_force.vt_ratio else 1.0)
        current = self.current[index] * (in_force.ct_ratio[index] if in_force.ct_ratio else 1.0)
        return {"U": voltage, "I": current, "P": voltage * current}


def current_input(session: ScpiSession, current_range: str, element: int) -> tuple[float, float | None]:
    """Return the full scale of an element's current range, A, and the ratio of its external sensor, mV/A.

    Of a sensor, the full scale is the volts of its range by its ratio, which is asked; of direct input no ratio is
    asked, and it is None. Raises ProtocolError for what is no current range.
    """
    kind, sensor, volts = current_range.partition(",")
    if not sensor:
        return NUMBER.decode(current_range), None
    ratio = NUMBER.decode(session.query(f":INPut:CURRent:SRATio:ELEMent{element}?"))
    if not "EXTERNAL".startswith(kind.strip().upper()):
        raise ProtocolError(f"{current_range!r} is no current range")
    return NUMBER.decode(volts) / ratio * 1000, ratio


def nonsense(taken: Mapping[tuple[str, str], str], element: int) -> Status:
    """INVALID for a negative rms value: seen while auto range hunted between two ranges."""
    negative = any(taken[(function, str(element))].lstrip().startswith("-") for function in ("U", "I"))
    return Status.INVALID if negative else _VALID


def element_reading(
    element: str,
    taken: Mapping[tuple[str, str], str],
    flags: Status,
    full: Mapping[str, float],
    window: Window,
    source: Identity,
    address: str,
) -> ElementReading:
    """Return the readings of an element, or of the sum ("SIGMA"), from the texts by function and element.

    flags: what the status says. full: full scales. Raises ProtocolError where voltage, current or power is missing.
    """

    def reading(function: str) -> Reading | None:
        text = taken.get((function, element))
        if text is None:
            return None
        value, status = measured(text)
        return Reading(
            value,
            UNITS[function],
            flags if status is _VALID else status | flags,
            window,
            source,
            f"{function},{element}",
            full.get(function),
            None if value is None else _evaluation.last_digit(text),
            text,
        )

    voltage_reading, current_reading, power = reading("U"), reading("I"), reading("P")
    if voltage_reading is None or current_reading is None or power is None:
        raise ProtocolError(f"element {element} has no voltage, current or power", where=address)
    return ElementReading(
        voltage=voltage_reading,
        current=current_reading,
        active_power=power,
        apparent_power=reading("S"),
        reactive_power=reading("Q"),
        power_factor=reading("LAMBDA"),
        frequency=reading("FU"),
    )

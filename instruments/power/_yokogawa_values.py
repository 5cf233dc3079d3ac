"""From what a WT meter shows to readings: one exchange's values, status and ranges, element by element.

Sources: IM WT310E-17EN and IM WT3001E-17EN, numeric items (ch. 6): U, I, P, S, Q, LAMBda, FU; markers NAN and INF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

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
_FUNCTIONS = dict(zip((one.name for one in fields(ElementReading)), PER_ELEMENT, strict=True))
"""Field of an element's reading → function of the meter; both lists have one order."""

_INDISPENSABLE = frozenset(("U", "I", "P"))
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
    voltage, current = taken["U", str(element)], taken["I", str(element)]
    negative = voltage.lstrip().startswith("-") or current.lstrip().startswith("-")
    return Status.INVALID if negative else _VALID


def either(first: Status, second: Status) -> Status:
    """Both; where one is VALID, as nearly always, the other one as it is: joining flags takes a microsecond."""
    return second if first is _VALID else first if second is _VALID else first | second


def element_reading(
    element: str,
    taken: Mapping[tuple[str, str], str],
    flags: Status,
    full: Mapping[str, float],
    window: Window,
    source: Identity,
    address: str,
) -> tuple[ElementReading, Status]:
    """Return the readings of an element, or of the sum ("SIGMA"), and the status of voltage, current and power.

    taken: the texts by function and element. flags: what the status says. full: full scales.
    Raises ProtocolError where voltage, current or power is missing, and for a text that is no measured value.
    """
    worst = flags
    numbers: dict[str, tuple[float | None, Status]] = {}
    for function in PER_ELEMENT:
        text = taken.get((function, element))
        if text is None:
            continue
        value, status = measured(text)
        numbers[function] = (value, status)
        if status is not _VALID and function in _INDISPENSABLE:
            worst |= status
    if not numbers.keys() >= _INDISPENSABLE:
        raise ProtocolError(f"element {element} has no voltage, current or power", where=address)
    return _Element.of(element, taken, numbers, flags, full, window, source), worst


class _Element(ElementReading):
    """The numbers of an element; each becomes a reading when it is looked at, most of a stream never are.

    A field that has not been looked at is an empty slot, for which Python asks `__getattr__`.
    """

    __slots__ = ("_element", "_flags", "_full", "_numbers", "_source", "_texts", "_window")

    @classmethod
    def of(
        cls,
        element: str,
        texts: Mapping[tuple[str, str], str],
        numbers: Mapping[str, tuple[float | None, Status]],
        flags: Status,
        full: Mapping[str, float],
        window: Window,
        source: Identity,
    ) -> _Element:
        """Keep what the readings are made of; arguments as of `element_reading`, numbers with their own status."""
        made, keep = object.__new__(cls), object.__setattr__
        keep(made, "_element", element)
        keep(made, "_texts", texts)
        keep(made, "_numbers", numbers)
        keep(made, "_flags", flags)
        keep(made, "_full", full)
        keep(made, "_window", window)
        keep(made, "_source", source)
        return made

    def __getattr__(self, name: str) -> Any:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise AttributeError(name)
        made = self._reading(function) if function in self._numbers else None
        object.__setattr__(self, name, made)
        return made

    def _reading(self, function: str) -> Reading:
        value, status = self._numbers[function]
        text = self._texts[function, self._element]
        return Reading(
            value,
            UNITS[function],
            either(status, self._flags),
            self._window,
            self._source,
            f"{function},{self._element}",
            self._full.get(function),
            None if value is None else _evaluation.last_digit(text),
            text,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ElementReading):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FUNCTIONS)

    __hash__ = ElementReading.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return ElementReading, tuple(getattr(self, name) for name in _FUNCTIONS)

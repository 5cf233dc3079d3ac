"""The closed table of units; numbers elsewhere are plain floats in the unit that stands beside them.

FLOP/s, token/s, bit/s and Hz are all 1/s in the SI, and yet four dimensions here: adding or
converting between them is a mistake that no calibration may make silently.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction

from aicalib_hw.errors import UnitError


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: symbol, dimension, exact factor to the dimension's base unit, D-SI text."""

    symbol: str
    dimension: str
    factor: Fraction
    si: str

    @property
    def is_base(self) -> bool:
        """True for the unit in which values of this dimension are stored."""
        return self.factor == 1


def _unit(symbol: str, dimension: str, factor: int | Fraction, si: str) -> Unit:
    return Unit(symbol, dimension, Fraction(factor), si)


_PREFIXES = (("k", 3, "kilo"), ("M", 6, "mega"), ("G", 9, "giga"), ("T", 12, "tera"), ("P", 15, "peta"))


def _decimal(symbol: str, dimension: str, si: str, *, suffix: str = "") -> list[Unit]:
    return [
        _unit(f"{prefix}{symbol}{suffix}", dimension, 10**power, f"\\{name}{si}") for prefix, power, name in _PREFIXES
    ]


# The D-SI text follows the BIPM macro names; FLOP and token have none and are written as counts.
_TABLE: tuple[Unit, ...] = (
    _unit("1", "ratio", 1, "\\one"),
    _unit("%", "ratio", Fraction(1, 100), "\\percent"),
    _unit("W", "power", 1, "\\watt"),
    _unit("mW", "power", Fraction(1, 1000), "\\milli\\watt"),
    *_decimal("W", "power", "\\watt"),
    _unit("VA", "apparent power", 1, "\\volt\\ampere"),
    _unit("kVA", "apparent power", 1000, "\\kilo\\volt\\ampere"),
    _unit("var", "reactive power", 1, "\\volt\\ampere"),
    _unit("kvar", "reactive power", 1000, "\\kilo\\volt\\ampere"),
    _unit("J", "energy", 1, "\\joule"),
    _unit("kJ", "energy", 1000, "\\kilo\\joule"),
    _unit("Wh", "energy", 3600, "\\watt\\hour"),
    _unit("kWh", "energy", 3_600_000, "\\kilo\\watt\\hour"),
    _unit("V", "voltage", 1, "\\volt"),
    _unit("mV", "voltage", Fraction(1, 1000), "\\milli\\volt"),
    _unit("kV", "voltage", 1000, "\\kilo\\volt"),
    _unit("A", "current", 1, "\\ampere"),
    _unit("mA", "current", Fraction(1, 1000), "\\milli\\ampere"),
    _unit("kA", "current", 1000, "\\kilo\\ampere"),
    _unit("Ah", "charge", 1, "\\ampere\\hour"),
    _unit("Hz", "frequency", 1, "\\hertz"),
    *(_unit(f"{p}Hz", "frequency", 10**n, f"\\{name}\\hertz") for p, n, name in _PREFIXES[:3]),
    _unit("s", "time", 1, "\\second"),
    _unit("ms", "time", Fraction(1, 1000), "\\milli\\second"),
    _unit("us", "time", Fraction(1, 10**6), "\\micro\\second"),
    _unit("ns", "time", Fraction(1, 10**9), "\\nano\\second"),
    _unit("min", "time", 60, "\\minute"),
    _unit("h", "time", 3600, "\\hour"),
    _unit("deg", "angle", 1, "\\degree"),
    _unit("degC", "temperature", 1, "\\degreecelsius"),
    _unit("K", "temperature difference", 1, "\\kelvin"),
    _unit("FLOP", "operations", 1, "\\one"),
    _unit("FLOP/s", "operation rate", 1, "\\second\\tothe{-1}"),
    *_decimal("FLOP", "operation rate", "\\second\\tothe{-1}", suffix="/s"),
    _unit("EFLOP/s", "operation rate", 10**18, "\\exa\\second\\tothe{-1}"),
    _unit("OP", "integer operations", 1, "\\one"),
    _unit("OP/s", "integer operation rate", 1, "\\second\\tothe{-1}"),
    *_decimal("OP", "integer operation rate", "\\second\\tothe{-1}", suffix="/s"),
    _unit("FLOP/cycle", "operations a cycle", 1, "\\one"),
    _unit("bit", "information", 1, "\\bit"),
    _unit("B", "information", 8, "\\byte"),
    *(_unit(f"{p}B", "information", 8 * 10**n, f"\\{name}\\byte") for p, n, name in _PREFIXES[:4]),
    _unit("KiB", "information", 8 * 2**10, "\\kibi\\byte"),
    _unit("MiB", "information", 8 * 2**20, "\\mebi\\byte"),
    _unit("GiB", "information", 8 * 2**30, "\\gibi\\byte"),
    _unit("bit/s", "bit rate", 1, "\\bit\\second\\tothe{-1}"),
    *_decimal("bit", "bit rate", "\\bit\\second\\tothe{-1}", suffix="/s"),
    _unit("B/s", "bit rate", 8, "\\byte\\second\\tothe{-1}"),
    *(_unit(f"{p}B/s", "bit rate", 8 * 10**n, f"\\{name}\\byte\\second\\tothe{{-1}}") for p, n, name in _PREFIXES[:4]),
    _unit("frame", "frames", 1, "\\one"),
    _unit("frame/s", "frame rate", 1, "\\second\\tothe{-1}"),
    _unit("token", "tokens", 1, "\\one"),
    _unit("token/s", "token rate", 1, "\\one\\second\\tothe{-1}"),
    # no ktoken/s: rates of services are read in token/s, only those times the parameters of a model need prefixes
    *_decimal("token", "token rate", "\\one\\second\\tothe{-1}", suffix="/s")[1:],
)  # fmt: skip

UNITS: dict[str, Unit] = {entry.symbol: entry for entry in _TABLE}


def require(symbol: str) -> Unit:
    """Return the unit of this symbol; raise UnitError if the table has none."""
    try:
        return UNITS[symbol]
    except KeyError:
        raise UnitError(f"unknown unit {symbol!r}", advice=advice_for(symbol)) from None


def advice_for(symbol: str) -> str:
    """Return what may have been meant by a symbol that the table lacks: FLOPS is FLOP/s, Gbps is Gbit/s."""
    plain = _plainly(symbol)
    for meant in (plain, f"{plain}/s"):
        alike = [known for known in UNITS if _plainly(known) == meant]
        if alike:  # MW and mW are alike: the one that agrees in more letters
            return f"did you mean {max(alike, key=lambda known: _agreeing(known, symbol))!r}?"
    near = difflib.get_close_matches(symbol, UNITS, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known units: {', '.join(UNITS)}"


def _agreeing(one: str, other: str) -> int:
    return sum(first == second for first, second in zip(one, other, strict=False))


def _plainly(symbol: str) -> str:
    """A unit as it is written by many: without case, plural and the stroke before the second."""
    found = _PER_SECOND.fullmatch(symbol.replace(" ", ""))
    if found is None:
        return symbol.replace(" ", "").casefold()
    counted = found["counted"] if found["counted"] in ("b", "B") else found["counted"].casefold()
    counted = {"b": "bit", "B": "byte"}.get(counted, counted)
    return f"{found['prefix'].casefold()}{counted}/s"


_PER_SECOND = re.compile(
    r"(?P<prefix>[kmgtpe]?)(?P<counted>flop|op|token|frame|bit|b)(s?/s(ec(ond)?)?|s?ps|s)", re.IGNORECASE
)


def convert(value: float, unit: str, to: str) -> float:
    """Return `value`, given in `unit`, expressed in `to`; raise UnitError across dimensions."""
    source, target = require(unit), require(to)
    if source.dimension != target.dimension:
        raise UnitError(
            f"cannot convert {unit!r} to {to!r}",
            why=f"{unit} is a unit of {source.dimension}, {to} one of {target.dimension}",
        )
    ratio = source.factor / target.factor
    return value * ratio.numerator / ratio.denominator


def display(value: float, unit: str) -> tuple[float, str]:
    """Return `value` and unit scaled for people, by decimal prefix: (6.1e3, "W") → (6.1, "kW")."""
    base = require(unit)
    symbols = [
        entry
        for entry in UNITS.values()
        if entry.dimension == base.dimension and entry.symbol.endswith(base.symbol) and entry.factor >= base.factor
    ]
    chosen = base
    for entry in sorted(symbols, key=lambda entry: entry.factor):
        if abs(value) * base.factor >= entry.factor:
            chosen = entry
    return convert(value, unit, chosen.symbol), chosen.symbol

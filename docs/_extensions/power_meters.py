"""Sphinx extension: the table of power meter families, made from what each driver says of itself when it is opened.

Each driver that has a simulator is opened against it, its capabilities are read, and an over-range is let happen: what
stands in the table was seen, or the driver says why it is not there. Of one without a simulator the declaration is all
that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aicalib_hw import registry
from aicalib_hw.errors import AicalibError
from aicalib_hw.readings import Status

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MARK = "<!-- the table of families -->"
HEAD = ("driver", "instruments", "wires", "elements", "ranges", "status", "energy", "uncertainty", "read by others")
NO_FACTS = "no facts"
FOREIGN = {
    "yokogawa-wt300": "`instrumation` 0.14: voltage, power, power factor, errors; `lxi-tools` 2.4: power",
    "tektronix-pa1000": "`instrumation` 0.14: voltage, frequency; `lxi-tools` 2.4: power",
    "hioki-pw3336": "`lxi-tools` 2.4: power",
    "zes-lmg600": "`lxi-tools` 2.4: power",
    "ptdaemon": "the exchange of MLPerf's harness",
    "generic-meter": "`lxi-tools` 2.4 over VXI-11 and TCP",
}
"""Programs that nobody here wrote and that the tests let read the simulator of a family.

PyMeasure 0.16, QCoDeS 0.58 with its contributed drivers 0.24, instro 1.22 and easy-scpi 0.1 have no class for any.
"""
_MOST_READINGS = 40


def table() -> str:
    """Return the table in Markdown, one row a family."""
    kinds = [kind for kind in registry.drivers().values() if kind.DRIVER.role == "power_meter"]
    rows = [row(kind) for kind in sorted(kinds, key=lambda kind: str(kind.DRIVER.name))]
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def row(kind: Any) -> tuple[str, ...]:
    """Return the cells of one driver's row."""
    info = kind.DRIVER
    head = (f"`{info.name}`", info.summary)
    if not info.simulator:
        return (*head, _wires(info, ()), *("no simulator to show it",) * (len(HEAD) - len(head) - 1))
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
    simulated = registry.simulator(info.simulator)(world, info.name)
    world.start()
    try:
        simulated.start()
        with kind(simulated.address) as meter:
            wires = _wires(info, simulated.wires, meter.capabilities.notes.get("serial", ""))
            return (*head, wires, *_shown(meter, simulated))
    finally:
        simulated.stop()
        world.stop()


def _wires(info: Any, served: Sequence[str], of_serial: str = "") -> str:
    """The wires of a family: those that its simulator is served over, then those that nothing here shows."""
    words = [", ".join([*(f"`{scheme}://`" for scheme in info.schemes), *(w for w in info.wires if w in served)])]
    unseen = [wire for wire in info.wires if wire not in served]
    if unseen:
        words.append(f"never tried: {', '.join(unseen)}")
    if of_serial:
        words.append(f"serial: {of_serial}")
    return "; ".join(word for word in words if word)


def _shown(meter: Any, simulated: Any) -> tuple[str, ...]:
    can = meter.capabilities

    def said(name: str, provided: object, words: str) -> str:
        return words if provided else can.notes.get(name, NO_FACTS)

    listed = can.voltage_ranges and can.current_ranges
    ranges = said("ranges", listed, _ranges(can) if listed else "")
    if can.auto_range:
        ranges += "; auto range"
    if can.scaling:
        ranges += "; VT and CT ratios"
    return (
        str(can.elements),
        ranges,
        _over_range(meter, simulated),
        said("energy", can.energy, can.notes.get("energy", "its integrator")),
        said("uncertainty", can.uncertainty, can.notes.get("uncertainty", "from the accuracy table")),
        FOREIGN.get(meter.DRIVER.name, "none found"),
    )


def _ranges(can: Any) -> str:
    return "; ".join(
        f"{min(values):g} to {max(values):g} {unit}"
        for values, unit in ((can.voltage_ranges, "V"), (can.current_ranges, "A"))
    )


def _over_range(meter: Any, simulated: Any) -> str:
    """What a reading says of itself when the input exceeds the range."""
    simulated.inject({"kind": "over_range", "count": None})
    for _ in range(_MOST_READINGS):
        try:
            power = meter.read().active_power
        except AicalibError as error:
            return f"{type(error).__name__} instead of a number"
        if power.status and power.status != Status.STALE:
            return f"over-range: {str(power.status).replace('|', ' and ')}"
    return NO_FACTS


def _insert(app: Sphinx, name: str, source: list[str]) -> None:
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, table())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", _insert)
    return {"parallel_read_safe": True}

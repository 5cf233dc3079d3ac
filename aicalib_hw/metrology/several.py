"""The power of several meters as one: aligned by time stamp, summed with its sign, correlated where the cause is one.

Lines of several logs are never added by their number: one lost update would shift all that follow. Each meter's
updates are integrated over the window that all of them share, by what an update means.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from aicalib_hw import definitions
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.metrology.energy import integrate
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Run,
    Series,
    Status,
    Validity,
    ValidityStatus,
    Window,
)

LEAST_COMMON = 0.8
"""Share of the shortest window that all meters must have in common."""

_OWN_OF_EACH = ("resolution",)
"""Components that no two meters share."""


def power_series(measured: Measurement, channel: str = "active power") -> Series:
    """Return the updates from which a mean power was formed, W, as the measurement's evidence has them."""
    evidence = measured.evidence
    return Series(
        {"unit": "W", "quantity": "power", "channel": channel},
        tuple(int(time) for time in evidence["times_ns"]),
        tuple(evidence["power_W"]),
        tuple(_status(text) for text in evidence["status"]),
        "interval_mean",
    )


def total_power(measured: Sequence[Measurement], names: Sequence[str], *, independent: bool = False) -> Measurement:
    """Return the sum of mean powers that several meters measured side by side, W, over their common window.

    measured: one for each meter, of one definition. names: of the meters, for budget and remarks. independent: meters
    of one model err independently; else, as they share design and adjustment, their limits add linearly. A reversed
    transducer shows as a negative part: it enters with its sign, and is named in the evidence. Not valid if a part is
    not, or if the windows have less than 80 % in common. Raises UsageError for an empty list, or two clocks.
    """
    if not measured:
        raise UsageError("no power to add up", advice="give at least one measurement")
    definitions.require_same(*(one.definition for one in measured))
    windows = [_covered(one) for one in measured]
    window = _common(windows)
    by_name = dict(zip(names, measured, strict=True))
    unusable = {name: one.validity for name, one in by_name.items() if not one.validity}
    reasons = [f"{name}: {reason}" for name, validity in unusable.items() for reason in validity.reasons]
    shortest = min(one.duration for one in windows)
    if window is None or window.duration < LEAST_COMMON * shortest:
        common = 0.0 if window is None else max(0.0, window.duration)
        reasons.append(f"the meters have {common:.3g} s in common of {shortest:.3g} s")
    parts: list[float | None] = []
    components: list[Component] = []
    for name, one in by_name.items():
        part = None if window is None else _part(one, window, name, reasons)
        parts.append(part)
        if part is not None and window is not None:
            components += _components(one, name, part, window, independent=independent)
    known = [part for part in parts if part is not None]
    value = sum(known) if len(known) == len(parts) else None
    remarks = [
        f"{name} reads {part:.6g} W against the others: a reversed transducer, or power that flows back"
        for name, part in zip(names, parts, strict=True)
        if part is not None and value is not None and part * value < 0
    ]
    valid = not reasons and not unusable and value is not None
    validity = Validity() if valid else Validity(ValidityStatus.INVALID, tuple(reasons))
    stated = window or measured[0].window
    factor = _power_factor(measured, parts)
    missed = [one.evidence.get("missed") for one in measured]
    return Measurement(
        quantity=measured[0].quantity,
        definition=measured[0].definition,
        value=value,
        unit="W",
        window=stated,
        identity=_together([one.identity for one in measured]),
        runs=(Run(value, stated, used=valid, reasons=validity.reasons),),
        components=tuple(components),
        settings={name: dict(one.settings) for name, one in by_name.items()},
        evidence={
            "parts_W": dict(zip(names, parts, strict=True)),
            "remarks": remarks,
            "power_factor": factor,
            "updates": sum(int(one.evidence.get("updates", 0)) for one in measured),
            "missed": None if None in missed else sum(missed),
        },
        validity=validity,
        load=next((one.load for one in measured if one.load is not None), None),
    )


def _covered(one: Measurement) -> Window:
    """What the updates of a meter cover by their own stamps: from one interval before the first to the last."""
    times = [int(time) for time in one.evidence["times_ns"]]
    if len(times) < 2:
        return one.window
    length = times[-1] - times[0] + round(statistics.median(later - earlier for earlier, later in pairwise(times)))
    stop = one.window.stop
    return Window(Instant(stop.utc_ns - length, times[-1] - length, stop.clock), stop, one.window.rule)


def _common(windows: Sequence[Window]) -> Window | None:
    """The window that all have in common, None if there is none."""
    start = max((window.start for window in windows), key=_stamp)
    stop = min((window.stop for window in windows), key=_stamp)
    if stop.seconds_since(start) <= 0:
        return None
    return Window(start, stop, "common to all meters")


def _stamp(instant: Instant) -> int:
    return instant.monotonic_ns


def _part(one: Measurement, window: Window, name: str, reasons: list[str]) -> float | None:
    """Mean power of one meter in the common window, with what its certificate corrected, W."""
    start, stop = window.start.monotonic_ns, window.stop.monotonic_ns
    try:
        integral = integrate(power_series(one), start, stop)
    except UsageError as error:
        reasons.append(f"{name}: {error.what}")
        return None
    if not integral.valid:
        reasons.append(f"{name}: {1 - integral.covered:.1%} of the common window have no usable update")
        return None
    correction = float(one.evidence.get("correction_W", 0.0))
    return integral.energy / (integral.covered * window.duration) + correction


def _components(one: Measurement, name: str, part: float, window: Window, *, independent: bool) -> list[Component]:
    """The components of one meter in W, by causes that meters of one model share; and that of its time stamps."""
    found = []
    for component in one.components:
        scale = abs(part) if component.relative else 1.0
        shared = component.shared
        if component.kind == "B" and not independent and component.name not in _OWN_OF_EACH:
            shared = _cause(component, one.identity)
        found.append(
            Component(
                name=f"{name}: {component.name}",
                kind=component.kind,
                unit="W" if component.relative else component.unit,
                source=component.source,
                standard_uncertainty=_scaled(component.standard_uncertainty, scale),
                half_width=_scaled(component.half_width, scale),
                distribution=component.distribution,
                dof=component.dof,
                shared=shared,
            )
        )
    powers = [float(value) for value in one.evidence["power_W"] if value is not None]
    times = one.evidence["times_ns"]
    if len(times) > 1:
        interval = (times[-1] - times[0]) / (len(times) - 1) * 1e-9
        found.append(
            Component(
                name=f"{name}: alignment",
                kind="B",
                unit="W",
                half_width=interval * abs(powers[-1] - powers[0]) / window.duration,
                source="an update is stamped within one interval: that times the step of power between the edges",
            )
        )
    return found


def _cause(component: Component, identity: Identity) -> str:
    """What meters of one model have in common; a certificate or a transducer keeps the key it has."""
    if component.shared is not None and identity.serial and identity.serial in component.shared:
        return component.shared.replace(identity.serial, "").strip()
    return component.shared or f"{identity.maker} {identity.model} {component.name}"


def _scaled(size: float | None, scale: float) -> float | None:
    return None if size is None else size * scale


def _power_factor(measured: Sequence[Measurement], parts: Sequence[float | None]) -> float | None:
    """Total power over total apparent power, as far as every meter tells its power factor."""
    apparent = 0.0
    for one, part in zip(measured, parts, strict=True):
        factor = one.evidence.get("power_factor")
        if not factor or part is None:
            return None
        apparent += abs(part / factor)
    return sum(part for part in parts if part is not None) / apparent if apparent else None


def _together(identities: Sequence[Identity]) -> Identity:
    """All meters as one identity; simulated ones first, so that the mark is not lost."""
    ordered = sorted(identities, key=lambda identity: not identity.simulated)

    def joined(name: str) -> str:
        return " + ".join(getattr(identity, name) for identity in ordered)

    return Identity(
        joined("maker"), joined("model"), joined("serial"), joined("firmware"), joined("address"), ordered[0].extra
    )


def _status(text: str) -> Status:
    status = Status.VALID
    for word in text.split("|"):
        status |= Status[word]
    return status

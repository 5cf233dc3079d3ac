"""One power meter as a reference: its ranges found and fixed, its settings given back, its readings completed.

A reading is complete when the meter's certificate has been applied to it, and what stands between mains and meter
has entered its uncertainty.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw.errors import AicalibError, UsageError
from aicalib_hw.identity import Certificate
from aicalib_hw.interfaces import PowerMeter, PowerReading, PowerSettings
from aicalib_hw.metrology.certificates import corrected, instead_of_limits, points_in_range
from aicalib_hw.metrology.transducers import Transducer
from aicalib_hw.procedures._certified import expired
from aicalib_hw.readings import Measurement, Status, Validity, ValidityStatus

CURRENT_HEADROOM = 1.1
"""The fixed current range is at least so many times the largest current of the ranging pass."""

SLOWEST_UPDATES = 1.0

_ELEMENTS_OF = {"1P2W": 1, "1P3W": 2, "3P3W": 2, "3V3A": 2, "3P4W": 3}
"""How many elements a sum of power counts, by wiring."""


@dataclass(slots=True)
class Reference:
    """A power meter of the bench. where: its place in the bench file. fixed: the ranges that the file fixes, V and A.

    full_scale: of the power range in force at the meter's input, W, None = not known. scale: of the transducers.
    """

    name: str
    meter: PowerMeter
    where: str
    fixed: Mapping[str, Any]
    certificate: Certificate | None
    transducers: tuple[Transducer, ...]
    full_scale: float | None = None
    scale: float = 1.0

    def prepare(self, update_interval: float | None) -> PowerSettings:
        """Let the meter find its ranges where none is fixed, and set the update interval; return what is in force.

        Raises UsageError for a meter of unknown accuracy, or that can do neither, or updates too seldom, or whose
        transducers nobody knows.
        """
        capabilities = self.meter.capabilities
        if not capabilities.uncertainty and self.certificate is None:
            raise UsageError(
                "this meter states no accuracy, so nothing can be calibrated against it",
                where=self.where,
                why=capabilities.notes.get("uncertainty", "its accuracy is not known here"),
                advice="give its certificate in the bench file, or use another meter",
            )
        has_ranges = capabilities.voltage_ranges is not None or capabilities.current_ranges is not None
        missing = {"voltage_range", "current_range"} - self.fixed.keys()
        if missing and has_ranges and not capabilities.auto_range:
            raise UsageError(
                "this meter cannot find its ranges by itself, and the bench file does not fix them",
                where=self.where,
                why=f"{_listed(capabilities.voltage_ranges, 'V')}, {_listed(capabilities.current_ranges, 'A')}",
                advice="fix them for full load: settings = { voltage_range = …, current_range = … }",
            )
        changes: dict[str, Any] = {} if update_interval is None else {"update_interval": update_interval}
        if missing and capabilities.auto_range:
            changes["auto_range"] = True
        settings = self.meter.configure(**changes)
        self._require_direct_input(settings)
        if self.fixed:
            settings = self.meter.configure(**self.fixed)
        interval = settings.update_interval or 0.0
        if interval > SLOWEST_UPDATES:
            raise UsageError(
                f"the meter updates every {interval:g} s, and {SLOWEST_UPDATES:g} s is the slowest that is allowed",
                where=self.where,
                advice="set update_interval in the bench file",
            )
        self._require_known_transducers(settings)
        return settings

    def fix(self, readings: Sequence[PowerReading], last: Sequence[PowerReading]) -> dict[str, Any]:
        """Fix the ranges that the readings under full load ask for; return what was seen and chosen.

        last: those at the end, when power and ranges should have settled. Raises UsageError if nothing in them is
        usable, if a fixed range is too small, or if the certificate has no point of the ranges.
        """
        capabilities = self.meter.capabilities
        usable = [reading for reading in readings if not reading.status]
        settled = [reading for reading in last if not reading.status]
        over = [one for one in last if one.status & (Status.OVER_RANGE | Status.PEAK_OVER | Status.OVERFLOW)]
        if self.fixed and over:
            raise UsageError(
                "the ranges that the bench file fixes are too small",
                where=self.where,
                why=f"{len(over)} of {len(last)} updates under full load are {over[0].status}",
                advice="fix larger ones, or leave them out where the meter finds its ranges by itself",
            )
        if not settled:
            raise UsageError(
                "no update at the end of the ranging pass is usable",
                where=self.where,
                why=f"every one is {last[-1].status}" if last else "there was none",
                advice="check wiring and transducers; the platform may draw more than the meter's largest range",
            )
        voltage, input_voltage = _largest(usable, "voltage")
        current, input_current = _largest(usable, "current")
        settings = usable[-1].settings
        factor = 1.0 if settings.crest_factor in (None, "3") else 0.5
        chosen: dict[str, Any] = dict(self.fixed)
        if capabilities.auto_range and "voltage_range" not in chosen and capabilities.voltage_ranges:
            chosen["voltage_range"] = _smallest(capabilities.voltage_ranges, factor, input_voltage)
        if capabilities.auto_range and "current_range" not in chosen and capabilities.current_ranges:
            needed = CURRENT_HEADROOM * input_current
            chosen["current_range"] = _smallest(capabilities.current_ranges, factor, needed)
        if capabilities.auto_range and chosen.keys() < {"voltage_range", "current_range"}:
            seen = {"voltage_range": input_voltage, "current_range": CURRENT_HEADROOM * input_current}
            in_force = self._held(chosen, seen)
        else:
            in_force = self.meter.configure(**chosen) if chosen else settings
        self.full_scale = _full_scale(in_force)
        if self.certificate is not None:
            self.scale = math.prod(_only_ratio(one, self.where) for one in (in_force.vt_ratio, in_force.ct_ratio))
            try:
                points_in_range(self.certificate, "power", "W", self.full_scale)
            except UsageError as error:
                error.where = self.where
                raise
        return {
            "largest_voltage_V": voltage,
            "largest_current_A": current,
            "voltage_range_V": _alike(in_force.voltage_range),
            "current_range_A": _alike(in_force.current_range),
            "update_interval_s": in_force.update_interval or 0.0,
            "power_W": statistics.fmean(float(reading.active_power) for reading in settled),
        }

    def reversed_elements(self, last: Sequence[PowerReading]) -> list[str]:
        """Say which elements read a power against the load's direction, where the wiring gives no reason for it."""
        usable = [one for one in last if not one.status and one.settings.wiring in (None, "1P2W", "3P4W")]
        remarks = []
        for index in range(len(usable[0].elements) if usable else 0):
            mean = statistics.fmean(float(one.elements[index].active_power) for one in usable)
            if mean < 0:
                remarks.append(
                    f"{self.name}: element {index + 1} reads {mean:.6g} W under load, a reversed transducer or lead; "
                    "it was summed with its sign"
                )
        return remarks

    def _held(self, chosen: Mapping[str, Any], seen: Mapping[str, float]) -> PowerSettings:
        """Hold the ranges that were found by a meter whose driver cannot list them.

        One that does not even tell the range in force is asked for one that carries what was seen, as MLPerf's
        harness asks PTDaemon.
        """
        try:
            try:
                self.meter.configure(auto_range=False)
            except UsageError:
                chosen = {**seen, **chosen}
            return self.meter.configure(**chosen)
        except AicalibError as error:
            raise UsageError(
                "this meter cannot hold the ranges that it found",
                where=self.where,
                why=error.what,
                advice="fix them for full load: settings = { voltage_range = …, current_range = … }",
            ) from error

    def completed(self, measured: Measurement) -> Measurement:
        """Return a mean power of this meter with its certificate applied, and with the components of its transducers.

        A certificate that is still valid stands instead of the data sheet's limits; an expired one beside them.

        What the certificate does not reach is not valid, and says why.
        """
        if measured.value is None:
            return measured
        value, components, evidence = float(measured.value), measured.components, dict(measured.evidence)
        try:
            for transducer in self.transducers:
                components += transducer.components(evidence.get("power_factor"))
            if self.certificate is not None:
                value, of_certificate = corrected(
                    value, "W", "power", self.certificate, full_scale=self.full_scale, scale=self.scale
                )
                if expired(self.certificate) is None:
                    components = instead_of_limits(components, self.certificate)
                components += (of_certificate,)
                evidence["correction_W"] = value - float(measured.value)
        except UsageError as error:
            reasons = (f"{self.name}: {error.what}; {error.why}; {error.advice}",)
            refused = Validity(ValidityStatus.INVALID, measured.validity.reasons + reasons)
            return dataclasses.replace(measured, validity=refused)
        return dataclasses.replace(measured, value=value, components=components, evidence=evidence)

    def restore(self, before: PowerSettings) -> list[str]:
        """Give the meter its ranges and update interval back; return what could not be, in words; never raises."""
        steps: list[dict[str, Any]] = []
        if before.update_interval is not None:
            steps.append({"update_interval": before.update_interval})
        failures = []
        if before.auto_range:
            steps.append({"auto_range": True})
        else:
            for name, ranges in (("voltage_range", before.voltage_range), ("current_range", before.current_range)):
                if len(set(ranges)) > 1:
                    failures.append(f"{name} differed between the elements: {', '.join(f'{one:g}' for one in ranges)}")
                elif ranges:
                    steps.append({name: ranges[0]})
        refused: dict[str, list[str]] = {}  # by the reason, which is one where the meter is gone
        for step in steps:
            try:
                self.meter.configure(**step)
            except Exception as error:  # noqa: BLE001 - the way out must not hide what happened before
                ((name, value),) = step.items()
                reason = error.what if isinstance(error, AicalibError) else str(error)
                refused.setdefault(reason, []).append(f"{name} = {value}")
        failures += [f"{', '.join(settings)}: {reason}" for reason, settings in refused.items()]
        return [f"{self.name}: a setting of the meter could not be given back: {failure}" for failure in failures]

    def _require_direct_input(self, settings: PowerSettings) -> None:
        if settings.sensor_ratio is not None:
            raise UsageError(
                "the meter takes its current from an external sensor of voltage output",
                where=self.where,
                why="a range chosen here would switch it to its direct input, and nobody stated the sensor's limits",
                advice="use its direct input, through transducers of current output and ct_ratio where needed",
            )

    def _require_known_transducers(self, settings: PowerSettings) -> None:
        for kind, ratios in (("current", settings.ct_ratio), ("voltage", settings.vt_ratio)):
            scaled = any(ratio != 1.0 for ratio in ratios or ())
            if scaled and not any(one.kind == kind for one in self.transducers):
                raise UsageError(
                    f"the meter scales by a {kind} transducer whose limits of error nobody stated",
                    where=self.where,
                    why="without them the uncertainty would be that of the meter alone, and too small",
                    advice=f"add [{self.where.rpartition(': ')[2]}.{kind}_transducer] with model, ratio_error, "
                    "phase_error_arcmin and source",
                )
            if not scaled and any(one.kind == kind for one in self.transducers):
                raise UsageError(
                    f"the bench file names a {kind} transducer, and the meter does not scale by it",
                    where=self.where,
                    why=f"its {kind} ratio is 1",
                    advice=f"set its ratio: settings = {{ {'ct' if kind == 'current' else 'vt'}_ratio = … }}",
                )


def references_of(bench: Any) -> list[Reference]:
    """Return the power meters of a bench, in the order of the file; raises BenchError if there is none."""
    meters: list[PowerMeter] = bench.of_role("power_meter") or [bench.the("power_meter")]
    found = []
    for name, instrument in bench.instruments.items():
        if instrument in meters:
            entry = bench.settings.instruments[name]
            ranges = {key: entry.settings[key] for key in ("voltage_range", "current_range") if key in entry.settings}
            where = f"{bench.settings.origin}: instruments.{name}"
            found.append(Reference(name, instrument, where, ranges, bench.certificates.get(name), entry.transducers))
    return found


def _largest(readings: Sequence[PowerReading], name: str) -> tuple[float, float]:
    """The largest voltage or current of any element, at the mains and at the meter's input."""
    mains = entered = 0.0
    for reading in readings:
        ratios = reading.settings.vt_ratio if name == "voltage" else reading.settings.ct_ratio
        for index, element in enumerate(reading.elements):
            value = abs(float(getattr(element, name)))
            mains = max(mains, value)
            entered = max(entered, value / (ratios[index] if ratios else 1.0))
    return mains, entered


def _full_scale(settings: PowerSettings) -> float | None:
    """Full scale of the power range at the meter's input, summed over the elements that the sum counts, W."""
    if len(set(settings.voltage_range)) != 1 or len(set(settings.current_range)) != 1:
        return None
    counted = min(_ELEMENTS_OF.get(settings.wiring or "", len(settings.elements)), len(settings.elements))
    return counted * settings.voltage_range[0] * settings.current_range[0]


def _only_ratio(ratios: Sequence[float] | None, where: str) -> float:
    if ratios and len(set(ratios)) > 1:
        raise UsageError(
            "the elements of the meter have different ratios",
            where=where,
            why=", ".join(f"{ratio:g}" for ratio in ratios),
            advice="use transducers of one ratio for all elements",
        )
    return ratios[0] if ratios else 1.0


def _alike(ranges: Sequence[float]) -> float | list[float] | None:
    """One value where all elements have the same."""
    if len(set(ranges)) <= 1:
        return ranges[0] if ranges else None
    return list(ranges)


def _smallest(ranges: Sequence[float], factor: float, needed: float) -> float:
    fitting = [full * factor for full in sorted(ranges) if full * factor >= needed]
    return fitting[0] if fitting else max(ranges) * factor


def _listed(ranges: Sequence[float] | None, unit: str) -> str:
    return f"it has {', '.join(f'{one:g}' for one in ranges)} {unit}" if ranges else f"it has no ranges in {unit}"

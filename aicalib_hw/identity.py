"""Who an instrument is, and what its calibration certificate says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SIMULATION_MARK = "SIM"
"""Every simulator's serial number, UUID, build or version field begins with this."""

_MARKED_EXTRAS = ("uuid", "build", "version")


@dataclass(frozen=True, slots=True)
class Identity:
    """What an instrument says of itself, as read from the wire.

    maker, model, serial, firmware: the instrument's own words, "" where it has none.
    address: the address it was opened by.
    extra: further facts it gave (options, uuid, build, version …), as text.
    simulated: derived, here and nowhere else: the serial, or where the family has none its
        uuid, build or version, begins with SIM.
    """

    maker: str
    model: str
    serial: str
    firmware: str
    address: str
    extra: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = field(init=False)

    def __post_init__(self) -> None:
        marks = [self.serial, *(self.extra.get(name, "") for name in _MARKED_EXTRAS)]
        object.__setattr__(self, "simulated", any(mark.startswith(SIMULATION_MARK) for mark in marks))

    @property
    def name(self) -> str:
        """Maker and model as they are said together; a maker that repeats model or version stands once."""
        repeated = self.model.casefold().startswith(self.maker.casefold()) or self.maker == self.firmware
        return self.model if repeated and self.model else f"{self.maker} {self.model}".strip()

    def __str__(self) -> str:
        serial = f" {self.serial}" if self.serial else ""
        mark = " (simulated)" if self.simulated else ""
        return f"{self.name}{serial}{mark}"


@dataclass(frozen=True, slots=True)
class CertificatePoint:
    """One line of a certificate: at `at` in `range`, add `correction`; U is given with k.

    range, at, correction, expanded_uncertainty: in `unit`; range None = whatever range.
    layer: what a rate of a network tester counts ("L1", "L2-fcs", …), None for every other quantity.
    """

    quantity: str
    range: float | None
    at: float
    correction: float
    expanded_uncertainty: float
    k: float
    unit: str
    layer: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A calibration certificate of a reference standard.

    calibrated_on, valid_until: ISO 8601 dates. Corrections are applied or refused, never ignored.
    drift: limit of the relative change since then, as the instrument's calibrations show it; None = not stated.
    """

    number: str
    issuer: str
    calibrated_on: str
    valid_until: str
    traceable_to: str
    points: tuple[CertificatePoint, ...] = ()
    drift: float | None = None

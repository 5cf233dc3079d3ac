"""An instrument as a report shows it: who it is, what its certificate says, what was set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aicalib_hw.readings import Instant
from aicalib_hw.records.canonical import iso_utc
from aicalib_hw.records.contents import Equipment
from aicalib_hw.reports import numbers
from aicalib_hw.reports.facts import shown
from aicalib_hw.reports.language import Words
from aicalib_hw.reports.numbers import NONE


@dataclass(frozen=True, slots=True)
class Item:
    """An instrument as text; settings: name, value, origin."""

    name: str
    simulated: bool
    facts: tuple[tuple[str, str], ...]
    certificate: tuple[tuple[str, str], ...]
    expired: bool
    points: tuple[tuple[str, ...], ...]
    points_title: str
    settings: tuple[tuple[str, str, str], ...]


def item(of: Equipment, used: Instant, words: Words) -> Item:
    """Return an instrument as text; used: when, for a certificate may have expired by then."""
    identity, certificate = of.identity, of.certificate
    day = iso_utc(used.utc_ns)[:10]
    about = (
        ("maker", identity.maker),
        ("model", identity.model),
        ("serial", identity.serial),
        ("firmware", identity.firmware),
        ("address", identity.address),
        ("driver", str(of.driver.get("name", ""))),
        ("proven", str(of.driver.get("verified", ""))),
    )
    held: tuple[tuple[str, str], ...] = ()
    if certificate is not None:
        held = (
            (words("certificate"), certificate.number),
            (words("issuer"), certificate.issuer),
            (words("calibrated on"), certificate.calibrated_on),
            (words("valid until"), certificate.valid_until),
            (words("traceable to"), certificate.traceable_to or NONE),
        )
    return Item(
        name=of.name,
        simulated=identity.simulated,
        facts=(
            *((words(key), text or NONE) for key, text in about),
            *((key, text) for key, text in identity.extra.items()),
        ),
        certificate=held,
        expired=certificate is not None and certificate.valid_until < day,
        points=tuple(
            (
                ", ".join(filter(None, (words.known(point.quantity), point.layer))),
                numbers.significant(point.range, point.unit) if point.range is not None else words("any"),
                numbers.significant(point.at, point.unit),
                numbers.significant(point.correction, point.unit, 2),
                numbers.significant(point.expanded_uncertainty, point.unit, 2),
                f"{point.k:.2f}",
            )
            for point in (certificate.points if certificate is not None else ())
        ),
        points_title=words("certificate points", number=certificate.number) if certificate is not None else "",
        settings=tuple(
            (
                words.fact(name),
                _setting(setting.value, setting.unit, words),
                words("driver origin") if setting.origin == "driver" else words.known(setting.origin),
            )
            for name, setting in of.snapshot.items()
        ),
    )


def _setting(value: Any, unit: str, words: Words) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_setting(item, unit, words) for item in value) or NONE
    text = shown("", value, "1", words)
    return f"{text}\u00a0{numbers.symbol(unit)}" if unit not in ("", "1") and text != NONE else text

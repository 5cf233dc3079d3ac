"""The address of an Open Traffic Generator: the controller, its ports, and what the model leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import UsageError

from . import _otg_model as model


@dataclass(frozen=True, slots=True)
class Place:
    """base: URL of the controller. ports: name → location. speed: bit/s. fcs: whether bytes hold it.

    clock: ± ratio. jitter: limits of error of start and stop of a gate together, s, None = not stated.
    """

    base: str
    ports: Mapping[str, str]
    speed: float | None
    fcs: bool | None
    clock: float
    jitter: float | None
    certificate: str | None


def place_of(address: str) -> Place:
    """Take an address apart; raises UsageError naming what does not belong there."""
    form = "otg+https://HOST:8443?port=p1@LOCATION&port=p2@LOCATION&speed=800"
    scheme, _, rest = address.partition("://")
    problem = ""
    try:
        parts = urlsplit(f"{scheme.removeprefix('otg+')}://{rest}")
        options = parse_qsl(parts.query, strict_parsing=bool(parts.query))
        ports = dict(value.partition("@")[::2] for name, value in options if name == "port")
        single = {name: value for name, value in options if name != "port"}
        speed = float(single.pop("speed")) * 1e9 if "speed" in single else None
        clock = float(single.pop("clock_ppm", "100")) * 1e-6
        jitter = float(single.pop("jitter_us")) * 1e-6 if "jitter_us" in single else None
        fcs = {"yes": True, "no": False, "": None}[single.pop("fcs", "")]
        certificate = single.pop("certificate", None)
        base = f"{parts.scheme}://{parts.netloc}"
        if scheme not in ("otg+https", "otg+http") or not parts.hostname or parts.path not in ("", "/"):
            problem = "it names no controller"
        elif single:
            problem = f"unknown: {', '.join(single)}"
        elif speed is not None and speed not in model.SPEEDS:
            problem = f"speed is one of {', '.join(f'{one / 1e9:g}' for one in model.SPEEDS)} Gbit/s"
        elif not 0 <= clock < 1e-2:
            problem = "clock_ppm is 0 to 10000"
        elif jitter is not None and not 0 <= jitter < 1:
            problem = "jitter_us is 0 to 1000000"
        elif any(not location for location in ports.values()):
            problem = "a port is written NAME@LOCATION"
    except KeyError:
        problem = "fcs is yes or no"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise UsageError(f"{address!r} is no address of a traffic generator", why=problem, advice=form)
    return Place(base, ports, speed, fcs, clock, jitter, certificate)

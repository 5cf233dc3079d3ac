"""Tektronix PA1000 and PA3000 power analyzers, read over TCP, port 5025: the results of one input.

Sources: PA1000 user manual p. 54, and what public programs that read these instruments agree on. A reader: which
range a number of `:RNG` stands for, the order of several inputs' results, integration and the accuracy are not in what
is at hand. Unconfirmed and therefore a keyword: `update_interval`. Ratios are known only once they were set here, as
their queries are not confirmed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from aicalib_hw.errors import AicalibError, OutOfRange, ProtocolError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    ReleaseReport,
    Setting,
)
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import measured, number_text, parse_integer

from . import _evaluation
from ._choices import require_ratio
from ._polled_meter import PolledPowerMeter, impossible

RESULTS = {"VLT": "V", "AMP": "A", "WAT": "W", "VAS": "VA", "VAR": "var", "PWF": "1", "FRQ": "Hz"}
"""Results that are selected, in this order, and their units."""

RATIO = (0.0001, 100000.0)
RATIOS = {"ct_ratio": ":SCL:AMP", "vt_ratio": ":SCL:VLT"}
"""Limits of a ratio, and what sets which."""

_NEW_DATA = 2


class TektronixPA1000(PolledPowerMeter):
    """A PA1000, or a PA3000 of which one input is used.

    update_interval: s (unconfirmed). selection_time: s until the results of a new selection are there.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="tektronix-pa1000",
        role="power_meter",
        summary="Tektronix PA1000, PA3000 power analyzers (one input)",
        manual="PA1000 user manual p. 54",
        models=((r"Tektronix.*", r"PA[13]000"),),
        wires=("TCP",),
        simulator="tektronix-pa1000",
    )

    SETTINGS = ("elements", "auto_range", "ct_ratio", "vt_ratio", "line_filter")

    def __init__(self, address: str, *, update_interval: float = 0.5, selection_time: float = 0.5, **link: Any) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        self._selection_time = selection_time
        self._told: dict[str, Any] = {}

    def _prepare(self) -> None:
        self.session.command(":SYST:REM")
        # Blanking shows small values as 0, which they are not.
        self.session.command(":BLK:DIS")
        self.session.command(":SEL:CLR")
        for result in RESULTS:
            self.session.command(f":SEL:{result}")
        time.sleep(self._selection_time)
        names = self.session.query(":FRF?").split(",")
        if len(names) != len(RESULTS):
            raise ProtocolError(
                f"{len(RESULTS)} results were selected, and {len(names)} are there: {', '.join(names)}",
                where=self.address,
                why="results of several inputs come in an order that is not documented in what is at hand",
                advice="use one input",
            )
        self._told = {}
        self._again()

    def _again(self) -> None:
        """Ask for the event of new data, which a link that was taken anew need not bring."""
        self.session.command(f":DSE {_NEW_DATA}")

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What is confirmed: reading, V, A, W, of one input, auto range, ratios, line filter."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "no facts: which range a number stands for is not in what is at hand",
                "energy": "no facts: commands for integration are not in what is at hand",
                "uncertainty": "no facts: the accuracy is not in what is at hand",
                "missed": "the meter does not tell of updates that passed unread",
            },
            elements=1,
            auto_range=True,
            line_filter=True,
            scaling=True,
        )

    def _apply(self, **wanted: Any) -> None:
        if wanted.get("auto_range") is False:
            self._lacks("setting auto_range (asked for False)", "which range a number stands for is not at hand")
        if tuple(wanted.get("elements", (1,))) != (1,):
            raise OutOfRange(
                f"elements {tuple(wanted['elements'])} cannot be read", why="one input is read", advice="leave it out"
            )
        for name in RATIOS:
            if name in wanted:
                require_ratio(name, wanted[name], RATIO)
        if wanted.get("auto_range"):
            self.session.command(":RNG:VLT:AUT")
            self.session.command(":RNG:AMP:AUT")
        for name, header in RATIOS.items():
            if name in wanted:
                self.session.command(f"{header} {number_text(wanted[name])}")
                self._told[name] = (wanted[name],)
        if "line_filter" in wanted:
            self.session.command(f":INP:FILT:LPAS {int(wanted['line_filter'])}")
            self._told["line_filter"] = wanted["line_filter"]

    def _in_force(self) -> PowerSettings:
        auto = bool(parse_integer(self.session.query(":RNG:AMP:AUT?")))
        return self._bare_settings(auto_range=auto, **self._told)

    def snapshot(self) -> Mapping[str, Setting]:
        """Read whether auto range of the current is on, and give what was set from here; ratios are numbers, s."""
        with self._lock:
            settings, now = self._in_force(), Instant.now()
        found = {
            "current_auto_range": Setting(settings.auto_range, "", now, "instrument"),
            "update_interval": Setting(self._interval, "s", now, "driver"),
        }
        found |= {name: Setting(value, "", now, "driver") for name, value in self._told.items()}
        return found

    def _ask(self) -> str:
        return self.session.query(":FRD?").strip()

    def _updated(self) -> bool:
        return bool(parse_integer(self.session.query(":DSR?")) & _NEW_DATA)

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        texts = [text.strip() for text in shown.split(",")]
        if len(texts) != len(RESULTS):
            raise ProtocolError(
                f"{shown!r} is no set of {len(RESULTS)} results",
                where=self.address,
                why="somebody has selected other results, or the reply belongs to another question",
                advice="open the instrument again; let no other program use it meanwhile",
            )
        taken = dict(zip(RESULTS, texts, strict=True))

        shown_rms = (measured(taken[result])[0] for result in ("VLT", "AMP"))
        extra |= impossible(*(value for value in shown_rms if value is not None))

        def reading(result: str) -> Reading:
            value, status = measured(taken[result])
            return Reading(
                value=value,
                unit=RESULTS[result],
                status=status | extra,
                window=window,
                source=self.identity,
                channel=result,
                resolution=_evaluation.last_digit(taken[result]) if value is not None else None,
                raw=taken[result],
            )

        element = ElementReading(
            voltage=reading("VLT"),
            current=reading("AMP"),
            active_power=reading("WAT"),
            apparent_power=reading("VAS"),
            reactive_power=reading("VAR"),
            power_factor=reading("PWF"),
            frequency=reading("FRQ"),
        )
        status = element.voltage.status | element.current.status | element.active_power.status
        return PowerReading((element,), element, in_force, window, status)

    def release(self) -> ReleaseReport:
        """Forget the event mask; a command back to local is not confirmed; idempotent; never raises."""
        if not self.is_open:
            return ReleaseReport()
        try:
            self._link.write(":DSE 0")
        except AicalibError as error:
            return ReleaseReport(failures=(f"event mask: {error.what}",))
        return ReleaseReport(("event mask cleared",))

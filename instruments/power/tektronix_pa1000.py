"""Tektronix PA1000 and PA3000 power analyzers, read over TCP, port 5025: the results of one input.

Sources: PA1000 user manual p. 54, and what public programs that read these instruments agree on. A reader: which
range a number of `:RNG` stands for, the order of several inputs' results, integration and the accuracy are not in what
is at hand. Unconfirmed and therefore a keyword: `update_interval`. Ratios are known only once they were set here, as
their queries are not confirmed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aicalib_hw.errors import AicalibError, OutOfRange, ProtocolError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    LoadRun,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    ReleaseReport,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Instant, Measurement, Reading, Status, Window
from aicalib_hw.scpi.codec import measured, number_text, parse_integer
from aicalib_hw.transport.deadline import Deadline

from . import _evaluation
from ._polled_meter import PolledPowerMeter, impossible

RESULTS = {"VLT": "V", "AMP": "A", "WAT": "W", "VAS": "VA", "VAR": "var", "PWF": "1", "FRQ": "Hz"}
"""Results that are selected, in this order, and their units."""

RATIO = (0.0001, 100000.0)
"""Limits of `:SCL:VLT` and `:SCL:AMP`."""

_NEW_DATA = 2
_POLLS = 20


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

    def __init__(self, address: str, *, update_interval: float = 0.5, selection_time: float = 0.5, **link: Any) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        self._selection_time = selection_time
        self._ratios: dict[str, float] = {}

    def _opened(self) -> None:
        self._link.clear()
        self.session.errors()
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
        self.session.command(f":DSE {_NEW_DATA}")
        self._ratios = {}
        self._last = None

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

    def configure(
        self,
        *,
        elements: Sequence[int] | None = None,
        wiring: Wiring | None = None,
        voltage_range: float | None = None,
        current_range: float | None = None,
        auto_range: bool | None = None,
        crest_factor: str | None = None,
        update_interval: float | None = None,
        ct_ratio: float | None = None,
        vt_ratio: float | None = None,
        line_filter: bool | None = None,
        averaging: int | None = None,
    ) -> PowerSettings:
        """Turn auto range on, set ratios and the line filter.

        Raises OutOfRange for a ratio that there is not, NotSupported for everything else, fixed ranges in V and A
        included, InstrumentReportedError.
        """
        given = {
            "wiring": wiring,
            "voltage_range": voltage_range,
            "current_range": current_range,
            "auto_range": None if auto_range else auto_range,
            "crest_factor": crest_factor,
            "update_interval": update_interval,
            "averaging": averaging,
        }
        self._refuse(given, ())
        if elements is not None and tuple(elements) != (1,):
            raise OutOfRange(f"elements {tuple(elements)} cannot be read", why="one input is read")
        for name, ratio in (("ct_ratio", ct_ratio), ("vt_ratio", vt_ratio)):
            if ratio is not None and not RATIO[0] <= ratio <= RATIO[1]:
                raise OutOfRange(f"a {name} of {ratio} cannot be set", why=f"{RATIO[0]} to {RATIO[1]}")
        with self._lock:
            if auto_range:
                self.session.command(":RNG:VLT:AUT")
                self.session.command(":RNG:AMP:AUT")
            for header, ratio in ((":SCL:AMP", ct_ratio), (":SCL:VLT", vt_ratio)):
                if ratio is not None:
                    self.session.command(f"{header} {number_text(ratio)}")
                    self._ratios[header] = ratio
            if line_filter is not None:
                self.session.command(f":INP:FILT:LPAS {int(line_filter)}")
                self._ratios[":INP:FILT:LPAS"] = float(line_filter)
            return self._in_force()

    def _in_force(self) -> PowerSettings:
        current, voltage = self._ratios.get(":SCL:AMP"), self._ratios.get(":SCL:VLT")
        line_filter = self._ratios.get(":INP:FILT:LPAS")
        return PowerSettings(
            elements=(1,),
            wiring=None,
            voltage_range=(),
            current_range=(),
            auto_range=bool(parse_integer(self.session.query(":RNG:AMP:AUT?"))),
            crest_factor=None,
            update_interval=self._interval,
            ct_ratio=None if current is None else (current,),
            vt_ratio=None if voltage is None else (voltage,),
            line_filter=None if line_filter is None else bool(line_filter),
            averaging=None,
        )

    def snapshot(self) -> Mapping[str, Setting]:
        """Read whether auto range of the current is on, and give what was set from here; ratios are numbers, s."""
        with self._lock:
            settings, now = self._in_force(), Instant.now()
        found = {
            "current_auto_range": Setting(settings.auto_range, "", now, "instrument"),
            "update_interval": Setting(self._interval, "s", now, "driver"),
        }
        for name in ("ct_ratio", "vt_ratio", "line_filter"):
            if getattr(settings, name) is not None:
                found[name] = Setting(getattr(settings, name), "", now, "driver")
        return found

    def _ask(self) -> str:
        return self._link.query(":FRD?").strip()

    def _next(self, in_force: PowerSettings, timeout: float | None) -> PowerReading:
        """Wait for the event of new data, and take only what differs from the reading before."""
        deadline = Deadline(5 * self._interval if timeout is None else timeout)
        while not deadline.expired:
            self._raise_if_aborted()
            if parse_integer(self.session.query(":DSR?")) & _NEW_DATA and (shown := self._ask()) != self._last:
                self._last = shown
                return self._reading(shown, in_force, self._window("one update interval"), Status.VALID)
            self._abort.wait(min(self._interval / _POLLS, deadline.left))
        self._raise_if_aborted()
        self._last = self._ask()
        return self._reading(self._last, in_force, self._window("one update interval"), Status.STALE)

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

    def start_integration(self, *, duration: float | None = None) -> None:
        """Raises NotSupported: commands for integration are not in what is at hand."""
        self._lacks("integration")

    def stop_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._lacks("integration")

    def reset_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._lacks("integration")

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Raises NotSupported: no energy, J, can be had from what is confirmed."""
        self._lacks("integration")

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """Raises NotSupported: the accuracy, W, is not in what is at hand."""
        self._lacks("accuracy", "it is not in what is at hand")

    def release(self) -> ReleaseReport:
        """Forget the event mask; a command back to local is not confirmed; idempotent; never raises."""
        if not self.is_open:
            return ReleaseReport()
        try:
            self._link.write(":DSE 0")
        except AicalibError as error:
            return ReleaseReport(failures=(f"event mask: {error.what}",))
        return ReleaseReport(("event mask cleared",))

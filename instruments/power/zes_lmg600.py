"""ZES Zimmer LMG600 series (LMG610 to LMG670) precision power analyzers.

Sources: no manual was at hand; what two public programs that drive an LMG670 agree on (lmgtools, in the language
SHORT; lmgd, in the language SCPI), and a log of one. Settings are made in SCPI, where the instrument reports errors;
measured is in SHORT, whose cycles carry time stamp and length. Not provided, as nothing at hand says how it is
done: energy counted by the instrument, wiring, Σ, CT and VT scaling, harmonics, filters, accuracy, hold and zero.
Unconfirmed and therefore settable: the questions that read ranges back (`range_query`), which channels are fitted
(`channels`), the port of the out-of-band reset (`break_port`). The total of several channels is formed by the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NoReturn

from aicalib_hw.errors import (
    AicalibError,
    NotSupported,
    OutOfRange,
    UsageError,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    ReleaseReport,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Instant
from aicalib_hw.scpi.codec import number_text, parse_number
from aicalib_hw.scpi.session import Link
from aicalib_hw.trace import Trace

from ._scpi_meter import NO_ACCURACY
from ._zes_stream import ZesStream

_MOST_CHANNELS = 7


class ZesLMG600(ZesStream):
    """A power analyzer of the LMG600 series; address: TCPIP::HOST::5025::SOCKET, or a serial port.

    channels: those that are measured, from 1. break_port: TCP port for `break`, None = the one after that for commands
    (5026 after 5025), 0 = never. range_query: read ranges back by `URNG1?` and `IRNG1?`. reset: begin from the
    instrument's defaults.
    """

    ERROR_QUERY: ClassVar[str] = ""
    """It answers for errors in SCPI only, and speaks SHORT most of the time."""

    BAUD_RATE: ClassVar[int] = 57600

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="zes-lmg600",
        role="power_meter",
        summary="ZES Zimmer LMG600 series power analyzers (LMG670)",
        manual="no manual",
        models=((r".*ZES.*|.*Zimmer.*", r"LMG\s?6\d\d.*"),),
        wires=("TCP", "serial"),
        simulator="zes-lmg600",
    )

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        channels: Sequence[int] = (1,),
        break_port: int | None = None,
        range_query: bool = True,
        reset: bool = False,
        link: Link | None = None,
    ) -> None:
        chosen = tuple(channels)
        if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(1, _MOST_CHANNELS + 1)):
            raise UsageError(f"channels {chosen} are none", where=address, advice="give some of 1 to 7, each once")
        super().__init__(
            address,
            channels=chosen,
            timeout=timeout,
            trace=trace,
            visa_library=visa_library,
            baud_rate=baud_rate,
            link=link,
        )
        self._break_port = break_port
        self._range_query = range_query
        self._reset = reset

    def _opened(self) -> None:
        if self._reset:
            self._done("*rst;*cls")
            self._link.write("*zlang short")
        self._last = None

    def identify(self) -> Identity:
        """Ask `*idn?`, after bringing the instrument to rest; raises ProtocolError, IdentityMismatch."""
        with self._lock:
            self._settle()
            return super().identify()

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What is known of this instrument; None = no facts."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "any value is sent, and the instrument decides",
                "total": "of several channels the host adds the active powers and takes means of voltage and current",
                "energy": "the host adds power times length of the instrument's gap-free cycles",
                "peak over": "nothing at hand says how the instrument reports it",
            },
            elements=len(self._channels),
            auto_range=True,
            energy=True,
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
        """Set ranges (V, A), auto range and cycle time (s), and read everything back.

        elements: the channels that the ranges are for. Raises NotSupported for what nothing at hand tells how to
        set, OutOfRange for a channel that was not chosen, InstrumentReportedError for what the instrument refuses.
        """
        lacking = {
            "wiring": wiring,
            "crest_factor": crest_factor,
            "ct_ratio": ct_ratio,
            "vt_ratio": vt_ratio,
            "line_filter": line_filter,
            "averaging": averaging,
        }
        for name, value in lacking.items():
            if value is not None:
                self._lacks(f"setting {name} (asked for {value!r})")
        chosen = self._channels if elements is None else tuple(elements)
        if not chosen or not set(chosen) <= set(self._channels):
            raise OutOfRange(f"elements {chosen} cannot be chosen", why=f"this meter was opened for {self._channels}")
        if auto_range and (voltage_range is not None or current_range is not None):
            raise UsageError("auto_range=True and a fixed range exclude each other", advice="give one of them")
        commands = _commands(chosen, voltage_range, current_range, auto_range, update_interval)
        with self._lock:
            self._settle()
            self._in_scpi(commands)
            return self._in_force()

    def start_integration(self, *, duration: float | None = None) -> None:
        """Nothing at hand says how this instrument integrates: raises NotSupported."""
        self._lacks("integrator that is known", "use measure_energy(), which adds up its gap-free cycles")

    def stop_integration(self) -> None:
        """Raises NotSupported, as `start_integration` does."""
        self._lacks("integrator that is known", "use measure_energy(), which adds up its gap-free cycles")

    def reset_integration(self) -> None:
        """Raises NotSupported, as `start_integration` does."""
        self._lacks("integrator that is known", "use measure_energy(), which adds up its gap-free cycles")

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """Raises NotSupported: no accuracy of this instrument, in W, is confirmed."""
        self._lacks("accuracy that is confirmed", NO_ACCURACY)

    def zero_suppression(self, on: bool) -> None:
        """Show values below the instrument's threshold as 0, or as they are: off for a calibration."""
        with self._lock:
            self._settle()
            self._in_scpi([f":SENS:ZPR {int(on)}"])

    def snapshot(self) -> Mapping[str, Setting]:
        """Read every setting that can be read."""
        with self._lock:
            self._settle()
            settings, now = self._in_force(), Instant.now()
        units = {"voltage_range": "V", "current_range": "A", "update_interval": "s"}
        origin = {"voltage_range": "instrument", "current_range": "instrument", "update_interval": "instrument"}
        return {
            name: Setting(getattr(settings, name), units.get(name, ""), now, origin.get(name, "driver"))
            for name in PowerSettings.__slots__
            if getattr(settings, name) is not None
        }

    def abort(self) -> None:
        """End whatever blocks in another thread; the instrument is brought to rest at its next use."""
        self._doubtful = True
        super().abort()

    def release(self) -> ReleaseReport:
        """Stop the stream and give the front panel back; idempotent; never raises."""
        if not self.is_open:
            return ReleaseReport()
        with self._lock:
            if self._streaming:
                self._streaming, self._doubtful = False, True
            try:
                self._settle()
                self._link.write("gtl")
            except AicalibError as error:
                self._doubtful = True
                return ReleaseReport(failures=(f"front panel: {error.what}",))
            self._doubtful = True
        return ReleaseReport(("front panel back to local",))

    def _in_force(self) -> PowerSettings:
        self._link.write("*zlang scpi")
        interval = parse_number(self.session.query(":SENS:SWE:TIME?"))
        self._link.write("*zlang short")
        ranges: dict[str, tuple[float, ...]] = {}
        for word in ("URNG", "IRNG"):
            questions = ";".join(f"{word}{channel}?" for channel in self._channels)
            ranges[word] = (
                tuple(map(parse_number, self.session.query(questions).split(";"))) if self._range_query else ()
            )
        return PowerSettings(
            elements=self._channels,
            wiring=None,
            voltage_range=ranges["URNG"],
            current_range=ranges["IRNG"],
            auto_range=None,
            crest_factor=None,
            update_interval=interval,
            ct_ratio=None,
            vt_ratio=None,
            line_filter=None,
            averaging=None,
        )

    @property
    def _port_for_break(self) -> int | None:
        return self._break_port

    def _lacks(self, what: str, why: str = "") -> NoReturn:
        raise NotSupported(
            f"{self.DRIVER.name} has no {what}",
            where=self.address,
            why=why or "no manual or program at hand says how it is done",
        )


def _commands(
    channels: Sequence[int],
    voltage_range: float | None,
    current_range: float | None,
    auto_range: bool | None,
    update_interval: float | None,
) -> list[str]:
    """What sets these, V, A, s, in SCPI; raises OutOfRange for what is no positive number."""
    for name, size in (("range", voltage_range), ("range", current_range), ("cycle time", update_interval)):
        if size is not None and not 0 < size < float("inf"):
            raise OutOfRange(f"a {name} of {size:g} cannot be set", why="it is no positive number", advice="give one")
    commands = []
    for channel in channels:
        for word, size in (("VOLT", voltage_range), ("CURR", current_range)):
            if auto_range is not None or size is not None:
                commands.append(f":SENS:{word}:RANG:AUTO{channel} {int(bool(auto_range))}")
            if size is not None:
                commands.append(f":SENS:{word}:RANG{channel} {number_text(size)}")
    if update_interval is not None:
        commands.append(f":SENS:SWE:TIME {number_text(update_interval)}")
    return commands

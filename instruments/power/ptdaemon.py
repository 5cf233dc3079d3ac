"""SPEC's PTDaemon: any power analyzer that stands behind it, at `ptdaemon://HOST[:8888]`.

Source: what public harnesses exchange with it (mlcommons/power-dev `ptd_client_server/lib/server.py`,
`compliance/check.py`); PTDaemon's own document is not at hand. The daemon's samples carry its own clock's time, by
which missing ones are known. Not covered: timed measurements, ramp-up samples. The uncertainty is the one that the
daemon states; what it takes into account is the daemon's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from aicalib_hw.errors import (
    IdentityMismatch,
    InstrumentReportedError,
    NotSupported,
    UsageError,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    PowerMeterCapabilities,
    PowerSettings,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Instant
from aicalib_hw.scpi.codec import number_text
from aicalib_hw.scpi.session import REFUSED, Link
from aicalib_hw.trace import Trace
from aicalib_hw.transport.visa import VisaLink

from . import _ptdaemon_lines as lines
from ._choices import require_full_scale, require_one_of
from ._ptdaemon_readings import PTDaemonReadings

PORT = 8888
GREETING = "Hello, PTDaemon here!"
_TERMINATION = "\r\n"


class PTDaemonMeter(PTDaemonReadings):
    """A power analyzer behind PTDaemon.

    update_interval: s between samples, whole milliseconds; what the analyzer can do is not known here.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="ptdaemon",
        role="power_meter",
        summary="any power analyzer behind SPEC's PTDaemon",
        manual="mlcommons/power-dev",
        schemes=("ptdaemon",),
        wires=("TCP",),
        simulator="ptdaemon",
    )

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        update_interval: float = 1.0,
        link: Link | None = None,
    ) -> None:
        milliseconds = round(update_interval * 1000)
        if milliseconds < 1 or abs(milliseconds - update_interval * 1000) > 1e-6:
            raise UsageError(f"{update_interval} s between samples is no whole number of milliseconds", where=address)
        if link is None:
            link = VisaLink(
                _resource(address),
                timeout=timeout,
                trace=trace,
                read_termination="\n",
                write_termination=_TERMINATION,
            )
        super().__init__(address, milliseconds=milliseconds, link=link)

    def _opened(self) -> None:
        self._forget()

    def identify(self) -> Identity:
        """Ask `Hello` and `Identify`; raises IdentityMismatch for anything but a PTDaemon."""
        with self._lock:
            greeting = self._link.query("Hello").strip()
            if greeting != GREETING:
                raise IdentityMismatch(
                    f"{greeting[:60]!r} answers, which is no PTDaemon",
                    where=self.address,
                    advice=f"correct host and port; PTDaemon listens on {PORT} unless told otherwise",
                )
            told = self._link.query("Identify").strip()
        words = lines.identification(told)
        version = words.get("version", "")
        return Identity(
            maker="SPEC PTDaemon",
            model=words["model"],
            serial=words.get("serial", ""),
            firmware=version,
            address=self.address,
            extra={"version": version, "identify": told},
        )

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What the daemon offers: ranges, V and A, are set but not listed; the interval, s, is the driver's."""
        return PowerMeterCapabilities(
            notes={
                "elements": "known once a sample was read",
                "ranges": "any; the daemon refuses what the analyzer has not",
                "energy": "the sum of the samples; the analyzer's integrator cannot be reached",
                "uncertainty": "as the daemon states it",
            },
            elements=max(1, self._channels),
            update_intervals=(self._milliseconds / 1000,),
            auto_range=True,
            energy=True,
            uncertainty=True,
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
        """Set ranges, V and A, or auto range, and read them back.

        Raises OutOfRange for another interval than the driver was opened with, NotSupported for what the
        daemon cannot set, InstrumentReportedError for what it refuses.
        """
        for name, value in (
            ("elements", elements),
            ("wiring", wiring),
            ("crest_factor", crest_factor),
            ("ct_ratio", ct_ratio),
            ("vt_ratio", vt_ratio),
            ("line_filter", line_filter),
            ("averaging", averaging),
        ):
            if value is not None:
                raise NotSupported(
                    f"PTDaemon cannot set {name}",
                    where=self.address,
                    advice="set it at the analyzer, or in the command line that starts the daemon",
                )
        if update_interval is not None:
            require_one_of(
                "update interval",
                update_interval,
                (self._milliseconds / 1000,),
                "s",
                advice="open it with update_interval=…",
            )
        if auto_range and (voltage_range is not None or current_range is not None):
            raise UsageError("auto_range=True and a fixed range exclude each other", advice="give one of them")
        for name, full in (("voltage_range", voltage_range), ("current_range", current_range)):
            if full is not None:
                require_full_scale(name, full, "V" if name == "voltage_range" else "A")
        with self._lock:
            before = lines.parse_ranges(self._link.query("RR"))
            wanted: dict[str, float | None] = {"V": voltage_range, "A": current_range}
            if auto_range is False:
                wanted = {"V": voltage_range or before.voltage, "A": current_range or before.current}
                if None in wanted.values():
                    raise UsageError(
                        "auto range cannot be ended without a range: the daemon does not know the one in force",
                        where=self.address,
                        advice="give voltage_range and current_range",
                    )
            for letter, full in wanted.items():
                if auto_range:
                    self._set(f"SR,{letter},Auto", f"Range {letter} changed")
                elif full is not None:
                    self._set(f"SR,{letter},{number_text(full)}", f"Range {letter} changed")
            return self._in_force()

    def _set(self, command: str, confirmation: str) -> None:
        reply = self._link.query(command).strip()
        if not reply.startswith(confirmation):
            raise InstrumentReportedError(0, reply, command, where=self.address, advice=REFUSED)

    def _in_force(self) -> PowerSettings:
        ranges = lines.parse_ranges(self._link.query("RR"))
        autos = [auto for auto in (ranges.current_auto, ranges.voltage_auto) if auto is not None]
        return PowerSettings(
            elements=tuple(range(1, max(1, self._channels) + 1)),
            wiring=None,
            voltage_range=() if ranges.voltage is None else (ranges.voltage,),
            current_range=() if ranges.current is None else (ranges.current,),
            auto_range=any(autos) if autos else None,
            crest_factor=None,
            update_interval=self._milliseconds / 1000,
            ct_ratio=None,
            vt_ratio=None,
            line_filter=None,
            averaging=None,
        )

    def snapshot(self) -> Mapping[str, Setting]:
        """Read the ranges, A and V, and give the interval, s, that samples are asked for."""
        with self._lock:
            ranges, now = lines.parse_ranges(self._link.query("RR")), Instant.now()
        found = {
            "current_range": Setting(ranges.current, "A", now, "instrument"),
            "voltage_range": Setting(ranges.voltage, "V", now, "instrument"),
            "current_auto_range": Setting(ranges.current_auto, "", now, "instrument"),
            "voltage_auto_range": Setting(ranges.voltage_auto, "", now, "instrument"),
        }
        known = {name: setting for name, setting in found.items() if setting.value is not None}
        return {**known, "update_interval": Setting(self._milliseconds / 1000, "s", now, "driver")}

    def start_integration(self, *, duration: float | None = None) -> None:
        """Raises NotSupported: the analyzer's integrator, J, cannot be reached through the daemon."""
        self._no_integrator()

    def stop_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._no_integrator()

    def reset_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._no_integrator()

    def _no_integrator(self) -> None:
        raise NotSupported(
            "PTDaemon gives no access to an integrator",
            where=self.address,
            advice="measure_energy() sums the daemon's samples",
        )


def _resource(address: str) -> str:
    """The socket behind `ptdaemon://HOST[:PORT]`; raises UsageError."""
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port or PORT
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of a PTDaemon", why=str(error)) from error
    if url.scheme != "ptdaemon" or not host or url.path.strip("/") or ":" in host:
        raise UsageError(
            f"{address!r} is no address of a PTDaemon", advice=f"write ptdaemon://HOST or ptdaemon://HOST:{PORT}"
        )
    return f"TCPIP::{host}::{port}::SOCKET"

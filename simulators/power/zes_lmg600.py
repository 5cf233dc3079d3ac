"""Simulated ZES Zimmer LMG670 and LMG671 (LMG600 family), over raw TCP and a serial line.

On TCP commands have one port, and `break` the next; a break condition on the serial line is not simulated.

From public programs for the instrument (lmgtools, lmgd) and logs of it: both languages (SCPI after *RST, SHORT), cyclic
output, its text and binary form. Not simulated: scope mode and gap-free samples, harmonics, zero suppression.
The instrument's ports are 5025 and 5026. Unconfirmed, hence options: ranges, their peaks, limits of error, over-range.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from ..dialects.exchange import Session
from ..dialects.scpi.data import CommandError, boolean, integer, number
from ..dialects.scpi.engine import Device
from ..dialects.scpi.required import register_required
from ..dialects.scpi.status import Status
from ..servers.connections import Connections
from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.serial_pty import SerialServer, available
from ..servers.tcp import TcpServer
from ..world import World
from ..world.faults import FaultPlan
from .inputs import Behaviour, InputOptions, Inputs, degrees
from .metering import AutoRange, Limits
from .served import SimulatedMeter

_TRIES = 50
NAN, INFINITY = 9.91e37, 9.9e37
PROTECTED = 203
_ACTION = re.compile(rb"\s*(?:actn|:?trig(?:ger)?:act(?:ion)?)\s*(?:;|$)", re.IGNORECASE)
_LONG_ZEROS = re.compile(rb"[+-]?\d*\.\d*0")
_VOLTAGES = (3.0, 6.0, 12.5, 25.0, 60.0, 130.0, 250.0, 400.0, 600.0, 1000.0)
_CURRENTS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 32.0)

Data = Sequence[bytes]


class Options(InputOptions):
    """`options` of the simulated meter, beside those of its inputs.

    model, channels: which of the family. serial: must begin with SIM. Unconfirmed are: voltage_ranges, current_ranges,
    V, A; voltage_peak, current_peak, the largest peak as a multiple of the range (LMG450: 400 V on 250 V, 3.75 A on
    1.2 A); over_range_at, the rms from which infinity is shown; reading_limit, peak_limit, of active power, of reading
    and of the product of the peak ranges (advertised for the LMG671); shortest_cycle, longest_cycle, s;
    baud, of its serial line.
    """

    model: Literal["LMG670", "LMG671"] = "LMG670"
    channels: int = Field(default=3, ge=1, le=7)
    serial: str = Field(default="SIM0LMG600", pattern="^SIM")
    voltage_ranges: tuple[float, ...] = _VOLTAGES
    current_ranges: tuple[float, ...] = _CURRENTS
    voltage_peak: float = Field(default=1.6, gt=1)
    current_peak: float = Field(default=3.125, gt=1)
    over_range_at: float = Field(default=1.3, gt=1)
    reading_limit: float = Field(default=0.00015, ge=0)
    peak_limit: float = Field(default=0.0001, ge=0)
    baud: int = Field(default=57600, gt=0)
    shortest_cycle: float = 0.01
    longest_cycle: float = 60.0


class Meter(Device):
    """The instrument behind the wire."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world, self.options, self.faults = world, options, faults
        limits = Limits(options.reading_limit, options.peak_limit * options.voltage_peak * options.current_peak)
        voltage, current = (
            AutoRange(up=options.over_range_at, down=1.0, fits=1.0, peak=peak)
            for peak in (options.voltage_peak, options.current_peak)
        )
        family = Behaviour(
            options.voltage_ranges, options.current_ranges, options.over_range_at, voltage, current, lambda _: limits
        )
        self.inputs = Inputs(world, options, faults, family, options.channels, options.serial, interval=0.5)
        self.guard, self.inputs.on_update = self.inputs.guard, self._cycle
        self._epoch = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=world.clock.now())
        self._listing: list[tuple[str, int]] | None = None
        self._halt = threading.Event()
        self._clear_settings()
        super().__init__(Status(texts={PROTECTED: "Command protected"}))
        self._register()

    def _clear_settings(self) -> None:
        self.language = "SCPI"
        self.binary = False
        self.stored = {"COUP": "0", "GRO": "1", "PROC": "0", "ZPR": "1"}
        self.listed: list[tuple[str, int]] = []
        self.reader: Session | None = None
        self._set_cycle_time(0.5)

    def power_up(self) -> None:
        super().power_up()
        self.default_settings()

    def default_settings(self) -> None:
        """Take the settings after power-up and *RST: SCPI, no cyclic output."""
        with self.guard:
            self._halt.set()
            self.inputs.reset()
            self._clear_settings()

    def interrupt(self) -> None:
        """`break` on the second port: stop the output, forget what was begun, listen to SCPI or SHORT as before."""
        with self.guard:
            self._halt.set()
            self.reader = None
        self.clear()

    def stop(self) -> None:
        self._halt.set()
        super().stop()

    def catch_up(self) -> None:
        """Make every cycle that is due."""
        with self.guard:
            self.inputs.catch_up()

    def execute(self, session: Session, message: bytes) -> bytes | None:
        """Execute a message; after ACTN (:TRIG:ACT) its queries are not answered but make the list of each cycle."""
        action = _ACTION.match(message)
        if action is None:
            return super().execute(session, message)
        self._listing = []
        try:
            response = super().execute(session, message[action.end() :])
            with self.guard:
                self.listed = self._listing
        finally:
            self._listing = None
        return response

    # Cycles and values

    def _cycle(self) -> None:
        if self.reader is None:
            return
        values = [self._value(name, channel) for name, channel in self.listed]
        if self.binary:
            line = b"".join(_block(value) for value in values)
        else:
            line = ";".join(_text(value) for value in values).encode("ascii")
        self.reader.push(line)

    def _follow(self, halt: threading.Event) -> None:
        while self.world.clock.wait_until(self.inputs.next_update, cancel=halt):
            self.catch_up()

    def _value(self, name: str, channel: int) -> float | datetime.datetime | datetime.timedelta:
        element = self.inputs.elements[channel - 1]
        sample = element.sample
        if name == "ts":
            return self._epoch + datetime.timedelta(seconds=self.inputs.updated_at)
        if name == "dur":
            return datetime.timedelta(seconds=self.inputs.interval)
        if element.no_data:
            return NAN
        if name == "f":
            return self.inputs.frequency
        over_voltage = sample.over_voltage or sample.peak_over_voltage
        over_current = sample.over_current or sample.peak_over_current
        over = over_voltage if name[0] == "u" else over_current if name[0] == "i" else over_voltage or over_current
        if over:
            return INFINITY
        voltage, current, active = sample.voltage or 0.0, sample.current or 0.0, sample.active or 0.0
        apparent = sample.apparent or 0.0
        factor = active / apparent if apparent else math.nan
        values = {
            "u": voltage,
            "i": current,
            "p": active,
            "s": apparent,
            "q": sample.reactive or 0.0,
            "pf": factor,
            "phase": degrees(factor),
            "udc": 0.0,
            "idc": 0.0,
            "umax": sample.voltage_peak,
            "umin": -sample.voltage_peak,
            "imax": sample.current_peak,
            "imin": -sample.current_peak,
            "ucf": sample.voltage_peak / (voltage or math.nan),
            "icf": sample.current_peak / (current or math.nan),
            "uff": math.pi / math.sqrt(8) if voltage else math.nan,
            "iff": math.pi / math.sqrt(8) if current else math.nan,
        }
        return values[name] if math.isfinite(values[name]) else NAN

    # Commands

    def _register(self) -> None:
        self.command("*IDN", ask=self._identity)
        self.command("*RST", set=lambda *_: self.default_settings())
        self.command("*TST", ask=lambda *_: "0")
        self.command("*ZLANG", set=self._set_language)
        self._both("GTL", "GTL", set=lambda *_: None)
        register_required(self)
        self._both(":SENSe:SWEep:TIME", "CYCL", set=self._set_cycle, ask=lambda *_: f"{self._asked_cycle:g}")
        self._both(":INITiate:CONTinuous", "CONT", set=self._set_continuous, ask=lambda *_: str(int(bool(self.reader))))
        self._both(":FORMat:DATA", "FRMT", set=self._set_format, ask=lambda *_: str(int(self.binary)))
        for scpi, short, quantity in (
            (":SENSe:VOLTage:RANGe", "U", "voltage"),
            (":SENSe:CURRent:RANGe", "I", "current"),
        ):
            self._both(f"{scpi}<x>", f"{short}RNG<x>", set=self._set_range(quantity), ask=self._range(quantity))
            self._both(f"{scpi}:AUTO<x>", f"{short}AUTO<x>", set=self._set_auto(quantity), ask=self._auto(quantity))
        self._both(":SENSe:GROup:LIST", "GROUP", **self._kept("GRO"))
        self._both(":INPut:COUPling", None, **self._kept("COUP"))
        self._both(":SENSe:FILTer:PROC", None, **self._kept("PROC"))
        self._both(":SENSe:ZPR", None, **self._kept("ZPR"))
        for long, brief, name in (
            (":FETCh:POWer:ACTive<x>", "P<x>", "p"),
            (":FETCh:POWer:APParent<x>", "S<x>", "s"),
            (":FETCh:POWer:REACtive<x>", "Q<x>", "q"),
            (":FETCh:POWer:PHASe<x>", None, "phase"),
            (":FETCh:VOLTage:TRMS<x>", "UTRMS<x>", "u"),
            (":FETCh:VOLTage:MINP<x>", None, "umin"),
            (":FETCh:VOLTage:MAXP<x>", None, "umax"),
            (":FETCh:VOLTage:CFACtor<x>", "UCF<x>", "ucf"),
            (":FETCh:CURRent:TRMS<x>", "ITRMS<x>", "i"),
            (":FETCh:CURRent:MINP<x>", None, "imin"),
            (":FETCh:CURRent:MAXP<x>", None, "imax"),
            (":FETCh:CURRent:CFACtor<x>", "ICF<x>", "icf"),
            (None, "PF<x>", "pf"),
            (None, "UDC<x>", "udc"),
            (None, "IDC<x>", "idc"),
            (None, "UFF<x>", "uff"),
            (None, "IFF<x>", "iff"),
            (None, "FCYC<x>", "f"),
            (None, "TSNORM<x>", "ts"),
            (None, "DURNORM<x>", "dur"),
        ):
            self._both(long, brief, ask=self._fetch(name))

    def _both(
        self,
        scpi: str | None,
        short: str | None,
        *,
        set: Callable[[Sequence[int], Data], object] | None = None,
        ask: Callable[[Sequence[int], Data], Any] | None = None,
    ) -> None:
        """Register a command under its name in each language; in the other language it is unknown."""

        def spoken(language: str, handler: Callable[[Sequence[int], Data], Any]) -> Callable[..., Any]:
            def run(suffixes: Sequence[int], data: Data) -> Any:
                if self.language != language:
                    raise CommandError(113)
                with self.guard:
                    return handler(suffixes, data)

            return run

        for language, pattern in (("SCPI", scpi), ("SHORT", short)):
            if pattern is not None:
                self.command(
                    pattern,
                    set=spoken(language, set) if set is not None else None,
                    ask=spoken(language, ask) if ask is not None else None,
                )

    def _kept(self, name: str) -> dict[str, Any]:
        def keep(_: Sequence[int], data: Data) -> None:
            self._refuse_settings()
            self.stored[name] = str(integer(data))

        return {"set": keep, "ask": lambda *_: self.stored[name]}

    def _refuse_settings(self) -> None:
        self.catch_up()
        if self.faults.strikes("panel_locked") is not None:
            raise CommandError(PROTECTED)

    def _identity(self, *_: Any) -> str:
        model = self.options.model if self.faults.strikes("wrong_identity") is None else "LMG95"
        return f"ZES ZIMMER Electronic Systems GmbH,{model},{self.options.serial},4.0"

    def _set_language(self, _: Sequence[int], data: Data) -> None:
        word = data[0].upper().decode("ascii", "replace") if len(data) == 1 else ""
        if word not in ("SHORT", "SCPI"):
            raise CommandError(224 if word else 109)
        self.language = word

    def _set_cycle(self, _: Sequence[int], data: Data) -> None:
        self._refuse_settings()
        if self.language == "SCPI" and data and _LONG_ZEROS.fullmatch(data[0]):
            raise CommandError(224)
        seconds = number(data)
        if not self.options.shortest_cycle <= seconds <= self.options.longest_cycle:
            raise CommandError(222)
        self.catch_up()
        self._set_cycle_time(seconds)

    def _set_cycle_time(self, seconds: float) -> None:
        """Take cycles of whole periods: the true length is not quite what was asked for."""
        self._asked_cycle = seconds
        periods = max(1, math.ceil(seconds * self.inputs.frequency - 1e-6))
        self.inputs.set_interval(periods / self.inputs.frequency)

    def _set_continuous(self, _: Sequence[int], data: Data) -> None:
        on = boolean(data)
        self.catch_up()
        self._halt.set()
        self.reader = self.asking if on else None
        if on:
            self._halt = threading.Event()
            self.inputs.set_interval(self.inputs.interval)
            threading.Thread(target=self._follow, args=(self._halt,), name="simulated-lmg", daemon=True).start()

    def _set_format(self, _: Sequence[int], data: Data) -> None:
        self.binary = boolean(data)

    def _element(self, suffixes: Sequence[int]) -> Any:
        if not 1 <= suffixes[0] <= self.options.channels:
            raise CommandError(114)
        return self.inputs.elements[suffixes[0] - 1]

    def _range(self, quantity: str) -> Callable[[Sequence[int], Data], str]:
        def ask(suffixes: Sequence[int], _: Data) -> str:
            self.catch_up()
            return _text(getattr(self._element(suffixes), f"{quantity}_range"))

        return ask

    def _set_range(self, quantity: str) -> Callable[[Sequence[int], Data], None]:
        def set_range(suffixes: Sequence[int], data: Data) -> None:
            self._refuse_settings()
            value, element = number(data), self._element(suffixes)
            ranges = getattr(element.behaviour, f"{quantity}_ranges")
            fitting = [full for full in ranges if math.isclose(full, value, rel_tol=1e-6)]
            if not fitting or self.faults.strikes("range_refused") is not None:
                raise CommandError(222)
            setattr(element, f"{quantity}_range", fitting[0])

        return set_range

    def _auto(self, quantity: str) -> Callable[[Sequence[int], Data], str]:
        return lambda suffixes, _: str(int(getattr(self._element(suffixes), f"{quantity}_auto")))

    def _set_auto(self, quantity: str) -> Callable[[Sequence[int], Data], None]:
        def set_auto(suffixes: Sequence[int], data: Data) -> None:
            self._refuse_settings()
            setattr(self._element(suffixes), f"{quantity}_auto", boolean(data))

        return set_auto

    def _fetch(self, name: str) -> Callable[[Sequence[int], Data], str | None]:
        def ask(suffixes: Sequence[int], _: Data) -> str | None:
            self._element(suffixes)
            if self._listing is not None:
                self._listing.append((name, suffixes[0]))
                return None
            self.catch_up()
            return _text(self._value(name, suffixes[0]))

        return ask


class LmgServer(TcpServer):
    """The command port, and one above it the port for `break`: send it, read `0 ok`, the command port is free again."""

    def __init__(self, wire: FaultyWire, meter: Meter, port: int) -> None:
        super().__init__(wire, port=port)
        self._meter = meter
        self._break = Connections(self._serve_break, host="127.0.0.1", port=port + 1, name="lmg-break")

    def start(self) -> int:
        """Listen on both ports; raises OSError, listening on none, where one is taken."""
        self._break.start()
        try:
            return super().start()
        except OSError:
            self._break.stop()
            raise

    def stop(self) -> None:
        """Close every connection; idempotent."""
        self._break.stop()
        super().stop()

    def _serve_break(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for line in lines:
                known = line.strip().lower() == b"break"
                if known:
                    self._meter.interrupt()
                connection.sendall(b"0 ok\n" if known else b"1 unknown command\n")


class SimulatedLMG600(SimulatedMeter):
    """A simulated LMG670 on one world: raw sockets on loopback, commands at `address`, break one port above; serial."""

    simulates: ClassVar[str] = "zes-lmg600"
    wires: ClassVar[tuple[str, ...]] = ("TCP", "serial")
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Meter:
        return Meter(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        servers: list[Server] = [LmgServer(wire, self.device, _free_pair())]
        if available():
            servers.append(SerialServer(wire, baud=self.options.baud))
        return servers


def _free_pair() -> int:
    """Return a port that is free, as the one above it is."""
    for _ in range(_TRIES):
        with socket.create_server(("127.0.0.1", 0)) as one, contextlib.suppress(OSError):
            lower = int(one.getsockname()[1])
            socket.create_server(("127.0.0.1", lower + 1)).close()
            return lower
    raise OSError("no two adjacent ports are free")


def _text(value: float | datetime.datetime | datetime.timedelta) -> str:
    if isinstance(value, datetime.datetime):
        return f"{value:%Y:%m:%dD%H:%M:%S}.{value.microsecond:06d}000+0000"
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds():.9f}"
    return f"{value:.6E}"


def _block(value: float | datetime.datetime | datetime.timedelta) -> bytes:
    """One value as a definite block, little-endian: float32, or int64 in ns for a time or a duration."""
    if isinstance(value, datetime.datetime):
        return b"#18" + struct.pack("<q", round(value.timestamp() * 1_000_000) * 1000)
    if isinstance(value, datetime.timedelta):
        return b"#18" + struct.pack("<q", round(value.total_seconds() * 1e9))
    return b"#14" + struct.pack("<f", value)

"""A simulated power meter of no maker: IEEE 488.2 and SCPI-99 alone, over VXI-11, HiSLIP, raw TCP and a serial line.

It proves the wires: of no listed family is it confirmed that it speaks HiSLIP. Its commands are those that SCPI-99
volume 2 gives for measuring instruments (MEASure, FETCh, SENSe ranges), its markers 9.91E37 and 9.9E37, its status the
OPERation and QUEStionable registers of volume 1 chapter 20. SCPI-99 knows no integrator, so there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from ..dialects.exchange import Session
from ..dialects.scpi.data import CommandError, boolean, number
from ..dialects.scpi.engine import Device
from ..dialects.scpi.required import register_required
from ..dialects.scpi.status import Status
from ..servers import serial_pty
from ..servers.faulty import FaultyWire
from ..servers.hislip import HislipServer
from ..servers.instrument import Server
from ..servers.tcp import TcpServer
from ..servers.vxi11 import Vxi11Server
from ..world import World
from ..world.faults import FaultPlan
from .inputs import Behaviour, InputOptions, Inputs
from .metering import AutoRange, Limits
from .served import SimulatedMeter

NAN, INFINITY = 9.91e37, 9.9e37
PROTECTED = 203
VOLTAGE, CURRENT, POWER = 1, 2, 8
"""Bits of the questionable status: SCPI-99 volume 1, 20.2."""
MEASURING = 16
"""Bit of the operation status."""
_VOLTAGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
_CURRENTS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LIMITS = Limits(0.001, 0.0005)

Data = Sequence[bytes]


class Options(InputOptions):
    """`options` of the simulated meter, beside those of its inputs.

    serial: must begin with SIM. update_interval: s.
    """

    serial: str = Field(default="SIM0SCPI99", pattern="^SIM")
    update_interval: float = Field(default=0.25, gt=0)


class Meter(Device):
    """The instrument behind the wires."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world, self.options, self.faults = world, options, faults
        auto = AutoRange(up=1.3, down=0.3, fits=1.25, peak=3.0)
        family = Behaviour(_VOLTAGES, _CURRENTS, 1.4, auto, auto, lambda _: _LIMITS)
        self.inputs = Inputs(world, options, faults, family, 1, options.serial, interval=options.update_interval)
        self.guard, self.inputs.on_update = self.inputs.guard, self._updated
        super().__init__(Status(texts={PROTECTED: "Command protected"}))
        self._register()

    def power_up(self) -> None:
        super().power_up()
        self.default_settings()

    def default_settings(self) -> None:
        """Take the settings after power-up and *RST."""
        with self.guard:
            self.inputs.reset()

    def status_byte(self, session: Session | None = None) -> int:
        self.catch_up()
        return super().status_byte(session)

    def catch_up(self) -> None:
        """Make every update that is due."""
        with self.guard:
            self.inputs.catch_up()

    def _updated(self) -> None:
        sample = self.inputs.elements[0].sample
        over_voltage = sample.over_voltage or sample.peak_over_voltage
        over_current = sample.over_current or sample.peak_over_current
        over = over_voltage or over_current
        self.status.questionable.condition = VOLTAGE * over_voltage | CURRENT * over_current | POWER * over
        self.status.operation.condition = MEASURING

    def _value(self, quantity: str) -> float:
        element = self.inputs.elements[0]
        sample = element.sample
        if element.no_data:
            return NAN
        if quantity == "FREQuency":
            return self.inputs.frequency
        condition = self.status.questionable.condition
        bit = {"VOLTage": VOLTAGE, "CURRent": CURRENT}.get(quantity, POWER)
        value = {"VOLTage": sample.voltage, "CURRent": sample.current}.get(quantity, sample.active)
        return INFINITY if condition & bit or value is None else value

    def _register(self) -> None:
        self.command("*IDN", ask=self._identity)
        self.command("*RST", set=lambda *_: self.default_settings())
        self.command("*TST", ask=lambda *_: "0")
        self.command("*TRG", set=lambda *_: None)
        register_required(self)
        for quantity in ("VOLTage", "CURRent", "POWer"):
            self._register_measurement(f"{quantity}[:AC]", quantity)
        self._register_measurement("FREQuency", "FREQuency")
        for word, name in (("VOLTage", "voltage"), ("CURRent", "current")):
            header = f"[:SENSe]:{word}[:AC]:RANGe"
            self.command(f"{header}[:UPPer]", set=self._set_range(name), ask=self._range(name))
            self.command(f"{header}:AUTO", set=self._set_auto(name), ask=self._auto(name))

    def _identity(self, *_: Any) -> str:
        maker = "AICALIB" if self.faults.strikes("wrong_identity") is None else "NOBODY"
        return f"{maker},SCPI POWER METER,{self.options.serial},1999.0"

    def _register_measurement(self, words: str, quantity: str) -> None:
        def fetch(*_: Any) -> str:
            self.catch_up()
            with self.guard:
                return f"{self._value(quantity):.6E}"

        def measure(*_: Any) -> str:
            self.catch_up()
            self.world.clock.wait_until(self.inputs.next_update, cancel=self.cancelled)
            return fetch()

        self.command(f":FETCh[:SCALar]:{words}", ask=fetch)
        self.command(f":READ[:SCALar]:{words}", ask=measure)
        self.command(f":MEASure[:SCALar]:{words}", ask=measure)

    def _refuse_settings(self) -> None:
        self.catch_up()
        if self.faults.strikes("panel_locked") is not None:
            raise CommandError(PROTECTED)

    def _range(self, name: str) -> Callable[..., str]:
        def ask(*_: Any) -> str:
            self.catch_up()
            return f"{getattr(self.inputs.elements[0], f'{name}_range'):.6E}"

        return ask

    def _set_range(self, name: str) -> Callable[[Sequence[int], Data], None]:
        def set_range(_: Sequence[int], data: Data) -> None:
            self._refuse_settings()
            value = number(data)
            element = self.inputs.elements[0]
            ranges = getattr(element.behaviour, f"{name}_ranges")
            fitting = [full for full in ranges if full >= value * (1 - 1e-9)]
            if not fitting or not value > 0 or self.faults.strikes("range_refused") is not None:
                raise CommandError(222)
            with self.guard:
                setattr(element, f"{name}_range", fitting[0])
                setattr(element, f"{name}_auto", False)

        return set_range

    def _auto(self, name: str) -> Callable[..., str]:
        return lambda *_: str(int(getattr(self.inputs.elements[0], f"{name}_auto")))

    def _set_auto(self, name: str) -> Callable[[Sequence[int], Data], None]:
        def set_auto(_: Sequence[int], data: Data) -> None:
            self._refuse_settings()
            on = boolean(data)
            with self.guard:
                setattr(self.inputs.elements[0], f"{name}_auto", on)

        return set_auto


class SimulatedScpiMeter(SimulatedMeter):
    """A simulated SCPI-99 power meter on one world, served over every wire that there is a server for.

    The serial line, at 9600 bit/s, is left out where there are no pseudo-terminals.
    """

    simulates: ClassVar[str] = "generic-meter"
    wires: ClassVar[tuple[str, ...]] = ("VXI-11", "HiSLIP", "TCP", "serial")
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Meter:
        return Meter(self.world, self.options, self.faults)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        servers = (Vxi11Server(wire), HislipServer(wire), TcpServer(wire))
        return (*servers, serial_pty.SerialServer(wire)) if serial_pty.available() else servers

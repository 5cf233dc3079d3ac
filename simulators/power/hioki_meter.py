"""What Hioki's power meters have in common on the wire: header, separator, status registers, hold (PW3336A987-01).

No error queue: a command that fails sets its bit of the standard event register, and a query that fails has no reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..dialects.scpi.engine import CommandError, Device
from ..dialects.scpi.status import EXE, Status, event_bit
from ..world import World
from ..world.faults import FaultPlan
from .inputs import Inputs

UNDEFINED, EXECUTION, DEVICE = 113, 200, 300
"""Errors by what they set: command error, execution error, device-dependent error."""

Data = Sequence[bytes]


class Registers(Status):
    """Status without an error queue; two registers of device events beside (their bits are unconfirmed)."""

    def __init__(self) -> None:
        super().__init__()
        self.device_events = [0, 0]

    def error(self, number: int, *, own: bool = False) -> None:
        """Set the event bit of an error."""
        self.event |= EXE if own else event_bit(number)

    def clear(self) -> None:
        """*CLS."""
        super().clear()
        self.device_events = [0, 0]


class HiokiMeter(Device):
    """A meter that speaks Hioki's dialect; the models add their settings and `items`."""

    def __init__(self, world: World, faults: FaultPlan, identity: str, inputs: Inputs) -> None:
        self.world, self.faults = world, faults
        self.guard = inputs.guard
        self.header, self.separator, self.hold = True, ";", "OFF"
        self.registers = Registers()
        self._identity = identity
        super().__init__(self.registers, lengths="strict")
        self.command("*IDN", ask=lambda *_: self._who())
        self.command("*RST", set=lambda *_: self.default_settings())
        self.command("*TST", ask=lambda *_: "0")
        self.command("*TRG", set=lambda *_: self.take())
        self.command(":ESR0", ask=lambda *_: self._device_event(0))
        self.command(":ESR1", ask=lambda *_: self._device_event(1))
        self.toggle(":HEADer", lambda _: self.header, lambda _, on: setattr(self, "header", on))
        self.setting(
            ":TRANsmit:SEParator",
            lambda _: "0" if self.separator == ";" else "1",
            lambda _, data: setattr(self, "separator", ";" if choice(data, ("0", "1")) == "0" else ","),
        )

    def power_up(self) -> None:
        super().power_up()
        self.default_settings()

    def default_settings(self) -> None:
        """Take the settings after power-up and *RST: header on, no hold."""
        with self.guard:
            self.header, self.separator, self.hold = True, ";", "OFF"

    def take(self) -> None:
        """*TRG: where the display is held, take new data."""

    def refuse_settings(self) -> None:
        """Raise CommandError where a setting cannot be changed now."""
        if self.faults.strikes("panel_locked") is not None:
            raise CommandError(EXECUTION)

    def setting(
        self,
        pattern: str,
        ask: Callable[[Sequence[int]], str] | None,
        set: Callable[[Sequence[int], Data], object] | None = None,
    ) -> None:
        """Register a setting whose reply repeats its header in long form while headers are on."""

        def reply(suffixes: Sequence[int], _: Data) -> str:
            self.leave_header_on()
            with self.guard:
                text = ask(suffixes)  # type: ignore[misc]
            return f"{long_header(pattern, suffixes)} {text}" if self.header else text

        def take(suffixes: Sequence[int], data: Data) -> None:
            with self.guard:
                set(suffixes, data)  # type: ignore[misc]

        self.command(pattern, ask=reply if ask else None, set=take if set else None, headless=True)

    def toggle(
        self, pattern: str, ask: Callable[[Sequence[int]], bool], set: Callable[[Sequence[int], bool], object]
    ) -> None:
        """Register a setting that is ON or OFF."""
        self.setting(
            pattern,
            lambda suffixes: "ON" if ask(suffixes) else "OFF",
            lambda suffixes, data: set(suffixes, choice(data, ("ON", "OFF", "1", "0")) in ("ON", "1")),
        )

    def leave_header_on(self) -> None:
        """Let the fault "header_on" strike: somebody at the panel switched headers on."""
        if self.faults.strikes("header_on") is not None:
            self.header = True

    def _who(self) -> str:
        maker, model, serial, firmware = self._identity.split(",")
        if self.faults.strikes("wrong_identity") is not None:
            return f"{maker},PQ3198,SIM0OTHER,{firmware}"
        return f"{maker},{model},{serial},{firmware}"

    def _device_event(self, number: int) -> str:
        value, self.registers.device_events[number] = self.registers.device_events[number], 0
        return str(value)


def long_header(pattern: str, suffixes: Sequence[int]) -> str:
    """Return the header that a reply repeats: ":VOLTage<x>:RANGe" -> ":VOLTAGE1:RANGE"."""
    numbers = iter(suffixes)
    text = re.sub(r"\[[^\]]*\]", "", pattern)
    return re.sub(r"<x>", lambda _: str(next(numbers)), text).upper()


def choice(data: Data, words: Sequence[str]) -> str:
    """Return the word of `words` that the data is; anything else is an execution error."""
    if len(data) != 1:
        raise CommandError(109 if not data else 108)
    given = data[0].decode("ascii", "replace").upper()
    if given not in words:
        raise CommandError(EXECUTION)
    return given


def masks(data: Data, count: int, most: int) -> list[int]:
    """Return `count` decimal masks, each 0 to `most`."""
    if len(data) != count:
        raise CommandError(109 if len(data) < count else 108)
    try:
        values = [int(part) for part in data]
    except ValueError:
        raise CommandError(104) from None
    if any(not 0 <= value <= most for value in values):
        raise CommandError(EXECUTION)
    return values


def shortest(value: float) -> str:
    """Return a range as the shortest decimal text: 300, 0.2."""
    return f"{value:g}"

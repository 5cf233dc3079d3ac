"""Status byte, standard event register and error queue (IEEE 488.2 clause 11, SCPI-99 volume 1 chapter 20)."""

from __future__ import annotations

import threading
from collections import deque

OPC, RQC, QYE, DDE, EXE, CME, URQ, PON = (1 << bit for bit in range(8))

TEXTS = {
    100: "Command error",
    101: "Invalid character",
    102: "Syntax error",
    103: "Invalid separator",
    104: "Data type error",
    105: "GET not allowed",
    108: "Parameter not allowed",
    109: "Missing parameter",
    110: "Command header error",
    112: "Program mnemonic too long",
    113: "Undefined header",
    114: "Header suffix out of range",
    120: "Numeric data error",
    121: "Invalid character in number",
    123: "Exponent too large",
    124: "Too many digits",
    128: "Numeric data not allowed",
    131: "Invalid suffix",
    138: "Suffix not allowed",
    141: "Invalid character data",
    151: "Invalid string data",
    161: "Invalid block data",
    171: "Invalid expression",
    200: "Execution error",
    210: "Trigger error",
    211: "Trigger ignored",
    213: "Init ignored",
    214: "Trigger deadlock",
    220: "Parameter error",
    221: "Settings conflict",
    222: "Data out of range",
    223: "Too much data",
    224: "Illegal parameter value",
    230: "Data corrupt or stale",
    240: "Hardware error",
    241: "Hardware missing",
    300: "Device-specific error",
    310: "System error",
    313: "Calibration memory lost",
    330: "Self-test failed",
    350: "Queue overflow",
    360: "Communication error",
    363: "Input buffer overrun",
    365: "Time out error",
    400: "Query error",
    410: "Query INTERRUPTED",
    420: "Query UNTERMINATED",
    430: "Query DEADLOCKED",
    440: "Query UNTERMINATED after indefinite response",
}
"""Texts of the standard errors, by magnitude."""


def event_bit(number: int) -> int:
    """Return the standard event bit that an error of this magnitude sets."""
    return {1: CME, 2: EXE, 4: QYE}.get(number // 100, DDE)


class Register:
    """A SCPI register group: condition, transition filters, event, enable (15 bits).

    `condition` is set by the model; a bit that rises where `positive` has it, or falls where `negative` has it, sets
    the same bit of `event`.
    """

    _ALL = 0x7FFF

    def __init__(self) -> None:
        self._condition = 0
        self.event = 0
        self.preset()

    def preset(self) -> None:
        """:STATus:PRESet: nothing is reported, rising bits are events."""
        self.enable, self.positive, self.negative = 0, self._ALL, 0

    @property
    def condition(self) -> int:
        """What is the case now."""
        return self._condition

    @condition.setter
    def condition(self, value: int) -> None:
        value &= self._ALL
        rises, falls = value & ~self._condition, self._condition & ~value
        self.event |= (rises & self.positive) | (falls & self.negative)
        self._condition = value

    def read_event(self) -> int:
        """Return the event register and clear it."""
        event, self.event = self.event, 0
        return event

    @property
    def summary(self) -> bool:
        """True while an enabled event is set."""
        return bool(self.event & self.enable)


class Status:
    """Registers and error queue. depth: of the queue; sign: -1 for SCPI numbers, +1 where a maker drops the sign.

    operation, questionable: the SCPI register groups, summed up in bits 7 and 3 of the status byte.
    """

    def __init__(self, *, depth: int = 16, sign: int = -1, texts: dict[int, str] | None = None) -> None:
        self.operation = Register()
        self.questionable = Register()
        self.event = PON
        self.event_enable = 0
        self.service_enable = 0
        self._errors: deque[tuple[int, str]] = deque()
        self._depth = depth
        self._sign = sign
        self._texts = TEXTS | (texts or {})
        self._guard = threading.Lock()

    def error(self, number: int, *, own: bool = False) -> None:
        """Queue error `number` (a magnitude; `own`: the maker's own, sign kept) and set its event bit."""
        with self._guard:
            self.event |= EXE if own else event_bit(number)
            entry = (number if own else self._sign * number, self._texts.get(number, ""))
            if len(self._errors) >= self._depth:
                self._errors[-1] = (self._sign * 350, self._texts[350])
                self.event |= DDE
            else:
                self._errors.append(entry)

    def next_error(self) -> tuple[int, str]:
        """Take the oldest error out; (0, "No error") if there is none."""
        with self._guard:
            return self._errors.popleft() if self._errors else (0, "No error")

    @property
    def errors(self) -> int:
        """How many errors wait."""
        return len(self._errors)

    @property
    def has_errors(self) -> bool:
        """True while errors wait."""
        return bool(self._errors)

    def set_event(self, bits: int) -> None:
        """Set bits of the standard event register."""
        with self._guard:
            self.event |= bits

    def read_event(self) -> int:
        """Return the standard event register and clear it."""
        with self._guard:
            event, self.event = self.event, 0
            return event

    def clear(self) -> None:
        """*CLS: event registers and error queue; enables stay."""
        with self._guard:
            self.event = self.operation.event = self.questionable.event = 0
            self._errors.clear()

    def power_up(self) -> None:
        """Registers, enables and queue as after power-up."""
        self.clear()
        self.operation.preset()
        self.questionable.preset()
        self.event = PON
        self.event_enable = self.service_enable = 0

    def byte(self, *, available: bool, extended: bool = False) -> int:
        """Return the status byte with MSS in bit 6. available: MAV; extended: a maker's own events (bit 3)."""
        value = (
            4 * self.has_errors
            | 8 * (extended or self.questionable.summary)
            | 16 * available
            | 32 * bool(self.event & self.event_enable)
            | 128 * self.operation.summary
        )
        return value | 64 * bool(value & self.service_enable)

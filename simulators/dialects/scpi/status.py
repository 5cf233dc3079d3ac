"""Status byte, standard event register and error queue (IEEE 488.2 clause 11, SCPI-99 volume 1 chapter 20)."""

from __future__ import annotations

from collections import deque

OPC, RQC, QYE, DDE, EXE, CME, URQ, PON = (1 << bit for bit in range(8))

TEXTS = {
    101: "Invalid character",
    102: "Syntax error",
    104: "Data type error",
    108: "Parameter not allowed",
    109: "Missing parameter",
    113: "Undefined header",
    120: "Numeric data error",
    131: "Invalid suffix",
    138: "Suffix not allowed",
    141: "Invalid character data",
    161: "Invalid block data",
    221: "Settings conflict",
    222: "Data out of range",
    224: "Illegal parameter value",
    350: "Queue overflow",
    410: "Query INTERRUPTED",
    420: "Query UNTERMINATED",
    430: "Query DEADLOCKED",
    440: "Query UNTERMINATED after indefinite response",
}
"""Texts of the standard errors, by magnitude."""


def event_bit(number: int) -> int:
    """Return the standard event bit that an error of this magnitude sets."""
    return {1: CME, 2: EXE, 4: QYE}.get(number // 100, DDE)


class Status:
    """Registers and error queue. depth: of the queue; sign: -1 for SCPI numbers, +1 where a maker drops the sign."""

    def __init__(self, *, depth: int = 16, sign: int = -1, texts: dict[int, str] | None = None) -> None:
        self.event = PON
        self.event_enable = 0
        self.service_enable = 0
        self._errors: deque[tuple[int, str]] = deque()
        self._depth = depth
        self._sign = sign
        self._texts = TEXTS | (texts or {})

    def error(self, number: int, *, own: bool = False) -> None:
        """Queue error `number` (a magnitude; `own`: the maker's own, sign kept) and set its event bit."""
        self.event |= EXE if own else event_bit(number)
        entry = (number if own else self._sign * number, self._texts.get(number, ""))
        if len(self._errors) >= self._depth:
            self._errors[-1] = (self._sign * 350, self._texts[350])
        else:
            self._errors.append(entry)

    def next_error(self) -> tuple[int, str]:
        """Take the oldest error out; (0, "No error") if there is none."""
        return self._errors.popleft() if self._errors else (0, "No error")

    @property
    def has_errors(self) -> bool:
        """True while errors wait."""
        return bool(self._errors)

    def read_event(self) -> int:
        """Return the standard event register and clear it."""
        event, self.event = self.event, 0
        return event

    def clear(self) -> None:
        """*CLS: event register and error queue; enables stay."""
        self.event = 0
        self._errors.clear()

    def power_up(self) -> None:
        """Registers, enables and queue as after power-up."""
        self.clear()
        self.event = PON
        self.event_enable = self.service_enable = 0

    def byte(self, *, available: bool, extended: bool = False) -> int:
        """Return the status byte with MSS in bit 6. available: MAV; extended: a maker's own events (bit 3)."""
        value = 4 * self.has_errors | 8 * extended | 16 * available | 32 * bool(self.event & self.event_enable)
        return value | 64 * bool(value & self.service_enable)

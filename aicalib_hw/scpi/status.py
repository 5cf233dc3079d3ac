"""The status registers that every IEEE 488.2 instrument has (clause 11)."""

from __future__ import annotations

import enum


class StatusByte(enum.IntFlag):
    """The status byte, as `*STB?` or a serial poll gives it."""

    ERROR_QUEUE = 4
    """The error queue is not empty (SCPI-99, and Yokogawa's EAV)."""
    MESSAGE_AVAILABLE = 16
    """A reply waits to be read."""
    EVENT = 32
    """An enabled bit of the standard event register is set."""
    SERVICE = 64
    """Master summary (`*STB?`) or request for service (serial poll)."""


class StandardEvent(enum.IntFlag):
    """The standard event register, as `*ESR?` gives and clears it."""

    OPERATION_COMPLETE = 1
    QUERY_ERROR = 4
    DEVICE_ERROR = 8
    EXECUTION_ERROR = 16
    COMMAND_ERROR = 32
    USER_REQUEST = 64
    POWER_ON = 128

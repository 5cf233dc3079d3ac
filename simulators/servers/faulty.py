"""What faults do between a simulated instrument and its wire, and the log of what passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ..world.faults import FaultPlan

_KEPT = 2000
"""Exchanges kept in the log."""


class MessageDevice(Protocol):
    """What is behind the wire: complete messages in, responses out, status beside."""

    def write(self, message: bytes) -> None: ...
    def read(self, limit: int, timeout: float, cancel: Callable[[], bool]) -> tuple[bytes, bool] | None: ...
    def clear(self) -> None: ...
    def status_byte(self) -> int: ...
    def wake(self) -> None: ...


class FaultyWire:
    """Passes messages between server and device, harmed as the fault plan says.

    reboot: puts the device into its state after power-up; needed where the fault "reboot" may be injected.
    """

    def __init__(
        self,
        faults: FaultPlan,
        device: MessageDevice,
        log: list[tuple[str, bytes]],
        *,
        reboot: Callable[[], None] = lambda: None,
    ) -> None:
        self._faults = faults
        self._device = device
        self._log = log
        self._reboot = reboot
        self._down_until = 0.0

    def write(self, message: bytes) -> None:
        self._keep(">", message)
        reboot = self._faults.strikes("reboot")
        if reboot is not None:
            self._down_until = time.monotonic() + reboot.amount
            self._device.clear()
            self._reboot()
            raise ConnectionError("the instrument reboots")
        self._device.write(message)

    def read(self, limit: int, timeout: float, cancel: Callable[[], bool]) -> tuple[bytes, bool] | None:
        got = self._device.read(limit, timeout, cancel)
        if got is None:
            return None
        data, end = got
        delay = self._faults.strikes("delay")
        if delay is not None:
            time.sleep(delay.amount)
        self._keep("<", data)
        return data, end

    def clear(self) -> None:
        self._device.clear()

    def status_byte(self) -> int:
        return self._device.status_byte()

    def wake(self) -> None:
        self._device.wake()

    def refuse(self) -> bool:
        return time.monotonic() < self._down_until or self._faults.strikes("refuse") is not None

    def locked(self) -> bool:
        return self._faults.strikes("locked") is not None

    def reply(self, send: Callable[[bytes], None], data: bytes) -> None:
        if self._faults.strikes("drop") is not None:
            send(data[: len(data) // 2])
            raise ConnectionError("dropped by a fault")
        if self._faults.strikes("pieces") is not None:
            for index in range(len(data)):
                send(data[index : index + 1])
            return
        send(data)

    def outgoing(self, message: bytes) -> bytes:
        if self._faults.strikes("garble") is not None:
            return bytes(byte ^ 0x80 if byte > 32 else byte for byte in message)
        if self._faults.strikes("double_terminator") is not None:
            return message + b"\n"
        return message

    def _keep(self, direction: str, data: bytes) -> None:
        self._log.append((direction, data))
        del self._log[:-_KEPT]

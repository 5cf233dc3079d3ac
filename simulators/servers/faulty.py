"""What faults do between a simulated instrument and its wires, and the log of what passed."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..dialects.exchange import Exchange, Session
from ..world.faults import FaultPlan

WRONG_TERMINATOR = b"\r"
"""What ends a reply instead where the instrument is set to another terminator: no family here ends one so."""

_KEPT = 2000
"""Exchanges kept in the log."""


class FaultyWire:
    """Passes messages between servers and one device, harmed as the fault plan says; any number of servers share it.

    reboot: puts the device into its state after power-up, where `device.power_up` is not all of it.
    """

    def __init__(
        self,
        faults: FaultPlan,
        device: Exchange,
        log: list[tuple[str, bytes]],
        *,
        reboot: Callable[[], None] | None = None,
    ) -> None:
        self._faults = faults
        self._device = device
        self._log = log
        self._reboot = reboot or device.power_up
        self._down_until = 0.0

    def connect(self, *, borders: bool, terminator: bytes = b"\n") -> FaultySession:
        """Return a session for one more client; see `Exchange.connect`."""
        return FaultySession(self, self._device.connect(borders=borders, terminator=terminator))

    def refuse(self) -> bool:
        """True if a new client is turned away."""
        return time.monotonic() < self._down_until or self._faults.strikes("refuse") is not None

    def locked(self) -> bool:
        """True if another client holds the instrument just now."""
        return self._faults.strikes("locked") is not None

    def reply(self, send: Callable[[bytes], None], data: bytes) -> None:
        """Send framed bytes; raises ConnectionError after half of them where the connection drops."""
        if self._faults.strikes("drop") is not None:
            send(data[: len(data) // 2])
            raise ConnectionError("dropped by a fault")
        if self._faults.strikes("pieces") is not None:
            for index in range(len(data)):
                send(data[index : index + 1])
            return
        send(data)

    def incoming(self, message: bytes) -> None:
        """Note a message of the client; raises ConnectionError where the instrument reboots at it."""
        self._keep(">", message)
        reboot = self._faults.strikes("reboot")
        if reboot is not None:
            self._down_until = time.monotonic() + reboot.amount
            self._device.clear()
            self._reboot()
            raise ConnectionError("the instrument reboots")

    def outgoing(self, data: bytes, *, end: bool, terminator: bytes) -> bytes:
        """Return what the client gets instead of `data`. end: a response ends with it."""
        delay = self._faults.strikes("delay")
        if delay is not None:
            self._device.ended.wait(delay.amount)
        self._keep("<", data)
        if self._faults.strikes("garble") is not None:
            return bytes(byte ^ 0x80 if byte > 32 else byte for byte in data)
        if end and self._faults.strikes("double_terminator") is not None:
            return data + terminator
        if end and self._faults.strikes("wrong_terminator") is not None:
            return data.removesuffix(terminator) + WRONG_TERMINATOR
        return data

    def _keep(self, direction: str, data: bytes) -> None:
        self._log.append((direction, data))
        del self._log[:-_KEPT]


class FaultySession:
    """A session as its server sees it."""

    def __init__(self, wire: FaultyWire, session: Session) -> None:
        self._wire = wire
        self._session = session
        self.clear = session.clear
        self.status_byte = session.status_byte
        self.trigger = session.trigger
        self.overrun = session.overrun
        self.interrupt = session.interrupt
        self.settle = session.settle
        self.wake = session.wake
        self.finish = session.finish
        self.close = session.close

    @property
    def backlog(self) -> int:
        """Messages written and not yet executed."""
        return self._session.backlog

    @property
    def available(self) -> bool:
        """True while output waits to be read."""
        return self._session.available

    @property
    def wants_service(self) -> bool:
        """True once this client itself has enabled service requests."""
        return self._session.wants_service

    def on_service(self, call: Callable[[], None] | None) -> None:
        """Let `call` be called, from any thread, whenever the device newly requests service; None: not any more."""
        self._session.on_service = call

    def write(self, *messages: bytes) -> None:
        """Pass complete program messages on."""
        for message in messages:
            self._wire.incoming(message)
        self._session.write(*messages)

    def read(
        self,
        limit: int,
        timeout: float,
        cancel: Callable[[], bool] = lambda: False,
        *,
        stop: bytes = b"",
    ) -> tuple[bytes, bool] | None:
        """Return up to `limit` bytes of one response and whether it ends there; see `Session.read`."""
        got = self._session.read(limit, timeout, cancel, stop=stop)
        if got is None:
            return None
        data, end = got
        return self._wire.outgoing(data, end=end, terminator=self._session.terminator), end

    def stream(self) -> bytes | None:
        """Return all responses that are ready, waiting for the first; None when there will be no more."""
        responses = self._session.take()
        if not responses:
            return None
        terminator = self._session.terminator
        return b"".join(self._wire.outgoing(response, end=True, terminator=terminator) for response in responses)

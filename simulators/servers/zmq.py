"""Requests and replies over ZeroMQ, and a channel on which a server publishes; loopback, a port the system chooses.

A ROUTER answers REQ clients, one request at a time in the order in which they come; a client whose reply is lost waits
for ever, as with a real server that died. Faults: "refuse" (a request is never looked at), "drop" (it is carried out,
its reply lost), "delay" and "stuck" (everybody waits `amount` real s), "half_line" (half of a reply), "garble",
"reboot" (the server forgets everything, and answers nobody for `amount` real s).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from aicalib_hw.errors import UsageError

from ..world.faults import FaultPlan

_LOOK = 50
"""How long the server waits for a request before it looks at the time, real ms."""
_KEPT = 2000
"""Exchanges kept in the log."""


class ZmqServer:
    """Serves `respond(request) -> reply`. idle: called about every 50 ms, gives what is to be published.

    reboot: called when a fault makes the server forget. Raises UsageError without pyzmq.
    """

    wire = "ZMQ"

    def __init__(
        self,
        respond: Callable[[bytes], bytes],
        idle: Callable[[], list[bytes]],
        faults: FaultPlan,
        log: list[tuple[str, bytes]],
        *,
        reboot: Callable[[], None],
        host: str = "127.0.0.1",
        port: int = 0,
        publisher_port: int = 0,
    ) -> None:
        try:
            import zmq
        except ImportError as error:
            raise UsageError(
                "the simulator of a ZeroMQ server needs pyzmq",
                why=str(error),
                advice='pip install "aicalib-hw[network]"',
            ) from error
        self._zmq = zmq
        self._respond, self._idle, self._faults, self._log, self._reboot = respond, idle, faults, log, reboot
        self._host, self._asked = host, (port, publisher_port)
        self.port = self.publisher_port = 0
        self._stopping = threading.Event()
        self._stop, self._stopped = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._silent_until = 0.0

    @property
    def address(self) -> str:
        """tcp://HOST:PORT of the requests."""
        return f"tcp://{self._host}:{self.port}"

    def start(self) -> int:
        """Bind both sockets; return the port of the requests."""
        context = self._zmq.Context()
        router, publisher = context.socket(self._zmq.ROUTER), context.socket(self._zmq.PUB)
        for one in (router, publisher):
            one.setsockopt(self._zmq.LINGER, 0)
        self.port, self.publisher_port = (
            self._bound(one, asked) for one, asked in zip((router, publisher), self._asked, strict=True)
        )
        self._thread = threading.Thread(
            target=self._serve, args=(context, router, publisher), name="zmq-server", daemon=True
        )
        self._thread.start()
        return self.port

    def stop(self) -> None:
        """Close both sockets; idempotent."""
        self._stopping.set()
        self._stop.close()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        self._stopped.close()

    def _bound(self, one: Any, asked: int) -> int:
        one.bind(f"tcp://{self._host}:{asked or '*'}")
        return int(one.getsockopt_string(self._zmq.LAST_ENDPOINT).rpartition(":")[2])

    def _serve(self, context: Any, router: Any, publisher: Any) -> None:
        either = self._zmq.Poller()
        either.register(router, self._zmq.POLLIN)
        either.register(self._stopped, self._zmq.POLLIN)
        try:
            while not self._stopping.is_set():
                if router in dict(either.poll(_LOOK)):
                    *envelope, request = router.recv_multipart()
                    reply = self._answer(request)
                    if reply is not None:
                        router.send_multipart([*envelope, reply])
                for message in self._idle():
                    publisher.send(message)
        finally:
            router.close()
            publisher.close()
            context.term()

    def _answer(self, request: bytes) -> bytes | None:
        """Return what a request gets, None: nothing, ever."""
        faults = self._faults
        if time.monotonic() < self._silent_until or faults.strikes("refuse") is not None:
            return None
        self._keep(">", request)
        reboot = faults.strikes("reboot")
        if reboot is not None:
            self._silent_until = time.monotonic() + reboot.amount
            self._reboot()
            return None
        for kind in ("stuck", "delay"):
            fault = faults.strikes("stuck" if kind == "stuck" else "delay")
            if fault is not None:
                self._stopping.wait(fault.amount)
        reply = self._respond(request)
        self._keep("<", reply)
        if faults.strikes("drop") is not None:
            return None
        if faults.strikes("half_line") is not None:
            return reply[: len(reply) // 2]
        if faults.strikes("garble") is not None:
            return bytes(byte ^ 0x55 for byte in reply)
        return reply

    def _keep(self, direction: str, data: bytes) -> None:
        self._log.append((direction, data))
        del self._log[:-_KEPT]

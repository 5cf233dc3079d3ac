"""TCP clients of a simulated instrument: accepted on loopback, a thread for each, all ended by `stop`."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Connections:
    """Listens and runs `serve(connection)` for each client. admit: asked for each; False closes it at once."""

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        *,
        host: str,
        port: int = 0,
        admit: Callable[[], bool] = lambda: True,
        name: str,
    ) -> None:
        self._serve = serve
        self._host = host
        self._asked_port = port
        self._admit = admit
        self._name = name
        self._guard = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self.stopping = threading.Event()
        self.port = 0

    def wait_below(self, most: int, limit: float) -> bool:
        """Wait until fewer than `most` clients are connected; False after `limit` real s."""
        with self._guard:
            return self._guard.wait_for(lambda: len(self._sockets) - 1 < most, limit)

    def start(self) -> int:
        """Listen; return the port, which the system chose unless one was asked for."""
        listener = socket.create_server((self._host, self._asked_port))
        self.port = int(listener.getsockname()[1])
        self._sockets.add(listener)
        self.spawn(self._accept, listener)
        return self.port

    def stop(self) -> None:
        """Close every connection and join every thread; idempotent."""
        self.stopping.set()
        self.disconnect()
        with self._guard:
            threads = tuple(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(2.0)

    def disconnect(self) -> None:
        """Close every connection; once `stopping`, the listener too."""
        with self._guard:
            sockets = tuple(self._sockets)
        for one in sockets:
            listening = bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) if one.fileno() >= 0 else False
            if listening and not self.stopping.is_set():
                continue
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if listening:
                one.close()

    def spawn(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        """Run `target` in a thread that `stop` joins."""

        def run() -> None:
            try:
                target(*arguments)
            finally:
                with self._guard:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=self._name, daemon=True)
        with self._guard:
            self._threads.add(thread)
            thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self.stopping.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                if self.stopping.is_set() or not self._admit():
                    connection.close()
                    continue
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._guard:
                    self._sockets.add(connection)
                self.spawn(self._run, connection)

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                self._serve(connection)
        finally:
            with self._guard:
                self._sockets.discard(connection)
                self._guard.notify_all()


def exactly(connection: socket.socket, count: int) -> bytes | None:
    """Return `count` bytes, None if the client has gone before."""
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 16))
        if not part:
            return None
        data += part
    return bytes(data)

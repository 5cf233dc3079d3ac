"""A simulated program: an executable file that anybody starts, and whose work is done in the process of the world.

    program = Executable("fio", work)        # work(invocation) -> exit status, run in a thread for each start
    program.start()                          # program.path is the file; it needs nothing but the interpreter
    program.stop()                           # every running program ends with status 125, the file is removed

The file connects to a loopback port of this process and shows a token that only its owner can read. A program that is
killed is noticed by its connection. Fault: "delay" (before it does anything, real s).
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from ..world.faults import FaultPlan
from .connections import Connections

_HOST = "127.0.0.1"
_TOKEN = 16
_HELLO = 2.0
"""How long a client may take to say who it is, real s."""
_KEPT = 2000
"""Exchanges kept in the log."""


class Gone(ConnectionError):
    """The program of an invocation is no more: somebody killed it."""


class Invocation:
    """One start of the program. program: as it was called; directory: where; tty: whether its output is one.

    gone: set when its process ended. Every method raises Gone then.
    """

    def __init__(self, owner: Executable, connection: socket.socket, hello: bytes) -> None:
        pid, ttys, directory, program, *words = hello.split(b"\0")
        self.pid = int(pid)
        self.tty = ttys[:1] == b"1"
        self.directory = Path(os.fsdecode(directory))
        self.program = os.fsdecode(program)
        self.arguments = [os.fsdecode(word) for word in words]
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.gone = threading.Event()
        self.woken = threading.Event()
        self._owner, self._connection = owner, connection
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._output = False

    def out(self, text: str) -> None:
        """Write to standard output."""
        self._write(b"o", text)

    def err(self, text: str) -> None:
        """Write to standard error."""
        self._write(b"e", text)

    def open_output(self, path: str) -> int:
        """Create the file that `result` writes to, emptied; return 0 or an error number."""
        number = int(self._ask(b"f", os.fsencode(path)))
        self._output = number == 0
        return number

    def result(self, text: str) -> None:
        """Write to the file that was opened, or to standard output."""
        self._write(b"w" if self._output else b"o", text)

    def environment(self, name: str) -> str:
        """Return a variable of its environment, "" where there is none."""
        return os.fsdecode(self._ask(b"v", os.fsencode(name)))

    def standard_input(self) -> str:
        """Return all of its standard input."""
        return self._ask(b"i", b"").decode(errors="replace")

    def listen(self, host: str, port: int) -> int:
        """Let its process listen on a TCP port; return 0 or an error number."""
        return int(self._ask(b"b", f"{host} {port}".encode()))

    def fork(self) -> Worker:
        """Let it start a worker process in its own process group, which lives on if the program is killed."""
        worker = self._owner.expect_worker()
        self._send(b"k", worker.name.encode())
        if not worker.begun.wait(_HELLO):
            raise Gone(f"no worker of process {self.pid}")
        return worker

    def die(self, number: int) -> None:
        """Let it end by a signal."""
        self._send(b"K", str(number).encode())
        self.gone.wait(_HELLO)
        raise Gone(f"process {self.pid} died of signal {number}")

    def serve(self) -> None:
        """Take what the program says until it is gone; run by the server."""
        try:
            while (head := _whole(self._connection, 5)) is not None:
                body = _whole(self._connection, int.from_bytes(head[1:], "big"))
                if body is None:
                    return
                if head[:1] == b"s":
                    self._owner.log(">", b"signal " + body)
                    self.signals.put(int(body))
                    self.woken.set()
                else:
                    self._answers.put(body)
        finally:
            self.gone.set()
            self.woken.set()
            self._answers.put(None)

    def exit(self, status: int) -> None:
        """Let it end; run by the server."""
        self._owner.log("<", b"exit %d" % status)
        self._send(b"x", str(status).encode())

    def _write(self, letter: bytes, text: str) -> None:
        self._owner.log("<", text.encode(errors="replace"))
        self._send(letter, text.encode(errors="surrogateescape"))

    def _ask(self, letter: bytes, data: bytes) -> bytes:
        self._send(letter, data)
        answer = self._answers.get()
        if answer is None:
            raise Gone(f"process {self.pid} is gone")
        return answer

    def _send(self, letter: bytes, data: bytes) -> None:
        try:
            with self._guard:
                self._connection.sendall(letter + len(data).to_bytes(4, "big") + data)
        except OSError as error:
            raise Gone(f"process {self.pid} is gone") from error


class Worker:
    """A worker process of a program: alive until `end`, or until it is killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = threading.Event()
        self.gone = threading.Event()
        self.woken: threading.Event | None = None
        self._connection: socket.socket | None = None

    def attach(self, connection: socket.socket) -> None:
        """Be this connection until it ends; run by the server."""
        self._connection = connection
        self.begun.set()
        try:
            _whole(connection, 1)
        finally:
            self.gone.set()
            if self.woken is not None:
                self.woken.set()

    def end(self) -> None:
        """Let it exit; idempotent."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.sendall(b"x")


class Executable:
    """Makes the file of a program and serves every start of it. name: of the file. log: where exchanges go."""

    def __init__(
        self,
        name: str,
        work: Callable[[Invocation], int],
        faults: FaultPlan,
        log: list[tuple[str, bytes]],
    ) -> None:
        self._name, self._work, self._faults, self._log = name, work, faults, log
        self._token = secrets.token_bytes(_TOKEN)
        self._workers: dict[str, Worker] = {}
        self._directory: Path | None = None
        self._connections = Connections(self._serve, host=_HOST, name=f"simulated-{name}")
        self.path = Path()

    @property
    def stopping(self) -> threading.Event:
        """Set once this program is served no more."""
        return self._connections.stopping

    def start(self) -> Path:
        """Make the file; return its path. Idempotent."""
        if self._directory is None:
            port = self._connections.start()
            self._directory = Path(tempfile.mkdtemp(prefix=f"simulated-{self._name}-"))
            self.path = _program(self._directory / self._name, port, self._token)
        return self.path

    def stop(self) -> None:
        """End every running program and remove the file; idempotent."""
        self._connections.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def expect_worker(self) -> Worker:
        """Return a worker that has not begun yet."""
        worker = Worker(secrets.token_hex(8))
        self._workers[worker.name] = worker
        return worker

    def log(self, direction: str, data: bytes) -> None:
        """Keep what passed."""
        self._log.append((direction, data))
        del self._log[:-_KEPT]

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_HELLO)
        head = _whole(connection, _TOKEN + 6)
        if head is None or not secrets.compare_digest(head[:_TOKEN], self._token):
            return
        hello = _whole(connection, int.from_bytes(head[_TOKEN + 2 :], "big"))
        connection.settimeout(None)
        if hello is None:
            return
        if head[_TOKEN : _TOKEN + 1] == b"w":
            worker = self._workers.pop(hello.decode(), None)
            if worker is not None:
                worker.attach(connection)
            return
        invocation = Invocation(self, connection, hello)
        self.log(">", " ".join((self._name, *invocation.arguments)).encode(errors="surrogateescape"))
        self._connections.spawn(self._run, invocation)
        invocation.serve()

    def _run(self, invocation: Invocation) -> None:
        with contextlib.suppress(Gone):
            delay = self._faults.strikes("delay")
            if delay is not None:
                self.stopping.wait(delay.amount)
            invocation.exit(self._work(invocation))


def _program(path: Path, port: int, token: bytes) -> Path:
    """Write the executable file; only this user may read the token in it, and run it."""
    text = (Path(__file__).parent / "relay.py").read_text(encoding="utf-8")
    code = f'{text}\n\nmain({port}, "{token.hex()}")\n'
    if sys.platform == "win32":
        source = path.with_suffix(".py")
        source.write_text(code, encoding="utf-8")
        path = path.with_suffix(".bat")
        path.write_text(f'@"{sys.executable}" -IS "{source}" %*\n', encoding="utf-8")
        return path
    # The kernel takes one argument and no blanks in a first line, so the interpreter is started by the shell's exec
    # where its path has any; to Python that line is a string.
    plain = len(sys.executable) < 100 and not any(sign.isspace() for sign in sys.executable)
    quoted = sys.executable.replace("'", "'\\''")
    first = f"#!{sys.executable} -IS\n" if plain else f"#!/bin/sh\n'''exec' '{quoted}' -IS \"$0\" \"$@\"\n' '''\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(first + code)
    return path


def _whole(connection: socket.socket, count: int) -> bytes | None:
    """Return `count` bytes, None where the connection ends before."""
    data = bytearray()
    while len(data) < count:
        try:
            part = connection.recv(count - len(data))
        except OSError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)

"""Small instruments on real wires: a serial port, a VXI-11 link with its abort channel, HiSLIP, Yokogawa's framing.

Each answers by `answer_of` below. They are peers for tests of the links, and no simulators: they know one client,
no status and no command.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable

LATE = 0.5


def answer_of(question: bytes) -> bytes | None:
    """Echo a question; LATE? after half a second, NEVER? not at all; `*IDN?` and `*OPC?` as every instrument does."""
    text = question.strip()
    if text == b"LATE?":
        time.sleep(LATE)
    if text == b"*IDN?":
        return b"MAKER,MODEL,SIM1,1.0"
    if text == b"*OPC?":
        return b"1"
    if text.startswith(b"LONG? "):
        return b"x" * int(text[6:])
    return text if text.endswith(b"?") and text != b"NEVER?" else None


class Listening:
    """A server with one thread for each connection; all end with `close()`."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.heard: list[bytes] = []
        self.clients = 0

    def listen(self, serve: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self._open.append(listener)
        self._run(self._accept, listener, serve)
        return int(listener.getsockname()[1])

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        while True:
            try:
                wire, _ = listener.accept()
            except OSError:
                return
            self._open.append(wire)
            self.clients += 1
            self._run(self._serve, serve, wire)

    def _serve(self, serve: Callable[[socket.socket], None], wire: socket.socket) -> None:
        try:
            with wire:
                serve(wire)
        except (OSError, EOFError):
            return

    def close(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)


def exactly(wire: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = wire.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class SerialPeer:
    """An instrument on a serial port, which is a pseudo-terminal here."""

    def __init__(self) -> None:
        self._own, self._other = os.openpty()
        tty.setraw(self._other)
        self.resource = f"ASRL{os.ttyname(self._other)}::INSTR"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def say(self, data: bytes) -> None:
        os.write(self._own, data)

    def _serve(self) -> None:
        buffer = b""
        while not self._ended.is_set():
            if select.select([self._own], [], [], 0.05)[0]:
                buffer += os.read(self._own, 4096)
            while b"\n" in buffer:
                line, _, buffer = buffer.partition(b"\n")
                if line.strip() == b"UNENDED?":
                    self.say(b"12.5\r")
                elif (reply := answer_of(line)) is not None:
                    self.say(reply + b"\r\n")

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        os.close(self._own)
        os.close(self._other)


class LegacyPeer(Listening):
    """Yokogawa's framing; asks_password: whether the server asks for one."""

    def __init__(self, *, user: bytes = b"anonymous", password: bytes = b"", asks_password: bool = True) -> None:
        super().__init__()
        self._user, self._password, self._asks = user, password, asks_password
        self.address = f"wt3000://127.0.0.1:{self.listen(self._talk)}"

    def _get(self, wire: socket.socket) -> bytes:
        data, last = b"", False
        while not last:
            (word,) = struct.unpack(">I", exactly(wire, 4))
            last, data = bool(word >> 31), data + exactly(wire, word & 0x7FFFFFFF)
        return data

    def _put(self, wire: socket.socket, data: bytes) -> None:
        """In two packets, where there is something to divide."""
        half = len(data) // 2
        if half:
            wire.sendall(struct.pack(">I", half) + data[:half])
        wire.sendall(struct.pack(">I", 0x80000000 | len(data) - half) + data[half:])

    def _talk(self, wire: socket.socket) -> None:
        self._put(wire, b"who? ")
        user = self._get(wire)
        if self._asks:
            self._put(wire, b"and your word? ")
            if (user, self._get(wire)) != (self._user, self._password):
                return
            self._put(wire, b"")
        while True:
            message = self._get(wire)
            self.heard.append(message)
            if (reply := answer_of(message)) is not None:
                self._put(wire, reply + b"\n")


class Vxi11Peer(Listening):
    """One VXI-11 link: replies in pieces of `piece` bytes, and an abort channel that ends a read at once."""

    def __init__(self, *, piece: int = 1 << 20, mute: bool = False, aborts: bool = True) -> None:
        super().__init__()
        self._piece, self._mute = piece, mute
        self._reply = b""
        self._abort = threading.Event()
        self._linked = False
        self.aborted: list[int] = []
        self.cleared = 0
        self._abort_port = self.listen(self._abort_channel) if aborts else 0
        self.resource = f"TCPIP::127.0.0.1,{self.listen(self._core)}::inst0::INSTR"

    def close(self) -> None:
        self._abort.set()
        super().close()

    def _call(self, wire: socket.socket) -> tuple[int, int, bytes]:
        (word,) = struct.unpack(">I", exactly(wire, 4))
        body = exactly(wire, word & 0x7FFFFFFF)
        xid, _, _, _, _, procedure = struct.unpack(">6I", body[:24])
        return xid, procedure, body[40:]

    def _return(self, wire: socket.socket, xid: int, result: bytes) -> None:
        body = struct.pack(">6I", xid, 1, 0, 0, 0, 0) + result
        wire.sendall(struct.pack(">I", 0x80000000 | len(body)) + body)

    def _abort_channel(self, wire: socket.socket) -> None:
        while True:
            xid, procedure, arguments = self._call(wire)
            assert procedure == 1
            self.aborted.append(struct.unpack(">i", arguments)[0])
            self._abort.set()
            self._return(wire, xid, struct.pack(">i", 0))

    def _core(self, wire: socket.socket) -> None:
        mine = False
        try:
            while True:
                xid, procedure, arguments = self._call(wire)
                if procedure == 10:
                    error, mine = (9, False) if self._linked else (0, True)
                    self._linked = True
                    self._return(wire, xid, struct.pack(">iiII", error, 7, self._abort_port, 1024))
                elif procedure == 23:
                    self._linked = mine = False
                    self._return(wire, xid, struct.pack(">i", 0))
                elif procedure == 15:
                    self.cleared += 1
                    self._reply = b""
                    self._return(wire, xid, struct.pack(">i", 0))
                elif procedure == 11:
                    (size,) = struct.unpack(">I", arguments[16:20])
                    self._take(arguments[20 : 20 + size], end=bool(struct.unpack(">i", arguments[12:16])[0] & 8))
                    self._return(wire, xid, struct.pack(">iI", 0, size))
                elif procedure == 12:
                    self._read(wire, xid, struct.unpack(">I", arguments[8:12])[0] / 1000)
        finally:
            if mine:
                self._linked = False

    def _take(self, data: bytes, *, end: bool) -> None:
        self.heard.append(data)
        if end:
            reply = answer_of(b"".join(self.heard).rsplit(b"\n", 2)[-2])
            self._reply = b"" if reply is None else reply + b"\n"

    def _read(self, wire: socket.socket, xid: int, wait: float) -> None:
        if not self._reply:
            if self._mute:
                return
            ended = self._abort.wait(wait)
            self._abort.clear()
            self._return(wire, xid, struct.pack(">iiI", 23 if ended else 15, 0, 0))
            return
        time.sleep(0.02 if len(self._reply) > self._piece else 0)
        data, self._reply = self._reply[: self._piece], self._reply[self._piece :]
        padded = data + b"\0" * (-len(data) % 4)
        self._return(wire, xid, struct.pack(">iiI", 0, 0 if self._reply else 4, len(data)) + padded)


class HislipPeer(Listening):
    """HiSLIP 1.0, synchronised; overlap: whether it says that it prefers overlapped mode."""

    def __init__(self, *, overlap: bool = False) -> None:
        super().__init__()
        self._overlap = overlap
        self._cleared = threading.Event()
        self.resource = f"TCPIP::127.0.0.1::hislip0,{self.listen(self._channel)}::INSTR"

    def _get(self, wire: socket.socket) -> tuple[int, int, int, bytes]:
        prologue, kind, control, parameter, size = struct.unpack(">2sBBIQ", exactly(wire, 16))
        assert prologue == b"HS"
        return kind, control, parameter, exactly(wire, size)

    def _put(self, wire: socket.socket, kind: int, control: int = 0, parameter: int = 0, data: bytes = b"") -> None:
        wire.sendall(struct.pack(">2sBBIQ", b"HS", kind, control, parameter, len(data)) + data)

    def _channel(self, wire: socket.socket) -> None:
        while True:
            kind, _, parameter, data = self._get(wire)
            if kind == 0:
                self._put(wire, 1, int(self._overlap), 0x0100_0001)
            elif kind == 17:
                self._put(wire, 18)
            elif kind == 15:
                self._put(wire, 16, 0, 0, struct.pack(">Q", 1 << 20))
                self._put(wire, 20, 64)  # a service request that nobody enabled
            elif kind == 19:
                self._put(wire, 23)
            elif kind == 8:
                self._put(wire, 9)
            elif kind in (6, 7):
                self.heard.append(data)
                if (reply := answer_of(data)) is not None:
                    self._put(wire, 7, 0, parameter, reply + b"\n")

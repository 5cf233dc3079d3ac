"""What runs in the process of a simulated program: it relays arguments, output, signals and exit status to its world.

The text of this module, with a line that names the world's port appended, is the executable file (`executable.py`
makes it), so it imports nothing that is slow to import. What the world asks of it, one letter each, with a length:
`o`, `e` write to standard output, error; `f` open the output file, answered with an error number; `w` write to it;
`v` tell a variable of the environment; `i` tell standard input; `k` fork a worker that talks to the world on its own;
`b` bind and listen on a host and port, answered with an error number; `x` exit with a status; `K` end by a signal.
"""

import _signal  # type: ignore[import-not-found]  # no stub has it, and signal takes 5 ms to import
import _socket
import os
import sys

_LOST = 125
"""Exit status where the world is gone."""


def _lost() -> None:
    os.write(2, os.fsencode(f"{sys.argv[0]}: the simulated world of this program is gone\n"))
    os._exit(_LOST)


def _whole(link: _socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            _lost()
        data += part
    return data


def _connect(port: int, token: str, role: bytes) -> _socket.socket:
    link = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        link.connect(("127.0.0.1", port))
    except OSError:
        _lost()
    link.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    link.sendall(bytes.fromhex(token) + role)
    return link


def _frame(letter: bytes, data: bytes) -> bytes:
    return letter + len(data).to_bytes(4, "big") + data


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _work(port: int, token: str, name: bytes) -> None:
    """Be a worker: alive until the world ends it, or somebody kills it."""
    link = _connect(port, token, b"w")
    link.sendall(_frame(b"n", name))
    for one in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(one, _signal.SIG_IGN)
    link.recv(1)
    os._exit(0)


def main(port: int, token: str) -> None:
    """Relay until the world says how to end."""
    link = _connect(port, token, b"p")
    words = [os.fsencode(one) for one in (os.getcwd(), *sys.argv)]
    ttys = bytes(ord("1") if os.isatty(one) else ord("0") for one in (1, 2))
    link.sendall(_frame(b"h", b"\0".join([str(os.getpid()).encode(), ttys, *words])))

    def pass_on(number: int, _: object) -> None:
        link.sendall(_frame(b"s", str(number).encode()))

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        number = getattr(_signal, name, None)
        if number is not None:
            _signal.signal(number, pass_on)
    output, listener = -1, None
    while True:
        head = _whole(link, 5)
        letter, data = head[:1], _whole(link, int.from_bytes(head[1:], "big"))
        try:
            if letter in b"oe":
                _write(1 if letter == b"o" else 2, data)
            elif letter == b"f":
                answer = b"0"
                try:
                    output = os.open(os.fsdecode(data), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                except OSError as error:
                    answer = str(error.errno).encode()
                link.sendall(_frame(b"r", answer))
            elif letter == b"w":
                _write(output, data)
            elif letter == b"v":
                link.sendall(_frame(b"r", os.fsencode(os.environ.get(os.fsdecode(data), ""))))
            elif letter == b"i":
                link.sendall(_frame(b"r", sys.stdin.buffer.read()))
            elif letter == b"b":
                host, _, where = data.partition(b" ")
                answer = b"0"
                try:
                    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
                    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
                    listener.bind((host.decode(), int(where)))
                    listener.listen(5)
                except OSError as error:
                    answer = str(error.errno or 1).encode()
                link.sendall(_frame(b"r", answer))
            elif letter == b"k":
                if os.fork() == 0:
                    if output >= 0:
                        os.close(output)
                    _work(port, token, data)
            elif letter == b"x":
                os._exit(int(data))
            elif letter == b"K":
                if int(data) != getattr(_signal, "SIGKILL", 0):
                    _signal.signal(int(data), _signal.SIG_DFL)
                os.kill(os.getpid(), int(data))
        except BrokenPipeError:
            if letter not in b"oew":
                raise
            os._exit(1)

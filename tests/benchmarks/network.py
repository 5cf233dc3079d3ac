"""One read of all counters of a traffic tester, beside a bare exchange of the same bytes with the same tester.

The driver's `read()` makes counters of every port and stream with their instants; the bare exchange sends what `read()`
was seen to send, over a socket, httpx, or pyzmq and zlib, as the protocol has it, and throws the reply away. The
simulated testers are processes of their own; the two take turns read by read, and of each the time counts that a tenth
of its reads stayed below: what else runs on the host only adds. The bar: at most 1.2 times.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import zmq

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.interfaces import Stream
from aicalib_hw.trace import Trace

from .simulated import program

MOST = 1.2
TURNS = 400

_SERVED = """
import sys
from aicalib_hw import registry
world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
tester = registry.simulator(sys.argv[1])(world, sys.argv[1])
world.start()
print(tester.start(), flush=True)
sys.stdin.read()
"""

Exchange = Callable[[], object]


def sent_by_read(read: Callable[[], object], trace: Trace) -> list[str]:
    """What one read sends, as the trace has it: one message an exchange."""
    before = len(trace.recent)
    read()
    return [str(entry["text"]) for entry in trace.recent[before:] if entry["direction"] == "write"]


@contextlib.contextmanager
def over_socket(address: str, messages: list[str]) -> Iterator[Exchange]:
    """Xena's command line."""
    place = urlsplit(address)
    data = [(message.replace("\n", "\r\n") + "\r\nSYNC\r\n").encode() for message in messages]
    with socket.create_connection((place.hostname, place.port), timeout=10) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def exchange(*messages: bytes) -> None:
            for message in messages:
                link.sendall(message)
                reply = b""
                while not reply.endswith(b"<SYNC>\n"):
                    reply += link.recv(65536)

        exchange(b'C_LOGON "xena"\r\nC_TIMEOUT 9999\r\nSYNC\r\n')
        yield lambda: exchange(*data)


@contextlib.contextmanager
def over_http(address: str, messages: list[str]) -> Iterator[Exchange]:
    """The Open Traffic Generator model."""
    place = urlsplit(address.removeprefix("otg+"))
    asked = [message.split(" ", 2) for message in messages]
    with httpx.Client(base_url=f"{place.scheme}://{place.netloc}", trust_env=False, timeout=10.0) as client:

        def exchange() -> None:
            for method, path, *body in asked:
                headers = {"Content-Type": "application/json", "Accept": "application/json"}
                client.request(method, path, content=body[0] if body else None, headers=headers).raise_for_status()

        yield exchange


@contextlib.contextmanager
def over_zmq(address: str, messages: list[str]) -> Iterator[Exchange]:
    """TRex's JSON-RPC."""
    place = urlsplit(address)
    data = [one.encode() for one in messages]
    with zmq.Context() as context, context.socket(zmq.REQ) as link:
        link.linger = 0
        link.rcvtimeo = 10_000
        link.connect(f"tcp://{place.hostname}:{place.port}")

        def exchange() -> None:
            for message in data:
                link.send(struct.pack(">II", 0xABE85CEA, len(message)) + zlib.compress(message))
                zlib.decompress(link.recv()[8:])

        yield exchange


BARE: dict[str, Any] = {"xena": over_socket, "otg": over_http, "trex": over_zmq}


def compare(family: str) -> tuple[float, float]:
    """Return what a read by the driver costs and what the bare exchange does, s."""
    ours: list[float] = []
    bare: list[float] = []
    with program(sys.executable, _SERVED, family) as line, Trace() as trace:
        address = line.strip()
        with hw.open_instrument(address, trace=trace) as seen:
            there, back = (port.port for port in seen.ports())
            with seen.reserve([there, back], owner="benchmark") as reservation:
                reservation.configure([Stream("there", there, back, 1518, 0.5)])
                messages = sent_by_read(reservation.read, trace)
        with hw.open_instrument(address) as tester, tester.reserve([there, back], owner="benchmark") as reservation:
            reservation.configure([Stream("there", there, back, 1518, 0.5)])
            reservation.start()
            with BARE[family](address, messages) as exchange:
                for _ in range(TURNS):
                    for kept, act in ((ours, reservation.read), (bare, exchange)):
                        began = time.perf_counter()
                        act()
                        kept.append(time.perf_counter() - began)
            reservation.stop()
    return statistics.quantiles(ours, n=10)[0], statistics.quantiles(bare, n=10)[0]


def main() -> int:
    """Print both; exit status 0 if every bar is met."""
    print(
        f"\none read of all counters, the fastest tenth of {TURNS} turns with a bare exchange of the same bytes",
        flush=True,
    )
    missed = 0
    for family in [name for name in BARE if registry.driver(name).DRIVER.simulator]:
        ours, bare = compare(family)
        met = ours <= MOST * bare
        missed += not met
        print(
            f"{family:6} read() {ours * 1e6:6.0f} µs, bare {bare * 1e6:6.0f} µs, {ours / bare:.2f} times  "
            f"{'met' if met else 'NOT MET'}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

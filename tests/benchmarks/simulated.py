"""Simulated instruments: queued SCPI queries a second on one core beside sinstruments, and 64 meters streamed at 10 Hz.

The servers are processes of their own, each bound to one core, asked in turn in windows of queued queries. What counts
is queries a second of the server's processor time, which a busy host does not change; what passed on the clock stands
beside it. Bars: at least 20 000 a second, ahead of sinstruments, and no update of any of the 64 meters lost.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import aicalib_hw as hw

from .peers import python_of_peers

RATE = 20_000
METERS = 64
INTERVAL = 0.1
WINDOW = 1000

_OURS = """
import sys, time
from aicalib_hw import registry
from aicalib_hw.simulators.dialects.scpi.engine import Device
from aicalib_hw.simulators.dialects.scpi.required import register_required
from aicalib_hw.simulators.dialects.scpi.status import Status
from aicalib_hw.simulators.servers.faulty import FaultyWire
from aicalib_hw.simulators.servers.tcp import TcpServer
from aicalib_hw.simulators.world.faults import FaultPlan
device = Device(Status())
register_required(device)
device.command("*IDN", ask=lambda *_: "AICALIB,BENCH,SIM0,1.0")
device.command(":MEASure[:SCALar]:POWer[:ACTive]", ask=lambda *_: "1.0000E+03")
device.command(":TIME", ask=lambda *_: repr(time.process_time()))
server = TcpServer(FaultyWire(FaultPlan(1), device, []))
print(server.start(), flush=True)
sys.stdin.read()
"""
_SINSTRUMENTS = """
import time
import gevent
from sinstruments.simulator import BaseDevice, Server
class Meter(BaseDevice):
    replies = {
        b"*IDN?": lambda: b"AICALIB,BENCH,SIM0,1.0\\n",
        b":MEAS:POW?": lambda: b"1.0000E+03\\n",
        b":TIME?": lambda: repr(time.process_time()).encode() + b"\\n",
    }
    @classmethod
    def load(cls):
        return cls
    def handle_message(self, message):
        return self.replies[message.strip()]()
server = Server(
    devices=[{"class": "Meter", "name": "meter", "transports": [{"type": "tcp", "url": ["127.0.0.1", 0]}]}],
    registry={"Meter": Meter},
)
tasks = server.start()
gevent.sleep(0.2)
print(server.devices["meter"].transports[0].server_port, flush=True)
gevent.joinall(tasks)
"""
_FLEET = """
import json, sys
from aicalib_hw import registry
world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
kind = registry.simulator("yokogawa-wt300")
meters = [kind(world, f"meter-{n}") for n in range(int(sys.argv[1]))]
world.start()
world.run_load(0.5)
print(json.dumps([meter.start() for meter in meters]), flush=True)
sys.stdin.read()
"""


@dataclass
class Served:
    """A server under test and the rates seen, queries/s: of its processor time, and on the clock."""

    name: str
    connection: socket.socket
    of_processor: list[float] = field(default_factory=list)
    on_clock: list[float] = field(default_factory=list)

    def ask(self, query: bytes, count: int) -> list[bytes]:
        """Queue `count` queries and return their replies."""
        sender = threading.Thread(target=self.connection.sendall, args=(query * count,))
        sender.start()
        got = b""
        while got.count(b"\n") < count:
            part = self.connection.recv(1 << 16)
            if not part:
                raise ConnectionError(f"{self.name} has closed the connection")
            got += part
        sender.join()
        return got.splitlines()

    def measure(self, count: int) -> None:
        """Ask `count` queries in windows and keep the rates."""
        before, begin = float(self.ask(b":TIME?\n", 1)[0]), time.perf_counter()
        for _ in range(count // WINDOW):
            replies = self.ask(b":MEAS:POW?\n", WINDOW)
            if set(replies) != {b"1.0000E+03"}:
                raise ValueError(f"{self.name} answered {set(replies)}")
        took = time.perf_counter() - begin
        self.of_processor.append(count / (float(self.ask(b":TIME?\n", 1)[0]) - before))
        self.on_clock.append(count / took)


@contextmanager
def program(python: str, text: str, *arguments: str, core: int | None = None) -> Iterator[str]:
    """Run a server that prints one line when it is ready, bound to a core; yield that line."""
    bind = None if core is None else (lambda: os.sched_setaffinity(0, {core}))
    process = subprocess.Popen(
        [python, "-c", text, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=bind
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def queued_queries(rounds: int, count: int) -> bool:
    """Ask both servers in turn; print one line for each; True if the bars are met."""
    core = max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        served = []
        for name, python, text in (
            ("this", sys.executable, _OURS),
            ("sinstruments 1.5.0", python_of_peers(), _SINSTRUMENTS),
        ):
            port = int(stack.enter_context(program(python, text, core=core)))
            connection = socket.create_connection(("127.0.0.1", port), timeout=30.0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            served.append(Served(name, stack.enter_context(connection)))
        for _ in range(rounds):
            for one in served:
                one.measure(count)
    for one in served:
        print(
            f"{one.name:20} {statistics.median(one.of_processor):9.0f} queries/s of processor time "
            f"({min(one.of_processor):.0f} to {max(one.of_processor):.0f}), on the clock "
            f"{statistics.median(one.on_clock):.0f}",
            flush=True,
        )
    ours, theirs = (statistics.median(one.of_processor) for one in served)
    met = ours >= RATE and ours > theirs
    print(f"{'met' if met else 'NOT MET'}: {RATE} queries/s of one core, and {ours / theirs:.2f} times sinstruments")
    return met


def stream(address: str, seconds: float, result: dict[str, tuple[int, int]], ready: threading.Barrier) -> None:
    """Stream one meter and note how many updates came and how many the meter says were missed."""
    with hw.open_instrument(address) as meter:
        meter.configure(update_interval=INTERVAL)
        ready.wait(120.0)
        readings = list(meter.stream(duration=seconds))
    result[address] = (len(readings), sum(reading.missed or 0 for reading in readings))


def fleet(meters: int, seconds: float) -> bool:
    """Stream simulated meters of one process all at once; True if no update of any was lost."""
    with program(sys.executable, _FLEET, str(meters)) as line:
        addresses = json.loads(line)
        result: dict[str, tuple[int, int]] = {}
        ready = threading.Barrier(meters)
        threads = [threading.Thread(target=stream, args=(one, seconds, result, ready)) for one in addresses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wanted = round(seconds / INTERVAL)
    lost = {address: wanted - count for address, (count, _) in result.items() if count < wanted}
    missed = sum(missed for _, missed in result.values())
    met = len(result) == meters and not lost and not missed
    print(
        f"{meters} meters at {1 / INTERVAL:.0f} Hz for {seconds:g} s: {sum(count for count, _ in result.values())} of "
        f"{meters * wanted} updates, {missed} missed, {meters - len(result)} meters failed  "
        f"{'met' if met else 'NOT MET'}",
        flush=True,
    )
    return met


def main() -> int:
    """Run both; exit status 0 if all bars are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.simulated", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--queries", type=int, default=40_000)
    parser.add_argument("--meters", type=int, default=METERS)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args([] if __name__ != "__main__" else None)
    print(f"\nsimulated instruments; load average {os.getloadavg()[0]:.2f} before", flush=True)
    return 0 if all([queued_queries(options.rounds, options.queries), fleet(options.meters, options.seconds)]) else 1


if __name__ == "__main__":
    raise SystemExit(main())

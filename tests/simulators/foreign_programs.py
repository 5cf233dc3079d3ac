"""Talks to simulated instruments with programs of others, captured on the wire; prints what they said as JSON.

Run in a network namespace of its own, where port 111 is free and may be listened on:

    unshare --map-root-user --net python -m tests.simulators.foreign_programs FOLDER
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvisa
from aicalib_hw.simulators.echo import SimulatedEcho
from aicalib_hw.simulators.power.generic_scpi import SimulatedScpiMeter
from aicalib_hw.simulators.servers.portmapper import Portmapper
from vxi11 import vxi11

from aicalib_hw import registry

CORE = 0x0607AF
LONGEST = 60
"""s that a capture or a program may take."""


def raise_loopback() -> None:
    """Bring the namespace's own loopback interface up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh22x", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_socket, 0x8914, up)


def run(*command: str) -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
    return done.stdout.strip()


@contextlib.contextmanager
def captured(path: Path) -> Iterator[None]:
    """Capture loopback into a file."""
    program = subprocess.Popen(
        ["tshark", "-i", "lo", "-a", f"duration:{LONGEST}", "-w", str(path)], stderr=subprocess.PIPE, text=True
    )
    assert program.stderr is not None
    for line in program.stderr:
        if "Capturing on" in line:
            break
    # The capture has begun when a packet sent for the purpose is in the file.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        while not (path.exists() and path.stat().st_size > 500):
            probe.sendto(bytes(64), ("127.0.0.1", 9))
            time.sleep(0.1)
    yield
    time.sleep(0.5)
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=LONGEST)


def ask_with_lxi(meter: Any) -> dict[str, str]:
    """Ask a meter with lxi-tools over both wires."""
    _, host, port, _ = meter.addresses["TCP"].split("::")
    said = {}
    for name, query in (("identity", "*IDN?"), ("power", ":MEAS:POW?")):
        said[f"{name} over VXI-11"] = run("lxi", "scpi", "-t", "20", "-a", "127.0.0.1", query)
        said[f"{name} over TCP"] = run("lxi", "scpi", "-t", "20", "-r", "-a", host, "-p", port, query)
    return said


SETTLED = 3.0
"""s of the world's time after which every meter has shown values: none has any before its first update."""
OF_FAMILIES = {
    "hioki-pw3336": ("*IDN?", ":HEAD OFF;:MEAS? P1"),
    "tektronix-pa1000": ("*IDN?", ":FRD?"),
    "zes-lmg600": ("*idn?", ":FETC:POW:ACT1?"),
}
"""Families on a raw socket → what asks for identity and active power."""


def ask_families(world: Any, ports: dict[tuple[int, int], int]) -> dict[str, str]:
    """Ask simulated meters of families with lxi-tools: a WT310E over VXI-11, the others over their raw sockets."""
    said = {}
    wt310 = registry.simulator("yokogawa-wt300")(world, "wt310")
    wt310.start()
    world.clock.wait_until(world.clock.now() + SETTLED)
    before, ports[CORE, 1] = ports[CORE, 1], core_port(wt310)
    said["identity of yokogawa-wt300"] = run("lxi", "scpi", "-t", "20", "-a", "127.0.0.1", "*IDN?")
    said["power of yokogawa-wt300"] = run(
        "lxi", "scpi", "-t", "20", "-a", "127.0.0.1", ":COMM:HEAD OFF;:NUM:NORM:VAL? 3"
    )
    ports[CORE, 1] = before
    wt310.stop()
    for name, (identity, power) in OF_FAMILIES.items():
        meter = registry.simulator(name)(world, name)
        meter.start()
        world.clock.wait_until(world.clock.now() + SETTLED)
        _, host, port, _ = meter.addresses["TCP"].split("::")
        for what, query in (("identity", identity), ("power", power)):
            said[f"{what} of {name}"] = run("lxi", "scpi", "-t", "20", "-r", "-a", host, "-p", port, query)
        meter.stop()
    return said


def core_port(meter: Any) -> int:
    """The port of a meter's VXI-11 core channel."""
    return int(meter.addresses["VXI-11"].split(",")[1].split("::")[0])


def talk_hislip(echo: Any) -> None:
    """A session with status, lock-free exchange and device clear."""
    manager = pyvisa.ResourceManager("@py")
    resource: Any = manager.open_resource(echo.addresses["HiSLIP"], read_termination="\n", write_termination="\n")
    for message in ("*RST", "RECEIVE", "hello"):
        resource.write(message)
    assert resource.query("SEND") == "hello"
    resource.read_stb()
    resource.clear()
    assert "SIM" in resource.query("*IDN?")
    resource.close()
    manager.close()


def request_service(meter: Any) -> None:
    """A VXI-11 session with locks, abort, status and a service request."""
    port = core_port(meter)
    client: Any = vxi11.CoreClient("127.0.0.1", port)
    _, link, abort_port, _ = client.create_link(1, 0, 0, b"inst0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client.create_intr_chan(0x7F000001, listener.getsockname()[1], 0x0607B1, 1, 0)
        connection, _ = listener.accept()
        client.device_enable_srq(link, 1, b"handle")
        client.device_lock(link, 0, 0)
        client.device_write(link, 1000, 0, 8, b"*CLS;*ESE 32;*SRE 32;:NOTHING")
        connection.recv(100)
        client.device_read_stb(link, 0, 0, 1000)
        client.device_clear(link, 0, 0, 1000)
        client.device_unlock(link)
        abort: Any = vxi11.AbortClient("127.0.0.1", abort_port)
        abort.device_abort(link)
        abort.close()
        client.destroy_intr_chan()
        connection.close()
    client.destroy_link(link)
    client.close()


def main(folder: Path) -> None:
    """Serve, talk, capture, dissect."""
    raise_loopback()
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
    meter = SimulatedScpiMeter(world, "meter")
    echo = SimulatedEcho(world, "echo", hislip_port=4880)
    world.start()
    meter.start()
    echo.start()
    ports = {(CORE, 1): core_port(meter)}
    mapper = Portmapper(ports)
    mapper.start()
    path = folder / "session.pcapng"
    try:
        with captured(path):
            said: dict[str, Any] = ask_with_lxi(meter)
            said |= ask_families(world, ports)
            talk_hislip(echo)
            request_service(meter)
    finally:
        mapper.stop()
        echo.stop()
        meter.stop()
        world.stop()
    frames = run("tshark", "-r", str(path), "-T", "fields", "-e", "frame.protocols").splitlines()
    said["protocols"] = {name: sum(name in one for one in frames) for name in ("portmap", "vxi11", "hislip")}
    said["malformed"] = run("tshark", "-r", str(path), "-Y", "_ws.malformed || _ws.short")
    said["hislip"] = run("tshark", "-r", str(path), "-Y", "hislip", "-T", "fields", "-e", "_ws.col.Info")
    said["vxi11"] = run("tshark", "-r", str(path), "-Y", "vxi11_core || vxi11_async || vxi11_intr", "-T", "fields",
                        "-e", "_ws.col.Info")  # fmt: skip
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    os.umask(0o077)
    main(Path(sys.argv[1]))

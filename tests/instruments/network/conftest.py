"""Hosts with a cable between them, as network namespaces: real traffic that leaves no trace on this machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Host:
    """One end of the cable: a namespace with one interface."""

    name: str
    interface: str
    address: str

    def run(self, *command: str) -> str:
        """Run a command on this host and return what it printed."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command], check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program on this host."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def counter(self, name: str) -> int:
        """Return a counter of the kernel for the interface, such as rx_bytes (no FCS)."""
        return int(self.run("cat", f"/sys/class/net/{self.interface}/statistics/{name}"))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread make its sockets on this host; those made here stay there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            assert libc.setns(there.fileno(), _CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), _CLONE_NEWNET) == 0

    def wrapper(self, program: str, folder: Path) -> Path:
        """Write a script that runs `program` on this host with whatever arguments it is given."""
        path = folder / f"{program}-on-{self.name}"
        path.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {program} "$@"\n')
        path.chmod(0o755)
        return path


@pytest.fixture
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two namespaces joined by a veth pair, offloads off so that what is counted is what a cable would carry."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("ethtool"):
        pytest.skip("network namespaces need root, ip and ethtool: sudo apt-get install iproute2 ethtool")
    mark = f"{os.getpid() % 100000}"
    hosts = (Host(f"aic{mark}a", f"va{mark}", "198.18.0.1"), Host(f"aic{mark}b", f"vb{mark}", "198.18.0.2"))

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)

    try:
        for host in hosts:
            ip("netns", "add", host.name)
        ip("link", "add", hosts[0].interface, "type", "veth", "peer", "name", hosts[1].interface)
        for host in hosts:
            ip("link", "set", host.interface, "netns", host.name)
            ip("-n", host.name, "addr", "add", f"{host.address}/30", "dev", host.interface)
            ip("-n", host.name, "link", "set", "lo", "up")
            ip("-n", host.name, "link", "set", host.interface, "up")
            host.run("ethtool", "-K", host.interface, "tso", "off", "gso", "off", "gro", "off")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def one_host() -> Iterator[Host]:
    """One namespace with both ends of a cable, "out" and "in", and nothing that talks by itself."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and ip: sudo apt-get install iproute2")
    host = Host(f"aic{os.getpid() % 100000}c", "in", "127.0.0.1")

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)

    try:
        ip("netns", "add", host.name)
        for name in ("all", "default"):
            host.run("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6=1")
        ip("-n", host.name, "link", "add", "out", "type", "veth", "peer", "name", "in")
        for interface in ("lo", "out", "in"):
            ip("-n", host.name, "link", "set", interface, "up")
        yield host
    finally:
        subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True, timeout=30)

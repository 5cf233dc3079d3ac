"""One start of simulated iperf3, as client or as server: from its command line to its exit status."""

from __future__ import annotations

import ipaddress
import json
import os
import queue
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..servers.executable import Gone, Invocation
from ..world import World
from ..world.faults import FaultPlan
from . import iperf3_report as report
from .iperf3_flow import Host
from .iperf3_options import USAGE, Asked, Mistake, parse
from .iperf3_report import Row
from .iperf3_run import FIRST_SOCKET, Test
from .iperf3_text import accepted, poisoned, server_intervals, server_text, summary
from .port import Network

_LOOK = 0.02
"""How often a test is looked at, real s."""
_FEATURES = (
    "Optional features available: CPU affinity setting, IPv6 flow label, TCP congestion algorithm setting, "
    "sendfile / zerocopy, socket pacing, bind to device\n"
)
_BUSY = "the server is busy running a test. try again later"
_LOST = "unable to write to stream socket: "
_PATIENCE = 127.0
"""How long a client waits for a host that does not answer, world s."""
_CHATTER = "WARNING:  Size of data read does not correspond to offered length\n"


@dataclass
class Server:
    """Who listens on a port. visitors: tests of clients for a started program; None: served by the simulator alone."""

    port: int
    visitors: queue.SimpleQueue[Visit] | None = None
    busy: threading.Lock = field(default_factory=threading.Lock)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the server ended: the reason is in `how`."""
    how: str = ""
    number: int = 1


@dataclass
class Visit:
    """A test as the server hears of it. over: set when it has ended; error: why, "" = as it should."""

    test: Test
    cookie: str
    ports: list[int]
    over: threading.Event = field(default_factory=threading.Event)
    error: str = ""
    server_text: str = ""


class Hosts:
    """The two hosts of a simulated network and who listens on the second of them."""

    def __init__(self, world: World, network: Network, faults: FaultPlan, host: Host, names: tuple[str, ...]) -> None:
        self.world, self.network, self.faults, self.host, self.names = world, network, faults, host, names
        self.servers: dict[int, Server] = {}
        self.draw = random.Random(world.seed)
        self.latest: Test | None = None
        self._local = 40000

    def local_port(self) -> int:
        """Return a port of the client that nobody has."""
        self._local = 40000 + (self._local - 39998) % 20000
        return self._local


class Session:
    """What one command line makes of the hosts. version: with its mark; stopping: whether the world ends."""

    def __init__(self, invocation: Invocation, hosts: Hosts, version: str, stopping: Callable[[], bool]) -> None:
        self._called, self._hosts, self._version, self._stopping = invocation, hosts, version, stopping
        number = version.rpartition(" ")[2].split(".")
        self._level = (int(number[0]), int(number[1]))
        self._asked = Asked()
        self._start: dict[str, Any] = {}
        self._intervals: list[dict[str, Any]] = []
        self._system = "Linux simulated 0.0.0 #1 SIM x86_64"

    def run(self) -> int:
        """Do it all; return the exit status. Raises Gone where the program was killed."""
        called = self._called
        try:
            self._asked = asked = parse(called.program, called.arguments, streams=self._level >= (3, 17))
        except Mistake as mistake:
            called.out(mistake.shown)
            called.err(mistake.said)
            return 1
        if asked.version:
            called.out(f"{self._version} (cJSON 1.7.15)\n{self._system}\n{_FEATURES}")
            return 0
        if asked.help:
            called.out(USAGE)
            return 0
        self._start = {"connected": [], "version": self._version, "system_info": self._system}
        return self._serve() if asked.server else self._visit()

    # As a client.

    def _visit(self) -> int:
        asked, faults, hosts = self._asked, self._hosts.faults, self._hosts
        server, why = self._find()
        if server is None:
            return self._failed(f"unable to connect to server: {why}")
        if faults.strikes("locked") is not None or not server.busy.acquire(blocking=False):
            return self._failed(_BUSY)
        ports = hosts.network.ports
        test = Test(hosts.network, (ports["client"], ports["server"]), hosts.host, asked, hosts.draw)
        control = hosts.local_port()
        local = [asked.local_port or hosts.local_port() for _ in test.flows]
        cookie = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(36))
        visit = Visit(test, cookie, [control, *local])
        try:
            test.start()
            hosts.latest = test
            if server.visitors is not None:
                server.visitors.put(visit)
            self._open(test, visit)
            return self._follow(test, visit, server)
        except Gone:
            visit.error = visit.error or "the client has unexpectedly closed the connection"
            raise
        finally:
            test.stop()
            visit.over.set()
            server.number += 1
            server.busy.release()

    def _find(self) -> tuple[Server | None, str]:
        """Return the server that the client can reach, or why there is none."""
        asked, hosts = self._asked, self._hosts
        if asked.host not in hosts.names:
            try:
                ipaddress.ip_address(asked.host)
            except ValueError:
                return None, "Name or service not known"
            patience = asked.connect_timeout or _PATIENCE
            self._sleep(hosts.world.clock.now() + patience)
            return None, "Connection timed out"
        if hosts.faults.strikes("refuse") is not None:
            return None, os.strerror(111)
        server = hosts.servers.get(asked.port)
        return server, "" if server is not None else "Connection refused"

    def _open(self, test: Test, visit: Visit) -> None:
        """Say with whom one is connected, and how."""
        asked, called = self._asked, self._called
        addresses = {"local_host": "127.0.0.1", "remote_host": "127.0.0.1"}
        self._start["connected"] = [
            {
                "socket": FIRST_SOCKET + 2 * index,
                "local_host": addresses["local_host"],
                "local_port": port,
                "remote_host": addresses["remote_host"],
                "remote_port": asked.port,
            }
            for index, port in enumerate(visit.ports[1:])
        ]
        self._stamp()
        self._start |= {
            "connecting_to": {"host": asked.host, "port": asked.port},
            "cookie": visit.cookie,
            **({} if asked.udp else {"tcp_mss_default": test.host.mtu - 52}),
            "target_bitrate": test.rate,
            **self._buffers(test),
            "test_start": self._told(test),
        }
        if asked.stream:
            self._event("start", self._start)
        if not asked.json:
            called.out(f"Connecting to host {asked.host}, port {asked.port}\n")
            if asked.reverse:
                called.out(f"Reverse mode, remote host {asked.host} is sending\n")
            for one in self._start["connected"]:
                called.out(
                    f"[{one['socket']:3d}] local 127.0.0.1 port {one['local_port']} "
                    f"connected to 127.0.0.1 port {one['remote_port']}\n"
                )
            # Without UDP the columns of a sender are named in reverse too, where they stay empty.
            sender = not (asked.udp and asked.reverse)
            called.out(report.head(asked.udp, final=False, sender=sender, bidir=asked.bidir))

    def _buffers(self, test: Test) -> dict[str, int]:
        window = self._asked.window
        sizes = (212992, 212992) if test.asked.udp else (2 * window or 16384, 2 * window or 131072)
        return {"sock_bufsize": window, "sndbuf_actual": sizes[0], "rcvbuf_actual": sizes[1]}

    def _told(self, test: Test) -> dict[str, Any]:
        asked = test.asked
        told: dict[str, Any] = {
            "protocol": "UDP" if asked.udp else "TCP",
            "num_streams": asked.parallel,
            "blksize": test.block,
            "omit": int(asked.omit),
            "duration": 0 if test.planned is None else int(asked.duration),
            "bytes": asked.amount,
            "blocks": asked.blocks,
            "reverse": int(asked.reverse),
            "tos": asked.tos,
        }
        if self._level >= (3, 10):
            told["target_bitrate"] = test.rate
        return told

    def _stamp(self) -> None:
        stamp = time.time()
        text = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(stamp))
        self._start["timestamp"] = {"time": text, "timesecs": int(stamp)}

    def _follow(self, test: Test, visit: Visit, server: Server) -> int:
        """Tell interval after interval until the test has ended, in whichever way."""
        asked, faults = self._asked, self._hosts.faults
        dying = faults.strikes("drop")
        stuck = faults.strikes("stuck")
        if stuck is not None:
            test.stop()
            self._sleep(self._hosts.world.clock.now() + stuck.amount)
            return self._failed("unable to receive control message: Connection timed out")
        for omitted, length in ((True, asked.omit), (False, None)):
            if length == 0.0:
                continue
            at = 0.0
            while True:
                next_at, last = self._next(test, at, length)
                reached = self._wait(test, server, (0.0 if omitted else asked.omit) + next_at)
                if reached == "signal":
                    return self._interrupted(test, visit)
                if reached == "gone":
                    return self._failed(_LOST + server.how)
                if dying is not None and next_at >= dying.amount:
                    return self._failed(_LOST + "Connection reset by peer")
                ended = not omitted and not test.running and (test.planned is None or last)
                if ended or last:
                    next_at = length if length is not None else test.end(True)
                if next_at > at and (asked.interval or ended or last):
                    self._tell(test.rows(True, at, next_at, omitted=omitted), test, visible=bool(asked.interval))
                at = next_at
                if ended or last:
                    break
        return self._finished(test, visit)

    def _next(self, test: Test, at: float, length: float | None) -> tuple[float, bool]:
        """Return when the next interval ends, and whether that is the last of its kind."""
        limit = length
        if limit is None and test.planned is not None and test.asked.duration:
            limit = test.planned
        step = self._asked.interval or 3600.0
        wanted = (round(at / step) + 1) * step + self._hosts.draw.uniform(0, 0.5e-3)
        if limit is not None and wanted >= limit - 0.1 * step:
            return limit, True
        return wanted, False

    def _wait(self, test: Test, server: Server, seconds: float) -> str:
        """Wait until the client's clock shows so much, or until something else happens."""
        clock, called = self._hosts.world.clock, self._called
        moment = float(test.moment(True, seconds))
        while True:
            if self._stopping() or called.gone.is_set():
                raise Gone("gone")
            if self._ended_by_signal():
                return "signal"
            if server.gone.is_set():
                return "gone"
            called.woken.clear()
            if clock.wait_until(moment, cancel=called.woken, limit=_LOOK):
                return "reached"
            if test.planned is None and not test.running:
                return "ended"

    def _sleep(self, moment: float) -> None:
        called = self._called
        while not self._hosts.world.clock.wait_until(moment, cancel=called.gone, limit=_LOOK):
            if self._stopping() or called.gone.is_set() or self._ended_by_signal():
                raise Gone("gone")

    def _ended_by_signal(self) -> bool:
        called = self._called
        while not called.signals.empty():
            if called.signals.get() in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)):
                return True
        return False

    def _tell(self, rows: list[Row], test: Test, *, visible: bool, client: bool = True) -> None:
        """Keep an interval, and say it."""
        asked = test.asked
        groups: dict[bool, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.sender, []).append(row)
        shown: dict[str, Any] = {"streams": [row.shown(test.host.mtu, total=False) for row in rows]}
        for name, group in zip(("sum", "sum_bidir_reverse"), groups.values(), strict=False):
            shown[name] = report.added(group).shown(test.host.mtu, total=True)
        if visible:
            self._intervals.append(shown)
            if self._asked.stream:
                self._event("interval", shown)
        if self._asked.json or not visible:
            return
        text = ""
        for group in groups.values():
            text += "".join(report.interval_line(row, self._asked.unit) for row in group)
            if asked.parallel > 1:
                text += report.interval_line(report.added(group), self._asked.unit, total=True)
        self._called.out(text)

    def _finished(self, test: Test, visit: Visit) -> int:
        """Wait until the server has told its side, and say what came out."""
        asked = self._asked
        self._sleep(float(test.moment(False, asked.omit + test.end(False))))
        test.stop()
        visit.over.set()
        text = server_text(test, visit.ports, asked.port) if asked.server_output else ""
        end = test.result(True)
        if self._hosts.faults.strikes("nan") is not None:
            end = poisoned(end)
        if not asked.json:
            self._called.out(self._summary(test, client=True) + "\n")
            if text:
                self._called.out(f"Server output:\n{text}\n")
            self._called.out("iperf Done.\n")
            return 0
        self._document(end, "", text)
        return 0

    def _interrupted(self, test: Test, visit: Visit) -> int:
        """End at a signal: what was counted is said, of the server's side nothing is known."""
        why = "interrupt - the client has terminated"
        test.interrupted = max(0.0, test.elapsed() - self._asked.omit)
        test.stop()
        visit.error = "the client has terminated"
        last = self._intervals[-1]["streams"][0] if self._intervals else None
        at = last["end"] if last is not None and not last["omitted"] else 0.0
        if test.interrupted > at:
            self._tell(test.rows(True, at, test.end(True)), test, visible=True)
        if self._asked.json:
            self._document(test.result(True), why)
        else:
            self._called.out(self._summary(test, client=True))
            self._called.err(f"iperf3: {why}\n")
        return 1

    def _failed(self, why: str) -> int:
        """Say what went wrong; return the status, which says nothing in JSON before 3.14."""
        if self._asked.json:
            self._document({}, why)
            return 0 if self._level < (3, 14) else 1
        self._called.err(f"iperf3: error - {why}\n")
        return 1

    def _document(self, end: dict[str, Any], error: str, text: str = "") -> None:
        if self._asked.stream:
            if error:
                self._event("error", error)
            self._event("end", end)
            return
        whole: dict[str, Any] = {"start": self._start, "intervals": self._intervals, "end": end}
        if self._asked.title:
            whole["title"] = self._asked.title
        if self._asked.extra:
            whole["extra_data"] = self._asked.extra
        if text:
            whole["server_output_text"] = text
        if error:
            whole["error"] = error
        self._said(report.written(whole).replace('"-nan"', "-nan") + "\n")

    def _event(self, name: str, data: Any) -> None:
        self._said(json.dumps({"event": name, "data": data}, separators=(",", ":")) + "\n")

    def _said(self, text: str) -> None:
        faults = self._hosts.faults
        if faults.strikes("chatter") is not None:
            text = _CHATTER + text
        if faults.strikes("half_line") is not None:
            text = text[: len(text) // 2]
        if faults.strikes("garble") is not None:
            text = text.replace(":", ";")
        self._called.out(text)

    def _summary(self, test: Test, *, client: bool) -> str:
        """Return the last lines for people."""
        return summary(test, self._asked.unit, client=client)

    # As a server.

    def _serve(self) -> int:
        asked, called, hosts = self._asked, self._called, self._hosts
        number = called.listen(asked.bind or "127.0.0.1", asked.port)
        if number:
            why = f"unable to start listener for connections: {os.strerror(number)}"
            if asked.json:
                self._document({}, f"error - {why}")
            called.err(("" if asked.json else f"iperf3: error - {why}\n") + "iperf3: exiting\n")
            return 1
        visitors: queue.SimpleQueue[Visit] = queue.SimpleQueue()
        server = Server(asked.port, visitors)
        hosts.servers[asked.port] = server
        reset = "Connection reset by peer"
        try:
            while True:
                if not asked.json:
                    called.out(
                        f"{report.LINE}\nServer listening on {asked.port} (test #{server.number})\n{report.LINE}\n"
                    )
                visit = self._await(visitors)
                if visit is None or not self._attend(visit):
                    reset = "Broken pipe"
                    called.err("iperf3: interrupt - the server has terminated\n")
                    return 1
                if asked.once:
                    return 0
        finally:
            server.how = reset
            server.gone.set()
            if hosts.servers.get(asked.port) is server:
                del hosts.servers[asked.port]

    def _await(self, visitors: queue.SimpleQueue[Visit]) -> Visit | None:
        """Return the next client, None: a signal came first."""
        while True:
            if self._stopping() or self._called.gone.is_set():
                raise Gone("gone")
            if self._ended_by_signal():
                return None
            try:
                return visitors.get(timeout=_LOOK)
            except queue.Empty:
                continue

    def _attend(self, visit: Visit) -> bool:
        """See a test through; False: a signal ended it."""
        test, called = visit.test, self._called
        self._intervals = []
        self._start = {
            "connected": [
                {
                    "socket": FIRST_SOCKET + 2 * index,
                    "local_host": "127.0.0.1",
                    "local_port": self._asked.port,
                    "remote_host": "127.0.0.1",
                    "remote_port": port,
                }
                for index, port in enumerate(visit.ports[1:])
            ],
            "version": self._version,
            "system_info": self._system,
            **({"target_bitrate": test.rate} if test.asked.udp else {}),
            **self._buffers(test),
        }
        self._stamp()
        self._start |= {
            "accepted_connection": {"host": "127.0.0.1", "port": visit.ports[0]},
            "cookie": visit.cookie,
            **({} if test.asked.udp else {"tcp_mss_default": 0, "target_bitrate": test.rate}),
            "test_start": self._told(test),
        }
        if not self._asked.json:
            called.out(accepted(test, visit.ports, self._asked.port))
        while not visit.over.wait(_LOOK):
            if self._stopping() or called.gone.is_set():
                raise Gone("gone")
            if self._ended_by_signal():
                return False
        if visit.error:
            called.err("" if self._asked.json else f"iperf3: {visit.error}\n")
            if self._asked.json:
                self._document({}, visit.error)
            return True
        for start, stop in server_intervals(test):
            self._tell(test.rows(False, start, stop), test, visible=True, client=False)
        if self._asked.json:
            self._document(test.result(False), "")
        else:
            called.out(self._summary(test, client=False))
        return True

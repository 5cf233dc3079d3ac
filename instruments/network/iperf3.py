"""iperf3 as a tester of what a network delivers to programs: TCP or UDP, layer 4, one direction at a time.

Source: manual page iperf3(1) and the JSON that versions 3.7 to 3.21 print. The server is anybody's `iperf3 -s`
at the address; the client is run here, once for each measurement. Only `end.sum_received` is a measurement: what
the sender counts has not arrived, and the rates that iperf3 prints mix the times of both ends, so the rate is
computed here from the receiver's bytes and times. Before 3.14 a failure ends with status 0, so it is the `error`
key that counts. Not covered: SCTP, authentication, bidirectional runs, `--json-stream`.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from aicalib_hw import rates
from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    IdentityMismatch,
    NotSupported,
    ProtocolError,
    UsageError,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    Gate,
    NetworkTester,
    NetworkTesterCapabilities,
    PortInfo,
    Rate,
    ReleaseReport,
    Setting,
    Stream,
)
from aicalib_hw.readings import Instant
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Process, find_program

from . import _iperf3_output as output_of
from ._iperf3_address import Place, place_of
from ._iperf3_reservation import LOCAL, REMOTE, Iperf3Reservation, require_end

OLDEST = (3, 7)
"""First version whose JSON has all that is read here."""

_VERSION = re.compile(r"(\S*-)?iperf (\d+)\.(\d+)(\S*)")
_INSTALL = "sudo apt-get install iperf3, or see https://iperf.fr"


class Iperf3(NetworkTester):
    """One iperf3 server, and the client on this host that measures to and from it.

    address: iperf3://HOST:PORT?transport=tcp&parallel=1&omit=1&program=iperf3, where transport is "tcp" or "udp",
    parallel the number of connections (1…128), omit the whole seconds at the beginning that are not counted
    (0…60), program the client to run; `iperf3://127.0.0.1?serve=yes` runs a server here for as long as it is open,
    which measures this host and no network. timeout: s for connecting, and for the end after the gate.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="iperf3",
        role="network_tester",
        summary="iperf3, version 3.7 or later",
        manual="iperf3(1)",
        schemes=("iperf3",),
        wires=("process", "TCP", "UDP"),
        simulator="iperf3",
        verified="iperf3 3.12 on Linux, between network namespaces",
    )

    def __init__(self, address: str, *, timeout: float = 10.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self.place = place_of(address)
        self._program = ""
        self.client: Process | None = None
        self._server: Process | None = None
        self._aborted = False

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the address of this host's loopback where iperf3 is installed; raises MissingProgram."""
        find_program("iperf3", purpose="measuring with iperf3", install=_INSTALL)
        return ("iperf3://127.0.0.1?serve=yes",)

    def _connect(self) -> None:
        self._program = find_program(self.place.program, purpose="measuring with iperf3", install=_INSTALL)

    def _opened(self) -> None:
        if self.place.serve:
            self._serve()

    def _disconnect(self) -> None:
        self._stop()
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _serve(self) -> None:
        """Run a server on a free port of loopback; raises ConnectionFailed if it does not listen in time."""
        with socket.create_server((self.place.host, 0)) as free:
            port = free.getsockname()[1]
        listening = threading.Event()
        command = [self._program, "-s", "-B", self.place.host, "-p", str(port), "--forceflush"]
        self._server = Process(
            command, trace=self._trace, on_line=lambda line: _note_listening(line, listening), guarded=True
        )
        self._server.start()
        if not listening.wait(self.timeout):
            raise ConnectionFailed("the iperf3 server that was started here does not listen", where=" ".join(command))
        self.place = replace(self.place, port=port)

    def identify(self) -> Identity:
        """Ask the client for its version; raises IdentityMismatch for another program or a version too old."""
        said = self._run(["--version"], self.timeout, guarded=False).splitlines()
        match = _VERSION.match(said[0]) if said else None
        if match is None or (int(match[2]), int(match[3])) < OLDEST:
            raise IdentityMismatch(
                f"{said[0] if said else 'nothing'!r} answers, and this driver is for iperf3",
                where=self._program,
                why=f"version {OLDEST[0]}.{OLDEST[1]} or later is needed",
                advice=_INSTALL,
            )
        extra = {"build": said[0], "system": said[1] if len(said) > 1 else ""}
        version = f"{match[1] or ''}{match[2]}.{match[3]}{match[4]}"
        return Identity("ESnet", "iperf3", "", version, self.address, {"version": version, **extra})

    def require_version(self, said: Mapping[str, Any]) -> None:
        """Raise IdentityMismatch unless the JSON of a run says to be of the version that was asked on opening."""
        present = str(said.get("start", {}).get("version", ""))
        match = _VERSION.match(present)
        version = f"{match[2]}.{match[3]}" if match else present
        known = self.identity.firmware.rpartition("-")[2]
        if present and not re.match(rf"{re.escape(version)}(?!\d)", known):
            raise IdentityMismatch(
                f"{present!r} measured, and {self.identity.firmware} was opened",
                where=self._program,
                advice="let nobody replace the program meanwhile, and open it anew",
            )

    @property
    def capabilities(self) -> NetworkTesterCapabilities:
        """What iperf3 can do: layer 4, a gate in seconds, loss with UDP alone."""
        udp = self.place.transport == "udp"
        return NetworkTesterCapabilities(
            native_layer="L4",
            min_frame_size=rates.ETHERNET + rates.IPV4_UDP + 16 if udp else None,
            max_frame_size=rates.ETHERNET + rates.IPV4_UDP + 65_507 if udp else None,
            gates=("seconds",),
            loss=True if udp else None,
            notes={"start": "iperf3 tells what the receiver counted only at the end: use measure_throughput"},
        )

    def ports(self) -> tuple[PortInfo, ...]:
        """Name the two ends; iperf3 knows neither speed nor link of them."""
        return (PortInfo(LOCAL, None, None), PortInfo(REMOTE, None, None))

    def reserve(self, ports: Sequence[str], *, owner: str, force: bool = False) -> Iperf3Reservation:
        """Take both ends for a run; iperf3 has no owners: a server that is busy says so when a run begins.

        Raises OutOfRange for an end that is none, NotSupported for `force`.
        """
        for port in ports:
            require_end(port)
        if force:
            raise NotSupported("iperf3 has no owners to evict", where=self.address)
        _ = self.identity
        return Iperf3Reservation(self)

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        units = {"omit": "s"}
        return {
            name: Setting(getattr(self.place, name), units.get(name, ""), now, "driver") for name in Place.__slots__
        }

    def abort(self) -> None:
        """End the client now; from any thread; never raises."""
        self._aborted = True
        running = self.client
        if running is not None:
            running.abort()

    def release(self) -> ReleaseReport:
        """End a client that runs; idempotent; never raises."""
        return ReleaseReport(("traffic stopped",)) if self._stop() else ReleaseReport()

    def _stop(self) -> bool:
        running = self.client
        if running is None or not running.running:
            return False
        running.stop()
        return True

    def _run(self, arguments: Sequence[str], limit: float, *, guarded: bool) -> str:
        self._aborted = False
        with self._lock, Process([self._program, *arguments], trace=self._trace, guarded=guarded) as process:
            self.client = process
            try:
                if self._aborted:
                    raise Aborted("the measurement was aborted", where=self.address)
                return process.wait(limit).output
            finally:
                self.client = None

    def run_through(self, stream: Stream, gate: Gate) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Run the client through `gate`; return the JSON it printed and its arguments."""
        place = self.place
        arguments = ["-c", place.host, "-p", str(place.port), "-J", "-t", str(round(gate.amount))]
        arguments += ["-O", str(place.omit), "-P", str(place.parallel)]
        arguments += ["--connect-timeout", str(round(self.timeout * 1000))]
        arguments += ["-R"] if stream.tx == REMOTE else []
        if isinstance(stream.load, Rate):
            arguments += ["-b", str(round(self.payload_rate(stream) / place.parallel))]
        if place.transport == "udp":
            arguments += ["-u", "-l", str(stream.frame_size - rates.ETHERNET - rates.IPV4_UDP)]
        # Guarded: a client whose program is killed would go on sending to the end of its gate.
        output = self._run(arguments, gate.amount + place.omit + 2 * self.timeout, guarded=True)
        try:
            return output_of.parse(output), tuple(arguments)
        except ValueError as error:
            raise ProtocolError(
                "iperf3 printed no JSON", where=self.address, why=f"{error}; it printed {output[:80]!r}"
            ) from error

    def payload_rate(self, stream: Stream) -> float:
        """Return the rate that is asked of a stream, bit/s at layer 4; raises UsageError for a share of the line."""
        if not isinstance(stream.load, Rate):
            raise UsageError("a share of the line cannot be offered", where=self.address)
        if stream.load.layer == "L4":
            return stream.load.value
        frame = rates.Frame(stream.frame_size, headers=rates.IPV4_UDP)
        return rates.convert(stream.load.value, stream.load.layer, "L4", frame)


def _note_listening(line: str, listening: threading.Event) -> None:
    if "listening" in line:
        listening.set()

"""Any supported power meter under the protocol of SPEC's PTDaemon, for harnesses that speak only that.

Source: what public harnesses send, expect and log (mlcommons/power-dev `ptd_client_server/lib/server.py`,
`compliance/check.py`); PTDaemon's own document is not at hand. This is not PTDaemon and says so: it names its own
version, so that a check for released versions of SPEC's program does not pass.

Offered: Hello, Identify, RR, SR, Go (untimed, without ramp-up samples), Stop, RL, Watts, Volts, Amps, PF,
Uncertainty, and the log of samples. Anything else is answered "Unknown command".
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import aicalib_hw
from aicalib_hw.errors import AicalibError, ConnectionFailed, RecordError, UsageError
from aicalib_hw.identity import SIMULATION_MARK
from aicalib_hw.interfaces import PowerMeter, PowerSettings
from aicalib_hw.serve._common_samples import Channel, Sample, Sampling

PORT = 8888
MOST_SAMPLES = 500_000
_LONGEST_LINE = 4096
_UNKNOWN = "Unknown command"
_log = logging.getLogger(__name__)


class Refused(Exception):
    """A command that cannot be carried out; its text goes to the client behind `Error: `."""


class PTDaemonServer:
    """Serves open power meters at `host`, `port`; with several, their signed sum and each as a channel.

    log: a file that gets a line for each sample, as PTDaemon's does; harnesses take their results from it.
    port 0 = the system chooses. Clients come from wherever `host` can be reached: nothing is asked of them.
    """

    def __init__(
        self, meters: Sequence[PowerMeter], *, host: str = "127.0.0.1", port: int = PORT, log: Path | None = None
    ) -> None:
        if not meters:
            raise UsageError("no meter is to be served", advice="name at least one address")
        self._meters = tuple(meters)
        self._bind = (host, port)
        self._log_path = log
        self._log_file: IO[str] | None = None
        self._server: _Server | None = None
        self._lock = threading.RLock()
        self._sampling: Sampling | None = None
        self._former: list[tuple[PowerMeter, float]] = []
        self._fixed: dict[str, float | None] = {"V": None, "A": None}
        self._settings_of_run: PowerSettings | None = None
        self._mark = ""
        self._run = 0
        self._samples: list[Sample] = []

    def start(self) -> tuple[str, int]:
        """Listen; return host and port. Raises ConnectionFailed if the port is taken, RecordError for the log."""
        if self._log_path is not None:
            try:
                self._log_file = open(self._log_path, "a", encoding="utf-8")  # noqa: SIM115 - closed by stop()
            except OSError as error:
                raise RecordError("the log cannot be written", where=str(self._log_path), why=str(error)) from error
        try:
            self._server = _Server(self._bind, self)
        except OSError as error:
            self.stop()
            raise ConnectionFailed(
                f"nothing can listen at {self._bind[0]}, port {self._bind[1]}",
                why=str(error),
                advice="end the program that listens there, or choose another --port",
            ) from error
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="ptdaemon", daemon=True).start()
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def stop(self) -> None:
        """End measurement, connections and listening; the meters stay open. Idempotent, never raises."""
        with self._lock, contextlib.suppress(AicalibError):
            self._end_measurement()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.drop_clients()
        if self._log_file is not None:
            self._log_file.close()
            self._log_file = None

    def answer(self, line: str, seen: _Seen) -> list[str]:
        """Return the lines that answer one command. seen: what this client has read of the running measurement."""
        word, _, rest = line.partition(",")
        command = _COMMANDS.get(word.strip())
        if command is None:
            return [_UNKNOWN]
        with self._lock:
            try:
                return command(self, rest, seen)
            except Refused as refused:
                return [f"Error: {refused}"]
            except AicalibError as error:
                _log.warning("%r: %s", line, error)
                return [f"Error: {'; '.join(part for part in (error.what, error.why) if part)}"]

    def _hello(self, rest: str, seen: _Seen) -> list[str]:
        return ["Hello, PTDaemon here!"]

    def _identify(self, rest: str, seen: _Seen) -> list[str]:
        found = [meter.identity for meter in self._meters]
        names = "+".join(_plain(f"{one.maker.title()}{one.model}") for one in found)
        serials = "+".join(_plain(one.serial) for one in found)
        mark = f"{SIMULATION_MARK}-" if any(one.simulated for one in found) else ""
        return [f"{names},serial={serials},version={mark}aicalib-hw-{aicalib_hw.__version__}"]

    def _read_ranges(self, rest: str, seen: _Seen) -> list[str]:
        settings = self._settings_of_run
        if settings is None:
            settings = self._meters[0].configure()
        texts = []
        for letter, ranges in (("A", settings.current_range), ("V", settings.voltage_range)):
            auto = settings.auto_range
            if auto and self._fixed[letter] is not None:  # the other quantity is the one under auto range
                auto = False
            texts.append("-1" if auto is None else str(int(auto)))
            texts.append(f"{ranges[0]:.10g}" if ranges else "-1.0")
        return [f"Ranges,{','.join(texts)}"]

    def _set_range(self, rest: str, seen: _Seen) -> list[str]:
        letter, _, text = rest.partition(",")
        letter, text = letter.strip(), text.strip()
        if letter not in self._fixed or not text:
            raise Refused(f"{rest!r} is no range: A or V, then Auto or a number")
        if self._sampling is not None:
            raise Refused("ranges stay as they are while a measurement runs")
        if text.lower() == "auto":
            self._fixed[letter] = None
            other = "A" if letter == "V" else "V"
            for meter in self._meters:
                meter.configure(auto_range=True)
                kept = self._fixed[other]
                if kept is not None:
                    self._fix(meter, other, kept)
            return [f"Range {letter} changed"]
        try:
            wanted = float(text)
        except ValueError:
            wanted = math.nan
        if not 0 < wanted < math.inf:
            raise Refused(f"{text!r} is no range")
        for meter in self._meters:
            self._fix(meter, letter, wanted)
        self._fixed[letter] = wanted
        return [f"Range {letter} changed"]

    def _fix(self, meter: PowerMeter, letter: str, wanted: float) -> None:
        """Set the smallest range that holds `wanted`, V or A at the primary side of transformers."""
        settings, capabilities = meter.configure(), meter.capabilities
        ranges = capabilities.voltage_ranges if letter == "V" else capabilities.current_ranges
        ratios = settings.vt_ratio if letter == "V" else settings.ct_ratio
        full = wanted / max(ratios or (1.0,))
        if ranges:
            factor = 1.0 if settings.crest_factor in (None, "3") else 0.5
            fitting = [one * factor for one in sorted(ranges) if one * factor >= full * (1 - 1e-9)]
            if not fitting:
                raise Refused(f"{meter.identity.model} has no range of {full:g} {letter} or more")
            full = fitting[0]
        if letter == "V":
            meter.configure(voltage_range=full)
        else:
            meter.configure(current_range=full)

    def _go(self, rest: str, seen: _Seen) -> list[str]:
        words = rest.split(",", 2)
        try:
            milliseconds, ramp = int(words[0]), int(words[1])
        except (ValueError, IndexError):
            raise Refused("Go needs an interval in ms, a number of ramp-up samples, and a mark") from None
        if milliseconds < 1 or ramp != 0:
            raise Refused("the interval must be positive, and ramp-up samples are not offered")
        if self._sampling is not None:
            raise Refused("a measurement is running")
        interval = milliseconds / 1000
        updates = [self._quick_enough(meter, interval) for meter in self._meters]
        self._settings_of_run = self._meters[0].configure()
        self._mark = words[2].strip() if len(words) > 2 else ""
        self._samples = []
        self._run += 1
        self._sampling = Sampling(self._meters, updates, interval, self._take)
        self._sampling.start()
        size = f"maximum {MOST_SAMPLES} samples at {milliseconds}ms with {ramp} rampup samples"
        return [f"Starting untimed measurement, {size}"]

    def _quick_enough(self, meter: PowerMeter, interval: float) -> float:
        """Let the meter update at least once in an interval, twice where it can; return its update interval, s."""
        present = meter.configure().update_interval
        if present is None or present <= interval / 2:
            return present or interval
        offered = meter.capabilities.update_intervals or (present,)
        chosen = max((one for one in offered if one <= interval / 2), default=min(offered))
        if chosen > interval:
            raise Refused(f"{meter.identity.model} cannot update every {interval:g} s")
        if chosen != present:
            meter.configure(update_interval=chosen)
            self._former.append((meter, present))
        return chosen

    def _stop_command(self, rest: str, seen: _Seen) -> list[str]:
        if self._sampling is None:
            raise Refused("no measurement to stop")
        self._end_measurement()
        return ["Stopping untimed measurement"]

    def _end_measurement(self) -> None:
        sampling, self._sampling = self._sampling, None
        self._settings_of_run = None
        former, self._former = self._former, []
        if sampling is not None:
            sampling.stop()
        for meter, interval in former:
            meter.configure(update_interval=interval)

    def _read_last(self, rest: str, seen: _Seen) -> list[str]:
        if rest and len(self._meters) == 1:
            return ["Invalid number of parameters"]
        new = list(islice(self._samples, seen.of(self._run), None))
        seen.count += len(new)
        return [f"Last {len(new)} samples", *(self._line(sample) for sample in new)]

    def _statistic(self, word: str, value: Callable[[Sample], float | None]) -> list[str]:
        samples = self._samples[:]
        good = [found for sample in samples if (found := value(sample)) is not None]
        texts = [_number(one) for one in (math.fsum(good) / len(good), min(good), max(good))] if good else [_BAD] * 3
        return [f"{word},{','.join(texts)},{len(samples)},{len(samples) - len(good)},{len(good)}"]

    def _uncertainty(self, rest: str, seen: _Seen) -> list[str]:
        return [f"{self._statistic('Uncertainty', _uncertainty_of)[0]},0"]

    def _take(self, sample: Sample) -> None:
        """Keep and log one sample; called from the thread that collects them."""
        if len(self._samples) >= MOST_SAMPLES:
            return
        self._samples.append(sample)
        if self._log_file is None:
            return
        notes = [f"Notice,{_time(sample.utc_ns)},Bad watts reading nan from {note}" for note in sample.objections]
        try:
            self._log_file.write("".join(f"{line}\n" for line in (*notes, self._line(sample))))
            self._log_file.flush()
        except (OSError, ValueError) as error:
            _log.error("the log ends here: %s", error)

    def _line(self, sample: Sample) -> str:
        """A sample as PTDaemon writes it: the whole, its mark, and with several meters each of them."""
        single = sample.channels[0] if len(sample.channels) == 1 else None
        whole = [f"Watts,{_number(sample.watts)}", *_rest(single)]
        parts = [f"Time,{_time(sample.utc_ns)}", *whole, f"Mark,{self._mark}"]
        if len(sample.channels) > 1:
            for number, channel in enumerate(sample.channels, 1):
                watts = None if channel is None else channel.watts
                parts += [f"Ch{number}", f"Watts,{_number(watts)}", *_rest(channel)]
        return ",".join(parts)


_Command = Callable[[PTDaemonServer, str, "_Seen"], list[str]]


def _means(word: str, value: Callable[[Sample], float | None]) -> _Command:
    return lambda server, rest, seen: server._statistic(word, value)


def _of_only(name: str) -> Callable[[Sample], float | None]:
    """A quantity that several meters do not have together: what it would be summed to means nothing."""
    return lambda sample: getattr(sample.channels[0], name, None) if len(sample.channels) == 1 else None


def _uncertainty_of(sample: Sample) -> float | None:
    """Relative limit of error of the sum: the absolute ones add linearly, as if all meters erred alike."""
    limits = [
        abs(channel.watts) * channel.uncertainty
        for channel in sample.channels
        if channel is not None and channel.uncertainty is not None
    ]
    watts = sample.watts
    return math.fsum(limits) / abs(watts) if watts and len(limits) == len(sample.channels) else None


_COMMANDS: dict[str, _Command] = {
    "Hello": PTDaemonServer._hello,
    "Identify": PTDaemonServer._identify,
    "RR": PTDaemonServer._read_ranges,
    "SR": PTDaemonServer._set_range,
    "Go": PTDaemonServer._go,
    "Stop": PTDaemonServer._stop_command,
    "RL": PTDaemonServer._read_last,
    "Watts": _means("Watts", lambda sample: sample.watts),
    "Volts": _means("Volts", _of_only("volts")),
    "Amps": _means("Amps", _of_only("amps")),
    "PF": _means("PF", _of_only("power_factor")),
    "Uncertainty": PTDaemonServer._uncertainty,
}

_BAD = "-1.000000"


def _number(value: float | None) -> str:
    """Six decimals; a real −1 is moved by one in the last, so that it is not taken for a bad sample."""
    if value is None:
        return _BAD
    text = f"{value:.6f}"
    return "-1.000001" if text == _BAD else text


def _rest(channel: Channel | None) -> list[str]:
    values = (None, None, None) if channel is None else (channel.volts, channel.amps, channel.power_factor)
    return [f"{word},{_number(value)}" for word, value in zip(("Volts", "Amps", "PF"), values, strict=True)]


def _time(utc_ns: int) -> str:
    moment = datetime.fromtimestamp(utc_ns // 10**9, UTC)
    return f"{moment:%m-%d-%Y %H:%M:%S}.{utc_ns // 10**6 % 1000:03d}"


def _plain(text: str) -> str:
    """A name without what separates words of the protocol."""
    return "".join(letter for letter in text if letter.isalnum() or letter in "-_./")


class _Seen:
    """How many samples of the running measurement one client has been given."""

    def __init__(self) -> None:
        self._run = 0
        self.count = 0

    def of(self, run: int) -> int:
        """Return the count for measurement number `run`, from 0 where it is a new one."""
        if run != self._run:
            self._run, self.count = run, 0
        return self.count


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Answer line by line until the client goes."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen = _Seen()
        with contextlib.suppress(OSError):
            while (line := self.rfile.readline(_LONGEST_LINE)).endswith(b"\n"):
                answers = self.server.daemon.answer(line.decode("ascii", "replace").strip(), seen)
                self.wfile.write("".join(f"{text}\r\n" for text in answers).encode("ascii", "replace"))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], daemon: PTDaemonServer) -> None:
        self.daemon = daemon
        self._clients: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client, and remember its connection."""
        client, address = super().get_request()
        self._clients.add(client)
        return client, address

    def shutdown_request(self, request: Any) -> None:
        """Close a client's connection, and forget it."""
        self._clients.discard(request)
        super().shutdown_request(request)

    def drop_clients(self) -> None:
        """End every connection."""
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

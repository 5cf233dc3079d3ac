"""Ports of one Xena chassis that are ours: streams, traffic, counters, throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aicalib_hw import rates
from aicalib_hw.errors import LockedByOther, OutOfRange
from aicalib_hw.interfaces import Counters, EffectiveConfig, Gate, Latency, PortCounters, Rate, Stream
from aicalib_hw.readings import Instant

from . import _evaluation
from ._gated import GatedReservation

if TYPE_CHECKING:
    from .xena import Xena

_MILLION = 1_000_000
_MOST = 2**31 - 1
_NO_LATENCY = -1


class XenaReservation(GatedReservation):
    """Ports that are reserved by this session, until `release()`."""

    fcs_counted = True

    def __init__(self, tester: Xena, ports: tuple[str, ...], owner: str, evicted: Mapping[str, str]) -> None:
        super().__init__(tester, ports, owner, evicted)
        self._tester = tester
        self._places: dict[str, tuple[str, int, int]] = {}

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Define the streams, replacing what was defined on our ports, and read them back.

        Raises OutOfRange before the wire for what cannot be. Streams of one measurement have one frame size.
        """
        tester, session = self._tester, self._tester.session
        self._require_possible(streams)
        for stream in streams:
            _rate(stream, self.gap)
        with session.exclusive():
            for port in self._ports:
                for index in tester.streams_of(port):
                    session.command(f"{port} PS_DELETE [{index}]")
            gaps = [session.ask(f"{stream.tx} P_INTERFRAMEGAP ?")[0].numbers[0] for stream in streams]
            self.gap = float(max(gaps, default=rates.STANDARD_GAP))
            self._places = {}
            for number, stream in enumerate(streams):
                index = sum(place[0] == stream.tx for place in self._places.values())
                self._places[stream.name] = (stream.tx, index, number)
                session.command(*self._definition(stream, index, number))
                if stream.latency_mode is not None:
                    for port in (stream.tx, stream.rx):
                        tester.set_latency_mode(port, stream.latency_mode)
            self._streams = tuple(streams)
            return self._read_back()

    def clear(self) -> None:
        """Set all counters of our ports to zero."""
        for port in self._ports:
            self._tester.session.command(f"{port} PT_CLEAR", f"{port} PR_CLEAR")

    def start(self) -> None:
        """Start all streams at once, until `stop()`; raises LinkDown."""
        self._require_links()
        self._set_limit(0)
        self._traffic("ON")

    def stop(self) -> None:
        """Stop transmitting, also where the reservation ended with a broken session; idempotent.

        Raises LockedByOther where somebody else has a port by now: what it sends is no longer ours to stop.
        """
        try:
            self._traffic("OFF")
        except LockedByOther:
            self._tester.take_again(self._ports)
            self._traffic("OFF")

    @property
    def running(self) -> bool:
        """True while a port of ours transmits or prepares to, as the chassis says."""
        answers = self._tester.session.ask(*(f"{port} P_TRAFFIC ?" for port in self._ports))
        return any(answer.values != ["OFF"] for answer in answers)

    def read(self) -> Counters:
        """Read all counters in one batch, between two instants that bound their skew."""
        queries: list[str] = []
        for stream in self._streams:
            tx, index, number = self._places[stream.name]
            queries += [f"{tx} PT_STREAM [{index}] ?"]
            queries += [f"{stream.rx} PR_TPLD{what} [{number}] ?" for what in ("TRAFFIC", "ERRORS", "LATENCY")]
        for port in self._ports:
            queries += [f"{port} PT_TOTAL ?", f"{port} PR_TOTAL ?", f"{port} PR_EXTRA ?"]
        before = Instant.now()
        answers = iter(self._tester.session.ask(*queries))
        after = Instant.now()
        streams, ports = {}, {}
        for stream in self._streams:
            sent, got, errors, delays = (next(answers).numbers for _ in range(4))
            streams[stream.name] = PortCounters(
                tx_frames=sent[3],
                tx_bytes=sent[2],
                rx_frames=got[3],
                rx_bytes=got[2],
                out_of_order=errors[2],
                lost=errors[1],
                latency=_latency(delays),
                tx_rate=Rate(float(sent[0]), "L2-fcs"),
                rx_rate=Rate(float(got[0]), "L2-fcs"),
            )
        for port in self._ports:
            sent, got, extra = (next(answers).numbers for _ in range(3))
            ports[port] = PortCounters(
                tx_frames=sent[3],
                tx_bytes=sent[2],
                rx_frames=got[3],
                rx_bytes=got[2],
                fcs_errors=extra[0],
                tx_rate=Rate(float(sent[0]), "L2-fcs"),
                rx_rate=Rate(float(got[0]), "L2-fcs"),
            )
        return Counters(before, after, ports, streams)

    def _begin(self, gate: Gate) -> None:
        if not 1e-3 <= gate.amount <= 1e6:
            raise OutOfRange(f"a gate of {gate.amount:g} s cannot be set", where=self._tester.address)
        self._set_limit(round(gate.amount * _MILLION))
        self.clear()
        self._traffic("ON")

    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> _evaluation.Gate:
        clock = f"clock of the ports, ±{self._tester.clock * 1e6:g} ppm as the bench states"
        # The limit of a port is in whole microseconds.
        return _evaluation.Gate(gate.amount, "instrument", self._tester.clock, clock, jitter=1 / _MILLION, edges=2)

    def _evidence(self, last: Counters) -> dict[str, Any]:
        sending = list(dict.fromkeys(stream.tx for stream in self._streams))
        elapsed = self._tester.session.ask(*(f"{port} P_TXTIME ?" for port in sending))
        return {"time_elapsed_s": {port: one.numbers[0] / _MILLION for port, one in zip(sending, elapsed, strict=True)}}

    def _definition(self, stream: Stream, index: int, number: int) -> list[str]:
        """The commands that make one stream; `number` ties what is received to it."""
        of = f"{stream.tx} PS_"
        commands = [f"{of}CREATE [{index}]", f'{of}COMMENT [{index}] "{self._tester.session.owner}"']
        if stream.headers:
            commands.append(f"{of}PACKETHEADER [{index}] 0x{stream.headers.upper()}")
        return [
            *commands,
            f"{of}PACKETLENGTH [{index}] FIXED {stream.frame_size} {stream.frame_size}",
            f"{of}{_rate(stream, self.gap)[0]} [{index}] {_rate(stream, self.gap)[1]}",
            f"{of}PACKETLIMIT [{index}] -1",
            f"{of}TPLDID [{index}] {number}",
            f"{of}INSERTFCS [{index}] ON",
            f"{of}ENABLE [{index}] ON",
        ]

    def _read_back(self) -> EffectiveConfig:
        streams, differences = [], []
        for stream in self._streams:
            tx, index, _ = self._places[stream.name]
            name, asked = _rate(stream, self.gap)
            length, rate = self._tester.session.ask(f"{tx} PS_PACKETLENGTH [{index}] ?", f"{tx} PS_{name} [{index}] ?")
            size = int(length.values[1])
            if length.values != ["FIXED", str(stream.frame_size), str(stream.frame_size)]:
                differences.append(f"{stream.name}: frames {' '.join(length.values)} instead of {stream.frame_size} B")
            if rate.numbers[0] != asked:
                differences.append(f"{stream.name}: {name} {rate.numbers[0]} instead of {asked}")
            streams.append(replace(stream, frame_size=size))
        return EffectiveConfig(tuple(streams), tuple(differences))

    def _set_limit(self, microseconds: int) -> None:
        """Set the time after which the sending ports end by themselves; 0 = never."""
        for port in dict.fromkeys(stream.tx for stream in self._streams):
            self._tester.session.command(f"{port} P_TXTIMELIMIT {microseconds}")

    def _traffic(self, state: str) -> None:
        """Switch traffic of all sending ports at the same moment."""
        sending = dict.fromkeys(stream.tx for stream in self._streams) or dict.fromkeys(self._ports)
        self._tester.session.command(f"C_TRAFFIC {state} " + " ".join(port.replace("/", " ") for port in sending))


def _rate(stream: Stream, gap: float) -> tuple[str, int]:
    """Name and value of the parameter that sets a rate; raises OutOfRange for one that cannot be set."""
    if isinstance(stream.load, Rate):
        frames = round(
            rates.frames_per_second(stream.load.value, stream.load.layer, rates.Frame(stream.frame_size, gap=gap))
        )
        if not 1 <= frames <= _MOST:
            raise OutOfRange(f"{frames} frames/s cannot be set", why=f"1 to {_MOST}")
        return "RATEPPS", frames
    return "RATEFRACTION", round(stream.load * _MILLION)


def _latency(delays: Sequence[int]) -> Latency | None:
    """Least, mean and greatest delay in s; None where the chassis says that it does not apply."""
    least, mean, greatest = delays[0], delays[1], delays[2]
    if _NO_LATENCY in (least, mean, greatest):
        return None
    return Latency(least * 1e-9, mean * 1e-9, greatest * 1e-9)

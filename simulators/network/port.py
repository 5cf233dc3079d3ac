"""The ports of a traffic tester and what lies between them, on the world's clock.

Counters are functions of time: whoever asks, and how often, changes nothing. Frame counts are exact integers from exact
fractions. The world's time is true; the tester's runs `ppm` faster, and rates, gates and latencies are in it.

    network = Network(world, faults, [PortOptions(name="0/0"), PortOptions(name="0/1")], PathOptions(latency=2e-6))
    tx, rx = network.ports["0/0"], network.ports["0/1"]
    stream = network.add(Stream(tx, sizes=(1518,), rate=tx.frame_rate((1518,), fraction=1), seconds=10))
    network.start([stream])               # all at one moment; `network.stop([stream])` ends them before their limit
    rx.received, tx.sent                  # Count(frames, size) since `clear_received()`, `clear_sent()`
    tx.sending, rx.last_second("received"), stream.received, stream.latency("last2last"), rx.set_link(False)
    network.truth.rate("0/1", "L1")       # true bit/s of the latest run

From the definitions of RFC 2544 and IEEE 802.3: a frame of L bytes (FCS included) takes L + 20 byte times on the line.
Frames that a platform without enough capacity cannot forward are lost; its buffers are not modelled.
"""

from __future__ import annotations

import bisect
import math
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..world import World
from ..world.faults import FaultPlan
from ..world.platform import STEP

Layer = Literal["L1", "L2", "L2-no-fcs", "L3"]
Mode = Literal["first2first", "last2last", "first2last", "last2first"]

_FEWER = {"L2": 0, "L2-no-fcs": 4, "L3": 18}
"""Bytes of an untagged frame that a layer does not count: FCS, and the Ethernet header."""
_MODULUS = 1 << 64
_GRAIN = 1 << 40
_STEP = Fraction(str(STEP))


class PortOptions(BaseModel):
    """One port. speed, speeds: Gbit/s, the one at the start and all it has; gap: least bytes between two frames, with
    preamble; ppm: error of the tester's time base; gate_jitter: largest error of a gate in time, s; frames: bytes.

    sends_without_link: whether frames are sent, and lost, while the link is down, instead of waiting for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    speed: float = Field(default=800, gt=0, le=1600)
    speeds: tuple[float, ...] = (10, 25, 40, 50, 100, 200, 400, 800)
    fec: Literal["none", "fc-fec", "rs-fec"] = "rs-fec"
    ppm: float = Field(default=0.0, ge=-200, le=200)
    gap: int = Field(default=20, ge=9)
    gate_jitter: float = Field(default=0.0, ge=0, lt=0.01)
    least_frame: int = Field(default=64, ge=16)
    largest_frame: int = Field(default=16000, le=65535)
    sends_without_link: bool = False


class PathOptions(BaseModel):
    """What lies between the ports. loss, reordered: ratio of frames; latency, jitter: s, first bit to first bit, mean
    and largest deviation; capacity: true Gbit/s on layer 1 towards each port, None = the line rate of that port.

    saturation: share of the capacity that is gone when the platform is fully loaded; with it, or with a capacity, more
    than there is room for is lost. Without both this is a cable, which takes what comes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: float = Field(default=0.0, ge=0, le=1)
    reordered: float = Field(default=0.0, ge=0, le=1)
    latency: float = Field(default=1e-6, ge=0)
    jitter: float = Field(default=0.0, ge=0)
    capacity: float | None = Field(default=None, gt=0)
    saturation: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Count:
    """Frames and their bytes, FCS included."""

    frames: int = 0
    size: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.frames + other.frames, self.size + other.size)

    def __sub__(self, other: Count) -> Count:
        return Count(self.frames - other.frames, self.size - other.size)

    def bits(self, layer: Layer, gap: int = 20) -> int:
        """Return what these frames are on a layer, bit."""
        if layer == "L1":
            return 8 * (self.size + gap * self.frames)
        return 8 * (self.size - _FEWER[layer] * self.frames)


class Stream:
    """Frames of one port towards another.

    sizes: bytes with FCS, repeated in this order. rate: frames/s of the tester's time, from `Port.frame_rate`. packets,
    seconds (of the tester's time): what ends it; neither: only `Network.stop` does. to: None = the peer of its port.
    """

    def __init__(
        self,
        port: Port,
        *,
        sizes: Sequence[int],
        rate: Fraction | int,
        packets: int | None = None,
        seconds: float | None = None,
        to: Port | None = None,
        name: str = "",
    ) -> None:
        self.port, self.to, self.name = port, to or port.peer, name
        self.sizes, self.rate = tuple(sizes), Fraction(rate)
        self.packets, self.seconds = packets, seconds
        self._sums = (0, *accumulate(self.sizes))
        self.runs: list[Run] = []

    @property
    def mean_size(self) -> Fraction:
        """Mean bytes of a frame."""
        return Fraction(self._sums[-1], len(self.sizes))

    def count(self, frames: int) -> Count:
        """Return the count of the first `frames` frames."""
        rounds, rest = divmod(frames, len(self.sizes))
        return Count(frames, rounds * self._sums[-1] + self._sums[rest])

    @property
    def sending(self) -> bool:
        """True while frames leave, or wait for the link."""
        network = self.port.network
        with network.guard:
            network.advance()
            return bool(self.runs) and not self.runs[-1].ended

    @property
    def sent(self) -> Count:
        """What left since the port's sent counters were cleared."""
        return self.port.network.total(self.runs, "sent", self.port.sent_since)

    @property
    def received(self) -> Count:
        """What arrived since the other port's received counters were cleared."""
        return self.port.network.total(self.runs, "received", self.to.received_since)

    @property
    def reordered(self) -> int:
        """Frames of `received` that came out of order."""
        return math.floor(self.received.frames * Fraction(str(self.port.network.path.reordered)))

    def last_second(self, side: Literal["sent", "received"]) -> Count:
        """Return what passed in the tester's last whole second."""
        return self.port.network.last_second(self.runs, side, self.port)

    def latency(self, mode: Mode) -> tuple[float, float, float] | None:
        """Return least, mean and largest latency as the tester has it, s; None if nothing arrived."""
        if not self.received.frames:
            return None
        path, port = self.port.network.path, self.port
        line = 8 * float(self.mean_size) / (port.speed * 1e9)
        more = {"first2first": 0.0, "last2last": 0.0, "first2last": line, "last2first": -line}[mode]
        least = max(path.latency - path.jitter, 0.0)
        clock = float(port.clock)
        return (least + more) * clock, (path.latency + more) * clock, (path.latency + path.jitter + more) * clock

    def arrivals(self) -> tuple[float, float] | None:
        """Return when the first and the last frame of the latest run arrived, tester's s; None if none did."""
        network = self.port.network
        with network.guard:
            network.advance()
            if not self.runs:
                return None
            moments = self.runs[-1].arrivals(network.now())
        return None if moments is None else (float(moments[0] * self.port.clock), float(moments[1] * self.port.clock))


@dataclass(frozen=True, slots=True)
class _Mark:
    """From this world time on frames leave and get through at these rates, frames/s of true time."""

    moment: Fraction
    sent: Fraction
    passed: Fraction
    sending: Fraction
    passing: Fraction


class Run:
    """One transmission of a stream: how many frames had left, and had got through, at any world time."""

    def __init__(
        self, stream: Stream, start: Fraction, until: Fraction | None, loss: Fraction, latency: Fraction
    ) -> None:
        self.stream, self.start, self.until = stream, start, until
        self.loss, self.latency = loss, latency
        self.ended = False
        self._marks = [_Mark(start, Fraction(0), Fraction(0), Fraction(0), Fraction(0))]

    @property
    def stopped(self) -> Fraction | None:
        """World time of the last frame, s; None while it runs."""
        return self._marks[-1].moment if self.ended else None

    def due(self) -> Fraction | None:
        """Return the world time at which it ends by itself, as things are; None: it does not."""
        mark = self._marks[-1]
        dates = [] if self.until is None else [self.until]
        if self.stream.packets is not None and mark.sending:
            dates.append(mark.moment + (self.stream.packets - mark.sent) / mark.sending)
        return min(dates, default=None)

    def change(self, moment: Fraction, sending: Fraction, passing: Fraction) -> None:
        """Go on at other rates from `moment` on."""
        last = self._marks[-1]
        if (sending, passing) == (last.sending, last.passing):
            return
        sent, passed = self._at(moment)
        self._marks.append(_Mark(moment, _rounded(sent), _rounded(passed), sending, passing))

    def end(self, moment: Fraction) -> None:
        """Send nothing from `moment` on."""
        self.change(moment, Fraction(0), Fraction(0))
        if self._marks[-1].moment != moment:
            self._marks.append(_Mark(moment, *self._at(moment), Fraction(0), Fraction(0)))
        self.ended = True

    def sent(self, moment: Fraction) -> Count:
        """Return what had left."""
        return self.stream.count(math.floor(self._at(moment)[0]))

    def received(self, moment: Fraction) -> Count:
        """Return what had arrived; of frames of many sizes all are taken to be lost alike."""
        return self.stream.count(math.floor(self._at(moment - self.latency)[1]))

    def passed(self, start: Fraction, stop: Fraction) -> Fraction:
        """Return the frames that got through between two world times, not rounded."""
        return self._at(stop)[1] - self._at(start)[1]

    def arrivals(self, now: Fraction) -> tuple[Fraction, Fraction] | None:
        """Return the world times of the first and the last arrival until `now`, None if there was none."""
        last = math.floor(self._at(now - self.latency)[1])
        return (self._reached(1) + self.latency, self._reached(last) + self.latency) if last else None

    def _at(self, moment: Fraction) -> tuple[Fraction, Fraction]:
        index = bisect.bisect_right(self._marks, moment, key=lambda mark: mark.moment) - 1
        if index < 0:
            return Fraction(0), Fraction(0)
        mark = self._marks[index]
        went = moment - mark.moment
        return mark.sent + went * mark.sending, mark.passed + went * mark.passing

    def _reached(self, frames: int) -> Fraction:
        index = bisect.bisect_left(self._marks, Fraction(frames), key=lambda mark: mark.passed) - 1
        mark = self._marks[index]
        return mark.moment + (frames - mark.passed) / mark.passing


def _rounded(frames: Fraction) -> Fraction:
    return Fraction(round(frames * _GRAIN), _GRAIN)


class Port:
    """One port. owner: who has it, for the dialect to keep; peer: where its frames go unless told otherwise."""

    def __init__(self, network: Network, options: PortOptions) -> None:
        self.network, self.options, self.name = network, options, options.name
        self.peer = self
        self.owner: str | None = None
        self.speed, self.gap, self.fec = options.speed, options.gap, options.fec
        self.clock = 1 + Fraction(str(options.ppm)) / 10**6
        self.sent_since = self.received_since = Fraction(0)
        self.changed = Fraction(0)
        self.enabled = True
        self.preset_sent = self.preset_received = Count()

    def time(self) -> float:
        """Return the tester's time, s since the world began."""
        return float(self.network.now() * self.clock)

    @property
    def line_rate(self) -> Fraction:
        """Nominal bit/s on layer 1."""
        return Fraction(str(self.speed)) * 10**9

    def frame_rate(
        self,
        sizes: Sequence[int],
        *,
        fraction: float | Fraction | None = None,
        bits: float | Fraction = 0,
        layer: Layer = "L1",
    ) -> Fraction:
        """Return frames/s of a `fraction` of the line rate, or of `bits` a second on a layer, at these sizes."""
        count = Count(len(sizes), sum(sizes))
        if fraction is None:
            return Fraction(bits) * len(sizes) / count.bits(layer, self.gap)
        return Fraction(str(fraction)) * self.line_rate * len(sizes) / count.bits("L1", self.gap)

    @property
    def link(self) -> bool:
        """True while the link is up: both ends of the cable are enabled."""
        with self.network.guard:
            self.network.advance()
            return self.enabled and self.peer.enabled

    def set_link(self, up: bool) -> None:
        """Switch this end of the link off or on."""
        self.network.set_link(self, up)

    @property
    def sending(self) -> bool:
        """True while any stream of this port sends."""
        return any(stream.sending for stream in self.network.streams if stream.port is self)

    @property
    def sent(self) -> Count:
        """What left since `clear_sent`, as 64-bit counters show it."""
        return _wrapped(
            self.preset_sent + self.network.total(self.network.runs_of(self, "sent"), "sent", self.sent_since)
        )

    @property
    def received(self) -> Count:
        """What arrived since `clear_received`, as 64-bit counters show it."""
        runs = self.network.runs_of(self, "received")
        return _wrapped(self.preset_received + self.network.total(runs, "received", self.received_since))

    def last_second(self, side: Literal["sent", "received"]) -> Count:
        """Return what passed in the tester's last whole second."""
        return self.network.last_second(self.network.runs_of(self, side), side, self)

    def clear_sent(self) -> None:
        """Count sent frames from 0 from now on, those of its streams too."""
        self.sent_since, self.preset_sent = self.network.now(), Count()

    def clear_received(self) -> None:
        """Count received frames from 0 from now on, those of streams that come here too."""
        self.received_since, self.preset_received = self.network.now(), Count()

    def preset(self, frames: int) -> None:
        """Let frame and byte counters wrap `frames` frames (or bytes) from now: the fault of a counter that wraps."""
        self.preset_sent = self.preset_received = Count(_MODULUS - frames, _MODULUS - frames)


def _wrapped(count: Count) -> Count:
    return Count(count.frames % _MODULUS, count.size % _MODULUS)


class NetworkTruth:
    """True rates, on the world's clock."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def rate(self, port: str, layer: Layer) -> float:
        """Return the true mean rate at which the latest run got through to `port`, bit/s; 0 if none did."""
        network = self._network
        with network.guard:
            network.advance()
            runs = network.runs_of(network.ports[port], "received")
            if not runs:
                return 0.0
            start = max(run.start for run in runs)
            latest = [run for run in runs if run.start == start]
            stop = max(run.stopped or network.now() for run in latest)
        return self.mean_rate(port, layer, float(start), float(stop))

    def mean_rate(self, port: str, layer: Layer, start: float, stop: float) -> float:
        """Return the true mean rate between two world times at which frames left that got through, bit/s."""
        network = self._network
        with network.guard:
            network.advance()
            if stop <= start:
                return 0.0
            runs = network.runs_of(network.ports[port], "received")
            bits = Fraction(0)
            for run in runs:
                sizes = run.stream.sizes
                each = Fraction(Count(len(sizes), sum(sizes)).bits(layer, run.stream.port.gap), len(sizes))
                bits += each * run.passed(Fraction(start), Fraction(stop))
        return float(bits / (Fraction(stop) - Fraction(start)))


class Network:
    """The ports of one tester and the path between them. Ports are wired in pairs, in order; an odd one to itself.

    Faults, at each start: "loss" (amount: ratio of frames lost in this run), "link_down" (amount: s after the start).
    """

    def __init__(
        self, world: World, faults: FaultPlan, ports: Iterable[PortOptions], path: PathOptions | None = None
    ) -> None:
        self.world, self.faults, self.path = world, faults, path or PathOptions()
        self.guard = threading.RLock()
        self.ports = {options.name: Port(self, options) for options in ports}
        self.streams: list[Stream] = []
        self.truth = NetworkTruth(self)
        self._random = random.Random(world.seed)
        self._runs: list[Run] = []
        self._coming: list[tuple[Fraction, Port, bool]] = []
        self._looked = Fraction(0)
        made = list(self.ports.values())
        for one, other in zip(made[::2], made[1::2], strict=False):
            one.peer, other.peer = other, one

    def now(self) -> Fraction:
        """Return world time, s."""
        return Fraction(self.world.clock.now())

    def add(self, stream: Stream) -> Stream:
        """Keep a stream."""
        with self.guard:
            self.streams.append(stream)
        return stream

    def remove(self, streams: Iterable[Stream]) -> None:
        """Stop streams and forget them; what they sent stays counted at the ports."""
        gone = list(streams)
        self.stop(gone)
        with self.guard:
            self.streams = [stream for stream in self.streams if stream not in gone]

    def start(self, streams: Iterable[Stream]) -> None:
        """Start streams at one moment; one that sends already starts anew."""
        with self.guard:
            self.advance()
            now = self.now()
            fault = self.faults.strikes("loss")
            loss = Fraction(str(self.path.loss if fault is None else min(fault.amount, 1.0)))
            latency = Fraction(str(self.path.latency))
            started = list(streams)
            self._end(started, now)
            self._forget()
            for stream in started:
                until = None
                if stream.seconds is not None:
                    jitter = stream.port.options.gate_jitter
                    gate = Fraction(str(stream.seconds)) + Fraction(self._random.uniform(-jitter, jitter))
                    until = now + gate / stream.port.clock
                run = Run(stream, now, until, loss, latency)
                stream.runs.append(run)
                self._runs.append(run)
            down = self.faults.strikes("link_down")
            if down is not None and started:
                self._coming.append((now + Fraction(str(down.amount)), started[0].to, False))
            self._pace(now)

    def stop(self, streams: Iterable[Stream]) -> None:
        """Stop streams now; what is under way still arrives."""
        with self.guard:
            self.advance()
            self._end(streams, self.now())
            self._pace(self.now())

    def set_link(self, port: Port, up: bool) -> None:
        """Switch one end of a link."""
        with self.guard:
            self.advance()
            self._switch(port, up, self.now())
            self._pace(self.now())

    def advance(self) -> None:
        """Bring the model up to the present."""
        with self.guard:
            now = self.now()
            while (moment := self._next(now)) is not None:
                due = [run.stream for run in self._running() if (at := run.due()) is not None and at <= moment]
                self._end(due, moment)
                for at, port, up in tuple(self._coming):
                    if at <= moment:
                        self._coming.remove((at, port, up))
                        self._switch(port, up, moment)
                self._looked = moment
                self._pace(moment)
            self._looked = now

    def runs_of(self, port: Port, side: Literal["sent", "received"]) -> list[Run]:
        """Return all runs from, or towards, a port."""
        with self.guard:
            return [run for run in self._runs if (run.stream.port if side == "sent" else run.stream.to) is port]

    def total(self, runs: Iterable[Run], side: Literal["sent", "received"], since: Fraction) -> Count:
        """Return what runs have sent or delivered from `since` until now."""
        with self.guard:
            self.advance()
            return self._between(runs, side, since, self.now())

    def last_second(self, runs: Iterable[Run], side: Literal["sent", "received"], port: Port) -> Count:
        """Return what runs sent or delivered in the last whole second of the port's tester."""
        with self.guard:
            self.advance()
            second = math.floor(self.now() * port.clock)
            return self._between(runs, side, (second - 1) / port.clock, second / port.clock)

    @staticmethod
    def _between(runs: Iterable[Run], side: str, start: Fraction, stop: Fraction) -> Count:
        count = Count()
        for run in runs:
            of = run.sent if side == "sent" else run.received
            count += of(stop) - of(start)
        return count

    def _forget(self) -> None:
        """Drop runs that no counter shows any more, so that a tester may run for months."""
        for run in tuple(self._runs):
            port, to = run.stream.port, run.stream.to
            if run.stopped is not None and run.stopped + run.latency + 2 < min(port.sent_since, to.received_since):
                self._runs.remove(run)
                run.stream.runs.remove(run)

    def _running(self) -> list[Run]:
        return [run for run in self._runs if not run.ended]

    def _end(self, streams: Iterable[Stream], moment: Fraction) -> None:
        for stream in streams:
            if stream.runs and not stream.runs[-1].ended:
                stream.runs[-1].end(moment)

    def _switch(self, port: Port, up: bool, moment: Fraction) -> None:
        if port.enabled is not up:
            port.enabled = up
            port.changed = port.peer.changed = moment

    def _next(self, now: Fraction) -> Fraction | None:
        """Return the next moment until `now` at which something changes by itself."""
        running = self._running()
        dates = [at for run in running if (at := run.due()) is not None]
        dates += [at for at, _, _ in self._coming]
        if running and self.path.saturation:
            dates.append((math.floor(self._looked / _STEP) + 1) * _STEP)
        first = min(dates, default=None)
        return first if first is not None and first <= now else None

    def _pace(self, moment: Fraction) -> None:
        """Work out at which rates frames leave and get through from `moment` on."""
        running = self._running()
        offered: dict[Port, Fraction] = {}
        sending: list[Fraction] = []
        for run in running:
            port = run.stream.port
            up = port.options.sends_without_link or (port.enabled and port.peer.enabled)
            sending.append(run.stream.rate * port.clock if up else Fraction(0))
            wire = sending[-1] * 8 * (run.stream.mean_size + port.gap)
            offered[run.stream.to] = offered.get(run.stream.to, Fraction(0)) + wire
        for run, rate in zip(running, sending, strict=True):
            to = run.stream.to
            linked = to.enabled and run.stream.port.enabled and run.stream.port.peer.enabled and to.peer.enabled
            share = self._share(to, offered[to], moment) if linked else Fraction(0)
            run.change(moment, rate, rate * share * (1 - run.loss))

    def _share(self, to: Port, offered: Fraction, moment: Fraction) -> Fraction:
        path = self.path
        if not offered or (path.capacity is None and not path.saturation):
            return Fraction(1)
        room = to.line_rate if path.capacity is None else Fraction(str(path.capacity)) * 10**9
        if path.saturation:
            load = self.world.platform.mean_load(max(float(moment) - STEP, 0.0), float(moment))
            room *= 1 - Fraction(str(path.saturation)) * Fraction(round(load * 10**6), 10**6)
        return min(Fraction(1), room / offered)

"""A disk of the simulated platform: bytes move on the world's clock, as fast as load, heat and the queue let them.

    disk = Disk(world, faults, DiskOptions())
    transfer = disk.begin(Transfer(block=1 << 20, depth=16, seconds=10.0))      # `disk.end(transfer)` stops it before
    transfer.ended, transfer.moved("read", moment), disk.truth.moved("read")

What moves depends on time alone: whoever asks, and how often, changes nothing but the noise. Each I/O takes the disk
`service` s and its bytes at the bandwidth of its direction; transfers share the disk evenly. A queue that is not deep
enough leaves it idle: of `depth` I/O of `block` bytes each takes `latency` and its own transfer. Of all that, full load
of the platform takes the share `saturation`; a disk that grows hot slows down until it has cooled by 5 K. A disk at
work draws power from the platform's supplies.
"""

from __future__ import annotations

import bisect
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..world import World
from ..world.faults import FaultPlan

Direction = Literal["read", "write"]

GRID = 0.1
"""Longest time over which the state of the disk is taken as constant, world s."""
_HYSTERESIS = 5.0
_SECTOR = 512
_MEMORY = 28e9
"""Rate of what never reaches the disk (a page cache, memory, holes of a sparse file), byte/s: 224 Gbit/s."""


class DiskOptions(BaseModel):
    """The disk. read, write: its bandwidth, byte/s; service: of each I/O, s; latency: of one in an idle disk, s.

    memory: byte/s of what does not reach the disk. saturation: share of the disk that is gone at full load of the
    platform. noise: relative standard deviation of its rate from one 0.1 s to the next. heating: K at full work;
    coupling: K for each K of the loaded platform above ambient; time_constant: s; hot: degC from which on it slows
    down to the share `throttled`. idle_power, busy_power: W at the output of the supplies. capacity: bytes of all
    files, None = as much as the directory takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    read: float = Field(default=2.8e9, gt=0)
    write: float = Field(default=2.0e9, gt=0)
    memory: float = Field(default=_MEMORY, gt=0)
    service: float = Field(default=1.2e-6, ge=0)
    latency: float = Field(default=80e-6, gt=0)
    saturation: float = Field(default=0.05, ge=0, lt=1)
    noise: float = Field(default=0.002, ge=0, lt=0.2)
    heating: float = Field(default=20.0, ge=0)
    coupling: float = Field(default=0.3, ge=0)
    time_constant: float = Field(default=30.0, gt=0)
    hot: float = 70.0
    throttled: float = Field(default=0.5, gt=0, le=1)
    idle_power: float = Field(default=5.0, ge=0)
    busy_power: float = Field(default=14.0, ge=0)
    capacity: int | None = Field(default=None, gt=0)


@dataclass(frozen=True, slots=True)
class _Mark:
    """At this world time so many bytes had moved, all in all."""

    moment: float
    size: float


@dataclass(eq=False)
class Transfer:
    """I/O that wants the disk. block: bytes of one; depth: how many at once; reads: which part of the bytes is read.

    size: bytes after which it ends by itself; seconds: of world time after which no more is begun, what is under way
    still moves; neither: only `Disk.end` does. limit: byte/s it asks for at most. memory: from which to which of its
    bytes it moves in memory and never reaches the disk. then: makes what begins the moment this ends.
    """

    block: int
    depth: int = 1
    reads: float = 1.0
    size: float | None = None
    seconds: float | None = None
    limit: float | None = None
    memory: tuple[float, float] = (0.0, 0.0)
    then: Callable[[Transfer], Transfer | None] | None = None
    began: float = 0.0
    ended: float | None = None
    marks: list[_Mark] = field(default_factory=list)
    last_issue: float | None = None

    @property
    def bypasses(self) -> bool:
        """True while it moves in memory."""
        return self.memory[0] <= self.size_now < self.memory[1]

    @property
    def size_now(self) -> float:
        """Bytes moved until the disk was last looked at."""
        return self.marks[-1].size

    def total(self, moment: float) -> float:
        """Return the bytes moved until a world time that is not in the future."""
        index = bisect.bisect_right(self.marks, moment, key=lambda mark: mark.moment)
        if index == 0:
            return 0.0
        if index == len(self.marks):
            return self.marks[-1].size
        before, after = self.marks[index - 1], self.marks[index]
        return before.size + (after.size - before.size) * (moment - before.moment) / (after.moment - before.moment)


class DiskTruth:
    """What really moved to and from the disk, bytes, and how hot it is, degC."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def moved(self, direction: Direction, start: float = 0.0, stop: float | None = None) -> float:
        """Return the bytes that moved between two world times (default: from the beginning until now)."""
        disk = self._disk
        with disk.guard:
            disk.advance()
            moment = disk.world.clock.now() if stop is None else stop
            return disk.total(direction, moment) - disk.total(direction, start)

    def rate(self, direction: Direction, start: float, stop: float) -> float:
        """Return the true mean rate between two world times, bit/s."""
        return 8 * self.moved(direction, start, stop) / (stop - start)

    @property
    def temperature(self) -> float:
        """Temperature of the disk, degC."""
        with self._disk.guard:
            self._disk.advance()
            return self._disk.temperature


class Disk:
    """One disk on one world.

    Faults: "gain" (at each beginning of a transfer: the disk is `amount` times as fast from then on), "neighbour"
    (likewise: somebody else moves `amount` times as much), "stuck" (no bytes any more for `amount` world s).
    """

    def __init__(self, world: World, faults: FaultPlan, options: DiskOptions) -> None:
        self.world, self.faults, self.options = world, faults, options
        self.guard = threading.RLock()
        self.truth = DiskTruth(self)
        self.temperature = world.settings.platform.ambient
        self._witness: Path | None = None
        self._random = random.Random(world.seed)
        self._time = world.clock.now()
        self._running: list[Transfer] = []
        self._totals: dict[Direction, list[_Mark]] = {name: [_Mark(self._time, 0.0)] for name in ("read", "write")}
        self._ios = {"read": 0.0, "write": 0.0}
        self._busy_time = 0.0
        self._neighbour = 0.0
        self._gain = 1.0
        self._stuck_until = -math.inf
        self._hot = False
        self._cell, self._swing, self._load = -1, 1.0, 0.0
        self._power = options.idle_power
        self._written = ""
        self._plugged = False

    def show(self, witness: Path | None) -> None:
        """Keep the disk's counters in a file, in the form of the kernel's /sys/block/DEV/stat; None: not any more."""
        with self.guard:
            self._witness, self._written = witness, ""
            self.advance()

    def plug(self, plugged: bool) -> None:
        """Draw power from the platform's supplies, or not any more; idempotent."""
        if plugged is not self._plugged:
            self._plugged = plugged
            platform = self.world.platform
            (platform.add_consumer if plugged else platform.remove_consumer)(self._draw)

    def begin(self, *transfers: Transfer) -> None:
        """Let transfers begin at one moment, now."""
        with self.guard:
            self.advance()
            if (gain := self.faults.strikes("gain")) is not None:
                self._gain = gain.amount
            if (neighbour := self.faults.strikes("neighbour")) is not None:
                self._neighbour = neighbour.amount
            if (stuck := self.faults.strikes("stuck")) is not None:
                self._stuck_until = self._time + stuck.amount
            for transfer in transfers:
                self._join(transfer)

    def end(self, *transfers: Transfer) -> None:
        """Stop transfers now, and begin none after them; what is under way is dropped. Idempotent."""
        with self.guard:
            self.advance()
            for transfer in transfers:
                transfer.then = None
                self._finish(transfer, self._time)

    def advance(self) -> float:
        """Bring the disk up to the present; return the world time until which it is known what moved, s."""
        with self.guard:
            now = self.world.clock.now()
            while self._time < now:
                self._step(now)
            self._show()
            return self._time

    def total(self, direction: Direction, moment: float) -> float:
        """Return the bytes that had moved to or from the disk at a world time."""
        marks = self._totals[direction]
        index = bisect.bisect_right(marks, moment, key=lambda mark: mark.moment)
        if index == 0:
            return 0.0
        if index == len(marks):
            return marks[-1].size
        before, after = marks[index - 1], marks[index]
        return before.size + (after.size - before.size) * (moment - before.moment) / (after.moment - before.moment)

    @property
    def statistics(self) -> tuple[int, int, int, int, int]:
        """I/O read, I/O written, ms reading, ms writing, ms at work, since the beginning."""
        with self.guard:
            self.advance()
            busy = round(self._busy_time * 1e3)
            return round(self._ios["read"]), round(self._ios["write"]), busy, busy, busy

    def _draw(self) -> float:
        return self._power

    def _join(self, transfer: Transfer) -> None:
        transfer.began = self._time
        transfer.marks.append(_Mark(self._time, 0.0))
        self._running.append(transfer)

    def _finish(self, transfer: Transfer, moment: float) -> None:
        if transfer.ended is None:
            transfer.ended = moment
            if transfer in self._running:
                self._running.remove(transfer)

    def _step(self, now: float) -> None:
        """Go on to the next moment at which anything changes, at most to `now`."""
        start = self._time
        # A disk at rest only cools, which one step does as well as many.
        stop = min(now, (math.floor(start / GRID + 1e-9) + 1) * GRID) if self._running else now
        room = self._room(start)
        rates, busy = self._share(room)
        for transfer, rate in zip(self._running, rates, strict=True):
            issue_until = self._issue_until(transfer)
            if transfer.size is not None and rate > 0:
                stop = min(stop, start + (transfer.size - transfer.size_now) / rate)
            for edge in transfer.memory:
                if rate > 0 and transfer.size_now < edge < math.inf:
                    stop = min(stop, start + (edge - transfer.size_now) / rate)
            if issue_until is not None and issue_until > start:
                stop = min(stop, issue_until)
        stop = max(stop, math.nextafter(start, math.inf))
        took = stop - start
        done: list[Transfer] = []
        moved = {"read": 0.0, "write": 0.0}
        for transfer, rate in zip(self._running, rates, strict=True):
            size = transfer.size_now + rate * took
            issue_until = self._issue_until(transfer)
            if issue_until is not None and stop >= issue_until and transfer.last_issue is None:
                transfer.last_issue = stop
                # What is under way when no more is begun: a full queue, in whole blocks.
                slow = transfer.limit is not None and rate >= transfer.limit * 0.999
                pending = (math.floor(size / transfer.block) + (1 if slow else transfer.depth)) * transfer.block
                transfer.size = pending if transfer.size is None else min(float(transfer.size), pending)
            for edge in transfer.memory:
                if abs(size - edge) < 1e-3:
                    size = edge
            if transfer.size is not None and size >= transfer.size - 1e-3:
                size = transfer.size
                done.append(transfer)
            if not transfer.bypasses:
                step = size - transfer.size_now
                moved["read"] += step * transfer.reads
                moved["write"] += step * (1 - transfer.reads)
                self._ios["read"] += step * transfer.reads / transfer.block
                self._ios["write"] += step * (1 - transfer.reads) / transfer.block
            transfer.marks.append(_Mark(stop, size))
        for direction in self._totals:
            marks = self._totals[direction]
            marks.append(_Mark(stop, marks[-1].size + moved[direction] * (1 + self._neighbour)))
        self._warm(busy, took)
        self._busy_time += busy * took
        self._time = stop
        for transfer in done:
            self._finish(transfer, stop)
            following = transfer.then(transfer) if transfer.then is not None else None
            transfer.then = None
            if following is not None:
                self._join(following)

    @staticmethod
    def _issue_until(transfer: Transfer) -> float | None:
        return None if transfer.seconds is None else transfer.began + transfer.seconds

    def _room(self, start: float) -> float:
        """Return which share of the disk there is for I/O."""
        if start < self._stuck_until:
            return 0.0
        options = self.options
        cell = math.floor(start / GRID + 1e-9)
        # Only of the time in which something moves, so that looking at a disk at rest changes nothing.
        if self._running and cell != self._cell:
            self._cell, self._swing = cell, max(0.0, 1 + self._random.gauss(0.0, options.noise))
            # The load of the cell before, which is over and the same for everybody.
            self._load = self.world.platform.mean_load(max(0.0, (cell - 1) * GRID), max(GRID, cell * GRID))
        room = self._gain * self._swing * (1 - options.saturation * self._load)
        return room * (options.throttled if self._hot else 1.0) / (1 + self._neighbour)

    def _share(self, room: float) -> tuple[list[float], float]:
        """Return the rate of each running transfer, byte/s, and how busy the disk is, 0…1."""
        options = self.options
        cost: list[float] = []
        most: list[float] = []
        for transfer in self._running:
            if transfer.bypasses:
                each = 1 / options.memory
                wanted = options.memory * (1.0 if room > 0 else 0.0)
            else:
                each = transfer.reads / options.read + (1 - transfer.reads) / options.write
                wanted = transfer.depth * transfer.block / (options.latency + transfer.block * each)
                each += options.service / transfer.block
            if transfer.limit is not None:
                wanted = min(wanted, transfer.limit)
            cost.append(each)
            most.append(wanted)
        rates = [0.0] * len(cost)
        waiting = [index for index, transfer in enumerate(self._running) if not transfer.bypasses]
        for index, transfer in enumerate(self._running):
            if transfer.bypasses:
                rates[index] = most[index]
        left = room
        while waiting:
            part = left / len(waiting)
            modest = [index for index in waiting if most[index] * cost[index] <= part]
            for index in modest or waiting:
                rates[index] = min(most[index], part / cost[index])
                left -= rates[index] * cost[index]
            if not modest:
                break
            waiting = [index for index in waiting if index not in modest]
        return rates, min(1.0, max(0.0, (room - left) / room)) if room > 0 else 0.0

    def _warm(self, busy: float, took: float) -> None:
        options, platform = self.options, self.world.settings.platform
        goal = platform.ambient + options.heating * busy + options.coupling * platform.heating * self._load
        self.temperature += (goal - self.temperature) * (1 - math.exp(-took / options.time_constant))
        if self.temperature >= options.hot:
            self._hot = True
        elif self.temperature < options.hot - _HYSTERESIS:
            self._hot = False
        self._power = options.idle_power + (options.busy_power - options.idle_power) * busy

    def _show(self) -> None:
        """Write the witness; sectors are of 512 bytes."""
        if self._witness is None:
            return
        sectors = {name: round(marks[-1].size / _SECTOR) for name, marks in self._totals.items()}
        busy = round(self._busy_time * 1e3)
        fields = (
            *(round(self._ios["read"]), 0, sectors["read"], busy),
            *(round(self._ios["write"]), 0, sectors["write"], busy),
            *(len(self._running), busy, 2 * busy),
        )
        text = " ".join(f"{value:8d}" for value in fields) + "\n"
        if text != self._written:
            self._written = text
            other = self._witness.with_suffix(".new")
            other.write_text(text, encoding="ascii")
            other.replace(self._witness)

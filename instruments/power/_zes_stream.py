"""The cycles of an LMG600: what is asked of each, the stream that the instrument sends, their readings and energy.

Source: lmgtools (language SHORT: ACTN, CONT ON/OFF, TSNORM, DURNORM) and its log of an LMG670.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Generator, Iterator, Sequence
from datetime import datetime
from typing import Any

from aicalib_hw.errors import AicalibError
from aicalib_hw.interfaces import LoadRun, PowerReading, PowerSettings
from aicalib_hw.interfaces.power_meter import require_duration
from aicalib_hw.readings import Instant, Measurement, Status, Window

from . import _evaluation
from . import _zes_cycles as cycles_of
from ._zes_conversation import ZesConversation


class ZesStream(ZesConversation):
    """An instrument whose cycles are taken one by one, of these channels."""

    def __init__(self, address: str, *, channels: Sequence[int], **link: Any) -> None:
        super().__init__(address, **link)
        self._channels = tuple(channels)
        self._last: str | None = None

    @abc.abstractmethod
    def _in_force(self) -> PowerSettings:
        """Read back what a reading depends on."""

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next cycle, V, A, W; with `fresh=False` the last one, STALE if that was read before.

        timeout: s, None = two cycles and the link's. Raises DeadlineExceeded, ConnectionLost, ProtocolError, Aborted.
        """
        self._abort.clear()
        with self._lock:
            self._settle()
            in_force = self._in_force()
            if fresh:
                with contextlib.closing(self._cycles(in_force, timeout)) as cycles:
                    return next(cycles)
            cycle = self._parsed(self.session.query(self._items()))
            extra = Status.STALE if cycle.stamp == self._last else Status.VALID
            self._last = cycle.stamp
            return self._reading(cycle, in_force, None, extra)

    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield each cycle once, for `duration` s of the instrument's time or until closed.

        The instrument sends every cycle, each with its own length and time stamp; one that is missing between two
        of them is counted in `missed`. Nothing else can be asked meanwhile. Raises as `read`.
        """
        self._abort.clear()
        with self._lock:
            self._settle()
            in_force = self._in_force()
        left = duration
        with contextlib.closing(self._cycles(in_force, None)) as cycles:
            for reading in cycles:
                yield reading
                if left is not None:
                    left -= reading.window.duration
                    if left <= 0.5 * reading.window.duration:
                        return

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the active energy, J, of `duration` s as the sum of power times length of consecutive cycles.

        Invalid if a cycle was missed, out of range or without data. Raises UsageError for no duration, Aborted.
        """
        require_duration(duration, where=str(self.identity))
        readings = list(self.stream(duration=duration))
        return _evaluation.summed_energy(readings, [], self.identity, load, self._told_of_accuracy())

    def _items(self) -> str:
        first = self._channels[0]
        named = [f"tsnorm{first}?", f"durnorm{first}?"]
        named += [f"{quantity}{channel}?" for channel in self._channels for quantity in cycles_of.QUANTITIES]
        return ";".join(named)

    def _cycles(self, in_force: PowerSettings, timeout: float | None) -> Generator[PowerReading, None, None]:
        """Let the instrument send its cycles, and stop it on every way out."""
        wait = timeout if timeout is not None else 2 * (in_force.update_interval or 0.0) + self._link.timeout
        with self._lock:
            self._raise_if_aborted()
            self._link.write(f"actn;{self._items()}")
            self._link.write("cont on")
            self._streaming = True
        before: datetime | None = None
        try:
            while True:
                with self._lock:
                    self._raise_if_aborted()
                    cycle = self._parsed(self._link.receive(timeout=wait))
                self._last = cycle.stamp
                at = cycles_of.moment(cycle.stamp)
                missed = None if before is None else max(0, round((at - before).total_seconds() / cycle.length) - 1)
                before = at
                yield self._reading(cycle, in_force, missed or 0, Status.VALID)
        except BaseException:
            self._doubtful = True
            raise
        finally:
            self._streaming = False
            self._stop()

    def _stop(self) -> None:
        if self._abort.is_set():
            return
        try:
            with self._lock:
                self._quiet()
                self._doubtful = False
        except AicalibError:
            self._doubtful = True

    def _parsed(self, line: str) -> cycles_of.Cycle:
        return cycles_of.parse(line, len(self._channels), self.address)

    def _reading(
        self, cycle: cycles_of.Cycle, in_force: PowerSettings, missed: int | None, extra: Status
    ) -> PowerReading:
        stop = Instant.now()
        start = _evaluation.later(stop, -cycle.length)
        window = Window(start, stop, f"one cycle, {cycle.stamp} by the instrument's clock")
        width = len(cycles_of.QUANTITIES)
        elements = tuple(
            cycles_of.element(
                place,
                cycle.texts[place * width : (place + 1) * width],
                in_force,
                window,
                extra,
                channel,
                self.identity,
            )
            for place, channel in enumerate(self._channels)
        )
        total = elements[0] if len(elements) == 1 else cycles_of.total(elements, window, self.identity)
        status = Status.VALID
        for element in elements:
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status, missed)

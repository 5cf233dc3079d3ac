"""What is read through PTDaemon, and measured with it: its samples as readings, their mean, sum and uncertainty.

Source: mlcommons/power-dev `ptd_client_server/lib/server.py`, `compliance/check.py`. The uncertainty is the one that
the daemon states; what it takes into account is the daemon's.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import replace

from aicalib_hw.errors import NotSupported, ProtocolError
from aicalib_hw.interfaces import LoadRun, PowerReading, PowerSettings
from aicalib_hw.interfaces.power_meter import require_duration
from aicalib_hw.readings import Component, Measurement, Status

from . import _evaluation
from . import _ptdaemon_lines as lines
from ._ptdaemon_samples import PTDaemonSamples


class PTDaemonReadings(PTDaemonSamples):
    """A daemon that is read like a meter."""

    @abc.abstractmethod
    def _in_force(self) -> PowerSettings:
        """Read back what a reading depends on."""

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next sample, W, V, A; with `fresh=False` the last one, STALE if it was returned before.

        timeout: s, None = two intervals and the link's. Raises DeadlineExceeded, ConnectionLost, Aborted.
        """
        self._abort.clear()
        with self._lock:
            self._start()
            in_force = self._in_force()
            self._poll()
            waiting = bool(self._waiting)
            if self._waiting:
                self._newest = self._waiting[-1]
                self._waiting.clear()
            if fresh or self._newest is None:
                return self._reading(self._next(timeout), in_force, None, Status.VALID)
            return self._reading(self._newest, in_force, None, Status.VALID if waiting else Status.STALE)

    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield every sample once, for `duration` s of the daemon's time or until closed.

        `missed` counts samples that the daemon's time stamps show to be left out. Raises as `read`.
        """
        self._abort.clear()
        left = None if duration is None else max(1, round(duration * 1000 / self._milliseconds))
        with self._lock:
            self._start()
            in_force = self._in_force()
            self._poll()
            self._waiting.clear()
        before: lines.Sample | None = None
        while left is None or left > 0:
            with self._lock:
                sample = self._next(None)
            missed = 0
            if before is not None:
                missed = max(0, round((sample.utc_ns - before.utc_ns) / (self._milliseconds * 1e6)) - 1)
            before = sample
            yield self._reading(sample, in_force, missed, Status.VALID)
            left = None if left is None else left - 1

    def measure_power(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the mean active power, W, of the samples of `duration` s of the daemon's time.

        Invalid if a sample is bad, more than 1 % are missing, or the daemon states no uncertainty. Raises UsageError
        for no duration, Aborted.
        """
        readings, stated, reasons = self._measured(duration)
        mean = _evaluation.mean_power(readings, stated, self.identity, load)
        return replace(mean, validity=_evaluation.validity(mean.validity.reasons + reasons))

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the active energy, J, of `duration` s of the daemon's time: the sum of its samples.

        Invalid if any sample is bad or missing, or if the daemon states no uncertainty. Raises UsageError for no
        duration, Aborted.
        """
        readings, stated, reasons = self._measured(duration)
        energy = _evaluation.summed_energy(readings, stated, self.identity, load, {})
        return replace(energy, validity=_evaluation.validity(energy.validity.reasons + reasons))

    def _measured(self, duration: float) -> tuple[list[PowerReading], list[tuple[Component, ...]], tuple[str, ...]]:
        """Readings, the components of each usable one, and why there are none: without them a result is invalid."""
        require_duration(duration, where=str(self.identity))
        readings = list(self.stream(duration=duration))
        try:
            ratio = self._uncertainty()
        except (NotSupported, ProtocolError) as error:
            return readings, [], (f"no uncertainty can be stated: {error.what}",)
        return readings, [self._stated(one, ratio) for one in readings if not one.status], ()

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B component of the total active power, W: the largest that the daemon states for its run.

        Raises UnusableReading for a reading that is not VALID, NotSupported if the daemon states none.
        """
        float(reading.active_power)
        return self._stated(reading, self._uncertainty())

    def _uncertainty(self) -> float:
        ratio = lines.parse_uncertainty(self._link.query("Uncertainty").strip())
        if ratio is None:
            raise NotSupported(
                "the daemon states no uncertainty",
                where=self.address,
                why="it has none for this analyzer and these ranges",
                advice="fix ranges that fit the load: PTDaemon knows no uncertainty under auto range",
            )
        return ratio

    def _stated(self, reading: PowerReading, ratio: float) -> tuple[Component, ...]:
        return (
            Component(
                name="as PTDaemon states it",
                kind="B",
                unit="W",
                half_width=ratio * abs(float(reading.active_power)),
                source="PTDaemon `Uncertainty`, the largest of its run, taken as a limit of error",
                shared=f"{self.identity.model} {self.address} accuracy",
            ),
        )

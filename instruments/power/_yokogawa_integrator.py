"""The integrator of the Yokogawa WT series: energy by the meter's own timer.

Sources: IM WT310E-17EN and IM WT3001E-17EN, INTEGrate group; 844 and the pause after a start from a public program.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator

from aicalib_hw.errors import InstrumentReportedError, OutOfRange
from aicalib_hw.interfaces import LoadRun, PowerReading, PowerSettings
from aicalib_hw.interfaces.power_meter import require_duration
from aicalib_hw.readings import Instant, Measurement, Window
from aicalib_hw.scpi.codec import measured

from . import _evaluation
from ._scpi_meter import ScpiPowerMeter

NOT_RUNNING = 844
"""Stop while not integrating; also after the timer has run out."""

_SETTLE_AFTER_START = 0.2
"""s to wait after :INTEGrate:STARt; the next command may otherwise fail."""


class YokogawaIntegrator(ScpiPowerMeter):
    """A meter with this integrator."""

    @abc.abstractmethod
    def _totals(self) -> tuple[str, str]:
        """Texts of the energy of the sum, Wh, and of the integrator's time, s, as shown now."""

    @abc.abstractmethod
    def _in_force(self) -> PowerSettings:
        """Read the settings in force."""

    @abc.abstractmethod
    def _updates(self, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield as `stream`, without forgetting that it was aborted before."""

    def start_integration(self, *, duration: float | None = None) -> None:
        """Clear and start the integrator; `duration` (whole s, up to 10000 h) sets its own timer."""
        seconds = 0 if duration is None else round(duration)
        if duration is not None and (abs(seconds - duration) > 1e-9 or not 0 < seconds <= 36_000_000):
            raise OutOfRange(
                f"the integrator's timer cannot be set to {duration} s",
                where=str(self.identity),
                advice="give whole seconds from 1 to 36000000",
            )
        with self._lock:
            self.reset_integration()
            self.session.command(":INTEGrate:MODE NORMal")
            hours, rest = divmod(seconds, 3600)
            self.session.command(f":INTEGrate:TIMer {hours},{rest // 60},{rest % 60}")
            self.session.command(":INTEGrate:STARt")
            time.sleep(_SETTLE_AFTER_START)

    def stop_integration(self) -> None:
        """Stop the integrator; harmless if it has stopped by itself."""
        try:
            self.session.command(":INTEGrate:STOP")
        except InstrumentReportedError as error:
            if error.code != NOT_RUNNING:
                raise

    def reset_integration(self) -> None:
        """Stop the integrator if it runs, and clear it; settings are unlocked by that."""
        with self._lock:
            if self.integration_state() == "START":
                self.stop_integration()
            self.session.command(":INTEGrate:RESet")

    def integration_state(self) -> str:
        """Return RESET, START, STOP, TIMEUP or ERROR; READY where a real-time start is waited for."""
        return self.session.query(":INTEGrate:STATe?").strip().upper()

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the active energy, J, of `duration` whole seconds by the meter's own integrator and timer.

        Raises OutOfRange for a duration that the timer cannot be set to, InstrumentReportedError, Aborted.
        """
        require_duration(duration, where=str(self.identity))
        self._abort.clear()
        began = Instant.now()
        self.start_integration(duration=duration)
        readings = []
        try:
            for reading in self._updates():
                readings.append(reading)
                if self.integration_state() != "START":
                    break
            state = self.integration_state()
            stopped = Instant.now()
            energy, elapsed = (measured(text)[0] for text in self._totals())
        finally:
            if not self._abort.is_set():
                self.reset_integration()
        reasons: tuple[str, ...] = ()
        if state != "TIMEUP" or energy is None or elapsed is None or round(elapsed) != round(duration):
            reasons = (f"the integrator ended in state {state} after {elapsed} s",)
            energy = None
        stated, unstated = self._accuracy_for(readings)
        return _evaluation.integrated_energy(
            None if energy is None else energy * 3600,
            duration,
            readings,
            stated,
            self.identity,
            Window(began, stopped, "the integrator's own timer"),
            reasons + unstated,
            self._in_force(),
            {"elapsed_s": elapsed, "state": state, **self._told_of_accuracy()},
            load,
        )

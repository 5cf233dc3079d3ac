"""The integrator of the Hioki PW333x: energy by the instrument's own clock, or by its timer of whole minutes.

Source: PW3336A987-01; the rules of its states from the 3332's manual p. 148, here by analogy.
"""

from __future__ import annotations

import abc
from dataclasses import replace

from aicalib_hw.errors import InstrumentReportedError, OutOfRange
from aicalib_hw.interfaces import LoadRun, PowerReading
from aicalib_hw.interfaces.power_meter import require_duration
from aicalib_hw.readings import Component, Instant, Measurement, Status, Window
from aicalib_hw.scpi.codec import parse_number

from . import _evaluation, _hioki_values
from . import _hioki_tables as tables
from ._polled_meter import PolledPowerMeter

LONGEST = 36_000_000
"""s: the integrator stops after 10000 h."""


class HiokiIntegrator(PolledPowerMeter):
    """A meter with this integrator; a family says what its energy is called."""

    @abc.abstractmethod
    def _energy_item(self) -> str:
        """Name of the integrated active energy of the total."""

    def start_integration(self, *, duration: float | None = None) -> None:
        """Clear and start the integrator; `duration`, whole minutes in s up to 10000 h, sets its own timer.

        Raises OutOfRange for another duration, InstrumentReportedError.
        """
        seconds = LONGEST if duration is None else round(duration)
        if duration is not None and (abs(seconds - duration) > 1e-9 or seconds % 60 or not 0 < seconds <= LONGEST):
            raise OutOfRange(
                f"the integrator's timer cannot be set to {duration} s",
                where=str(self.identity),
                advice="give whole minutes, up to 36000000 s",
            )
        with self._lock:
            self.reset_integration()
            hours, rest = divmod(min(seconds, LONGEST - 60), 3600)
            self.session.command(f":INTEGrate:TIME {hours:04d},{rest // 60:02d}")
            self.session.command(":INTEGrate:STATe START")

    def stop_integration(self) -> None:
        """Stop the integrator; harmless if it has stopped by itself."""
        with self._lock:
            if self.integration_state() == "START":
                try:
                    self.session.command(":INTEGrate:STATe STOP")
                except InstrumentReportedError:
                    if self.integration_state() == "START":
                        raise

    def reset_integration(self) -> None:
        """Stop the integrator if it runs, and clear it; settings are unlocked by that."""
        with self._lock:
            self.stop_integration()
            if self.integration_state() != "RESET":
                self.session.command(":INTEGrate:STATe RESET")

    def integration_state(self) -> str:
        """Return START, STOP or RESET."""
        return self.session.query(":INTEGrate:STATe?").strip().upper()

    def integrated(self) -> tuple[float | None, float, Status]:
        """Return the integrated active energy of the total, J, the integrator's time, s, and the energy's status."""
        with self._lock:
            items = ("TIME", self._energy_item())
            taken = _hioki_values.named(self.session.query(f":MEASure? {','.join(items)}"), items, self.address)
        energy = parse_number(taken[items[1]])
        status = tables.marked(energy)
        return (None if status else energy * 3600), _hioki_values.seconds(taken["TIME"]), status

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the active energy, J, of `duration` whole seconds by the meter's own integrator and clock.

        Whole minutes end by its timer; else the value is taken when its clock shows the time. Invalid if that moment
        was missed, or if no accuracy is stated for the settings in force. Raises OutOfRange for parts of a second,
        InstrumentReportedError, Aborted.
        """
        require_duration(duration, where=str(self.identity))
        if abs(round(duration) - duration) > 1e-9 or duration > LONGEST:
            raise OutOfRange(f"no energy of {duration} s can be measured", advice="give whole seconds")
        timed = round(duration) % 60 == 0
        self._abort.clear()
        began = Instant.now()
        self.start_integration(duration=duration if timed else None)
        readings: list[PowerReading] = []
        earlier: float | None = None
        energy: float | None = None
        elapsed, status = 0.0, Status.NO_DATA
        # The state changes at once, the values that are shown with the next update; and the first that comes after the
        # state was seen to change may have been there before.
        looks_left = 3
        try:
            for reading in self._updates():
                readings.append(reading)
                state = self.integration_state()
                if timed and state == "START":
                    continue
                earlier = energy
                energy, elapsed, status = self.integrated()
                if elapsed >= duration:
                    break
                if state != "START":
                    looks_left -= 1
                    if not looks_left:
                        break
            state = self.integration_state()
            stopped = Instant.now()
        finally:
            if not self._abort.is_set():
                self.reset_integration()
        reasons: tuple[str, ...] = ()
        if energy is None or (earlier is None and not timed) or round(elapsed) != round(duration):
            reasons = (f"the integrator ended in state {state} after {elapsed:g} s with an energy that is {status}",)
            energy = None
        looks: tuple[Component, ...] = ()
        if energy is not None and earlier is not None and not timed:
            # The clock went past the duration between two looks, and so did the energy past what is sought.
            looks = (
                Component(
                    name="moment of the end",
                    kind="B",
                    unit="J",
                    half_width=abs(energy - earlier) / 2,
                    source="half the energy between the last look before the end and the first after it",
                ),
            )
            energy = (energy + earlier) / 2
        stated, unstated = self._accuracy_for(readings)
        measured = _evaluation.integrated_energy(
            energy,
            duration,
            readings,
            stated,
            self.identity,
            Window(began, stopped, "the integrator's own timer" if timed else "the integrator's own clock"),
            reasons + unstated,
            readings[-1].settings,
            {"elapsed_s": elapsed, "state": state, **self._told_of_accuracy()},
            load,
        )
        return replace(measured, components=(*measured.components, *looks))

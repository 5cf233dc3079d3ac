"""The truth channel: what is really so, for scoring a procedure. No instrument sees it."""

from __future__ import annotations

from .clock import Clock
from .platform import Platform


class Truth:
    """True values of the platform now, in W, ratio, degC, Hz; energy in J."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = platform
        self._clock = clock

    @property
    def active_power(self) -> float:
        """Active power at the mains, W."""
        return self._platform.ac_power

    @property
    def load(self) -> float:
        """Load of the platform, 0…1."""
        return self._platform.load

    @property
    def temperature(self) -> float:
        """Temperature of the processors, degC."""
        return self._platform.temperature

    def energy_between(self, start: float, stop: float) -> float:
        """Return the energy from the mains between two world times, J."""
        return self._platform.energy_at(stop) - self._platform.energy_at(start)

    def mean_power(self, start: float, stop: float) -> float:
        """Return the mean active power between two world times, W."""
        return self.energy_between(start, stop) / (stop - start)

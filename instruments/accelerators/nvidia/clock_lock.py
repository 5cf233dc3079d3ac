"""The clock of a device, held at one frequency and let go again on every way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aicalib_hw.errors import AicalibError, OutOfRange
from aicalib_hw.interfaces.instrument import ReleaseReport

from .nvml import Device


class ClockLock:
    """Knows whether this process holds the clock of the device, and at what."""

    def __init__(self, device: Device, where: str) -> None:
        self._device = device
        self._where = where
        self.mhz: int | None = None

    @contextmanager
    def held(self, frequency: float) -> Iterator[None]:
        """Hold the clock at `frequency` Hz; raises OutOfRange, naming the nearest clocks there are."""
        wanted = round(frequency / 1e6)
        known = self._device.supported_clocks()
        if known and wanted not in known:
            near = sorted(known, key=lambda mhz: abs(mhz - wanted))[:2]
            raise OutOfRange(
                f"the device has no clock of {wanted} MHz",
                where=self._where,
                advice=f"nearest: {' and '.join(map(str, sorted(near)))} MHz; it has {known[0]} to {known[-1]} MHz",
            )
        self._device.lock_clock(wanted)
        self.mhz = wanted
        try:
            yield
        finally:
            if self.mhz is not None:
                self.mhz = None
                self._device.unlock_clock()

    def let_go(self) -> ReleaseReport:
        """Let go of a clock that is still held; idempotent, never raises."""
        if self.mhz is None:
            return ReleaseReport()
        try:
            self._device.unlock_clock()
        except AicalibError as error:
            return ReleaseReport(failures=(f"the clock stays locked at {self.mhz} MHz: {error.what}",))
        report = ReleaseReport((f"let go of the clock locked at {self.mhz} MHz",))
        self.mhz = None
        return report

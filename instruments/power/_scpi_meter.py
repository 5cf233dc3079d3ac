"""What every message-based power meter does alike: link, identification, abort, means over its updates."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from aicalib_hw.errors import Aborted, IdentityMismatch, NotSupported, ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import LoadRun, PowerMeter, PowerReading
from aicalib_hw.interfaces.power_meter import require_duration
from aicalib_hw.readings import Component, Measurement
from aicalib_hw.scpi.session import Link, ScpiSession
from aicalib_hw.trace import Trace
from aicalib_hw.transport.visa import VisaLink

from . import _evaluation

NO_ACCURACY = "no accuracy is known for this meter: nothing may be calibrated against it"


class ScpiPowerMeter(PowerMeter):
    """A power meter that answers `*IDN?` over a VISA link.

    address: a VISA resource name. timeout: s for one exchange besides waiting for an update.
    visa_library: as PyVISA takes it. baud_rate: of a serial port, None = what the family has from the factory.
    link: use this one instead of opening `address` (a replayed trace).
    """

    ERROR_QUERY: ClassVar[str] = ":SYSTem:ERRor?"
    READ_TERMINATION: ClassVar[str] = "\n"
    WRITE_TERMINATION: ClassVar[str] = "\n"
    BAUD_RATE: ClassVar[int] = 9600
    """Of the family's serial port as it comes from the factory."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        link: Link | None = None,
    ) -> None:
        super().__init__(address)
        self._link: Link = link or VisaLink(
            address,
            visa_library=visa_library,
            timeout=timeout,
            read_termination=self.READ_TERMINATION,
            write_termination=self.WRITE_TERMINATION,
            baud_rate=baud_rate or self.BAUD_RATE,
            trace=trace,
        )
        self._lock = self._link.lock
        self.session = ScpiSession(self._link, error_query=self.ERROR_QUERY)
        self._abort = threading.Event()

    def _connect(self) -> None:
        self._link.open()

    def _disconnect(self) -> None:
        self._link.close()

    def identify(self) -> Identity:
        """Ask `*IDN?`; raises ProtocolError for no identification, IdentityMismatch for another instrument."""
        answer = self.session.query("*IDN?")
        parts = [part.strip() for part in answer.split(",")]
        if len(parts) != 4:
            raise ProtocolError(f"{answer!r} is no identification", where=self.address)
        maker, model, serial, firmware = parts
        return self._mine(Identity(maker, model, serial, firmware, self.address))

    def _mine(self, identity: Identity) -> Identity:
        """Return an identity that this driver is for; raises IdentityMismatch for any other."""
        if not self.DRIVER.matches(identity):
            raise IdentityMismatch(
                f"{identity} answers, and this driver is for {self.DRIVER.summary}",
                where=self.address,
                why=f"another instrument has this address, or {self.DRIVER.name} was named for it by mistake",
                advice="correct the address, or name the driver of what answers; `aicalib drivers` lists them",
            )
        return identity

    def measure_power(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the mean active power, W, of the updates of `duration` s of the meter's time.

        Invalid if an update was out of range or without data, if more than 1 % were missed, if the range changed
        meanwhile, or if the data sheet states no accuracy for the settings in force. Of a meter without known accuracy
        it has no components but the last digit's, and its evidence says so.
        Raises UsageError for a duration of nothing, Aborted.
        """
        require_duration(duration, where=str(self.identity))
        readings = list(self.stream(duration=duration))
        stated, reasons = self._accuracy_for(readings)
        mean = _evaluation.mean_power(readings, stated, self.identity, load)
        validity = _evaluation.validity(mean.validity.reasons + reasons) if reasons else mean.validity
        return replace(mean, validity=validity, evidence={**mean.evidence, **self._told_of_accuracy()})

    def _accuracy_for(self, readings: Sequence[PowerReading]) -> tuple[list[tuple[Component, ...]], tuple[str, ...]]:
        """The components of each usable reading; where none are stated for these settings, why: the result keeps its
        value and is invalid, for without them it would look better known than it is.
        """
        try:
            return self._stated_for(readings), ()
        except NotSupported as error:
            return [], (f"no uncertainty can be stated: {error.what}{f', {error.why}' if error.why else ''}",)

    def _told_of_accuracy(self) -> dict[str, str]:
        """What the evidence of a measurement says of the accuracy: nothing where it is known."""
        return {} if self.capabilities.uncertainty else {"accuracy": NO_ACCURACY}

    def _stated_for(self, readings: Sequence[PowerReading]) -> list[tuple[Component, ...]]:
        """The components of each usable reading; none where the facts have no accuracy."""
        if not self.capabilities.uncertainty:
            return []
        return [self.components(reading) for reading in readings if not reading.status]

    def abort(self) -> None:
        """End whatever blocks in another thread; the link recovers at its next use."""
        self._abort.set()
        self._link.abort()

    def _raise_if_aborted(self) -> None:
        if self._abort.is_set():
            raise Aborted("reading was aborted", where=self.address)

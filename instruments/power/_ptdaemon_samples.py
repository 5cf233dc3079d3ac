"""PTDaemon's samples: its measurement is started, its list of samples asked for, and each new one taken once.

Source: mlcommons/power-dev `ptd_client_server/lib/server.py`: Go, Stop, RL with its variants, and what they answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from aicalib_hw.errors import AicalibError, DeadlineExceeded, InstrumentReportedError
from aicalib_hw.interfaces import ElementReading, PowerReading, PowerSettings, ReleaseReport
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import measured
from aicalib_hw.scpi.session import REFUSED
from aicalib_hw.transport.deadline import Deadline

from . import _evaluation
from . import _ptdaemon_lines as lines
from ._polled_meter import impossible
from ._scpi_meter import ScpiPowerMeter

_MARK = "aicalib"
_UNITS = {"Watts": "W", "Volts": "V", "Amps": "A", "PF": "1"}
_OF_DIRECT_CURRENT = "DC-RL"
_POLLS = 10
"""Questions for new samples in one interval."""


class PTDaemonSamples(ScpiPowerMeter):
    """A daemon whose samples are taken one by one, `milliseconds` apart by its clock."""

    def __init__(self, address: str, *, milliseconds: int, **link: Any) -> None:
        super().__init__(address, **link)
        self._milliseconds = milliseconds
        self._channels = 0
        self._forget()

    def _forget(self) -> None:
        self._list = "RL,*,*"
        self._measuring = False
        self._last_ns = 0
        self._waiting: deque[lines.Sample] = deque()
        self._newest: lines.Sample | None = None

    def release(self) -> ReleaseReport:
        """Stop the daemon's measurement if it was started from here; idempotent; never raises."""
        if not self.is_open or not self._measuring:
            return ReleaseReport()
        with self._lock:
            try:
                self._link.query("Stop")
            except AicalibError as error:
                return ReleaseReport(failures=(f"the daemon's measurement: {error.what}",))
            self._measuring = False
        return ReleaseReport(("the daemon's measurement was stopped",))

    def _start(self) -> None:
        if self._measuring:
            return
        command = f"Go,{self._milliseconds},0,{_MARK}"
        reply = self._link.query(command).strip()
        if not reply.startswith("Starting"):
            raise InstrumentReportedError(
                0,
                reply,
                command,
                where=self.address,
                advice="another client may be measuring: let it end, or send Stop",
            )
        self._measuring = True

    def _next(self, timeout: float | None) -> lines.Sample:
        """Wait for the next sample; raises DeadlineExceeded, Aborted."""
        interval = self._milliseconds / 1000
        deadline = Deadline(2 * interval + self._link.timeout if timeout is None else timeout)
        while not self._waiting:
            self._raise_if_aborted()
            self._poll()
            if self._waiting:
                break
            if deadline.expired:
                raise DeadlineExceeded(
                    f"PTDaemon gave no sample in {deadline.seconds:g} s",
                    where=self.address,
                    why="somebody stopped its measurement, or it has lost its analyzer",
                    advice="look at the daemon's log; open it again",
                )
            self._abort.wait(min(interval / _POLLS, deadline.left))
        self._raise_if_aborted()
        self._newest = self._waiting.popleft()
        return self._newest

    def _poll(self) -> None:
        """Take the samples that are new, whether the daemon lists all of its run or those since the last time."""
        with self._lock:
            reply = self._link.query(self._list).strip()
            for refusal, other in (("Invalid number of parameters", "RL"), ("Unknown command", _OF_DIRECT_CURRENT)):
                if refusal in reply and self._list != other:
                    self._list = other
                    reply = self._link.query(self._list).strip()
            count = lines.parse_last(reply)
            if count is None:
                raise InstrumentReportedError(0, reply, self._list, where=self.address, advice=REFUSED)
            found = [lines.parse_sample(self._link.receive().strip()) for _ in range(count)]
        for sample in found:
            if sample.utc_ns > self._last_ns:
                self._last_ns = sample.utc_ns
                self._channels = len(sample.channels)
                self._waiting.append(sample)

    def _reading(
        self, sample: lines.Sample, in_force: PowerSettings, missed: int | None, extra: Status
    ) -> PowerReading:
        clock = f"PTDaemon at {self.address}"
        began = sample.utc_ns - self._milliseconds * 10**6
        window = Window(
            Instant(began, began, clock), Instant(sample.utc_ns, sample.utc_ns, clock), "one sample of the daemon"
        )
        total = self._element("", sample.total, window, extra)
        elements = tuple(
            self._element(f"Ch{number} ", channel, window, extra) for number, channel in enumerate(sample.channels, 1)
        ) or (total,)
        status = total.active_power.status
        for element in elements:
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status, missed)

    def _element(self, channel: str, texts: Mapping[str, str], window: Window, extra: Status) -> ElementReading:
        if self._list != _OF_DIRECT_CURRENT:
            rms = (measured(text)[0] for name in ("Volts", "Amps") if (text := texts[name].strip()) != lines.BAD)
            extra |= impossible(*(value for value in rms if value is not None))

        def reading(name: str) -> Reading:
            text = texts[name].strip()
            value, status = (None, Status.NO_DATA) if text == lines.BAD else measured(text)
            return Reading(
                value=value,
                unit=_UNITS[name],
                status=status | extra,
                window=window,
                source=self.identity,
                channel=f"{channel}{name}",
                resolution=_evaluation.last_digit(text) if value is not None else None,
                raw=text,
            )

        return ElementReading(
            voltage=reading("Volts"),
            current=reading("Amps"),
            active_power=reading("Watts"),
            power_factor=reading("PF") if "PF" in texts else None,
        )

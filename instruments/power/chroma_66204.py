"""Chroma 66203 and 66204 digital power meters: measuring, status and alarms.

Source: 66203/66204 user manual v1.0 (March 2014) ch. 5. Channels are read one after another, so that under a
swinging load they do not stand for one instant. Not stated in what is at hand, and therefore not offered: commands
for ranges, current transformers, wiring, the time of an energy measurement and the unit of its result; the
accuracy; a command back to local. Unconfirmed and therefore keywords: `update_interval` (the display refreshes every
0.5 s), `distortion_unit`. The wires are those of the sister model 66202. The power factor's sign is the meter's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aicalib_hw import units
from aicalib_hw.errors import OutOfRange, ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    Setting,
)
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import parse_integer, parse_number

from . import _chroma_values as values
from ._polled_meter import PolledPowerMeter

_NO_ENERGY = "the command for its measuring time and the unit of its result are not in what is at hand"


class Chroma66204(PolledPowerMeter):
    """A 66203 or 66204; `configure(elements=…)` says which channels are read and summed, at first channel 1.

    update_interval: s. distortion_unit: of THDV and THDI.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="chroma-66204",
        role="power_meter",
        summary="Chroma 66203, 66204 digital power meters",
        manual="66203/66204 user manual v1.0",
        models=((r"Chroma.*", r"6620[34]"),),
        wires=("USBTMC", "GPIB", "serial"),
        simulator="chroma-66204",
    )

    SETTINGS = ("elements",)

    def __init__(self, address: str, *, update_interval: float = 0.5, distortion_unit: str = "%", **link: Any) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        self._distortion_unit = units.require(distortion_unit).symbol
        self._chosen: tuple[int, ...] = (1,)
        self._count = 1

    def identify(self) -> Identity:
        """Ask `*IDN?`; further fields (FPGA, PCB) are extras; raises ProtocolError, IdentityMismatch."""
        answer = self.session.query("*IDN?")
        parts = [part.strip() for part in answer.split(",")]
        if len(parts) < 4:
            raise ProtocolError(f"{answer!r} is no identification", where=self.address)
        extra = dict(zip(("fpga", "pcb"), parts[4:], strict=False))
        return self._mine(Identity(parts[0], parts[1], parts[2], parts[3], self.address, extra))

    def _again(self) -> None:
        self.session.command("SYSTem:HEADer OFF")
        self.session.command("SYSTem:TRANsmit:SEParator 0")

    def _prepare(self) -> None:
        self._again()
        self._count = len(self._alarms())
        self._chosen = (1,)

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What is confirmed: channels that are read, V, A, W; as many as `PROTection?` tells of."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "no facts: no command for ranges is confirmed",
                "energy": f"no facts: {_NO_ENERGY}",
                "uncertainty": "no facts: the accuracy is not in what is at hand",
                "missed": "the meter does not tell of updates that passed unread",
            },
            elements=self._count,
        )

    def _apply(self, **wanted: Any) -> None:
        channels = tuple(wanted["elements"])
        if not channels or len(set(channels)) != len(channels) or not set(channels) <= set(self._all):
            raise OutOfRange(
                f"channels {channels} cannot be read",
                where=str(self.identity),
                why=f"this meter has {self._count}",
                advice="name each once",
            )
        self._chosen = channels
        self._last = None

    @property
    def _all(self) -> range:
        return range(1, self._count + 1)

    def _in_force(self) -> PowerSettings:
        return self._bare_settings(elements=self._chosen)

    def snapshot(self) -> Mapping[str, Setting]:
        """Give the channels that are read, the interval, s, and what each channel says of itself (`CHANnel:ID?`)."""
        with self._lock:
            now = Instant.now()
            found = {
                "elements": Setting(self._chosen, "", now, "driver"),
                "update_interval": Setting(self._interval, "s", now, "driver"),
            }
            for channel in self._all:
                self._select(channel)
                found[f"channel_{channel}"] = Setting(self.session.query("CHANnel:ID?"), "", now, "instrument")
            return found

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return what is acquired now (`MEASure?`), W, V, A; with `fresh=False` the last, STALE if read before.

        timeout: s for each channel, None = the link's. Raises DeadlineExceeded, ConnectionLost, ProtocolError,
        Aborted.
        """
        if not fresh:
            return super().read(fresh=False, timeout=timeout)
        self._abort.clear()
        with self._lock, self._watched():
            in_force = self._in_force()
            self._last = self._shown("MEASure?", timeout)
            self._raise_if_aborted()
            return self._taken(self._last, in_force, "acquired when asked", Status.VALID)

    def _ask(self) -> str:
        return self._shown("FETCh?", None)

    def _shown(self, question: str, timeout: float | None) -> str:
        """Values and condition of each chosen channel, one line each, then the alarms of all channels."""
        lines = []
        with self._lock:
            for channel in self._chosen:
                self._select(channel)
                shown = self.session.query(f"{question} {','.join(values.ITEMS)}", timeout=timeout)
                condition = self.session.query("STATus:CHANnel:CONDition?")
                lines.append(f"{shown.strip()};{condition.strip()}")
            lines.append(",".join(str(alarm) for alarm in self._alarms()))
        return "\n".join(lines)

    def _select(self, channel: int) -> None:
        """Select a channel, and make sure of it: the values that follow do not say whose they are."""
        self._link.write(f"CHANnel {channel}")
        selected = parse_integer(self.session.query("CHANnel?"))
        if selected != channel:
            raise ProtocolError(
                f"channel {selected} is selected, not {channel}",
                where=self.address,
                why="another program or the panel selects channels too",
                advice="let no other program use the meter meanwhile",
            )

    def _alarms(self) -> list[int]:
        """The alarms of every channel, which stay until `clear_protection()`."""
        return [parse_integer(text) for text in self.session.query("PROTection?").split(",")]

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        *lines, alarms = shown.split("\n")
        by_channel = dict(enumerate((int(alarm) for alarm in alarms.split(",")), 1))
        elements = tuple(
            values.element_reading(
                channel, line, by_channel.get(channel, 0), window, extra, self.identity, self.address
            )
            for channel, line in zip(in_force.elements, lines, strict=True)
        )
        total = elements[0] if len(elements) == 1 else values.summed(elements, in_force.elements, window, self.identity)
        status = Status.VALID
        for element in (*elements, total):
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status)

    def total_harmonic_distortion(self) -> tuple[tuple[Reading, Reading], ...]:
        """Return the total harmonic distortion of voltage and current of each chosen channel, %."""
        found = []
        with self._lock:
            window = self._window("one update interval before this moment")
            for channel in self._chosen:
                self._select(channel)
                texts = self.session.query("FETCh? THDV,THDI").split(",")
                pair = []
                for name, text in zip(("THDV", "THDI"), texts, strict=True):
                    number = parse_number(text)
                    marker = values.MARKERS.get(number, Status.VALID)
                    value, label = None if marker else number, f"{name}, channel {channel}"
                    pair.append(
                        Reading(value, self._distortion_unit, marker, window, self.identity, channel=label, raw=text)
                    )
                found.append((pair[0], pair[1]))
        return tuple(found)

    def clear_protection(self) -> None:
        """Clear the alarms; closes the input's relay after an over-current: make sure first that its cause is gone."""
        self.session.command("PROTection:CLEar")

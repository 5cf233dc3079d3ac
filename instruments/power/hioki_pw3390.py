"""Hioki PW3390 power analyzers, read over LAN, port 3390: channels and the meter's own sums.

Source: PW3390A975-01 p. 6 (port), p. 37 and 79 (choosing what is measured), p. 62 (hold). A reader: ranges, scaling,
wiring, integration, the table of power accuracy and the markers for "no value" are not in what is at hand; the markers
of the PW3336 are taken to hold here too. Unconfirmed and therefore a keyword: `update_interval`. How values
are named in a reply is known of the PW3336 only; a name that does not fit is refused, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from aicalib_hw.errors import OutOfRange, ProtocolError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    Setting,
)
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import parse_number

from . import _hioki_values
from ._polled_meter import PolledPowerMeter, impossible

UNITS = {"U": "V", "I": "A", "P": "W", "S": "VA", "Q": "var", "PF": "1", "FREQ": "Hz"}
SUMS = {(1, 2): 1, (3, 4): 2, (1, 2, 3): 4}
"""Channels that the meter adds up → their bit in `:MEASure:ITEM:SUM` (p. 79)."""

_CHANNELS = (1, 2, 3, 4)
_NAME = re.compile(r"(U|I|P|S|Q|PF|FREQ)(?:RMS)?(?:SUM)?(\d{1,3})", re.IGNORECASE)


class HiokiPW3390(PolledPowerMeter):
    """A PW3390; `configure(elements=…)` says which channels are read, at first channel 1.

    Several channels are those that the meter itself adds up: (1, 2), (3, 4) or (1, 2, 3).
    update_interval: s (unconfirmed).
    """

    WRITE_TERMINATION = "\r\n"

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="hioki-pw3390",
        role="power_meter",
        summary="Hioki PW3390 power analyzers (reading)",
        manual="PW3390A975-01",
        models=((r"HIOKI.*", r"PW3390(-\d\d)?"),),
        wires=("TCP",),
        simulator="hioki-pw3390",
    )

    SETTINGS = ("elements",)

    def __init__(self, address: str, *, update_interval: float = 0.2, **link: Any) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        self._chosen: tuple[int, ...] = (1,)

    def _prepare(self) -> None:
        self._chosen = (1,)
        self._again()

    def _again(self) -> None:
        # Each value is then named in the reply, so that none can be taken for another.
        self.session.command(":HEADer ON")
        self._choose(self._chosen)

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What is confirmed: reading four channels and their sums, V, A, W, and hold."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "no facts: no command for ranges is in what is at hand",
                "energy": "no facts: no command for integration is in what is at hand",
                "uncertainty": "no facts: the table of power accuracy is not in what is at hand",
                "missed": "the meter does not tell of updates that passed unread",
                "serial": "no facts: the settings of its RS-232C are not in what is at hand",
            },
            elements=len(_CHANNELS),
            hold=True,
        )

    def _apply(self, **wanted: Any) -> None:
        channels = tuple(wanted["elements"])
        if channels not in SUMS and (len(channels) != 1 or channels[0] not in _CHANNELS):
            raise OutOfRange(
                f"channels {channels} cannot be read together",
                where=str(self.identity),
                why="the meter adds up (1, 2), (3, 4) and (1, 2, 3)",
                advice="choose one of these, or one channel",
            )
        self._choose(channels)

    def _choose(self, channels: tuple[int, ...]) -> None:
        mask = sum(1 << (channel - 1) for channel in channels)
        # U, I, P, S, Q, PF, DEG, FREQ, each a mask of channels; the sum has no frequency.
        self.session.command(f":MEASure:ITEM:NORMal {mask},{mask},{mask},{mask},{mask},{mask},0,{mask}")
        total = SUMS.get(channels, 0)
        self.session.command(f":MEASure:ITEM:SUM {total},{total},{total},{total},{total},{total},0")
        self._chosen = channels
        self._last = None

    def _in_force(self) -> PowerSettings:
        return self._bare_settings(elements=self._chosen)

    def snapshot(self) -> Mapping[str, Setting]:
        """Read what is chosen and whether values are held; the interval, s, is the driver's."""
        with self._lock:
            now = Instant.now()
            return {
                "elements": Setting(self._chosen, "", now, "driver"),
                "update_interval": Setting(self._interval, "s", now, "driver"),
                "sum": Setting(self.session.query(":MEASure:ITEM:SUM?"), "", now, "instrument"),
                "hold": Setting(self.session.query(":HOLD?"), "", now, "instrument"),
            }

    def hold(self, on: bool) -> None:
        """Hold the shown values, or let them go on; raises InstrumentReportedError."""
        self.session.command(f":HOLD {'ON' if on else 'OFF'}")

    def _ask(self) -> str:
        return self.session.query(":MEASure?")

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        taken = self._values(shown)
        elements = tuple(self._element(str(channel), taken, window, extra) for channel in in_force.elements)
        total = elements[0]
        if len(elements) > 1:
            for element in elements:
                extra |= element.current.status & Status.INVALID
            total = self._element("".join(str(channel) for channel in in_force.elements), taken, window, extra)
        status = Status.VALID
        for element in (*elements, total):
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status)

    def _values(self, reply: str) -> dict[tuple[str, str], str]:
        """Texts by quantity and channel, of a reply in which each stands with its name (`U1 +230.00E+0;…`)."""
        found: dict[tuple[str, str], str] = {}
        for part in reply.split(";"):
            name, _, text = part.strip().partition(" ")
            known = _NAME.fullmatch(name)
            if known is None or not text or (known[1].upper(), known[2]) in found:
                raise ProtocolError(
                    f"{part.strip()[:40]!r} is no value with a name that is known",
                    where=self.address,
                    why="the header was switched off by somebody, or this model names its values otherwise",
                    advice=_hioki_values.SOMEBODY_ELSE,
                )
            found[known[1].upper(), known[2]] = text.strip()
        return found

    def _element(
        self, suffix: str, taken: Mapping[tuple[str, str], str], window: Window, flags: Status
    ) -> ElementReading:
        missing = [quantity for quantity in ("U", "I", "P", "S", "Q", "PF") if (quantity, suffix) not in taken]
        if missing:
            raise ProtocolError(f"{missing[0]}{suffix} was asked for and is not there", where=self.address)
        flags |= impossible(parse_number(taken["U", suffix]), parse_number(taken["I", suffix]))

        def reading(quantity: str) -> Reading:
            text = taken.get((quantity, suffix))
            if text is None:
                raise ProtocolError(f"{quantity}{suffix} was asked for and is not there", where=self.address)
            return _hioki_values.reading(
                text, UNITS[quantity], f"{quantity}{suffix}", flags=flags, window=window, source=self.identity
            )

        return ElementReading(
            voltage=reading("U"),
            current=reading("I"),
            active_power=reading("P"),
            apparent_power=reading("S"),
            reactive_power=reading("Q"),
            power_factor=reading("PF"),
            frequency=reading("FREQ") if len(suffix) == 1 else None,
        )

"""Hioki PW3335 (one channel), PW3336 (two) and PW3337 (three) power meters, over LAN, port 3300.

Sources: PW3336A987-01 and PW3335A985-01 (communications), PW3336/PW3337 data sheet p. 8 (accuracy), and a public
program that drives a PW3337. Not covered: RS-232C (its execution confirmations are not documented in what is at
hand), harmonics beyond total distortion, averaging and synchronisation (their words are not confirmed), current
sensors beyond recognising that one is used. Not stated anywhere at hand: the ranges (the instrument refuses what
it has not), a command for zero adjustment, a command back to local. Unconfirmed and therefore keywords:
`update_interval`, `sum_suffix`, `status_item`, `zero_command`, `power_factor_influence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from aicalib_hw.errors import AicalibError, ProtocolError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    ReleaseReport,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Instant, Reading, Status, Window
from aicalib_hw.scpi.codec import parse_number

from . import _hioki_accuracy as accuracy
from . import _hioki_tables as tables
from . import _hioki_values
from ._hioki_integrator import HiokiIntegrator
from ._hioki_settings import HiokiSettings
from ._polled_meter import impossible

_PER_ELEMENT = {"U": "V", "I": "A", "P": "W", "S": "VA", "Q": "var", "PF": "1", "FREQU": "Hz"}
_OF_SUM = ("U", "I", "P", "S", "Q", "PF")


class HiokiPW3336(HiokiIntegrator, HiokiSettings):
    """A power meter of the PW3335/PW3336/PW3337 family.

    update_interval: s, about 0.2 (unconfirmed). sum_suffix: what follows an item's name for the sum
    (unconfirmed). status_item: whether STATUS may stand among the items (unconfirmed); without it only the
    marker in a value tells of over-range, and peaks go unnoticed. zero_command: what adjusts zero, None =
    not known. power_factor_influence: at power factor 0, ratio of S; assumed 0.2 %, the class's usual figure.
    """

    WRITE_TERMINATION = "\r\n"

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="hioki-pw3336",
        role="power_meter",
        summary="Hioki PW3335, PW3336, PW3337 power meters",
        manual="PW3336A987-01, PW3335A985-01, PW3336/PW3337 data sheet",
        models=((r"HIOKI.*", r"PW333[567](-\d\d)?"),),
        wires=("TCP",),
        simulator="hioki-pw3336",
    )

    def __init__(
        self,
        address: str,
        *,
        update_interval: float = 0.2,
        sum_suffix: str = "0",
        status_item: bool = True,
        zero_command: str | None = None,
        power_factor_influence: float = 0.002,
        **link: Any,
    ) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        self._sum = sum_suffix
        self._status_item = status_item
        self._zero_command = zero_command
        self._influence = power_factor_influence

    def _prepare(self) -> None:
        self._again()

    def _again(self) -> None:
        # Each value is then named in the reply, so that none can be taken for another.
        self.session.command(":HEADer ON")

    @property
    def _count(self) -> int:
        return tables.ELEMENTS[self.identity.model.upper()[:6]]

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What this model can do; ranges, V and A, are not stated in what is at hand."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "not listed in what is at hand; the instrument refuses what it has not",
                "missed": "the meter does not tell of updates that passed unread",
                "uncertainty": "direct input of PW3336 and PW3337",
                "serial": "no facts: how RS-232C confirms each command is not in what is at hand",
            },
            elements=self._count,
            wirings=cast(tuple[Wiring, ...], tables.WIRINGS_OF[self._count]),
            auto_range=True,
            scaling=True,
            energy=True,
            hold=True,
            zero=True if self._zero_command else None,
            uncertainty=True if self._count > 1 else None,
        )

    def snapshot(self) -> Mapping[str, Setting]:
        """Read every setting: ranges in V and A, ratios, wiring, which inputs are current sensors."""
        with self._lock:
            settings, now = self._in_force(), Instant.now()
            units = {"voltage_range": "V", "current_range": "A", "update_interval": "s"}
            known = {name: getattr(settings, name) for name in PowerSettings.__slots__}
            found = {
                name: Setting(
                    value,
                    units.get(name, ""),
                    now,
                    "driver" if name in ("elements", "update_interval") else "instrument",
                )
                for name, value in known.items()
                if value is not None
            }
            found["wiring_type"] = Setting(self._wiring_type(), "", now, "instrument" if self._count > 1 else "fixed")
            found["current_sensor"] = Setting(self._external, "", now, "instrument")
            return found

    @property
    def _items(self) -> tuple[str, ...]:
        items = [f"{name}{channel}" for channel in self._channels for name in _PER_ELEMENT]
        if self._count > 1:
            items += [f"{name}{self._sum}" for name in _OF_SUM]
        return (*(("STATUS",) if self._status_item else ()), *items)

    def _ask(self) -> str:
        return self.session.query(f":MEASure? {','.join(self._items)}")

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        taken = _hioki_values.named(shown, self._items, self.address)
        flags = self._flags(taken.get("STATUS"))
        elements = tuple(
            self._element(str(channel), taken, in_force, window, extra | flags[channel - 1])
            for channel in self._channels
        )
        total = elements[0]
        if self._count > 1 and in_force.wiring != "1P2W":
            every = extra
            for flag, element in zip(flags, elements, strict=True):
                every |= flag | element.current.status & Status.INVALID
            total = self._element(self._sum, taken, in_force, window, every)
        status = Status.VALID
        for element in (*elements, total):
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status)

    def _flags(self, text: str | None) -> list[Status]:
        """What STATUS says of each channel; nothing where it is not asked for."""
        if text is None:
            return [Status.VALID] * self._count
        try:
            word = int(text, 16)
        except ValueError:
            raise ProtocolError(f"{text!r} is no status word", where=self.address) from None
        flags = []
        for channel in range(self._count):
            status = Status.VALID
            for lowest, meaning in tables.STATUS_FIELDS.items():
                status |= meaning if word >> (lowest + channel) & 1 else Status.VALID
            flags.append(status)
        return flags

    def _element(
        self, suffix: str, taken: Mapping[str, str], in_force: PowerSettings, window: Window, flags: Status
    ) -> ElementReading:
        full: dict[str, float] = {}
        if f"FREQU{suffix}" in taken:
            index = int(suffix) - 1
            full["U"] = in_force.voltage_range[index] * (in_force.vt_ratio or (1.0,) * self._count)[index]
            if not self._external[index]:  # the range behind a sensor is the sensor's, and is not asked for
                full["I"] = in_force.current_range[index] * (in_force.ct_ratio or (1.0,) * self._count)[index]
                full["P"] = full["U"] * full["I"]
        flags |= impossible(parse_number(taken[f"U{suffix}"]), parse_number(taken[f"I{suffix}"]))

        def reading(item: str) -> Reading:
            return _hioki_values.reading(
                taken[f"{item}{suffix}"],
                _PER_ELEMENT[item],
                f"{item}{suffix}",
                flags=flags,
                window=window,
                source=self.identity,
                full=full.get(item),
            )

        return ElementReading(
            voltage=reading("U"),
            current=reading("I"),
            active_power=reading("P"),
            apparent_power=reading("S"),
            reactive_power=reading("Q"),
            power_factor=reading("PF"),
            frequency=reading("FREQU") if f"FREQU{suffix}" in taken else None,
        )

    def total_harmonic_distortion(self) -> tuple[tuple[Reading, Reading], ...]:
        """Return the total harmonic distortion of voltage and current of each channel, %."""
        items = [f"{name}{channel}" for channel in self._channels for name in ("UTHD", "ITHD")]
        taken = _hioki_values.named(self.session.query(f":MEASure? {','.join(items)}"), items, self.address)
        window = self._window("one update interval before this moment")
        found = [
            _hioki_values.reading(text, "%", item, flags=Status.VALID, window=window, source=self.identity)
            for item, text in taken.items()
        ]
        return tuple(zip(found[::2], found[1::2], strict=True))

    def _energy_item(self) -> str:
        return "WP1" if self._count == 1 or self._wiring_type() == "TYPE1" else f"WP{self._sum}"

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the total active power, W (PW3336/PW3337 data sheet p. 8, direct input).

        Raises UnusableReading for a reading that is not VALID, NotSupported for a PW3335, for current
        sensors, for a sum whose elements are not documented, and beyond 10 kHz.
        """
        if not self.capabilities.uncertainty:
            self._lacks("accuracy", "the data sheet at hand is of PW3336 and PW3337")
        return accuracy.components(
            reading,
            self.identity.model,
            self.identity.serial,
            external=self._external or (False,) * self._count,
            power_factor_influence=self._influence,
        )

    def hold(self, on: bool) -> None:
        """Hold the shown values, or let them go on; raises InstrumentReportedError."""
        self.session.command(f":HOLD {'ON' if on else 'OFF'}")

    def zero(self) -> None:
        """Adjust zero by `zero_command`; raises NotSupported without one, InstrumentReportedError."""
        if self._zero_command is None:
            self._lacks("zero adjustment over the wire", "its command is not confirmed")
        self.session.command(self._zero_command)

    def release(self) -> ReleaseReport:
        """Stop and clear the integrator; the panel is given back by closing the link; idempotent; never raises."""
        if not self.is_open:
            return ReleaseReport()
        with self._lock:
            try:
                state = self.integration_state()
                if state == "RESET":
                    return ReleaseReport()
                self.reset_integration()
            except AicalibError as error:
                return ReleaseReport(failures=(f"integration: {error.what}",))
        return ReleaseReport((f"integration was in state {state}: stopped and reset",))

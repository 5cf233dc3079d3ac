"""The opened bench: its instruments by name and role, its load, its simulated world, and the way out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, cast

from aicalib_hw import discovery, registry
from aicalib_hw._bench_check import driver_options_of, settings_of
from aicalib_hw._bench_errors import nearest
from aicalib_hw._bench_file import OPERATOR_LOAD, WORLD_LOAD, BenchFile, InstrumentEntry
from aicalib_hw._bench_found import with_found
from aicalib_hw._bench_load import Load, SetByOperator
from aicalib_hw._bench_release import MISSING, release_left_behind
from aicalib_hw._bench_simulation import Simulation
from aicalib_hw.errors import AicalibError, BenchError
from aicalib_hw.identity import Certificate
from aicalib_hw.interfaces import ROLES, Accelerator, Instrument, PowerMeter, ReleaseReport
from aicalib_hw.leases import Lease, LeaseBook

_log = logging.getLogger(__name__)


class Bench:
    """The opened instruments of a bench file.

    settings: the file, parsed. instruments: by name, in the order of the file. left_out: optional ones that are not
    there, with the reason. simulated: the simulated instruments by name, for their truth and faults. world: the
    simulated world or None.
    """

    def __init__(self, settings: BenchFile, leases: LeaseBook, *, simulate: bool = False, trace: Any = None) -> None:
        self.settings = settings
        self.instruments: dict[str, Instrument] = {}
        self.left_out: dict[str, AicalibError] = {}
        self._trace = trace
        self._leases = leases
        self._held: dict[str, Lease] = {}
        self._load: Load | None = None
        self._simulation = Simulation(settings, self._simulated_names(simulate))

    @property
    def name(self) -> str:
        """Name of the bench."""
        return self.settings.bench.name

    @property
    def world(self) -> Any:
        """The simulated world, None where nothing is simulated."""
        return self._simulation.world

    @property
    def simulated(self) -> Mapping[str, Any]:
        """The simulated instruments by name."""
        return self._simulation.instruments

    @property
    def certificates(self) -> Mapping[str, Certificate]:
        """The calibration certificates that the file gives, by instrument."""
        entries = self.settings.instruments.items()
        return {name: entry.certificate.certificate() for name, entry in entries if entry.certificate is not None}

    @property
    def can_load(self) -> bool:
        """True if something can load the platform, so that `load` does not raise."""
        return self._load is not None

    @property
    def load(self) -> Load:
        """What loads the platform; raises BenchError where the file names nothing that could."""
        if self._load is None:
            raise BenchError(
                f"bench {self.name!r} has nothing that could load the platform",
                where=f"{self.settings.origin}: load.source",
                advice='add [load] with source = the name of an accelerator of this bench, "operator" where somebody '
                'loads it by hand, or "world" where the meter is simulated',
            )
        return self._load

    def address_of(self, name: str) -> str:
        """Return the address that the instrument `name` was, or is to be, opened by."""
        if name in self._simulation.addresses:
            return self._simulation.addresses[name]
        return str(self._entry(name).address)

    def of_role(self, role: str) -> list[Any]:
        """Return the opened instruments of a role ("power_meter"), in the order of the file."""
        if role not in ROLES:
            raise BenchError(f"unknown role {role!r}", advice=nearest(role, ROLES))
        return [instrument for instrument in self.instruments.values() if isinstance(instrument, ROLES[role])]

    def the(self, role: str) -> Any:
        """Return the only instrument of a role; raises BenchError if there is none, or more than one."""
        found = self.of_role(role)
        if len(found) == 1:
            return found[0]
        names = [name for name, instrument in self.instruments.items() if instrument in found]
        raise BenchError(
            f"bench {self.name!r} has {len(found) or 'no'} instruments of role {role!r}, and one is needed",
            where=f"{self.settings.origin}: instruments",
            why=f"found: {', '.join(names)}" if names else "",
            advice=f"leave one {role} in the file" if names else f"add a {role}; `aicalib drivers` lists them",
        )

    def open(self) -> Self:
        """Start simulators, take leases, open, identify and set up every instrument; undo all if one fails."""
        try:
            if self._simulation_needed():
                self._simulation.start()
            self.settings = with_found(self.settings, self._simulation.names)
            self.left_out |= self._simulation.left_out
            for name, entry in self.settings.instruments.items():
                if name in self._simulation.left_out:
                    continue
                try:
                    self._open_instrument(name)
                except MISSING as error:
                    if not entry.optional:
                        raise
                    self._leave_out(name, error)
            found = self._find_load()
            self._load = Load(*found, host_is_metered=self._host_is_metered()) if found is not None else None
        except BaseException:
            self._close_and_log()
            raise
        return self

    def abort(self) -> None:
        """Stop what moves, now: loads and instruments; from any thread; never raises."""
        if self._load is not None:
            self._load.stop()
        for name, instrument in tuple(self.instruments.items()):
            try:
                instrument.abort()
            except Exception:  # noqa: BLE001 - one instrument must not keep the others from being stopped
                _log.exception("aborting %s", name)

    def close(self) -> ReleaseReport:
        """Make every instrument safe in reverse order, stop what is simulated, give leases back; never raises."""
        report = ReleaseReport()
        if self._load is not None:
            self._load.stop()
        for name, instrument in reversed(tuple(self.instruments.items())):
            try:
                done = instrument.close()
            except Exception as error:  # noqa: BLE001 - one instrument must not keep the others from being closed
                done = ReleaseReport(failures=(f"closing it: {error}",))
            report += ReleaseReport(
                tuple(f"{name}: {action}" for action in done.actions),
                tuple(f"{name}: {failure}" for failure in done.failures),
            )
        self.instruments.clear()
        report += ReleaseReport(failures=self._simulation.stop())
        for name, lease in tuple(self._held.items()):
            try:
                self._leases.give_back(lease)
            except AicalibError as error:
                report += ReleaseReport(failures=(f"{name}: giving the lease back: {error.why}",))
        self._held.clear()
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_and_log()

    def _close_and_log(self) -> None:
        """Close where nobody takes the report: the log says what went wrong."""
        for failure in self.close().failures:
            _log.warning("bench %s: %s", self.name, failure)

    def _entry(self, name: str) -> InstrumentEntry:
        try:
            return self.settings.instruments[name]
        except KeyError:
            raise BenchError(
                f"bench {self.name!r} has no instrument {name!r}", advice=nearest(name, self.settings.instruments)
            ) from None

    def _simulated_names(self, simulate: bool) -> Iterable[str]:
        return [name for name, entry in self.settings.instruments.items() if entry.is_simulated(simulate=simulate)]

    def _simulation_needed(self) -> bool:
        load = self.settings.load
        return bool(self._simulation.names) or (load is not None and load.source == WORLD_LOAD)

    def _open_instrument(self, name: str) -> None:
        entry = self._entry(name)
        place = f"{self.settings.origin}: instruments.{name}"
        simulated = name in self._simulation.addresses
        address = self.address_of(name)
        kind = registry.driver(entry.driver)
        options = driver_options_of(entry, kind, self.settings.origin, name)
        try:
            instrument: Instrument = kind(address, trace=self._trace, **options)
            if not simulated:
                self._take(name, instrument, options)
            self.instruments[name] = instrument
            instrument.open()
            if simulated and self.settings.time_remark:
                instrument._add_to_identity(times=self.settings.time_remark)
            expected = entry.identity.model_dump(exclude_none=True)
            if simulated:
                expected.pop("serial", None)
            discovery.require_identity(instrument, **expected)
            if entry.settings:
                cast(Any, instrument).configure(**settings_of(entry, kind, self.settings.origin, name))
        except AicalibError as error:
            error.where = f"{place}, {error.where}" if error.where else place
            raise

    def _leave_out(self, name: str, error: AicalibError) -> None:
        """Go on without an instrument that is optional: what it needs is not there."""
        self.left_out[name] = error
        instrument = self.instruments.pop(name, None)
        if instrument is not None:
            instrument.close()
        lease = self._held.pop(name, None)
        if lease is not None:
            self._leases.give_back(lease)
        _log.info("bench %s: %s is left out: %s", self.name, name, error.what)

    def _take(self, name: str, instrument: Instrument, options: Mapping[str, Any]) -> None:
        lease = Lease.of_this_process(
            instrument.address, instrument=name, driver=instrument.DRIVER.name, bench=self.name
        )
        former = self._leases.take(lease)
        self._held[name] = lease
        if former is not None:
            # by the same options, without which the same driver might not reach it: the speed of its port is one
            release_left_behind(former, options if former.driver == instrument.DRIVER.name else {})

    def _find_load(self) -> tuple[str, Any] | None:
        """Name of what loads the platform, and what runs the load; None where there is nothing."""
        source = self.settings.load.source if self.settings.load is not None else None
        if source == OPERATOR_LOAD:
            return source, SetByOperator()
        if source == WORLD_LOAD:
            self._require_that_the_world_feeds(self._meters_elsewhere())
            return source, self.world
        if source is not None:
            return source, self.instruments[source]
        accelerators = {n: i for n, i in self.instruments.items() if isinstance(i, Accelerator)}
        if len(accelerators) == 1:
            return next(iter(accelerators.items()))
        alone = self.world is not None and not accelerators and not self._meters_elsewhere()
        return (WORLD_LOAD, self.world) if alone else None

    def _host_is_metered(self) -> bool:
        """True where this host may move what a power meter reads: a real platform, or one that follows it."""
        return bool(self._meters_elsewhere()) or (self.world is not None and bool(self.world.follows_host))

    def _meters_elsewhere(self) -> list[str]:
        """Names of the power meters that do not stand in the simulated world of this bench."""
        return [
            name
            for name, instrument in self.instruments.items()
            if isinstance(instrument, PowerMeter) and name not in self._simulation.addresses
        ]

    def _require_that_the_world_feeds(self, elsewhere: Iterable[str]) -> None:
        for name in elsewhere:
            raise BenchError(
                f"the simulated world cannot load what {name} measures",
                where=f"{self.settings.origin}: load.source",
                why=f"{name} is at {self.address_of(name)}, not in that world: its platform would stand as it is",
                advice='name an accelerator of the platform, or "operator" if somebody loads it by hand',
            )

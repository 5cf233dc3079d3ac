"""The grammar that every role shares: open, identify, capabilities, snapshot, abort, release, close."""

from __future__ import annotations

import abc
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from aicalib_hw.errors import NotOpen
from aicalib_hw.identity import Identity
from aicalib_hw.readings import Instant

Progress = Callable[[float, str], None]
"""Called with the fraction done (0…1) and a note; must return quickly."""


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """What the registry needs to know of a driver class, without opening anything.

    name: the entry point's name. role: "power_meter", "accelerator", ….
    schemes: URL schemes it answers to ("cpu"); empty for VISA instruments.
    models: (maker, model) regular expressions, matched in full and without case against `*IDN?`.
    wires: what it can be reached over ("VXI-11", "USBTMC", …), as the facts confirm.
    simulator: entry point of its simulator, "" if there is none: it is shown with the real thing (a processor, a
        program that has to be installed).
    manual: the document the command set was taken from. verified: on which real device it ran, if any.
    by_name_only: True if it fits instruments of any kind, and is therefore never chosen from `*IDN?`.
    """

    name: str
    role: str
    summary: str
    manual: str
    schemes: tuple[str, ...] = ()
    models: tuple[tuple[str, str], ...] = ()
    wires: tuple[str, ...] = ()
    simulator: str = ""
    verified: str = "never run on hardware"
    by_name_only: bool = False

    def matches(self, identity: Identity) -> bool:
        """True if this driver is for an instrument that identifies itself so."""
        return any(
            re.fullmatch(maker, identity.maker, re.IGNORECASE) and re.fullmatch(model, identity.model, re.IGNORECASE)
            for maker, model in self.models
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a snapshot: value and unit in force, when it was read and from where.

    origin: "instrument" (read back), "driver" (known because the driver set it), "fixed".
    """

    value: Any
    unit: str
    at: Instant
    origin: str


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """What `release()` did to make the device safe, and what it could not do.

    The sum of two reports says once what both say: a device that is released and then closed is made safe twice.
    """

    actions: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """True if everything that had to be undone was undone."""
        return not self.failures

    def __add__(self, other: ReleaseReport) -> ReleaseReport:
        actions, failures = self.actions + other.actions, self.failures + other.failures
        return ReleaseReport(tuple(dict.fromkeys(actions)), tuple(dict.fromkeys(failures)))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Base of each role's capabilities; None in a field means "not provided"."""

    notes: Mapping[str, str] = field(default_factory=dict)


class Instrument(abc.ABC):
    """One instrument at one address.

    Constructing does no I/O; `open()` or `with` connects and identifies. Every method may be
    called from any thread: exchanges are serialised by one re-entrant lock, and `abort()` and
    `release()` never raise.
    """

    DRIVER: ClassVar[DriverInfo]

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock: AbstractContextManager[object] = threading.RLock()
        self._identity: Identity | None = None
        self._added: Mapping[str, str] = {}

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the addresses of this family's devices in this machine; raises if its library cannot be asked."""
        return ()

    @classmethod
    def overlap(cls, one: str, other: str) -> bool:
        """Return True if two addresses that are written differently mean one device of this family; asks no device."""
        return False

    def __str__(self) -> str:
        """Who it is where it is open, else its driver; and where, without what a password may stand in."""
        scheme, between, rest = self.address.partition("?")[0].rpartition("://")
        who = self.DRIVER.name if self._identity is None else str(self._identity)
        state = "" if self.is_open else ", not open"
        return f"{who} at {scheme}{between}{rest.rpartition('@')[2]}{state}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    @property
    def is_open(self) -> bool:
        """True between `open()` and `close()`."""
        return self._identity is not None

    @property
    def identity(self) -> Identity:
        """The identity found by `open()`; raises NotOpen before. `identify()` asks again."""
        if self._identity is None:
            raise NotOpen(
                f"{self.DRIVER.name} is not open",
                where=self.address,
                advice="use `with open_instrument(address) as instrument:` or call open()",
            )
        if not self._added:
            return self._identity
        return dataclasses.replace(self._identity, extra={**self._identity.extra, **self._added})

    def _add_to_identity(self, **facts: str) -> None:
        """Add what others know of this instrument to the `extra` of its identity, until it is closed; raises NotOpen.

        It goes with every measurement that is taken from then on, into record and report.
        """
        _ = self.identity
        self._added = {**self._added, **facts}

    def open(self) -> Self:
        """Connect, identify, and return self; raises ConnectionFailed or IdentityMismatch."""
        with self._lock:
            if not self.is_open:
                self._connect()
                try:
                    self._identity = self.identify()
                    self._opened()
                except BaseException:
                    self._identity = None
                    self._disconnect()
                    raise
        return self

    def close(self) -> ReleaseReport:
        """Make the device safe, drop the link, and return what was done; never raises, idempotent."""
        report = self._made_safe()
        with self._lock:
            self._identity = None
            self._added = {}
            try:
                self._disconnect()
            except Exception as error:  # noqa: BLE001 - the way out must never raise
                report += ReleaseReport(failures=(f"closing the link: {error}",))
        return report

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def exclusive(self) -> Iterator[Self]:
        """Keep other threads out for several exchanges."""
        with self._lock:
            yield self

    def _opened(self) -> None:  # noqa: B027 - a driver without start-up work has nothing to do here
        """Bring the opened, identified device into the state the driver relies on."""

    def _made_safe(self) -> ReleaseReport:
        """Undo what this very object did, on the way out; `release()` may also undo what a dead process left."""
        return self.release()

    @abc.abstractmethod
    def _connect(self) -> None:
        """Open the link."""

    @abc.abstractmethod
    def _disconnect(self) -> None:
        """Drop the link; harmless if there is none."""

    @abc.abstractmethod
    def identify(self) -> Identity:
        """Ask the device, now, who it is."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> Capabilities:
        """What this very device can do, from probing; None in a field = not provided."""

    @abc.abstractmethod
    def snapshot(self) -> Mapping[str, Setting]:
        """Read every setting with value, unit, time and origin."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Stop what moves, now; from any thread; never raises."""

    @abc.abstractmethod
    def release(self) -> ReleaseReport:
        """Bring the device into a safe state and give back what was held; idempotent; never raises."""

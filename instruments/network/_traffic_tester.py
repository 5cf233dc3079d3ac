"""What all testers of traffic share: a link that carries orders, an end to measurements, and the way out."""

from __future__ import annotations

import abc
import threading
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import AicalibError
from aicalib_hw.interfaces import NetworkTester, ReleaseReport
from aicalib_hw.transport.hosts import same_host

Ours = TypeVar("Ours")


class Link(Protocol):
    """What a tester needs of its link."""

    @property
    def lock(self) -> AbstractContextManager[Any]: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class TrafficTester(NetworkTester, Generic[Ours]):
    """A tester whose ports are ours from `reserve()` to `release()`; `Ours` is what tells which of them are.

    stopping: set by `abort()`. patience: s that an exchange may take. PORT: what is meant where an address names none.
    """

    PORT = 0

    def __init__(self, address: str, link: Link, *, timeout: float) -> None:
        super().__init__(address)
        self._link = link
        self._lock = link.lock
        self.stopping = threading.Event()
        self.patience = timeout

    @classmethod
    def overlap(cls, one: str, other: str) -> bool:
        """Return True for addresses of one tester, unless both name ports (`ports=…`) and have none in common."""
        places = []
        for address in (one, other):
            scheme, _, rest = address.partition("://")
            try:
                parts = urlsplit(f"{scheme.lower()}://{rest}")
                places.append((parts.hostname or "", parts.port or cls.PORT, dict(parse_qsl(parts.query))))
            except ValueError:
                return False
        (host, port, asked), (their_host, their_port, theirs) = places
        named = [set(filter(None, options.get("ports", "").split(","))) for options in (asked, theirs)]
        apart = all(named) and not named[0] & named[1]
        return port == their_port and not apart and same_host(host, their_host)

    def _connect(self) -> None:
        self._link.open()

    def _disconnect(self) -> None:
        self._link.close()

    def abort(self) -> None:
        """End a measurement that blocks in another thread; from any thread; never raises."""
        self.stopping.set()
        self._link.abort()

    def release(self) -> ReleaseReport:
        """Stop our traffic and give back every port of this host's, also what a dead process left; never raises.

        Idempotent; what belongs to others is left alone. Who holds a port is told by host, so that this also ends what
        another living program of this host does: `close()` and the end of a reservation do not.
        """
        return self._ended(left_behind=True)

    def give_back(self) -> ReleaseReport:
        """Stop the traffic and give back the ports that this very object took; idempotent, never raises."""
        return self._ended(left_behind=False)

    def _made_safe(self) -> ReleaseReport:
        return self.give_back()

    def _ended(self, *, left_behind: bool) -> ReleaseReport:
        if not self.is_open:
            return ReleaseReport()
        with self._lock:
            try:
                ours = self._ours(left_behind=left_behind)
            except AicalibError as error:
                why = f"whose the ports are cannot be told, traffic may still be running: {error.what}"
                return ReleaseReport(failures=(why,))
            return self._give_all_back(ours)

    @abc.abstractmethod
    def _ours(self, *, left_behind: bool) -> Ours:
        """Ask the tester what is ours, now: what this object took, and with `left_behind` all that bears our name."""

    @abc.abstractmethod
    def _give_all_back(self, ours: Ours) -> ReleaseReport:
        """Make safe and give back what is ours, step by step, each whatever became of the one before; never raises."""

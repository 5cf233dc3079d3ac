"""The STATus and COMMunicate groups of Yokogawa's WT meters, and the common commands beyond the standard's.

From IM WT3001E-17EN p. 24, 25, 103, 104 and 114 to 116. The condition register's transitions, as far as filters let
them, become extended events; `:COMMunicate:WAIT` blocks the parser until one of a mask of events is there.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dialects.scpi.engine import CommandError, Device
from ..dialects.scpi.status import Status
from ..world.clock import Clock
from .yokogawa_grammar import Data, SettingTree, Suffixes, boolean, integer_in, one_of, register

_EDGES = ("RISE", "FALL", "BOTH", "NEVer")
_OVERLAP = 96
"""Overlap commands that there are: printer (bit 5) and medium (bit 6)."""


class ExtendedStatus:
    """Condition register, transition filters, extended event register."""

    def __init__(self) -> None:
        self.condition = 0
        self.reset()

    def reset(self) -> None:
        """The state after power-up: filters NEVER, nothing enabled, nothing happened."""
        self.filters = ["NEVER"] * 16
        self.events = self.enabled = 0

    def change(self, condition: int) -> None:
        """Take a new condition; its edges become events where filters let them."""
        for bit, edge in enumerate(self.filters):
            was, now = self.condition >> bit & 1, condition >> bit & 1
            if (was < now and edge in ("RISE", "BOTH")) or (was > now and edge in ("FALL", "BOTH")):
                self.events |= 1 << bit
        self.condition = condition

    @property
    def summary(self) -> bool:
        """Bit 3 of the status byte."""
        return bool(self.events & self.enabled)

    def read_events(self) -> int:
        """Return the extended event register and clear it."""
        events, self.events = self.events, 0
        return events

    def register(self, tree: SettingTree, status: Status, device: Device) -> None:
        """Register the STATus group."""
        self.messages, self.non_errors = True, False
        tree.speak(*_EDGES)
        tree.ask("STATus:CONDition", lambda *_: str(self.condition))
        tree.ask("STATus:EESR", lambda *_: str(self.read_events()))
        tree.add("STATus:EESE", set=self._set_enabled, get=lambda _: str(self.enabled))
        tree.add(
            "STATus:FILTer<x>",
            set=self._set_filter,
            get=lambda suffixes: self.filters[_bit(suffixes)],
            listed=lambda: [(bit + 1,) for bit in range(16)],
        )
        tree.ask("STATus:ERRor", lambda *_: self._next_error(status))
        tree.add("STATus:QMESsage", set=self._set_messages, get=lambda _: str(int(self.messages)))
        tree.add("STATus:QENable", set=self._set_non_errors, get=lambda _: str(int(self.non_errors)))
        tree.add("STATus:SPOLl", get=lambda _: str(device.status_byte(device.asking)), below=False)

    def _next_error(self, status: Status) -> str:
        number, words = status.next_error()
        return f'{number},"{words}"' if self.messages else str(number)

    def _set_enabled(self, _: Suffixes, data: Data) -> None:
        self.enabled = register(data)

    def _set_filter(self, suffixes: Suffixes, data: Data) -> None:
        self.filters[_bit(suffixes)] = one_of(data, _EDGES)

    def _set_messages(self, _: Suffixes, data: Data) -> None:
        self.messages = boolean(data)

    def _set_non_errors(self, _: Suffixes, data: Data) -> None:
        self.non_errors = boolean(data)


class Communication:
    """The COMMunicate group. next_change: world time at which the condition changes next by itself."""

    def __init__(
        self, extended: ExtendedStatus, clock: Clock, follow: Callable[[], None], next_change: Callable[[], float]
    ) -> None:
        self._extended = extended
        self._clock = clock
        self._follow = follow
        self._next_change = next_change
        self.reset()

    def reset(self) -> None:
        """The state after power-up."""
        self.remote = self.lockout = False

    def register(self, tree: SettingTree, device: Device) -> None:
        """Register the group."""
        tree.add("COMMunicate:HEADer", set=_header(tree), get=lambda _: str(int(tree.header)))
        tree.add("COMMunicate:OPSE", set=_overlap, get=lambda _: str(_OVERLAP))
        tree.add("COMMunicate:OVERlap", set=_overlap, get=lambda _: str(_OVERLAP))
        tree.add("COMMunicate:VERBose", set=_verbose(tree), get=lambda _: str(int(tree.verbose)))
        tree.add("COMMunicate:OPSR", get=lambda _: "0", below=False)
        tree.add("COMMunicate:REMote", set=self._set_remote, get=lambda _: str(int(self.remote)), below=False)
        tree.add("COMMunicate:LOCKout", set=self._set_lockout, get=lambda _: str(int(self.lockout)), below=False)
        tree.add("COMMunicate:STATus", get=lambda _: "0", below=False)

        def wait(_: Suffixes, data: Data) -> str:
            self._wait(register(data), device)
            return "1"

        # Outside the tree: it must not keep the instrument's lock while it waits.
        device.command(
            "COMMunicate:WAIT", set=lambda _, data: self._wait(register(data), device), ask=wait, headless=True
        )

    def _wait(self, mask: int, device: Device) -> None:
        while True:
            self._follow()
            if self._extended.events & mask:
                return
            if not self._clock.wait_until(self._next_change(), device.cancelled):
                return

    def _set_remote(self, _: Suffixes, data: Data) -> None:
        self.remote = boolean(data)

    def _set_lockout(self, _: Suffixes, data: Data) -> None:
        self.lockout = boolean(data)


def _header(tree: SettingTree) -> Callable[[Suffixes, Data], None]:
    def set_header(_: Suffixes, data: Data) -> None:
        tree.header = boolean(data)

    return set_header


def _verbose(tree: SettingTree) -> Callable[[Suffixes, Data], None]:
    def set_verbose(_: Suffixes, data: Data) -> None:
        tree.verbose = boolean(data)

    return set_verbose


def _overlap(_: Suffixes, data: Data) -> None:
    """Take a mask of overlap commands, of which the simulated instrument executes none."""
    register(data)


def _bit(suffixes: Suffixes) -> int:
    number = suffixes[0]
    if not 1 <= number <= 16:
        raise CommandError(114)
    return number - 1


class PowerOnClear:
    """`*PSC`: whether enable registers are cleared at power-on."""

    def __init__(self, tree: SettingTree) -> None:
        self.clears = True
        tree.add("*PSC", set=self._set)
        tree.ask("*PSC", lambda *_: str(int(self.clears)))

    def _set(self, _: Suffixes, data: Data) -> None:
        self.clears = integer_in(data, -32767, 32767) != 0

"""One job that fio is asked for, and all of one command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from .fio_values import BOOLEANS, DIRECTIONS, ENGINES, FLAGS, seconds_of, size_of


@dataclass
class Job:
    """One section. given: its own options with a value, as written; settings: what holds, those of [global] too."""

    name: str
    given: list[tuple[str, str]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    group: int = 0

    def text(self, option: str, default: str = "") -> str:
        """Return an option as text."""
        return self.settings.get(option, default)

    def flag(self, option: str) -> bool:
        """Return an option that is on or off."""
        if option in FLAGS:
            return self.settings.get(option, "0") != "0"
        return self.settings[option] == "1" if option in self.settings else BOOLEANS[option]

    def number(self, option: str, default: int = 0) -> int:
        """Return an option that is a number."""
        return int(self.settings[option]) if option in self.settings else default

    def sizes(self, option: str, default: int = 0) -> tuple[int, int]:
        """Return what an option says for reads and for writes, bytes."""
        parts = self.settings.get(option, "").split(",")
        read = size_of(parts[0]) if parts[0] else default
        return read, size_of(parts[1]) if len(parts) > 1 and parts[1] else read

    def seconds(self, option: str) -> float:
        """Return a time, s."""
        return seconds_of(self.settings.get(option, "0"))

    @property
    def direct(self) -> bool:
        """Whether I/O passes the page cache by; `buffered` is its opposite."""
        return self.flag("direct") or ("buffered" in self.settings and not self.flag("buffered"))

    @property
    def reads(self) -> float:
        """Which part of the bytes is read."""
        share = DIRECTIONS[self.text("rw", "read")][0]
        if share != 0.5:
            return share
        if "rwmixwrite" in self.settings:
            return 1 - self.number("rwmixwrite") / 100
        return self.number("rwmixread", 50) / 100

    @property
    def depth(self) -> int:
        """How many I/O are under way at once; synchronous engines silently make it one."""
        return self.number("iodepth", 1) if ENGINES[self.text("ioengine", "psync")] else 1


@dataclass
class Plan:
    """What one command line asks for.

    announced: jobs that were read while the format was that for people, and whether the output file was known by then.
    """

    jobs: list[Job] = field(default_factory=list)
    common: Job = field(default_factory=lambda: Job("global"))
    warnings: list[str] = field(default_factory=list)
    output: str | None = None
    formats: tuple[str, ...] = ("normal",)
    status_interval: float | None = None
    eta: str = "auto"
    eta_newline: float | None = None
    readonly: bool = False
    parse_only: bool = False
    version: bool = False
    help: bool = False
    engines: bool = False
    sections: list[str] = field(default_factory=list)
    announced: list[tuple[Job, bool]] = field(default_factory=list)
    files: int = 0

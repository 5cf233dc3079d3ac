"""The exception tree: every error says what happened, where, why, and what to do.

Callers catch `AicalibError` for anything this project raises, `InstrumentError` for anything an
instrument or its link did, and the leaves where the reaction differs. Each class carries the exit
status that the command line returns for it: 2 for bad use or bad input, 3 for an instrument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


class AicalibError(Exception):
    """Base of all errors of this project.

    what: the event, one sentence without a full stop.
    where: the file and key, the address, or the instrument concerned; may be empty.
    why: the cause as far as it is known; may be empty.
    advice: what the user can do about it; may be empty.
    """

    exit_status: ClassVar[int] = 2

    def __init__(self, what: str, *, where: str = "", why: str = "", advice: str = "") -> None:
        self.what = what
        self.where = where
        self.why = why
        self.advice = advice
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.why:
            parts.append(f"why: {self.why}")
        if self.advice:
            parts.append(f"what to do: {self.advice}")
        return "\n  ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[AicalibError], args: tuple[object, ...], state: dict[str, object]) -> AicalibError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(AicalibError):
    """A call, a command line or an argument that cannot be carried out as it stands."""


class UnitError(UsageError):
    """A unit that the closed table does not hold, or two units of different dimension."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a bench file: what, at which key, why, and what to do; the last two may be empty."""

    what: str
    key: str
    why: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.what}" + "".join(f"; {text}" for text in (self.why, self.advice) if text)


class BenchError(UsageError):
    """A bench file that cannot be used; names file, key, value and cause.

    problems: every mistake of the file where it is the file that is wrong, the first of them in what, where, why and
    advice if it is the only one.
    """

    problems: tuple[Problem, ...] = ()

    @classmethod
    def of_problems(cls, file: str, problems: Sequence[Problem]) -> Self:
        """Build the error for the mistakes of `file`, of which there is at least one."""
        first, *others = problems
        if not others:
            error = cls(first.what, where=f"{file}: {first.key}", why=first.why, advice=first.advice)
        else:
            error = cls(
                f"{len(problems)} mistakes in the bench file",
                where=file,
                why="\n".join(str(problem) for problem in problems),
                advice="correct them all; `aicalib bench check` shows whether any is left",
            )
        error.problems = tuple(problems)
        return error


class UnknownDriver(UsageError):
    """No installed driver or simulator has this name, address scheme or model."""


class MissingExtra(UsageError):
    """An optional library is not installed; the advice names the command that installs it."""

    @classmethod
    def for_library(cls, library: str, extra: str, purpose: str) -> MissingExtra:
        """Build the error for `library`, which extra `extra` brings and `purpose` needs."""
        return cls(
            f"{purpose} needs the library {library}, which is not installed",
            advice=f'pip install "aicalib-hw[{extra}]"',
        )


class MissingProgram(UsageError):
    """A program that is run as an instrument is not installed, or cannot be run; the advice says how to get it."""


class DefinitionMismatch(UsageError):
    """Two measurements of different definition were to be compared or combined."""


class RecordError(AicalibError):
    """A record that cannot be written, read or verified."""


class InstrumentError(AicalibError):
    """Anything an instrument, or the link to it, did wrong.

    code, text, command: the maker's own number and words, and the command or function that gave them; None and ""
    where the error did not come from the instrument's software. partial: the Measurement of what had been measured
    until then, never valid; None where nothing had.
    """

    exit_status: ClassVar[int] = 3
    code: int | None = None
    text: str = ""
    command: str = ""
    partial: object = None

    def with_partial(self, measured: object) -> Self:
        """Keep the Measurement of what had been measured until then beside this error, and return it."""
        self.partial = measured
        return self

    def of_vendor(self, code: int, text: str, command: str) -> Self:
        """Keep the maker's number, words and function beside this error, and return it."""
        self.code, self.text, self.command = code, text, command
        return self


class ConnectionFailed(InstrumentError):
    """Nothing answered at the address, or the link could not be opened in time."""


class ConnectionLost(InstrumentError):
    """An open link broke; what was measured before is kept."""


class DeadlineExceeded(InstrumentError):
    """An exchange did not end in time; the session is tainted until it has recovered."""


class ProtocolError(InstrumentError):
    """A reply that the instrument's protocol does not allow."""


class InstrumentReportedError(InstrumentError):
    """The instrument put an error into its own queue.

    code: the instrument's number; text: its words, may be empty; command: what had been sent.
    """

    def __init__(
        self,
        code: int,
        text: str,
        command: str,
        *,
        where: str = "",
        why: str = "",
        advice: str = "",
    ) -> None:
        self.of_vendor(code, text, command)
        quoted = f' "{text}"' if text else ""
        super().__init__(
            f"the instrument reports error {code}{quoted} after {command!r}",
            where=where,
            why=why,
            advice=advice,
        )


class OutOfRange(InstrumentError):
    """A setting that this device does not have; refused before anything was sent."""

    exit_status: ClassVar[int] = 2


class NotSupported(InstrumentError):
    """The device, or the facts known of it, does not provide this; nothing is emulated."""

    exit_status: ClassVar[int] = 2


class IdentityMismatch(InstrumentError):
    """Another instrument than the expected one answers at this address."""


class LockedByOther(InstrumentError):
    """Someone else holds the instrument; the message names the holder where it is known."""


class NotPermitted(InstrumentError):
    """The device or the system refuses this to the present user."""


class LinkDown(InstrumentError):
    """A port has no link, so that nothing can be sent through it."""


class CountersWentBack(InstrumentError):
    """A counter shows less than it did: somebody reset it, or it wrapped, so that what it counts from is not known."""


class LicenceMissing(InstrumentError):
    """The instrument refuses because a licence of its own is missing."""


class NotOpen(InstrumentError):
    """The instrument was used before `open()` or after `close()`."""

    exit_status: ClassVar[int] = 2


class Aborted(InstrumentError):
    """`abort()` ended the operation."""


class UnusableReading(InstrumentError):
    """A reading whose status is not VALID was to be used as a number."""


class MeasurementInvalid(InstrumentError):
    """A measurement whose validity rules failed was to be used as a result."""

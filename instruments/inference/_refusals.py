"""What a service refuses, as typed errors, and never with the key in them: some services send it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aicalib_hw.errors import (
    AicalibError,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
    InstrumentReportedError,
    NotPermitted,
    OutOfRange,
)
from aicalib_hw.trace import REDACTED
from aicalib_hw.transport.work_folder import no_room

from ._address import Served
from ._crew import Seen


@dataclass(frozen=True, slots=True)
class Refusals:
    """Makes errors of one service. models: those it lists, at the time of asking."""

    place: Served
    key: str
    models: Callable[[], tuple[str, ...]]

    def clean(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self.key, REDACTED) if self.key else text

    def cleaned(self, error: AicalibError) -> AicalibError:
        """Take the key out of an error, and return it."""
        for name in ("what", "why", "where", "advice", "text"):
            if isinstance(value := getattr(error, name, None), str):
                setattr(error, name, self.clean(value))
        error.args = tuple(self.clean(one) if isinstance(one, str) else one for one in error.args)
        return error

    def permission(self, error: InstrumentReportedError) -> NotPermitted:
        """Return the error for a key that is missing or refused."""
        code, text = error.code or 0, self.clean(error.text)
        return NotPermitted(
            "the service refuses this key" if self.key else "the service wants a key",
            where=self.place.base,
            why=f"status {code}: {text}",
            advice="put the key alone into a file and name it in the address: ?key_file=/path/to/file",
        ).of_vendor(code, text, error.command)

    def of(self, error: InstrumentReportedError, model: str) -> InstrumentError:
        """Return the error for a request that was refused."""
        if error.code in (401, 403):
            return self.permission(error)
        if error.code == 404:
            text = self.clean(error.text)
            return OutOfRange(
                f"the service knows no model {model!r}, or not this endpoint",
                where=f"{self.place.base}{self.place.path}",
                why=text,
                advice=f"served: {', '.join(self.models()) or 'none that it lists'}",
            ).of_vendor(error.code, text, error.command)
        return error

    def of_load(self, seen: Seen, model: str) -> InstrumentError:
        """Return the error for a load of which nothing came."""
        where, why = f"{self.place.base}{self.place.path}", self.clean(seen.gone)
        if seen.gone_kind == "refused":
            words = why.removeprefix(f"status {seen.gone_status}: ")
            refused = InstrumentReportedError(seen.gone_status, words, f"POST {self.place.path}", where=where)
            return self.of(refused, model)
        if seen.gone_kind == "unreachable":
            return ConnectionFailed("the service is not there any more", where=where, why=why)
        if seen.gone_kind == "room":
            return no_room("the client", seen.gone)
        if seen.gone_kind == "silent":
            return DeadlineExceeded("the service is silent", where=where, why=why, advice="see the driver's timeout")
        return ConnectionLost("every request failed", where=where, why=why)

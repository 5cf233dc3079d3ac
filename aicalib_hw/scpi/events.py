"""Sessions with instruments that have no error queue: what went wrong shows in the standard event register only."""

from __future__ import annotations

from aicalib_hw.scpi.codec import parse_integer
from aicalib_hw.scpi.session import Link, ScpiSession
from aicalib_hw.scpi.status import StandardEvent

_ERRORS = {
    StandardEvent.COMMAND_ERROR: "command error: the instrument does not know this",
    StandardEvent.EXECUTION_ERROR: "execution error: not with this value, or not now",
    StandardEvent.DEVICE_ERROR: "device-dependent error: not in this state",
    StandardEvent.QUERY_ERROR: "query error: a reply was lost",
    StandardEvent.POWER_ON: "power on: it was switched off and on meanwhile, and its settings are those of its start",
}


class EventSession(ScpiSession):
    """A session that reads `*ESR?` where others read an error queue (IEEE 488.2 clause 11.5.1).

    An error's number is the value of its bit: 4 query, 8 device, 16 execution, 32 command error, 128 power on.
    restarted: whether a power-on was seen since `forget()`.
    """

    def __init__(self, link: Link) -> None:
        super().__init__(link, error_query="*ESR?")
        self.restarted = False

    def query(self, message: str, *, timeout: float | None = None) -> str:
        """Return the reply to a query without the header that some instruments repeat before it (`:HOLD ON`)."""
        return without_header(super().query(message, timeout=timeout))

    def errors(self) -> list[tuple[int, str]]:
        """Return the errors that the standard event register shows; reading clears it."""
        events = StandardEvent(parse_integer(without_header(self.link.query("*ESR?"))) & 255)
        self.restarted = self.restarted or bool(events & StandardEvent.POWER_ON)
        return [(int(event), text) for event, text in _ERRORS.items() if events & event]

    def forget(self) -> None:
        """Clear what the register holds of the time before: its power-on, and what others did wrong."""
        self.errors()
        self.restarted = False


def without_header(reply: str) -> str:
    """Return a reply without the header before its data: `:SCALE:CT 2.000` → `2.000`, `*ESR 0` → `0`."""
    text = reply.strip()
    return text.partition(" ")[2].strip() if text[:1] in (":", "*") and " " in text else text

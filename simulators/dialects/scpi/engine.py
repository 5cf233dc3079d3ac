"""The device side of IEEE 488.2 and SCPI-99: a model registers its commands by the manual's patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..exchange import Exchange, Session
from .parser import Unit, units
from .status import OPC, Status
from .tree import Lengths, Row, match, pattern

Set = Callable[[Sequence[int], Sequence[bytes]], None]
Ask = Callable[[Sequence[int], Sequence[bytes]], "str | bytes"]


class CommandError(Exception):
    """A command that fails: error number as a magnitude; own: the maker's own number, whose sign is kept."""

    def __init__(self, number: int, *, own: bool = False) -> None:
        super().__init__(number)
        self.number = number
        self.own = own


class Device(Exchange):
    """An IEEE 488.2 device: commands by the manual's patterns, status beside.

    lengths: which abbreviations of mnemonics it accepts. wrap: makes a reply of (row, text) where a
    maker repeats the header.
    """

    def __init__(
        self, status: Status, *, lengths: Lengths = "strict", wrap: Callable[[Row, str], str] | None = None
    ) -> None:
        self._lengths = lengths
        self._wrap = wrap
        self._rows: list[Row] = []
        self.asking: Session | None = None
        """The session whose message is being executed."""
        super().__init__(status)
        self._common()

    def command(self, text: str, *, set: Set | None = None, ask: Ask | None = None, headless: bool = False) -> None:
        """Register a command. headless: its reply never repeats the header."""
        self._rows.append(Row(pattern(text), set, ask, headless))

    def status_byte(self, session: Session | None = None) -> int:
        """Return the status byte with MSS in bit 6; message available is that of `session`."""
        return self.status.byte(available=session is not None and session.available, extended=self.extended_summary())

    def extended_summary(self) -> bool:
        """Return bit 3 of the status byte; models with events of their own override it."""
        return False

    def execute(self, session: Session, message: bytes) -> bytes | None:
        """Execute one program message; return the responses of its queries, joined, None if there are none."""
        self.asking = session
        replies: list[bytes] = []
        for unit in units(message):
            if self.cancelled.is_set():
                return None
            try:
                reply = self._run(unit)
            except CommandError as error:
                self.status.error(error.number, own=error.own)
                continue
            if reply is not None:
                replies.append(reply)
        return b";".join(replies) if replies else None

    def _run(self, unit: Unit) -> bytes | None:
        if unit.malformed:
            raise CommandError(102)
        for row in self._rows:
            suffixes = match(row.words, unit.path, self._lengths)
            handler = row.ask if unit.query else row.set
            if suffixes is None or handler is None:
                continue
            reply = handler(suffixes, unit.data)
            if not unit.query or reply is None:
                return None
            if isinstance(reply, bytes):
                return reply
            reply = str(reply)
            if self._wrap is not None and not row.headless and not unit.common:
                reply = self._wrap(row, reply)
            return reply.encode("ascii")
        raise CommandError(113)

    def _common(self) -> None:
        status = self.status

        def no_data(action: Callable[[], object]) -> Set:
            def run(_: Sequence[int], data: Sequence[bytes]) -> None:
                if data:
                    raise CommandError(108)
                action()

            return run

        def register(name: str, mask: int) -> None:
            def set_it(_: Sequence[int], data: Sequence[bytes]) -> None:
                value = integer(data)
                if not 0 <= value <= 255:
                    raise CommandError(222)
                setattr(status, name, value & mask)

            self.command(
                f"*{'ESE' if name == 'event_enable' else 'SRE'}", set=set_it, ask=lambda *_: str(getattr(status, name))
            )

        register("event_enable", 255)
        register("service_enable", 0xBF)
        self.command("*CLS", set=no_data(status.clear))
        self.command("*ESR", ask=lambda *_: str(status.read_event()))
        self.command("*STB", ask=lambda *_: str(self.status_byte(self.asking)))
        self.command("*WAI", set=no_data(lambda: None))
        self.command("*OPC", set=no_data(self._complete), ask=lambda *_: "1")

    def _complete(self) -> None:
        self.status.event |= OPC


def integer(data: Sequence[bytes]) -> int:
    """Return the one integer in `data`: NRf, or #H, #Q, #B; raises CommandError as 488.2 wants it."""
    if not data:
        raise CommandError(109)
    if len(data) > 1:
        raise CommandError(108)
    text = data[0].decode("ascii", "replace").upper()
    for prefix, base in (("#H", 16), ("#Q", 8), ("#B", 2)):
        if text.startswith(prefix):
            try:
                return int(text[2:], base)
            except ValueError:
                raise CommandError(120) from None
    try:
        return round(float(text))
    except ValueError:
        raise CommandError(104) from None

"""The device side of IEEE 488.2: executes program messages, queues responses, keeps the message-exchange rules.

A model registers its commands by the manual's patterns. One thread executes messages in order, so
that a command which waits blocks the parser, as in the instrument, and not the wire.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

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


class Device:
    """A message-based device: messages in, responses out, status beside.

    lengths: which abbreviations of mnemonics it accepts. wrap: makes a reply of (row, text) where a
    maker repeats the header. exchange_errors: whether the wire has message borders, so that a response
    which nobody read can be interrupted (-410); on a raw socket replies queue instead.
    """

    def __init__(
        self,
        status: Status,
        *,
        lengths: Lengths = "strict",
        wrap: Callable[[Row, str], str] | None = None,
        exchange_errors: bool = True,
    ) -> None:
        self.status = status
        self._lengths = lengths
        self._wrap = wrap
        self._exchange_errors = exchange_errors
        self._rows: list[Row] = []
        self._change = threading.Condition()
        self._input: deque[bytes] = deque()
        self._output = b""
        self._busy = False
        self.cancelled = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="simulated-device", daemon=True)
        self._common()
        self._thread.start()

    def command(self, text: str, *, set: Set | None = None, ask: Ask | None = None, headless: bool = False) -> None:
        """Register a command. headless: its reply never repeats the header."""
        self._rows.append(Row(pattern(text), set, ask, headless))

    def write(self, message: bytes) -> None:
        """Take a complete program message."""
        with self._change:
            if self._exchange_errors and self._output and not self._busy:
                self._output = b""
                self.status.error(410)
            self._input.append(message)
            self._change.notify_all()

    def read(self, limit: int, timeout: float, cancel: Callable[[], bool] = lambda: False) -> tuple[bytes, bool] | None:
        """Return up to `limit` bytes of the response and whether it ends there; None after `timeout` real s."""
        with self._change:
            if self._exchange_errors and not (self._output or self._busy or self._input):
                self.status.error(420)
            self._change.wait_for(lambda: bool(self._output) or cancel() or self._ended, timeout)
            if not self._output:
                return None
            part, self._output = self._output[:limit], self._output[limit:]
            return part, not self._output

    def clear(self) -> None:
        """Device clear: forget input and output, end whatever the parser waits for."""
        with self._change:
            self._input.clear()
            self._output = b""
            if self._busy:
                self.cancelled.set()
                self._change.wait_for(lambda: not self._busy, 2.0)
            self._output = b""

    def status_byte(self) -> int:
        """Return the status byte as a serial poll gives it."""
        with self._change:
            return self.status.byte(available=bool(self._output), extended=self.extended_summary())

    def extended_summary(self) -> bool:
        """Return bit 3 of the status byte; models with events of their own override it."""
        return False

    def stop(self) -> None:
        """End the executing thread."""
        with self._change:
            self._ended = True
            self.cancelled.set()
            self._change.notify_all()
        self._thread.join(2.0)

    def wake(self) -> None:
        """Let readers look at their cancel condition."""
        with self._change:
            self._change.notify_all()

    def _work(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: bool(self._input) or self._ended)
                if self._ended:
                    return
                message = self._input.popleft()
                self._busy = True
                self.cancelled.clear()
            response = self._execute(message)
            with self._change:
                if response is not None and not self.cancelled.is_set():
                    self._output += response

    def _execute(self, message: bytes) -> bytes | None:
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
        return b";".join(replies) + b"\n" if replies else None

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
        self.command("*STB", ask=lambda *_: str(self.status_byte()))
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

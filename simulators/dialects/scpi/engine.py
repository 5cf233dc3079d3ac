"""The device side of IEEE 488.2 and SCPI-99: a model registers its commands by the manual's patterns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..exchange import Exchange, Session
from .data import NOT_ALLOWED, OUT_OF_RANGE, CommandError, integer
from .parser import Mnemonic, Unit, units
from .status import OPC, Status
from .tree import Lengths, Row, match, pattern

__all__ = ["Ask", "CommandError", "Device", "Operation", "Set", "integer"]

Set = Callable[[Sequence[int], Sequence[bytes]], object]
Ask = Callable[[Sequence[int], Sequence[bytes]], "str | bytes"]

SYSTEM_ERROR, DEADLOCKED, AFTER_INDEFINITE = 310, 430, 440
TOO_LONG, UNDEFINED, SUFFIX = 112, 113, 114
_LONGEST_MNEMONIC = 12
_REMEMBERED = 2048
"""Messages whose meaning is kept, and the longest of them, bytes."""
_LONGEST_REMEMBERED = 256
_NAP = 0.02
"""How soon a wait for overlapped operations notices that it is cancelled, real s."""

_log = logging.getLogger("aicalib_hw.simulators")


@dataclass(frozen=True, slots=True)
class _Step:
    """A unit with the row that it means; error: the command error that it is instead."""

    row: Row | None
    suffixes: Sequence[int]
    data: Sequence[bytes]
    query: bool
    common: bool
    end: int
    error: int


class Operation:
    """An overlapped operation that goes on after its command: *OPC, *OPC? and *WAI wait for it."""

    def __init__(self, finished: Callable[[Operation], None]) -> None:
        self._finished = finished

    def finish(self) -> None:
        """The operation is over; idempotent, from any thread."""
        self._finished(self)


class Device(Exchange):
    """An IEEE 488.2 device: commands by the manual's patterns, status beside.

    lengths: which abbreviations of mnemonics it accepts. wrap: makes a reply of (row, text) where a maker repeats the
    header. input_buffer, output_buffer: bytes; a message of which more than the first still has to come when its
    replies exceed the second is DEADLOCKED, where the wire has message borders.
    """

    def __init__(
        self,
        status: Status,
        *,
        lengths: Lengths = "strict",
        wrap: Callable[[Row, str], str] | None = None,
        input_buffer: int = 1 << 16,
        output_buffer: int = 1 << 16,
    ) -> None:
        self._lengths = lengths
        self._wrap = wrap
        self._input_buffer = input_buffer
        self._output_buffer = output_buffer
        self._rows: list[Row] = []
        self._meanings: dict[bytes, tuple[_Step, ...]] = {}
        self._overlap = threading.Condition()
        self._operations: set[Operation] = set()
        self._complete_wanted = False
        self.asking: Session | None = None
        """The session whose message is being executed."""
        super().__init__(status)
        self._common()

    def command(
        self,
        text: str,
        *,
        set: Set | None = None,
        ask: Ask | None = None,
        headless: bool = False,
        final: bool = False,
        query_data: int | None = None,
    ) -> None:
        """Register a command, in place of one with the same pattern.

        Handlers get the numeric suffixes and the data elements. headless: the reply never repeats the header. final:
        the reply must be the last of its message, a query after it is -440. query_data: how many data elements the
        query takes at most; None = its handler looks, and a common query takes none.
        """
        if query_data is None and text.startswith("*"):
            query_data = 0
        if text == "*RST" and set is not None:
            set = self._resetting(set)
        row = Row(pattern(text), set, ask, headless, final, query_data)
        self._rows = [other for other in self._rows if other.words != row.words] + [row]
        self._meanings.clear()

    def begin(self, wait: Callable[[threading.Event], object] | None = None) -> Operation:
        """Begin an overlapped operation, which ends by its `finish`, or when `wait(ended)` returns in its own thread.

        `ended` is set when the device stops.
        """
        operation = Operation(self._end_operation)
        with self._overlap:
            self._operations.add(operation)
        if wait is not None:

            def run() -> None:
                wait(self.ended)
                operation.finish()

            threading.Thread(target=run, name="simulated-operation", daemon=True).start()
        return operation

    def status_byte(self, session: Session | None = None) -> int:
        """Return the status byte with MSS in bit 6; message available is that of `session`."""
        return self.status.byte(available=session is not None and session.available, extended=self.extended_summary())

    def extended_summary(self) -> bool:
        """Return bit 3 of the status byte; models with events of their own override it."""
        return False

    def execute(self, session: Session, message: bytes) -> bytes | None:
        """Execute one program message; return the responses of its queries, joined, None if there are none.

        A command error ends the message; an execution error only its unit.
        """
        self.asking = session
        replies: list[bytes] = []
        size = 0
        final = deadlocked = False
        for step in self._meaning(message):
            if self.cancelled.is_set():
                return None
            try:
                if step.query and final:
                    raise CommandError(AFTER_INDEFINITE)
                reply = self._run(step)
            except CommandError as error:
                self.status.error(error.number, own=error.own)
                if not error.own and (error.number < 200 or error.number == AFTER_INDEFINITE):
                    break
                continue
            if reply is None or deadlocked:
                continue
            replies.append(reply)
            size += len(reply) + 1
            final = (step.row is not None and step.row.final) or reply.startswith(b"#0")
            if session.borders and size > self._output_buffer and len(message) - step.end > self._input_buffer:
                self.status.error(DEADLOCKED)
                replies.clear()
                deadlocked = True
        return b";".join(replies) if replies else None

    def forget(self, session: Session, *, wait: bool = True) -> None:
        super().forget(session, wait=wait)
        self._complete_wanted = False

    def _meaning(self, message: bytes) -> tuple[_Step, ...]:
        known = self._meanings.get(message)
        if known is None:
            known = tuple(self._step(unit) for unit in units(message))
            if len(message) <= _LONGEST_REMEMBERED:
                if len(self._meanings) >= _REMEMBERED:
                    self._meanings.clear()
                self._meanings[message] = known
        return known

    def _step(self, unit: Unit) -> _Step:
        row: Row | None = None
        suffixes: list[int] = []
        error = unit.error
        if not error:
            row, suffixes = self._find(unit.path, unit.query)
            if row is None:
                error = self._why_unknown(unit)
            elif unit.query and row.query_data is not None and len(unit.data) > row.query_data:
                error = NOT_ALLOWED
        return _Step(row, suffixes, unit.data, unit.query, unit.common, unit.end, error)

    def _find(self, path: Sequence[Mnemonic], query: bool) -> tuple[Row | None, list[int]]:
        for row in self._rows:
            if (row.ask if query else row.set) is not None:
                suffixes = match(row.words, path, self._lengths)
                if suffixes is not None:
                    return row, suffixes
        return None, []

    def _why_unknown(self, unit: Unit) -> int:
        if any(len(word.word.lstrip("*")) > _LONGEST_MNEMONIC for word in unit.path):
            return TOO_LONG
        bare = [Mnemonic(word.word, None) for word in unit.path]
        return SUFFIX if bare != list(unit.path) and self._find(bare, unit.query)[0] is not None else UNDEFINED

    def _run(self, step: _Step) -> bytes | None:
        if step.error or step.row is None:
            raise CommandError(step.error)
        handler = step.row.ask if step.query else step.row.set
        assert handler is not None
        try:
            reply = handler(step.suffixes, step.data)
        except CommandError:
            raise
        except Exception:  # noqa: BLE001 - a fault of the model must not end the device, and must not go unseen
            _log.exception("the simulated device cannot execute %s", step)
            raise CommandError(SYSTEM_ERROR) from None
        if not step.query or reply is None:
            return None
        if isinstance(reply, bytes):
            return reply
        text = str(reply)
        if self._wrap is not None and not step.row.headless and not step.common:
            text = self._wrap(step.row, text)
        return text.encode("ascii", "replace")

    def _common(self) -> None:
        status = self.status

        def no_data(action: Callable[[], object]) -> Set:
            def run(_: Sequence[int], data: Sequence[bytes]) -> None:
                if data:
                    raise CommandError(NOT_ALLOWED)
                action()

            return run

        def register(header: str, name: str, mask: int) -> None:
            def set_it(_: Sequence[int], data: Sequence[bytes]) -> None:
                value = integer(data)
                if not 0 <= value <= 255:
                    raise CommandError(OUT_OF_RANGE)
                setattr(status, name, value & mask)
                if name == "service_enable" and self.asking is not None:
                    self.asking.wants_service = bool(value & mask)

            self.command(header, set=set_it, ask=lambda *_: str(getattr(status, name)))

        def operations_complete(*_: object) -> str:
            self._wait_for_operations()
            return "1"

        register("*ESE", "event_enable", 255)
        register("*SRE", "service_enable", 0xBF)
        self.command("*CLS", set=no_data(self.clear_status))
        self.command("*ESR", ask=lambda *_: str(status.read_event()))
        self.command("*STB", ask=lambda *_: str(self.status_byte(self.asking)))
        self.command("*WAI", set=no_data(self._wait_for_operations))
        self.command("*OPC", set=no_data(self._complete), ask=operations_complete)

    def clear_status(self) -> None:
        """*CLS: clears events and errors, and forgets a pending *OPC; models with events of their own add theirs."""
        self._complete_wanted = False
        self.status.clear()

    def _resetting(self, reset: Set) -> Set:
        """*RST also forgets a pending *OPC."""

        def run(suffixes: Sequence[int], data: Sequence[bytes]) -> None:
            if data:
                raise CommandError(NOT_ALLOWED)
            self._complete_wanted = False
            reset(suffixes, data)

        return run

    def _complete(self) -> None:
        with self._overlap:
            self._complete_wanted = bool(self._operations)
        if not self._complete_wanted:
            self.status.set_event(OPC)

    def _wait_for_operations(self) -> None:
        with self._overlap:
            while self._operations and not self.cancelled.is_set():
                self._overlap.wait(_NAP)

    def _end_operation(self, operation: Operation) -> None:
        with self._overlap:
            self._operations.discard(operation)
            complete = self._complete_wanted and not self._operations
            self._complete_wanted = self._complete_wanted and not complete
            self._overlap.notify_all()
        if complete:
            self.status.set_event(OPC)
            self.notify()

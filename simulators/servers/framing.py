"""Bytes into program messages: where one ends, on wires with and without message borders (IEEE 488.2 clause 7)."""

from __future__ import annotations

import re

LONGEST = 1 << 20
"""Longest program message, bytes; what is longer overruns the input buffer."""


class Framer:
    """Collects bytes and gives complete messages. terminator: what ends one; a definite block may hold it.

    A newline inside a string ends the message too: a quote that nobody closes must not swallow what follows. A block
    that claims more than `longest` bytes is taken for none.
    """

    def __init__(self, terminator: bytes = b"\n", *, longest: int = LONGEST) -> None:
        self._terminator = terminator
        self._longest = longest
        self._marks = re.compile(b"(" + re.escape(terminator) + b")|[#'\"]")
        self.overruns = 0
        """Messages that were too long and are lost."""
        self.drop()

    def drop(self) -> None:
        """Forget what is incomplete."""
        self._buffer = bytearray()
        self._scanned = 0
        self._quote = b""
        self._skipping = False

    @property
    def partial(self) -> bool:
        """True while an incomplete message waits for its end."""
        return bool(self._buffer)

    def feed(self, data: bytes, *, end: bool = False) -> list[bytes]:
        """Return the messages that `data` completes, without terminators and without empty ones.

        end: the wire's END came with the last byte.
        """
        self._buffer += data
        messages = self._split(end)
        if end:
            if not self._skipping:
                messages.append(bytes(self._buffer))
            self.drop()
        elif len(self._buffer) > self._longest:
            self.drop()
            self._skipping = True
            self.overruns += 1
        return [message for message in messages if message.strip()]

    def _split(self, end: bool) -> list[bytes]:
        buffer, terminator = self._buffer, self._terminator
        if not self._skipping and b"#" not in buffer:
            *messages, rest = bytes(buffer).split(terminator)
            self._buffer, self._scanned, self._quote = bytearray(rest), 0, b""
            return messages
        found: list[bytes] = []
        begin, at = 0, self._scanned
        while (mark := self._marks.search(buffer, at)) is not None:
            byte = mark.group()
            if mark.group(1) is not None:
                if not self._skipping:
                    found.append(bytes(buffer[begin : mark.start()]))
                begin = at = mark.end()
                self._skipping, self._quote = False, b""
            elif self._skipping or byte != b"#":
                at = mark.end()
                if not self._quote:
                    self._quote = byte
                elif byte == self._quote:
                    self._quote = b""
            elif self._quote:
                at = mark.end()
            else:
                after = self._block_end(mark.start(), end)
                if after is None:
                    at = mark.start()
                    break
                at = after
        else:
            at = max(begin, at, len(buffer) - len(terminator) + 1)
        del buffer[:begin]
        self._scanned = at - begin
        return found

    def _block_end(self, mark: int, end: bool) -> int | None:
        """Return where the block that begins at `mark` ends, the next byte if it is none, None if more must come."""
        buffer = self._buffer
        # A block without an end of its own reaches to the terminator that comes with END; in a whole one it is data.
        ended = self._terminator if end and buffer.endswith(self._terminator) else b""
        open_end = len(buffer) - len(ended) if end else None
        head = bytes(buffer[mark + 1 : mark + 11])
        if not head:
            return open_end
        if head[:1] == b"0":
            return open_end if end else mark + 1
        if not head[:1].isdigit():
            return mark + 1
        digits = int(head[:1])
        count = head[1 : digits + 1]
        if count and not count.isdigit():
            return mark + 1
        if len(count) < digits:
            return open_end
        if int(count) > self._longest:
            return mark + 1
        after = mark + 2 + digits + int(count)
        return after if after <= len(buffer) else open_end

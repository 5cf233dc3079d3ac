"""Speaking with a ZES LMG600: two languages, a stream that has to end before anything else is asked, and the break.

Sources: what two public programs that drive an LMG670 agree on (lmgtools in SHORT, lmgd in SCPI).
"""

from __future__ import annotations

import abc
import socket
from collections.abc import Sequence

from aicalib_hw.errors import InstrumentReportedError, ProtocolError, UsageError
from aicalib_hw.scpi.session import parse_error

from ._scpi_meter import ScpiPowerMeter

_MOST_PENDING = 10_000
_FAREWELL = 2.0
"""s for an answer on the port of the out-of-band reset."""


class ZesConversation(ScpiPowerMeter):
    """An instrument that is brought to rest, in SHORT and silent, before anything is asked of it."""

    _streaming = False
    _doubtful = True

    @property
    @abc.abstractmethod
    def _port_for_break(self) -> int | None:
        """The port of the out-of-band reset; None = the one after that for commands, 0 = never."""

    def _settle(self) -> None:
        """Bring the instrument to rest, in SHORT and silent, unless it is known to be."""
        if self._streaming:
            raise UsageError(
                "a stream is running, and nothing else can be asked meanwhile",
                where=self.address,
                advice="close the stream first",
            )
        if self._doubtful:
            self._break()
            self._link.clear()
            self._link.write("*zlang short")
            self._quiet()
            self._doubtful = False

    def _quiet(self) -> None:
        """Stop the stream; what had been sent until then is passed over."""
        line = self.session.query("cont off;*opc?")
        for _ in range(_MOST_PENDING):
            if line.strip() == "1":
                return
            line = self._link.receive()
        raise ProtocolError("the stream does not end", where=self.address, advice="switch the instrument off and on")

    def _break(self) -> None:
        """Reset the interface over its own port; an instrument that does not offer it is not reset by it."""
        host, port = _host_of(self.address)
        chosen = self._port_for_break if self._port_for_break is not None else port + 1
        if not host or not chosen:
            return
        try:
            with socket.create_connection((host, chosen), timeout=_FAREWELL) as wire:
                wire.sendall(b"break\n")
                reply = wire.recv(64)
        except OSError:
            return  # the commands that follow show whether the instrument is there
        if not reply.startswith(b"0"):
            raise ProtocolError(f"the instrument answers {reply!r} to a break", where=f"{host}:{chosen}")

    def _in_scpi(self, commands: Sequence[str]) -> None:
        """Send settings in the language that reports errors, each with the question for them, and come back."""
        self._link.write("*zlang scpi")
        try:
            for command in commands:
                message = f"{command};:SYST:ERR:ALL?"
                code, text = parse_error(self.session.query(message))
                if code:
                    raise InstrumentReportedError(
                        code,
                        text,
                        message,
                        where=self.address,
                        advice="the instrument keeps what it had: choose another value, or unlock its panel",
                    )
        finally:
            self._link.write("*zlang short")

    def _done(self, command: str) -> None:
        reply = self.session.query(f"{command};*opc?")
        if reply.strip() != "1":
            raise ProtocolError(f"{reply!r} does not confirm {command!r}", where=self.address)


def _host_of(address: str) -> tuple[str, int]:
    """Host and port of TCPIP::HOST::PORT::SOCKET; ("", 0) for any other address."""
    parts = address.split("::")
    if len(parts) == 4 and parts[3].upper() == "SOCKET" and parts[2].isdigit():
        return parts[1], int(parts[2])
    return "", 0

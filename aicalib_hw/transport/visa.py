"""Message-based instruments over VISA: VXI-11, USBTMC, GPIB, HiSLIP, raw sockets, serial.

Any VISA library that PyVISA finds; pyvisa-py by default. What is wrong with that one is met in
`_visa_wires`, `_vxi11` and `_sockets`.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from aicalib_hw.errors import ConnectionFailed, InstrumentError, LockedByOther, MissingExtra, UsageError
from aicalib_hw.trace import Trace
from aicalib_hw.transport import _visa_wires
from aicalib_hw.transport._vxi11 import notice_closed_connections
from aicalib_hw.transport.link import MessageLink, Wire

SHORTEST_CONNECT = 2.0
"""Least connect time-out in s: with less, pyvisa-py gives a handshake 100 ms."""


_INTERFACES = {
    "PyUSB": "pip install pyusb",
    "gpib": "install linux-gpib and its Python module, or pip install gpib-ctypes",
    "psutil": "pip install psutil",
}
"""Word in what pyvisa-py says of an interface whose library is missing → how to get it."""


def resource_manager(library: str, *, where: str) -> Any:
    """Return PyVISA's resource manager of a VISA library; raises UsageError, at `where`, if it cannot be loaded."""
    try:
        import pyvisa
    except ImportError as error:
        raise MissingExtra("VISA instruments need the library pyvisa", advice="pip install aicalib-hw") from error
    try:
        return pyvisa.ResourceManager(library)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the VISA library {library!r} cannot be loaded",
            where=where,
            why=str(error),
            advice='install the vendor\'s VISA, or use visa_library="@py"',
        ) from error


class VisaLink(MessageLink):
    """A link that VISA carries; see `MessageLink` for what it does.

    resource: a VISA resource name. visa_library: what PyVISA takes ("@py", "@ivi", a path).
    timeout: s for one exchange. connect_timeout: s for opening, at least 2.
    read_termination, write_termination: what ends a message on a socket or a serial port.
    baud_rate: of a serial port, with 8 bits, no parity, one stop bit and no flow control.
    """

    def __init__(
        self,
        resource: str,
        *,
        visa_library: str = "@py",
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        read_termination: str = "\n",
        write_termination: str = "\n",
        baud_rate: int = 9600,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(resource, timeout=timeout, connect_timeout=max(connect_timeout, SHORTEST_CONNECT), trace=trace)
        self._library = visa_library
        self._begins_in_doubt = resource.upper().startswith("ASRL")
        self._read_termination = read_termination
        self._write_termination = write_termination
        self._baud_rate = baud_rate

    def _connect(self) -> Wire:
        manager = resource_manager(self._library, where=self.resource)
        own = self._library.endswith("@py")
        if own:
            _keep_hislip_quiet()
            notice_closed_connections()
        session: Any = None
        try:
            session = manager.open_resource(self.resource, open_timeout=int(self._connect_timeout * 1000))
            if self.resource.upper().startswith("ASRL"):
                session.baud_rate = self._baud_rate
            return _visa_wires.wire_of(
                session,
                self.resource,
                own=own,
                read_termination=self._read_termination.encode("ascii"),
                write_termination=self._write_termination.encode("ascii"),
            )
        except Exception as error:
            if session is not None:
                with contextlib.suppress(Exception):
                    session.close()
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> InstrumentError | UsageError:
        if isinstance(error, LockedByOther):
            error.where = self.resource
            return error
        cause = error.__cause__ if error.__cause__ is not None else error
        text = " ".join(str(error).split()) or type(error).__name__
        if cause is not error:
            text += f" ({type(cause).__name__}: {' '.join(str(cause).split())})"
        if "creating link: 11" in text or "VI_ERROR_RSRC_LOCKED" in text:
            return LockedByOther(f"{self.resource} is locked by another client", where=self.resource)
        if any(said in text for said in ("creating link: 9", "received 'FatalError", "VI_ERROR_RSRC_BUSY")):
            return LockedByOther(
                f"{self.resource} serves no further client",
                where=self.resource,
                why="most instruments of this kind serve one connection at a time",
                advice="close the other program, or `aicalib release BENCH` if it died",
            )
        if "invalid resource" in text.lower() or "could not parse" in text.lower():
            return UsageError(
                f"{self.resource!r} is no VISA resource name", why=text, advice="for example TCPIP::192.168.1.7::INSTR"
            )
        lacking = "Please install" in text
        missing = next((found for word, found in _INTERFACES.items() if lacking and word in text), None)
        if missing is not None:
            return UsageError(
                f"the VISA library {self._library!r} cannot use this interface here",
                where=self.resource,
                why=text,
                advice=f'{missing}, or install the vendor\'s VISA and use visa_library="@ivi" (--visa-library @ivi)',
            )
        unknown = _unknown_name(self.resource)
        return ConnectionFailed(
            f"nothing answers at {self.resource}", where=self.resource, why=unknown or text, advice=self._look(unknown)
        )

    def _look(self, unknown: str) -> str:
        """What to look at where nothing answers."""
        if unknown:
            return "correct the name, or give the address in numbers"
        if self._begins_in_doubt:
            return "check the port's name, cable and power; `aicalib discover` lists the serial ports that are here"
        if self.resource.upper().startswith("TCPIP"):
            return "check power, cable and address; `ping` the host; is the instrument's network interface selected?"
        return "check power and cable; `aicalib discover` lists what is plugged in"


def _unknown_name(resource: str) -> str:
    """Say that the host's name is unknown, where it is: pyvisa-py tells of it as of a bad file descriptor."""
    parts = resource.split("::")
    if not parts[0].upper().startswith("TCPIP") or len(parts) < 2:
        return ""
    host = parts[1].partition(",")[0]
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror as error:
        return f"the name {host!r} is not known: {error.strerror}"
    except (OSError, UnicodeError) as error:
        return f"{host!r} is no name of a host: {error}"
    return ""


def _keep_hislip_quiet() -> None:
    """pyvisa-py prints to the standard output when a HiSLIP server prefers overlapped mode; nothing here may."""
    from pyvisa_py.protocols import hislip  # type: ignore[import-untyped]

    vars(hislip)["print"] = lambda *_: None

"""Whether two ways of writing a host mean the same one (localhost, 127.0.0.1 and ::1, names and addresses), or this."""

from __future__ import annotations

import ipaddress
import platform
import socket
import threading

_LOOPBACK = "localhost"
_PATIENCE = 2.0
"""s that a name may take to be resolved before it is taken to be known by nobody."""


def same_host(one: str, other: str) -> bool:
    """Return True if two names or addresses mean one host.

    Names are resolved only where the text does not decide, for at most 2 s each; one that cannot be resolved is
    the same as no other.
    """
    first, second = _plain(one), _plain(other)
    if first == second:
        return True
    if _is_address(first) and _is_address(second):
        return False
    return bool(_addresses(first) & _addresses(second))


def is_this_host(name: str) -> bool:
    """Return whether a name or address is one of this host's own; nothing is sent but the question for the name."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(name, None)}
    except OSError:
        return False
    return any(_is_own(str(one)) for one in found)


def _is_own(address: str) -> bool:
    host = ipaddress.ip_address(address.partition("%")[0])
    if host.is_loopback:
        return True
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.connect((address, 9))  # of a datagram socket: it only finds the way
            return bool(tried.getsockname()[0] == address)
    except OSError:
        return False


def _plain(host: str) -> str:
    """The host in small letters and an address in its shortest form; one word for what is this machine by itself."""
    text = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _LOOPBACK if text in (_LOOPBACK, platform.node().lower()) else text
    # Other addresses of loopback (127.0.0.2) are made to tell programs on this machine apart.
    return _LOOPBACK if str(address) in ("127.0.0.1", "::1") else str(address)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _addresses(host: str) -> set[str]:
    """All addresses of a host, loopback as one word; empty for a name that is not resolved in time."""
    if host == _LOOPBACK or _is_address(host):
        return {host}
    found: set[str] = set()

    def resolve() -> None:
        try:
            told = socket.getaddrinfo(host, None)
        except (OSError, UnicodeError):
            return
        found.update(_plain(str(entry[4][0]).partition("%")[0]) for entry in told)

    # getaddrinfo has no time-out: what comes later is not waited for.
    asking = threading.Thread(target=resolve, name=f"address of {host}", daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return set(found)

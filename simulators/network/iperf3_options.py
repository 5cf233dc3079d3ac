"""The command line of iperf3: what it asks for, and what iperf3 says of a mistake in it."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass

_SHORT = "p:f:i:F:A:B:VJvhsD1I:c:ub:t:n:k:l:P:RXw:M:N46S:L:ZO:C:T:dq"
_WITH_VALUE = (
    *("port", "format", "interval", "file", "affinity", "bind", "bind-dev", "logfile", "rcv-timeout", "snd-timeout"),
    *("client", "bitrate", "bandwidth", "time", "bytes", "blockcount", "length", "parallel", "window", "set-mss"),
    *("tos", "dscp", "flowlabel", "omit", "congestion", "title", "extra-data", "connect-timeout", "fq-rate"),
    *("pacing-timer", "cport", "idle-timeout", "server-bitrate-limit", "pidfile", "timestamps", "xbind"),
    *("username", "rsa-public-key-path", "rsa-private-key-path", "authorized-users-path", "time-skew-threshold"),
)
_WITHOUT = (
    *("verbose", "json", "version", "help", "server", "daemon", "one-off", "udp", "reverse", "bidir", "no-delay"),
    *("version4", "version6", "zerocopy", "get-server-output", "udp-counters-64bit", "repeating-payload"),
    *("forceflush", "dont-fragment", "sctp", "debug", "no-fq-socket-pacing"),
)
_LETTER_WORDS = """
    p=port f=format i=interval F=file A=affinity B=bind V=verbose J=json v=version h=help s=server D=daemon 1=one-off
    I=pidfile c=client u=udp b=bitrate t=time n=bytes k=blockcount l=length P=parallel R=reverse X=xbind w=window
    M=set-mss N=no-delay 4=version4 6=version6 S=tos L=flowlabel Z=zerocopy O=omit C=congestion T=title d=debug
    q=no-fq-socket-pacing
"""
_LETTERS = dict(pair.split("=") for pair in _LETTER_WORDS.split())
_CLIENT_ONLY = frozenset(
    (
        *("udp", "bitrate", "bandwidth", "time", "bytes", "blockcount", "length", "parallel", "reverse", "bidir"),
        *("window", "set-mss", "no-delay", "tos", "dscp", "flowlabel", "zerocopy", "omit", "congestion", "title"),
        *("extra-data", "connect-timeout", "fq-rate", "get-server-output", "cport", "dont-fragment"),
        *("udp-counters-64bit", "repeating-payload"),
    )
)
_SERVER_ONLY = frozenset(("daemon", "one-off", "idle-timeout", "server-bitrate-limit"))
_NOT_SIMULATED = frozenset(
    (
        *("file", "daemon", "logfile", "pidfile", "timestamps", "xbind", "sctp", "debug", "username"),
        *("rsa-public-key-path", "rsa-private-key-path", "authorized-users-path", "time-skew-threshold"),
        *("server-bitrate-limit", "idle-timeout", "version6"),
    )
)
"""Options of iperf3 that would change what happens, and on which the simulator does not act."""

_BINARY = {"k": 10, "m": 20, "g": 30, "t": 40}
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
USAGE = "Usage: iperf3 [-s|-c host] [options]\n       iperf3 [-h|--help] [-v|--version]\n\n"


class Mistake(Exception):
    """What iperf3 refuses. said: on standard error; shown: on standard output."""

    def __init__(self, said: str, shown: str = "") -> None:
        super().__init__(said)
        self.said, self.shown = said, shown


@dataclass(frozen=True)
class Asked:
    """One command line. duration, omit, interval: s; rate, fq_rate: bit/s, 0 = as fast as it goes; size: bytes.

    amount, blocks: what ends the test instead of `duration`, 0 = it does not. host: "" = be a server.
    """

    host: str = ""
    port: int = 5201
    server: bool = False
    once: bool = False
    json: bool = False
    stream: bool = False
    udp: bool = False
    reverse: bool = False
    bidir: bool = False
    rate: int | None = None
    fq_rate: int = 0
    duration: float = 10.0
    amount: int = 0
    blocks: int = 0
    size: int = 0
    parallel: int = 1
    omit: float = 0.0
    interval: float = 1.0
    window: int = 0
    mss: int = 0
    tos: int = 0
    congestion: str = ""
    title: str = ""
    extra: str = ""
    server_output: bool = False
    connect_timeout: float = 0.0
    bind: str = ""
    local_port: int = 0
    unit: str = "a"
    version: bool = False
    help: bool = False


def parse(program: str, arguments: Sequence[str], *, streams: bool) -> Asked:
    """Return what a command line asks for; raises Mistake. streams: whether this version knows --json-stream."""
    longs = [f"{name}=" for name in _WITH_VALUE] + list(_WITHOUT) + (["json-stream"] if streams else [])
    try:
        found, rest = getopt.gnu_getopt(list(arguments), _SHORT, longs)
    except getopt.GetoptError as error:
        raise Mistake(f"{program}: {_unknown(error)}\n{USAGE}") from None
    options: dict[str, str] = {}
    for name, value in found:
        word = name[2:] if name.startswith("--") else _LETTERS[name[1:]]
        options[{"bandwidth": "bitrate", "dscp": "tos"}.get(word, word)] = value
    for name in options:
        if name in _NOT_SIMULATED:
            raise Mistake(f"SIM-iperf3: --{name} is an option of iperf3 that is not simulated\n")
    if "version" in options or "help" in options:
        return Asked(version="version" in options, help="help" in options)
    _check_sides(options, rest)
    asked = _asked(options)
    _check_values(asked, options)
    return asked


def _unknown(error: getopt.GetoptError) -> str:
    option = error.opt
    lacking = "requires argument" in error.msg
    if len(option) == 1:
        return f"option requires an argument -- '{option}'" if lacking else f"invalid option -- '{option}'"
    return f"option '--{option}' requires an argument" if lacking else f"unrecognized option '--{option}'"


def _refused(why: str) -> Mistake:
    return Mistake(f"iperf3: parameter error - {why}\n\n", USAGE)


def _check_sides(options: dict[str, str], rest: Sequence[str]) -> None:
    if "server" in options and "client" in options:
        raise _refused("cannot be both server and client")
    if rest:
        raise _refused(f"unrecognised argument {rest[0]}")
    if "server" in options and _CLIENT_ONLY & set(options):
        raise _refused("some option you are trying to set is client only")
    if "server" not in options and "client" not in options:
        raise _refused("must either be a client (-c) or server (-s)")
    if "client" in options and _SERVER_ONLY & set(options):
        raise _refused("some option you are trying to set is server only")


def _asked(options: dict[str, str]) -> Asked:
    rate = options.get("bitrate", "").partition("/")[0]
    return Asked(
        host=options.get("client", ""),
        port=_number(options.get("port", "5201")),
        server="server" in options,
        once="one-off" in options,
        json="json" in options or "json-stream" in options,
        stream="json-stream" in options,
        udp="udp" in options,
        reverse="reverse" in options,
        bidir="bidir" in options,
        rate=_scaled(rate, _DECIMAL) if rate else None,
        fq_rate=_scaled(options.get("fq-rate", "0"), _DECIMAL),
        duration=float(_number(options["time"])) if "time" in options else 10.0,
        amount=_scaled(options.get("bytes", "0"), _BINARY),
        blocks=_scaled(options.get("blockcount", "0"), _BINARY),
        size=_scaled(options.get("length", "0"), _BINARY),
        parallel=_number(options.get("parallel", "1")),
        omit=float(_number(options.get("omit", "0"))),
        interval=_real(options.get("interval", "1")),
        window=_scaled(options.get("window", "0"), _BINARY),
        mss=_number(options.get("set-mss", "0")),
        tos=_number(options.get("tos", "0")),
        congestion=options.get("congestion", ""),
        title=options.get("title", ""),
        extra=options.get("extra-data", ""),
        server_output="get-server-output" in options,
        connect_timeout=_number(options.get("connect-timeout", "0")) / 1000,
        bind=options.get("bind", ""),
        local_port=_number(options.get("cport", "0")),
        unit=options.get("format", "a")[:1] or "a",
    )


def _check_values(asked: Asked, options: dict[str, str]) -> None:
    most = 65507 if asked.udp else 1 << 20
    ends = [name for name in ("time", "bytes", "blockcount") if name in options]
    if not 1 <= asked.port <= 65535:
        raise _refused("port number must be between 1 and 65535 inclusive")
    if asked.duration > 86400:
        raise _refused("test duration too long (maximum = 86400 seconds)")
    if len(ends) > 1:
        raise _refused("only one test end condition (-t, -n, -k) may be specified")
    if asked.parallel > 128:
        raise _refused("number of parallel streams too large (maximum = 128)")
    if not 0 <= asked.omit <= 60:
        raise _refused("bogus value for --omit")
    if asked.interval and not 0.1 <= asked.interval <= 60:
        raise _refused("invalid report interval (min = 0.1, max = 60 seconds)")
    if asked.size and (asked.size > most or (asked.udp and asked.size < 16)):
        least = "minimum = 16 bytes, " if asked.udp else ""
        raise _refused(f"block size {'invalid' if asked.udp else 'too large'} ({least}maximum = {most} bytes)")
    if asked.window > 512 << 20:
        raise _refused("socket buffer size too large (maximum = 536870912 bytes)")
    if asked.reverse and asked.bidir:
        raise _refused("cannot be both reverse and bidirectional")


def _number(text: str) -> int:
    """Return what C's atoi makes of a text."""
    digits = ""
    for sign in text.strip():
        if not (sign.isdecimal() or (sign in "+-" and not digits)):
            break
        digits += sign
    return int(digits) if digits.strip("+-") else 0


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(_number(text))


def _scaled(text: str, units: dict[str, int]) -> int:
    """Return a number with a unit: k, m, g, t, of 1024 for bytes and 1000 for bit/s."""
    body, letter = (text[:-1], text[-1].lower()) if text[-1:].isalpha() else (text, "")
    value = _real(body)
    if letter not in units:
        return int(value)
    factor = units[letter]
    return int(value * (1 << factor if units is _BINARY else factor))

"""The commands of a Xena chassis that are simulated: names, binary codes, and what values each takes and gives.

From the vendor's documentation of the commands and the structures of its client tdl-xoa-driver 1.11 (facts: network.md
sections 4.3 and 4.6). Not simulated: capture, filters, histograms, modifiers' content, emulation, PP_ commands of the
physical layer, and everything of layers 4 to 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = """
OK NOCONNECTIONS NOTLOGGEDON NOTRESERVED NOTWRITABLE NOTREADABLE NOTVALID BADHEADER BADCOMMAND BADPARAMETER BADMODULE
BADPORT BADINDEX BADSIZE BADVALUE FAILED MEMORYFAILURE NOLICPE NOLICPORT NOTSUPPORTED PENDING
MODULE_OPERATION_NOT_SUPPORTED_BY_CHASSIS XLSFAILED XLSDENIED XLSINVALID
"""
STATUS = {word: code for code, word in enumerate(_WORDS.split())}
"""Status words and their binary codes."""


def _coded(text: str, **others: int) -> dict[str, int]:
    return {**{word: code for code, word in enumerate(text.split())}, **others}


CODED: dict[str, dict[str, int]] = {
    "OPERATION": _coded("RELEASE RESERVE RELINQUISH"),
    "RESERVED": _coded("RELEASED RESERVED_BY_YOU RESERVED_BY_OTHER"),
    "ONOFF": _coded("OFF ON"),
    "TRAFFIC": _coded("OFF ON PREPARING"),
    "STARTSTOP": _coded("OFF ON", STOP=0, START=1),
    "SUPPRESS": _coded("OFF ON SUPPRESS"),
    "SYNC": _coded("NO_SYNC IN_SYNC"),
    "SPEED": _coded(
        "AUTO F10M F100M F1G F10G F40G F100G", F25G=15, F50G=16, F200G=17, F400G=18, F800G=19, F1600G=20, UNKNOWN=255
    ),
    "LOOPBACK": _coded("NONE L1RX2TX L2RX2TX L3RX2TX TXON2RX TXOFF2RX PORT2PORT"),
    "LATENCY": _coded("LAST2LAST FIRST2LAST LAST2FIRST FIRST2FIRST"),
    "TXMODE": _coded("NORMAL STRICTUNIFORM SEQUENTIAL BURST"),
    "LENGTH": _coded("FIXED INCREMENTING BUTTERFLY RANDOM MIX"),
    "PAYLOAD": _coded("PATTERN INC8 PRBS RANDOM DEC8 INC16 DEC16", INCREMENTING=1, DECREMENTING=4),
    "TIME": _coded("CHASSIS EXTERNAL MODULE"),
    "SEGMENT": {"ETHERNET": 1, "VLAN": 2, "ARP": 3, "IP": 4, "IPV6": 5, "UDP": 6, "TCP": 7, "ICMP": 11, "MPLS": 17}
    | {f"RAW_{count}": 256 - count for count in range(1, 65)},
}
"""Coded values by name; each is also accepted as its number, and shown by the first name that has it."""

_RANGES = {"B": (0, 255), "I": (-(1 << 31), (1 << 32) - 1), "L": (-(1 << 63), (1 << 64) - 1)}


@dataclass(frozen=True, slots=True)
class Field:
    """One value. kind: B byte, I 4-byte and L 8-byte integer, S string, X run of bytes, M address of 6 bytes.

    names: of coded values. many: repeats to the end.
    """

    kind: str
    names: Mapping[str, int] | None
    many: bool

    def fits(self, value: Any) -> bool:
        """True if the value can be one of this field."""
        if self.kind in _RANGES:
            least, most = _RANGES[self.kind]
            return isinstance(value, int) and least <= value <= most
        return self.kind != "M" or len(value) == 6


@dataclass(frozen=True, slots=True)
class Command:
    """One command. indices: how many it takes in brackets. asked, given: fields of a reply and of a setting."""

    name: str
    code: int
    indices: int
    asked: tuple[Field, ...] | None
    given: tuple[Field, ...] | None

    @property
    def scope(self) -> str:
        """ "C" of the chassis, "M" of a module, "P" of a port."""
        return self.name[0]


def _fields(text: str) -> tuple[Field, ...] | None:
    if text == "-":
        return None
    found = []
    for part in [] if text == "()" else text.split(","):
        matched = re.fullmatch(r"([BILSXM])(?:/(\w+))?(\*?)", part)
        if matched is None:
            raise ValueError(f"no such field: {part}")
        kind, names, many = matched.groups()
        found.append(Field(kind, CODED[names] if names else None, bool(many)))
    return tuple(found)


_TABLE = """
C_LOGON            1 0 -                S
C_OWNER            2 0 S                S
C_KEEPALIVE        3 0 I                -
C_TIMEOUT          4 0 I                I
C_RESERVATION      5 0 B/RESERVED       B/OPERATION
C_RESERVEDBY       6 0 S                -
C_LOGOFF           7 0 -                ()
C_CAPABILITIES     9 0 I*               -
C_MODEL           10 0 S                -
C_SERIALNO        11 0 I                -
C_VERSIONNO       12 0 I,I              -
C_PORTCOUNTS      13 0 B*               -
C_BUILDSTRING     19 0 S                -
C_NAME            20 0 S                S
C_COMMENT         21 0 S                S
C_VERSIONSTR      23 0 S                -
C_TRAFFIC         55 0 -                B/STARTSTOP,I*
C_VERSIONNO_MINOR 56 0 I,I,I            -
C_MULTIUSER       62 0 B/ONOFF          B/ONOFF
C_TIME            69 0 L                -
M_RESERVATION     72 0 B/RESERVED       B/OPERATION
M_RESERVEDBY      73 0 S                -
M_MODEL           75 0 S                -
M_SERIALNO        76 0 I                -
M_VERSIONNO       77 0 I                -
M_STATUS          79 0 I                -
M_PORTCOUNT       80 0 I                -
M_TIMESYNC        83 0 B/TIME           B/TIME
M_COMMENT         86 0 S                S
M_MEDIASUPPORT    90 0 I*               -
M_CFPCONFIGEXT    93 0 I*               -
M_CLOCKPPB        94 0 I                I
M_NAME            99 0 S                -
M_REVISION       100 0 S                -
M_VERSIONSTR     101 0 S                -
M_MEDIA          342 0 B                -
M_MODEL_NAME     459 0 I                -
P_RESERVATION    102 0 B/RESERVED       B/OPERATION
P_RESERVEDBY     103 0 S                -
P_RESET          104 0 -                ()
P_CAPABILITIES   106 0 I*               -
P_INTERFACE      107 0 S                -
P_SPEEDSELECTION 109 0 B/SPEED          B/SPEED
P_SPEED          110 0 I                -
P_RECEIVESYNC    111 0 B/SYNC           -
P_COMMENT        112 0 S                S
P_INTERFRAMEGAP  114 0 I                I
P_MACADDRESS     116 0 M                M
P_LOOPBACK       122 0 B/LOOPBACK       B/LOOPBACK
P_TRAFFIC        124 0 B/TRAFFIC        B/STARTSTOP
P_LATENCYOFFSET  127 0 I                I
P_LATENCYMODE    128 0 B/LATENCY        B/LATENCY
P_TXMODE         320 0 B/TXMODE         B/TXMODE
P_TXENABLE       327 0 B/ONOFF          B/ONOFF
P_TXTIMELIMIT    329 0 L                L
P_TXTIME         330 0 L                -
P_ERRORS         335 0 L                -
PS_INDICES       150 0 I*               I*
PS_CREATE        151 1 -                ()
PS_DELETE        152 1 -                ()
PS_ENABLE        153 1 B/SUPPRESS       B/SUPPRESS
PS_PACKETLIMIT   154 1 I                I
PS_COMMENT       155 1 S                S
PS_TPLDID        157 1 I                I
PS_INSERTFCS     158 1 B/ONOFF          B/ONOFF
PS_RATEFRACTION  169 1 I                I
PS_RATEPPS       170 1 I                I
PS_RATEL2BPS     171 1 L                L
PS_BURST         174 1 I,I              I,I
PS_PACKETHEADER  175 1 X                X
PS_HEADERPROTOCOL 176 1 B/SEGMENT*      B/SEGMENT*
PS_MODIFIERCOUNT 177 1 I                I
PS_PACKETLENGTH  179 1 I/LENGTH,I,I     I/LENGTH,I,I
PS_PAYLOAD       180 1 B/PAYLOAD,X      B/PAYLOAD,X
PS_BURSTGAP      183 1 I,I              I,I
PT_TOTAL         230 0 L,L,L,L          -
PT_NOTPLD        231 0 L,L,L,L          -
PT_STREAM        232 1 L,L,L,L          -
PT_CLEAR         233 0 -                ()
PT_TOTALEXT      236 0 L,L,L,L,L        -
PT_STREAMEXT     238 1 L,L,L,L,L        -
PR_TPLDJITTER    239 1 L,L,L,L,L,L      -
PR_TOTAL         240 0 L,L,L,L          -
PR_NOTPLD        241 0 L,L,L,L          -
PR_EXTRA         242 0 L,L,L,L,L,L,L,L  -
PR_TPLDS         243 0 I*               -
PR_TPLDTRAFFIC   244 1 L,L,L,L          -
PR_TPLDERRORS    245 1 L,L,L,L          -
PR_TPLDLATENCY   246 1 L,L,L,L,L,L      -
PR_CLEAR         248 0 -                ()
PR_CALIBRATE     249 0 -                ()
PR_TOTALEXT      257 0 L,L,L,L,L,L,L,L,L -
"""
"""Name, code, number of indices, fields of the reply, fields of the setting; - where there is none."""

BY_NAME: dict[str, Command] = {}
for _line in _TABLE.split("\n"):
    if _line:
        _name, _code, _indices, _asked, _given = _line.split()
        BY_NAME[_name] = Command(_name, int(_code), int(_indices), _fields(_asked), _fields(_given))
BY_CODE = {command.code: command for command in BY_NAME.values()}


class Refused(Exception):
    """The chassis answers with a status word instead of doing what was asked."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status

"""How iperf3 says what it measured: JSON in the hand of its library, and the text for people."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RULE = "- " * 25
LINE = "-" * 59


@dataclass
class Row:
    """One stream, or a sum of them, over one time. retransmits, window: None where the side does not know them.

    start, end: s; size: bytes; packets, lost, jitter (ms), disordered: of UDP, as the side knows them.
    """

    socket: int
    start: float
    end: float
    size: int
    sender: bool
    retransmits: int | None = None
    window: int | None = None
    wnd: int = 0
    rtt: int = 0
    packets: int | None = None
    lost: int | None = None
    jitter: float = 0.0
    disordered: int | None = None
    omitted: bool = False
    role: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Its length, s, in single precision as iperf3 keeps it."""
        return float(struct.unpack("f", struct.pack("f", self.end - self.start))[0])

    @property
    def rate(self) -> float:
        """Bit/s."""
        return 8 * self.size / self.seconds if self.seconds > 0 else 0.0

    def shown(self, mtu: int, *, total: bool) -> dict[str, Any]:
        """Return an interval as JSON has it. total: of several streams."""
        made: dict[str, Any] = {} if total else {"socket": self.socket}
        made |= {
            "start": self.start,
            "end": self.end,
            "seconds": self.seconds,
            "bytes": self.size,
            "bits_per_second": self.rate,
        }
        if self.retransmits is not None:
            made["retransmits"] = self.retransmits
            if not total:
                made |= {
                    "snd_cwnd": self.window or 0,
                    "snd_wnd": self.wnd,
                    "rtt": self.rtt,
                    "rttvar": self.rtt // 2,
                    "pmtu": mtu,
                }
        if self.packets is not None:
            if self.lost is not None:
                made |= {"jitter_ms": self.jitter, "lost_packets": self.lost}
            made["packets"] = self.packets
            if self.lost is not None:
                made["lost_percent"] = percent(self.lost, self.packets)
        return made | {"omitted": self.omitted, "sender": self.sender}


def percent(part: int, whole: int) -> float:
    """Return a share in %; 0 of nothing is 0."""
    return 100 * part / whole if whole else 0.0


def added(rows: Sequence[Row]) -> Row:
    """Return the sum of the streams of one direction over one time."""
    first = rows[0]
    known = [row.packets for row in rows if row.packets is not None]
    lost = [row.lost for row in rows if row.lost is not None]
    again = [row.retransmits for row in rows if row.retransmits is not None]
    return Row(
        0,
        first.start,
        first.end,
        sum(row.size for row in rows),
        first.sender,
        retransmits=sum(again) if again else None,
        packets=sum(known) if known else None,
        lost=sum(lost) if lost else None,
        jitter=sum(row.jitter for row in rows) / len(rows),
        omitted=first.omitted,
        role=first.role,
    )


def written(value: Any, depth: int = 0) -> str:
    """Return JSON as iperf3's library prints it: tabs, a tab after each colon, whole numbers without a point."""
    if isinstance(value, Mapping):
        inner = "\t" * (depth + 1)
        rows = [f"{inner}{json.dumps(name)}:\t{written(one, depth + 1)}" for name, one in value.items()]
        return "{\n" + ",\n".join(rows) + ("\n" if rows else "") + "\t" * depth + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(one, depth + 1) for one in value) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value)
    return number(value)


def number(value: float) -> str:
    """Return a number as the library prints it."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return str(int(value))
    short = f"{value:.15g}"
    return short if float(short) == value else f"{value:.17g}"


def size_text(size: float) -> str:
    """Return bytes for people: 1.70 GBytes."""
    return _scaled(size, 1024, ("Bytes", "KBytes", "MBytes", "GBytes", "TBytes"))


def rate_text(rate: float, unit: str) -> str:
    """Return bit/s for people, in the unit asked for ("a": the one that suits)."""
    names = ("bits", "Kbits", "Mbits", "Gbits", "Tbits")
    letters = {"k": 1, "m": 2, "g": 3, "t": 4}
    if unit.lower() in letters:
        step = letters[unit.lower()]
        return f"{_figures(rate / 1000**step)} {names[step]}/sec"
    return f"{_scaled(rate, 1000, names)}/sec"


def _scaled(value: float, by: int, names: Sequence[str]) -> str:
    step = 0
    while value >= by and step < len(names) - 1:
        value, step = value / by, step + 1
    return f"{_figures(value)} {names[step]}"


def _figures(value: float) -> str:
    return f"{value:4.2f}" if value < 9.995 else f"{value:4.1f}" if value < 99.95 else f"{value:4.0f}"


def head(udp: bool, *, final: bool, sender: bool, bidir: bool) -> str:
    """Return the line that names the columns."""
    role = "[Role]" if bidir else ""
    line = f"[ ID]{role} Interval           Transfer     Bitrate"
    if udp:
        more = "         Jitter    Lost/Total Datagrams" if final or not sender else "         Total Datagrams"
        return line + more + "\n"
    return line + ("         Retr" + ("" if final else "  Cwnd") if sender else "") + "\n"


def interval_line(row: Row, unit: str, *, total: bool = False) -> str:
    """Return an interval for people."""
    line = f"{_who(row, total)} {_span(row, unit)}"
    if row.packets is not None:
        if row.lost is not None:
            line += f"  {_losses(row)}"
        else:
            line += f"  {row.packets}  "
    elif row.retransmits is not None:
        cwnd = "          " if total else f"   {size_text(row.window or 0)}     "
        line += f"  {row.retransmits:3d}{cwnd}"
    else:
        line += "                "
    return line + ("  (omitted)" if row.omitted else "  ") + "\n"


def final_line(row: Row, unit: str, side: str, *, total: bool = False) -> str:
    """Return one of the last lines. side: "sender" or "receiver"."""
    line = f"{_who(row, total)} {_span(row, unit)}"
    if row.packets is not None:
        line += f"  {_losses(row)}  {side}"
    elif side == "sender" and row.retransmits is not None:
        line += f"  {row.retransmits:3d}             {side}"
    else:
        line += f"                  {side}"
    return line + "\n"


def _losses(row: Row) -> str:
    lost, packets = row.lost or 0, row.packets or 0
    return f"{row.jitter:5.3f} ms  {lost}/{packets} ({percent(lost, packets):.2g}%)"


def _who(row: Row, total: bool) -> str:
    return ("[SUM]" if total else f"[{row.socket:3d}]") + (f"[{row.role}]" if row.role else "")


def _span(row: Row, unit: str) -> str:
    span = f"{row.start:6.2f}-{row.end:<6.2f} sec"
    return f"{span}  {size_text(row.size):>11}  {rate_text(row.rate, unit):>14}"

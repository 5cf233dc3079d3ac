"""One stream of iperf3 on simulated ports: which bytes had left and had arrived at any world time.

TCP fills what the path takes: the line's rate, its capacity, the host's, a window's in a round trip, or what loss
leaves (1.22 MSS / (RTT √p)); frames that find no room are counted as never sent, as its congestion control would have
it, and lost ones are sent again. A program writes and reads whole blocks, so both sides count in blocks, and the sender
is ahead by what waits in its buffer. UDP sends what it was asked to and loses what finds no room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from .port import Network, Port, Run, Stream

_HEADERS = 52
"""Bytes of IP and TCP with time stamps."""
_ETHERNET = 18
_MATHIS = 1.22
_QUEUE = 20e-6
"""What a host adds to a round trip, s."""


@dataclass(frozen=True)
class Host:
    """What the two hosts are. mtu: bytes; limit: bit/s of payload that one process moves, None = any; buffer: bytes."""

    mtu: int
    limit: float | None
    buffer: int
    congestion: str


class Flow:
    """One stream in one direction. size: of a block or datagram, bytes; rate: bit/s asked for, 0 = as fast as it goes.

    share: how many streams divide the line; seconds: of the sender's clock; packets: frames that end it.
    """

    def __init__(
        self,
        network: Network,
        port: Port,
        host: Host,
        *,
        udp: bool,
        size: int,
        rate: int,
        share: int,
        seconds: float | None,
        amount: int,
        window: int,
        mss: int,
        name: str,
    ) -> None:
        self.network, self.port, self.host, self.udp, self.size = network, port, host, udp, size
        self.mss = min(mss or host.mtu, host.mtu - _HEADERS)
        self.rtt = 2 * network.path.latency + _QUEUE
        self._window, self.amount = window, amount
        sizes = self._datagram() if udp else (self.mss + _HEADERS + _ETHERNET,)
        self._frames = len(sizes)
        self.payload = size if udp else self.mss
        most = port.frame_rate(sizes, fraction=1) / share
        wanted = min(
            [most, *(Fraction(limit) * self._frames / (8 * self.payload) for limit in self._limits(rate, share))]
        )
        count = math.ceil(amount / self.payload) * self._frames if amount else None
        self.stream = Stream(port, sizes=sizes, rate=wanted, packets=count, seconds=seconds, name=name)

    def _limits(self, rate: int, share: int) -> list[float]:
        """Return the rates that it may have at most, bit/s of payload."""
        limits = [float(rate)] if rate else []
        if self.host.limit is not None:
            limits.append(self.host.limit / share)
        if self.udp:
            return limits
        if self._window:
            limits.append(8 * self._window / self.rtt)
        loss = self.network.path.loss
        if loss > 0:
            limits.append(_MATHIS * 8 * self.mss / (self.rtt * math.sqrt(loss)))
        return limits

    def _datagram(self) -> tuple[int, ...]:
        """Return the frames of one datagram, in as many fragments as it needs."""
        each = (self.host.mtu - 20) // 8 * 8
        left, sizes = self.size + 8, []
        while left > 0:
            sizes.append(max(64, min(left, each) + 20 + _ETHERNET))
            left -= each
        return tuple(sizes)

    @property
    def run(self) -> Run:
        """Its transmission."""
        return self.stream.runs[-1]

    @property
    def running(self) -> bool:
        """Whether it sends."""
        return self.stream.sending

    def datagrams(self, moment: Fraction) -> int:
        """Return the datagrams that had left."""
        return self.run.sent(moment).frames // self._frames

    def arrived(self, moment: Fraction) -> int:
        """Return the datagrams that had arrived, whole."""
        return self.run.received(moment).frames // self._frames

    def sent(self, moment: Fraction) -> int:
        """Return the bytes that the sender has handed over."""
        if self.udp:
            return self.datagrams(moment) * self.size
        passed = math.floor(self.run.passed(self.run.start, moment)) * self.payload
        begun = self.run.sent(moment).frames * self.payload
        ahead = min(self.host.buffer, begun)
        blocks = math.ceil((passed + ahead) / self.size) * self.size if begun else 0
        return min(blocks, math.ceil(self.amount / self.size) * self.size) if self.amount else blocks

    def received(self, moment: Fraction) -> int:
        """Return the bytes that the receiver has read."""
        if self.udp:
            return self.arrived(moment) * self.size
        return self.run.received(moment).frames * self.payload // self.size * self.size

    def resent(self, moment: Fraction) -> int:
        """Return the segments that had to be sent again."""
        return math.floor(self.run.sent(moment).frames * self.run.loss)

    def lost(self, moment: Fraction) -> int:
        """Return the datagrams that are missing of those that should have arrived."""
        return max(0, self.datagrams(moment - self.run.latency) - self.arrived(moment))

    @property
    def window_now(self) -> int:
        """Bytes that TCP lets be under way."""
        rate = float(self.run.stream.rate) * self.payload
        return max(10 * self.mss, math.ceil(rate * self.rtt * 2 / self.mss) * self.mss)


def goodput(flows: list[Flow], start: float, stop: float) -> float:
    """Return the true rate at which payload got through between two world times, bit/s."""
    if stop <= start:
        return 0.0
    bits = Fraction(0)
    for flow in flows:
        frames = flow.run.passed(Fraction(start), Fraction(stop))
        bits += frames * 8 * flow.payload / len(flow.stream.sizes)
    return float(bits / (Fraction(stop) - Fraction(start)))

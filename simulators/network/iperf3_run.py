"""One test of iperf3 between two simulated hosts, as either of them sees it.

A host's clock is that of its port. The server begins one way later than the client, and ends when it has been told to,
some milliseconds after it; with `omit` both count anew after that time. What the client says of the server it has been
told by it, and the other way round nobody is: hence the zeros in what a server says of its client.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from .iperf3_flow import Flow, Host
from .iperf3_options import Asked
from .iperf3_report import Row, added, percent
from .port import Network, Port

FIRST_SOCKET = 5
_TIMER = 0.6e-3
"""Latest that a timer of iperf3 goes off, s."""
_GOODBYE = (0.5e-3, 4e-3)
"""Between the end of a test at the client and at the server, s."""
_UDP_RATE = 1 << 20
"""Bit/s of UDP that nobody asked for another."""
_TCP_BLOCK = 131072


class Test:
    """A test. ports: of the client and of the server; name: for its streams. Nothing is sent before `start`."""

    def __init__(
        self, network: Network, ports: tuple[Port, Port], host: Host, asked: Asked, draw: random.Random
    ) -> None:
        self.network, self.ports, self.host, self.asked = network, ports, host, asked
        self._draw = draw
        self.block = asked.size or (min(host.mtu - 52, 65507) if asked.udp else _TCP_BLOCK)
        rate = asked.rate if asked.rate is not None else _UDP_RATE if asked.udp else 0
        self.rate = asked.fq_rate or rate
        self.planned = None if asked.amount or asked.blocks else asked.duration + draw.uniform(0, _TIMER)
        self.goodbye = 2 * network.path.latency + draw.uniform(*_GOODBYE)
        amount = asked.amount or asked.blocks * self.block
        directions = [False, True] if asked.bidir else [asked.reverse]
        self.flows: list[tuple[Flow, bool, int]] = []
        for reverse in directions:
            for _ in range(asked.parallel):
                socket = FIRST_SOCKET + 2 * len(self.flows)
                flow = Flow(
                    network,
                    ports[1] if reverse else ports[0],
                    host,
                    udp=asked.udp,
                    size=self.block,
                    rate=self.rate,
                    share=asked.parallel,
                    seconds=None if self.planned is None or not asked.duration else asked.omit + self.planned,
                    amount=-(-amount // asked.parallel),
                    window=asked.window,
                    mss=asked.mss,
                    name=f"{'reverse' if reverse else 'forward'}-{socket}",
                )
                self.flows.append((flow, reverse, socket))
        self.began = Fraction(0)
        self.interrupted: float | None = None

    def start(self) -> None:
        """Let it begin now."""
        for flow, _, _ in self.flows:
            self.network.add(flow.stream)
        self.network.start([flow.stream for flow, _, _ in self.flows])
        self.began = self.flows[0][0].run.start

    def stop(self) -> None:
        """End it now; idempotent."""
        self.network.stop([flow.stream for flow, _, _ in self.flows])

    @property
    def running(self) -> bool:
        """Whether anything is still sent."""
        return any(flow.running for flow, _, _ in self.flows)

    def elapsed(self) -> float:
        """Return the client's time since the beginning, s."""
        return float((self.network.now() - self.began) * self.ports[0].clock)

    def end(self, client: bool) -> float:
        """Return how long it took by the clock of one side, `omit` not counted, s."""
        if self.interrupted is not None:
            own = self.interrupted
        elif self.planned is not None and self.asked.duration:
            own = self.planned
        else:
            stops = [flow.run.stopped or self.network.now() for flow, _, _ in self.flows]
            own = float((max(stops) - self.began) * self.ports[0].clock) - self.asked.omit
        ratio = 1.0 if client else float(self.ports[1].clock / self.ports[0].clock)
        return round((own if client else own + self.goodbye) * ratio, 6)

    def moment(self, client: bool, seconds: float) -> Fraction:
        """Return the world time at which one side's clock shows `seconds` since it began, `omit` counted."""
        began = self.began if client else self.began + Fraction(str(self.network.path.latency))
        return began + Fraction(seconds) / self.ports[0 if client else 1].clock

    def rows(self, client: bool, start: float, stop: float, *, omitted: bool = False) -> list[Row]:
        """Return what one side sees of each stream between two of its times; `omit` counted only where `omitted`."""
        passed = 0.0 if omitted else self.asked.omit
        first, last = (self.moment(client, passed + at) for at in (start, stop))
        made: list[Row] = []
        for flow, reverse, socket in self.flows:
            sends = reverse is not client
            role = ("TX" if sends else "RX") + ("-C" if client else "-S") if self.asked.bidir else ""
            row = Row(socket, round(start, 6), round(stop, 6), 0, sends, omitted=omitted, role=role)
            self._fill(row, flow, sends, first, last)
            made.append(row)
        return made

    def _fill(self, row: Row, flow: Flow, sends: bool, first: Fraction, last: Fraction) -> None:
        of = flow.sent if sends else flow.received
        row.size = of(last) - of(first)
        if flow.udp:
            if sends:
                row.packets = flow.datagrams(last) - flow.datagrams(first)
                return
            row.lost = flow.lost(last) - flow.lost(first)
            row.packets = flow.arrived(last) - flow.arrived(first) + row.lost
            row.jitter = self.jitter
            row.disordered = int(row.packets * self.network.path.reordered)
        elif sends:
            row.retransmits = flow.resent(last) - flow.resent(first)
            row.window, row.wnd, row.rtt = flow.window_now, 2 * flow.host.buffer, round(flow.rtt * 1e6)

    @property
    def jitter(self) -> float:
        """Mean change of the time under way, ms; that of a uniform spread is two thirds of its half width."""
        return self.network.path.jitter * 1e3 * 2 / 3 + 0.004

    def result(self, client: bool) -> dict[str, Any]:
        """Return `end` of one side's JSON."""
        groups = [reverse for reverse in (False, True) if any(flow[1] is reverse for flow in self.flows)]
        sums: dict[str, Any] = {}
        for reverse in groups:
            name = "_bidir_reverse" if self.asked.bidir and reverse else ""
            flows = [flow for flow in self.flows if flow[1] is reverse]
            whole = self._udp_sums(flows, client) if self.asked.udp else self._tcp_sums(flows, client)
            sums |= {f"{key}{name}": value for key, value in whole.items()}
        used = self._cpu()
        mine = {"host_total": used, "host_user": used * 0.02, "host_system": used * 0.98}
        other = used * 0.7 if client and self.interrupted is None else 0.0
        mine |= {"remote_total": other, "remote_user": other * 0.02, "remote_system": other * 0.98}
        end: dict[str, Any] = {"streams": [self._stream(flow, client) for flow in self.flows]}
        end |= sums | {"cpu_utilization_percent": mine}
        if not self.asked.udp:
            name = self.asked.congestion or self.host.congestion
            sends = {reverse is not client for _, reverse, _ in self.flows}
            knows = client and self.interrupted is None
            if True in sends or knows:
                end["sender_tcp_congestion"] = name
            if False in sends or knows:
                end["receiver_tcp_congestion"] = name
        return end

    def window(self, reverse: bool, sender: bool) -> tuple[float, bool]:
        """Return how long a side of a flow took, and whether that side is the client."""
        client = reverse is not sender
        return self.end(client), client

    def final(self, flow: Flow, reverse: bool, sender: bool) -> Row:
        """Return what one side of a flow counted over the whole test."""
        end, client = self.window(reverse, sender)
        row = Row(0, 0.0, end, 0, sender)
        self._fill(row, flow, sender, self.moment(client, self.asked.omit), self.moment(client, self.asked.omit + end))
        return row

    def _times(self, reverse: bool, client: bool) -> tuple[float, float, float]:
        """Return the end of the sender, of the receiver, and the receiver's stated duration, as one side has them."""
        if not client:
            return (self.end(False),) * 3
        mine, theirs = self.end(True), self.end(False) if self.interrupted is None else self.end(True)
        if self.asked.bidir or not reverse:
            return mine, theirs, mine
        return theirs, mine, mine

    def _sides(self, flow: Flow, reverse: bool, client: bool) -> tuple[Row, Row]:
        """Return what sender and receiver counted, as far as one side knows."""
        sent, received = self.final(flow, reverse, True), self.final(flow, reverse, False)
        sends = reverse is not client
        if not client or self.interrupted is not None:
            unknown = received if sends else sent
            unknown.size = 0
            unknown.packets = 0 if unknown.packets is not None else None
            unknown.lost = 0 if unknown.lost is not None else None
            unknown.retransmits = 0 if unknown.retransmits is not None else None
            unknown.jitter = 0.0
        return sent, received

    def _stream(self, member: tuple[Flow, bool, int], client: bool) -> dict[str, Any]:
        flow, reverse, socket = member
        sent, received = self._sides(flow, reverse, client)
        sends = reverse is not client
        first, second, stated = self._times(reverse, client)
        if flow.udp:
            return {"udp": {"socket": socket, **_udp_total(sent, received, first, sends, ordered=True)}}
        times = {"socket": socket, "start": 0, "end": first, "seconds": first}
        seen = sends and sent.size > 0
        return {
            "sender": {
                **times,
                "bytes": sent.size,
                "bits_per_second": _rate(sent.size, first),
                **({"retransmits": sent.retransmits or 0} if client or sends else {}),
                **(
                    {
                        "max_snd_cwnd": flow.window_now if seen else 0,
                        "max_snd_wnd": sent.wnd if seen else 0,
                        "max_rtt": sent.rtt if seen else 0,
                        "min_rtt": sent.rtt if seen else 0,
                        "mean_rtt": sent.rtt if seen else 0,
                    }
                    if client or sends
                    else {}
                ),
                "sender": sends,
            },
            "receiver": {
                **times,
                "end": second,
                "seconds": stated,
                "bytes": received.size,
                "bits_per_second": _rate(received.size, second),
                "sender": sends,
            },
        }

    def _tcp_sums(self, flows: Sequence[tuple[Flow, bool, int]], client: bool) -> dict[str, Any]:
        reverse = flows[0][1]
        sides = [self._sides(flow, reverse, client) for flow, _, _ in flows]
        sends = reverse is not client
        first, second, _ = self._times(reverse, client)
        sums: dict[str, Any] = {}
        for name, end, rows in (
            ("sum_sent", first, [sent for sent, _ in sides]),
            ("sum_received", second, [received for _, received in sides]),
        ):
            size = sum(row.size for row in rows)
            sums[name] = {"start": 0, "end": end, "seconds": end, "bytes": size, "bits_per_second": _rate(size, end)}
            if name == "sum_sent" and (client or sends):
                sums[name]["retransmits"] = sum(row.retransmits or 0 for row in rows)
            sums[name]["sender"] = sends
        return sums

    def _udp_sums(self, flows: Sequence[tuple[Flow, bool, int]], client: bool) -> dict[str, Any]:
        reverse = flows[0][1]
        sides = [self._sides(flow, reverse, client) for flow, _, _ in flows]
        sends = reverse is not client
        first, second, _ = self._times(reverse, client)
        sent, received = added([one for one, _ in sides]), added([one for _, one in sides])
        # The sum that programs take for a measurement is the sender's, beside the receiver's duration.
        whole = _udp_total(sent, received, first, sends, ordered=False) | {"end": second, "seconds": second}
        nothing = Row(0, 0.0, first, 0, True, packets=sent.packets, lost=0)
        received.size = ((received.packets or 0) - (received.lost or 0)) * self.block
        return {
            "sum": whole,
            "sum_sent": _udp_total(sent, nothing, first, True, ordered=False),
            "sum_received": _udp_total(received, received, second, False, ordered=False),
        }

    def _cpu(self) -> float:
        rate = sum(float(flow.stream.rate) * flow.payload * 8 for flow, _, _ in self.flows)
        return min(99.0, 2.0 + rate / 1e9 * 1.5)


def _udp_total(sent: Row, received: Row, end: float, sends: bool, *, ordered: bool) -> dict[str, Any]:
    packets, lost = sent.packets or received.packets or 0, received.lost or 0
    made: dict[str, Any] = {
        "start": 0,
        "end": end,
        "seconds": end,
        "bytes": sent.size,
        "bits_per_second": _rate(sent.size, end),
        "jitter_ms": received.jitter,
        "lost_packets": lost,
        "packets": packets,
        "lost_percent": percent(lost, packets),
    }
    if ordered:
        made["out_of_order"] = received.disordered or 0
    return made | {"sender": sends}


def _rate(size: int, seconds: float) -> float:
    return 8 * size / seconds if seconds > 0 else 0.0

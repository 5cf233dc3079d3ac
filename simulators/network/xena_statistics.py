"""The statistics of a simulated Xena port (PT_, PR_).

All counts are of layer 2, FCS included, without preamble and gap; bits and packets a second are those of the last whole
second. FCS errors, pauses, gaps and ARP are not simulated and count 0. Jitter is that of latencies spread evenly.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from .port import Count, Port, Run
from .xena_commands import Refused
from .xena_stream import Transmitted, Values

Side = Literal["sent", "received"]

_LATENCY_MODES: tuple[Literal["last2last", "first2last", "last2first", "first2first"], ...] = (
    "last2last",
    "first2last",
    "last2first",
    "first2first",
)
_MODULUS = 1 << 64


class Statistics:
    """What a port has counted. setting: its P_LATENCYMODE and P_LATENCYOFFSET."""

    def __init__(self, model: Port, setting: Callable[[str], int]) -> None:
        self.model = model
        self._setting = setting
        self._base = 0

    def _runs(self, side: Side, fits: Callable[[Transmitted], bool] = lambda _: True) -> list[Run]:
        runs = self.model.network.runs_of(self.model, side)
        return [run for run in runs if isinstance(run.stream, Transmitted) and fits(run.stream)]

    def _total(self, side: Side, fits: Callable[[Transmitted], bool]) -> Count:
        since = self.model.sent_since if side == "sent" else self.model.received_since
        return self.model.network.total(self._runs(side, fits), side, since)

    @staticmethod
    def _with(tpld: int) -> Callable[[Transmitted], bool]:
        return lambda made: made.tpld == tpld

    def block(
        self, side: Side, fits: Callable[[Transmitted], bool] = lambda _: True, *, octets: bool = False
    ) -> Values:
        """Return bits and packets of the last second, bytes and packets since cleared; with `octets` bytes too."""
        second = self.model.network.last_second(self._runs(side, fits), side, self.model)
        total = self._total(side, fits)
        total += self.model.preset_sent if side == "sent" else self.model.preset_received
        rates = [8 * second.size, *([second.size] if octets else []), second.frames]
        return [*rates, total.size % _MODULUS, total.frames % _MODULUS]

    def seen(self) -> Values:
        """Return the test payload ids that arrived since cleared."""
        ids = {run.stream.tpld for run in self._runs("received") if isinstance(run.stream, Transmitted)}
        return [tpld for tpld in sorted(ids) if tpld >= 0 and self._total("received", self._with(tpld)).frames]

    def errors_of(self, tpld: int) -> Values:
        """Return 0, frames lost, out of order, with a damaged payload."""
        network = self.model.network
        runs = self._runs("received", self._with(tpld))
        network.advance()
        lost = sum(_gaps(run, network.now()) - _gaps(run, self.model.received_since) for run in runs)
        frames = self._total("received", self._with(tpld)).frames
        return [0, lost, int(frames * Fraction(repr(network.path.reordered))), 0]

    def errors(self) -> Values:
        """Return all errors of all test payload ids."""
        return [sum(sum(self.errors_of(tpld)) for tpld in self.seen())]

    def _raw_latency(self, tpld: int) -> tuple[list[int], bool] | None:
        mode = self._setting("P_LATENCYMODE")
        for run in reversed(self._runs("received", lambda made: made.tpld == tpld and made.mode == mode)):
            found = run.stream.latency(_LATENCY_MODES[mode])
            if found is not None:
                fresh = bool(self.model.network.last_second([run], "received", self.model).frames)
                return [round(value * 1e9) for value in found], fresh
        return None

    def latency(self, tpld: int) -> Values:
        """Return least, mean, most, and mean, least, most of the last second, ns; -1 where there is none."""
        found = self._raw_latency(tpld)
        if found is None:
            return [-1] * 6
        least, mean, most = (value - self._base - self._setting("P_LATENCYOFFSET") for value in found[0])
        return [least, mean, most, *((mean, least, most) if found[1] else (-1, -1, -1))]

    def jitter(self, tpld: int) -> Values:
        """Return the same of the difference of latency from packet to packet, ns."""
        found = self._raw_latency(tpld)
        if found is None:
            return [-1] * 6
        most = found[0][2] - found[0][0]
        mean = round(most / 3)
        return [0, mean, most, *((mean, 0, most) if found[1] else (-1, -1, -1))]

    def calibrate(self) -> None:
        """Let the least latency seen be 0; raises Refused where none was seen."""
        found = [raw[0][0] for tpld in self.seen() if (raw := self._raw_latency(tpld)) is not None]
        if not found:
            raise Refused("NOTVALID")
        self._base = min(found)


def _gaps(run: Run, moment: Fraction) -> int:
    """Return how many frames a receiver knew to be missing at a moment: those before the last that arrived."""
    arrived = run.arrivals(moment)
    if arrived is None:
        return 0
    missing = run.sent(arrived[1] - run.latency) - run.received(arrived[1])
    return max(missing.frames, 0)

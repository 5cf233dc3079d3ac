"""One stream between this host and an iperf3 server: what it may be, one run of it, and what the receiver got."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import NotSupported, OutOfRange, UsageError
from aicalib_hw.interfaces import (
    Counters,
    EffectiveConfig,
    Gate,
    PortCounters,
    Rate,
    ReleaseReport,
    Reservation,
    Stream,
)
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window

from .. import bystanders
from . import _iperf3_output as output_of
from ._iperf3_address import Place

if TYPE_CHECKING:
    from .iperf3 import Iperf3

LOCAL, REMOTE = "local", "remote"
_LONGEST = 86_400


class Iperf3Reservation(Reservation):
    """One stream between here and the server."""

    def __init__(self, tester: Iperf3) -> None:
        self.evicted: Mapping[str, str] = {}
        self._tester = tester
        self._stream: Stream | None = None
        self._last: Counters | None = None

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Take the one stream; raises NotSupported for more, OutOfRange for what iperf3 cannot offer.

        With TCP the frame size is what the network's MTU makes it, which `differences` says, and the load
        is 1.0 (as much as TCP gets through) or a Rate at L4. With UDP it is a Rate at any layer.
        """
        if len(streams) != 1:
            raise NotSupported(f"iperf3 sends one stream at a time, not {len(streams)}", where=self._tester.address)
        (stream,) = streams
        require_end(stream.tx)
        require_end(stream.rx)
        if stream.tx == stream.rx:
            raise OutOfRange(f"a stream from {stream.tx} to itself is none", where=self._tester.address)
        differences: tuple[str, ...] = ()
        if self._tester.place.transport == "udp":
            can = self._tester.capabilities
            if not (can.min_frame_size or 0) <= stream.frame_size <= (can.max_frame_size or 0):
                raise OutOfRange(
                    f"a frame of {stream.frame_size} bytes cannot be sent",
                    where=self._tester.address,
                    why=f"{can.min_frame_size} to {can.max_frame_size} bytes with FCS over UDP",
                )
            if not isinstance(stream.load, Rate):
                raise OutOfRange(
                    "UDP needs a rate to send at",
                    where=self._tester.address,
                    why="iperf3 does not know the speed of the line",
                    advice='load=Rate(1e9, "L4")',
                )
        else:
            if isinstance(stream.load, Rate) and stream.load.layer != "L4":
                raise OutOfRange(
                    f"TCP cannot offer a rate at {stream.load.layer}",
                    where=self._tester.address,
                    advice="give it at L4",
                )
            if not isinstance(stream.load, Rate) and stream.load != 1.0:
                raise OutOfRange(
                    f"a load of {stream.load:g} of the line cannot be offered",
                    where=self._tester.address,
                    why="iperf3 does not know the speed of the line",
                    advice='load=1.0 for as much as TCP gets through, or Rate(…, "L4")',
                )
            differences = ("frame size: as TCP and the MTU of the path make it",)
        if isinstance(stream.load, Rate):
            asked = self._tester.payload_rate(stream) / self._tester.place.parallel
            if not (math.isfinite(asked) and asked >= 1):
                raise OutOfRange(
                    f"{asked:g} bit/s a stream cannot be asked for",
                    where=self._tester.address,
                    why="the least is 1 bit/s, and iperf3 takes 0 for as fast as it can",
                )
        self._stream = stream
        return EffectiveConfig((stream,), differences)

    def clear(self) -> None:
        """Forget the counters of the last run."""
        self._last = None

    def start(self) -> None:
        """Raise NotSupported: iperf3 tells what arrived only at the end of a run of known length."""
        raise NotSupported(
            "iperf3 cannot be started without a gate", where=self._tester.address, advice="use measure_throughput()"
        )

    def stop(self) -> None:
        """End a run; idempotent."""
        self._tester.release()

    @property
    def running(self) -> bool:
        """True while the client runs."""
        process = self._tester.client
        return process is not None and process.running

    def read(self) -> Counters:
        """Return the bytes of the last run; raises NotSupported before there was one."""
        if self._last is None:
            raise NotSupported("iperf3 has counted nothing yet", where=self._tester.address)
        return self._last

    def measure_throughput(self, gate: Gate, *, settle: float) -> Measurement:
        """Send through `gate` (whole s) and return what the receiver got, bit/s at layer 4.

        settle: is not needed, as counts come with the end of the run. A run that broke off gives a Measurement
        without value whose evidence holds what was seen. Raises OutOfRange for another gate, ConnectionFailed,
        LockedByOther for a busy server, InstrumentReportedError, DeadlineExceeded, Aborted.
        """
        tester = self._tester
        if self._stream is None:
            raise UsageError("no stream is set up", where=tester.address, advice="configure() one first")
        if gate.kind != "seconds" or not 1 <= gate.amount <= _LONGEST or gate.amount != round(gate.amount):
            raise OutOfRange(
                f"a gate of {gate.amount:g} {gate.kind} cannot be set",
                where=tester.address,
                why=f"iperf3 takes whole seconds, 1 to {_LONGEST}",
            )
        others = bystanders.Bystanders(interrupts=False)
        began = Instant.now()
        said, arguments = tester.run_through(self._stream, gate)
        held = others.share()
        window = Window(began, Instant.now(), f"{gate.amount:g} s of the receiver, after {tester.place.omit} s")
        tester.require_version(said)
        failure = said.get("error")
        if failure and not said.get("intervals"):
            raise output_of.failure_of(
                str(failure), f"{tester.place.host}:{tester.place.port}", "iperf3 " + " ".join(arguments)
            )
        return self._evaluated(said, arguments, window, str(failure) if failure else "", held)

    def release(self) -> ReleaseReport:
        """End a run; idempotent, never raises."""
        return self._tester.release()

    def _evaluated(
        self, said: Mapping[str, Any], arguments: tuple[str, ...], window: Window, failure: str, held: float | None
    ) -> Measurement:
        tester = self._tester
        transport = tester.place.transport
        evidence: dict[str, Any] = {
            "command": " ".join(arguments),
            "end": said.get("end", {}),
            "intervals": [one.get("sum", {}) for one in said.get("intervals", [])],
            "load_of_others": held,
            "remarks": [*_remarks(tester.place), *bystanders.remarks(held)],
        }
        reasons: tuple[str, ...] = ()
        value: float | None = None
        components: tuple[Component, ...] = ()
        if failure:
            reasons = (f"iperf3 ended early: {failure}",)
        else:
            received, seconds = output_of.received(said, tester.address)
            value = 8 * received / seconds
            evidence |= {"received_bytes": received, "received_s": seconds}
            components = output_of.components(said, received)
            self._count(said, received, window)
            if silent := output_of.stalled(said):
                reasons = (
                    f"in {silent} of {len(said['intervals'])} intervals nothing went: link, path or host stalled",
                )
            if transport == "udp" and self._stream is not None:
                short = output_of.fell_short(said, tester.payload_rate(self._stream))
                reasons += (short,) if short else ()
        status = ValidityStatus.ERROR if failure else ValidityStatus.INVALID if reasons else ValidityStatus.VALID
        return Measurement(
            quantity="network",
            definition=f"rate/L4/{transport}/unidirectional",
            value=value,
            unit="bit/s",
            window=window,
            identity=tester.identity,
            runs=(Run(value, window, used=not reasons, reasons=reasons),),
            components=components,
            settings={name: getattr(tester.place, name) for name in Place.__slots__},
            evidence=evidence,
            validity=Validity(status, reasons),
        )

    def _count(self, said: Mapping[str, Any], received: int, window: Window) -> None:
        stream = self._stream
        if stream is None:
            return
        sent = said["end"].get("sum_sent", {})
        counted = PortCounters(
            tx_frames=None,
            tx_bytes=int(sent["bytes"]) if "bytes" in sent else None,
            rx_frames=None,
            rx_bytes=received,
            lost=output_of.lost(said),
        )
        tx = PortCounters(None, counted.tx_bytes, None, None)
        rx = PortCounters(None, None, None, received)
        ports = {stream.tx: tx, stream.rx: rx}
        self._last = Counters(window.start, window.stop, ports, {stream.name: counted})


def _remarks(place: Place) -> tuple[str, ...]:
    if place.host in ("127.0.0.1", "::1", "localhost"):
        return ("over loopback: this is what the host's own network stack carries, and no port",)
    return ()


def require_end(port: str) -> None:
    """Raise OutOfRange for what is neither of the two ends."""
    if port not in (LOCAL, REMOTE):
        raise OutOfRange(f"{port!r} is no port of iperf3", advice=f"{LOCAL} or {REMOTE}")

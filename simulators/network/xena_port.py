"""A port of a simulated Xena chassis: its settings and its streams (P_, PS_).

Not simulated, and refused with NOTSUPPORTED: sequential and burst mode, loopback of what arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from .port import Port
from .xena_commands import CODED, Refused
from .xena_statistics import Statistics
from .xena_stream import RATES, StreamSettings, Transmitted, Values

_PORT_DEFAULTS: dict[str, Values] = {
    "P_COMMENT": [""],
    "P_LOOPBACK": [0],
    "P_LATENCYOFFSET": [0],
    "P_LATENCYMODE": [0],
    "P_TXMODE": [0],
    "P_TXENABLE": [1],
    "P_TXTIMELIMIT": [0],
}
_GBITS = {"F1G": 1.0, "F10G": 10.0, "F25G": 25.0, "F40G": 40.0, "F50G": 50.0, "F100G": 100.0, "F200G": 200.0}
_GBITS |= {"F400G": 400.0, "F800G": 800.0, "F1600G": 1600.0}
_MOST_STREAMS = 256
_CAPABILITIES = 228
"""Integers in the reply to P_CAPABILITIES; those without a meaning here are 0."""


class XenaPort:
    """One port. overrate: whether a rate beyond the line's is capped or refused; trim: of the transmit clock, ppb."""

    def __init__(self, model: Port, *, overrate: str, interface: str, serial: int, trim: Callable[[], int]) -> None:
        self.model = model
        self._overrate, self._interface, self._trim = overrate, interface, trim
        number = sum(int(part) << shift for part, shift in zip(model.name.split("/"), (8, 0), strict=True))
        self._mac = bytes.fromhex("04f4bc") + ((serial << 12 | number) & 0xFFFFFF).to_bytes(3, "big")
        self.mate = self
        """The port at the other end of the cable."""
        self.on = False
        self._linked = True
        self._begun: Fraction | None = None
        self._ended = Fraction(0)
        self.statistics = Statistics(model, lambda name: int(self.values[name][0]))
        self._running: list[Transmitted] = []
        self.reset()

    def reset(self) -> None:
        """P_RESET: standard settings, no streams; what was sent and received stays counted."""
        self.stop()
        self.values = {name: list(values) for name, values in _PORT_DEFAULTS.items()}
        self.values["P_MACADDRESS"] = [self._mac]
        self.values["P_SPEEDSELECTION"] = [CODED["SPEED"]["AUTO"]]
        self.streams: dict[int, StreamSettings] = {}
        self.model.gap, self.model.speed = self.model.options.gap, self.model.options.speed
        self.values["P_INTERFRAMEGAP"] = [self.model.gap]
        self._relink()

    def ask(self, name: str, indices: Sequence[int]) -> Values:
        """Return the values of a reply; raises Refused."""
        if name in _ASK:
            return _ASK[name](self, *indices)
        if name in self.values:
            return list(self.values[name])
        stream = self._stream(indices)
        if name in RATES:
            if stream.rate[0] != name:
                raise Refused("NOTVALID")
            return [stream.rate[1]]
        return list(stream.values[name])

    def in_sync(self) -> bool:
        """True while the link is up."""
        return self.model.link

    def sending(self) -> bool:
        """True from the start of traffic until it is stopped, its time is over or all packets have left."""
        if self.on and self._running and not any(stream.sending for stream in self._running):
            self.on = False
            self._ended = max(run.stopped or Fraction(0) for stream in self._running for run in stream.runs)
        elif self.on and not self._running and self._limit() is not None:
            over = (self._begun or Fraction(0)) + Fraction(self._limit() or 0) / self.model.clock
            if self.model.network.now() >= over:
                self.on, self._ended = False, over
        return self.on

    def transmit_time(self) -> int:
        """Return for how long it has been sending, or last did, us of the tester's time."""
        if self._begun is None:
            return 0
        stop = self.model.network.now() if self.sending() else self._ended
        return int((stop - self._begun) * self.model.clock * 10**6)

    def capabilities(self) -> Values:
        """Return the reply to P_CAPABILITIES, in the order of the vendor's structure."""
        options = self.model.options
        most = int(max(options.speeds) * 1000)
        known = {
            0: most,
            2: 20,
            3: 56,
            4: 8,
            5: _MOST_STREAMS,
            6: 100,
            8: most,
            10: 0x7FFFFFFF,
            13: options.largest_frame,
        }
        known |= {
            7: int(Fraction(most * 10**6, 8 * (options.least_frame + 20))),
            12: options.least_frame,
            14: 2048,
            28: 2016,
        }
        return [known.get(index, 0) for index in range(_CAPABILITIES)]

    def sent_by(self, index: int, *, octets: bool) -> Values:
        """Return what one of its streams has sent."""
        self._stream((index,))
        return self.statistics.block("sent", lambda made: made.index == index, octets=octets)

    def give(self, name: str, indices: Sequence[int], values: Values) -> None:
        """Carry out a setting; raises Refused."""
        if name in _GIVE:
            _GIVE[name](self, *indices, values)
            return
        if name in RATES:
            self._set_rate(self._stream(indices), name, values[0])
        elif name in self.values:
            self.values[name] = values
        else:
            self._stream(indices).give(name, values, self.model)

    def prepare(self) -> list[Transmitted]:
        """Make the frames of every enabled stream; raises Refused where they cannot be built or do not fit the line."""
        if sum((stream.share(self.model) for stream in self._enabled()), Fraction(0)) > 1:
            raise Refused("NOTVALID")
        prepared: list[Transmitted] = []
        for index, stream in self.streams.items():
            if stream.values["PS_ENABLE"][0] and stream.cannot_be_built():
                raise Refused("FAILED")
            if stream.values["PS_ENABLE"][0] != CODED["SUPPRESS"]["ON"]:
                continue
            limit = stream.values["PS_PACKETLIMIT"][0]
            made = Transmitted(
                self.model,
                sizes=stream.sizes(),
                rate=stream.frame_rate(self.model) * (1 + Fraction(self._trim(), 10**9)),
                packets=limit if limit > 0 else None,
                seconds=self._limit(),
                to=self.model if self.values["P_LOOPBACK"][0] in _TO_ITSELF else None,
                name=f"{self.model.name}[{index}]",
            )
            made.index, made.tpld, made.mode = index, stream.values["PS_TPLDID"][0], self.values["P_LATENCYMODE"][0]
            prepared.append(made)
        return prepared

    def started(self, streams: Sequence[Transmitted]) -> None:
        """Note that these streams have been started."""
        self._running = list(streams)
        starts = [stream.runs[-1].start for stream in self._running if stream.runs]
        # What P_TXTIME counts begins with the first frame, and not when the command has been carried out.
        self.on, self._begun = True, min(starts, default=self.model.network.now())

    def stop(self) -> None:
        """End traffic; what is under way still arrives."""
        if self.on and self.sending():
            self.model.network.stop(self._running)
            self.on, self._ended = False, self.model.network.now()

    def _limit(self) -> float | None:
        return self.values["P_TXTIMELIMIT"][0] / 1e6 or None

    def _enabled(self) -> list[StreamSettings]:
        return [stream for stream in self.streams.values() if stream.values["PS_ENABLE"][0]]

    def _stream(self, indices: Sequence[int]) -> StreamSettings:
        try:
            return self.streams[indices[0]]
        except KeyError:
            raise Refused("BADINDEX") from None

    def _set_rate(self, stream: StreamSettings, name: str, value: int) -> None:
        if value < 0 or (name == "PS_RATEFRACTION" and value > 10**6):
            raise Refused("BADVALUE")
        others = self._enabled() if stream in self._enabled() else []
        room = 1 - sum((other.share(self.model) for other in others if other is not stream), Fraction(0))
        share = stream.share(self.model, (name, value))
        if share > room:
            if self._overrate == "refuse":
                raise Refused("BADVALUE")
            value = int(value * room / share)
        stream.rate = (name, value)

    def _set_enable(self, index: int, values: Values) -> None:
        stream = self._stream((index,))
        before = stream.values["PS_ENABLE"][0]
        if self.sending():
            if not before or not values[0]:
                raise Refused("NOTVALID")
            running = [made for made in self._running if made.index == index]
            if values[0] == CODED["SUPPRESS"]["SUPPRESS"]:
                self.model.network.stop(running)
            elif before == CODED["SUPPRESS"]["SUPPRESS"]:
                raise Refused("NOTSUPPORTED")
        stream.values["PS_ENABLE"] = values
        if sum((each.share(self.model) for each in self._enabled()), Fraction(0)) > 1:
            stream.values["PS_ENABLE"] = [before]
            raise Refused("NOTVALID")

    def _set_indices(self, values: Values) -> None:
        if any(not 0 <= index < _MOST_STREAMS for index in values):
            raise Refused("BADINDEX")
        self.streams = {index: self.streams.get(index) or StreamSettings() for index in sorted(set(values))}

    def _create(self, index: int, _: Values) -> None:
        if index in self.streams:
            raise Refused("BADINDEX")
        self._set_indices([*self.streams, index])

    def _delete(self, index: int, _: Values) -> None:
        self._stream((index,))
        del self.streams[index]

    def _set_speed(self, values: Values) -> None:
        wanted = next(word for word, code in CODED["SPEED"].items() if code == values[0])
        speed = self.model.options.speed if wanted == "AUTO" else _GBITS.get(wanted)
        if speed not in {*self.model.options.speeds, self.model.options.speed}:
            raise Refused("BADVALUE")
        self.values["P_SPEEDSELECTION"] = values
        self.model.speed = speed
        self._relink()

    def _set_gap(self, values: Values) -> None:
        if not 9 <= values[0] <= 56:
            raise Refused("BADVALUE")
        self.values["P_INTERFRAMEGAP"], self.model.gap = values, values[0]

    def _set_loopback(self, values: Values) -> None:
        if values[0] and values[0] not in _TO_ITSELF:
            raise Refused("NOTSUPPORTED")
        self.values["P_LOOPBACK"] = values

    def _set_mode(self, values: Values) -> None:
        if values[0] not in (CODED["TXMODE"]["NORMAL"], CODED["TXMODE"]["STRICTUNIFORM"]):
            raise Refused("NOTSUPPORTED")
        self.values["P_TXMODE"] = values

    def _set_time_limit(self, values: Values) -> None:
        if values[0] < 0:
            raise Refused("BADVALUE")
        self.values["P_TXTIMELIMIT"] = values

    def _set_transmitter(self, values: Values) -> None:
        self.values["P_TXENABLE"] = values
        self._relink()

    def _relink(self) -> None:
        """Two ends of different speed have no link, nor has a transmitter that is off."""
        for port in {self, self.mate}:
            linked = bool(port.values["P_TXENABLE"][0]) and port.model.speed == port.mate.model.speed
            if linked is not port._linked:
                port._linked = linked
                port.model.set_link(linked)


_TO_ITSELF = (CODED["LOOPBACK"]["TXON2RX"], CODED["LOOPBACK"]["TXOFF2RX"])

_ASK: dict[str, Callable[..., Values]] = {
    "P_CAPABILITIES": XenaPort.capabilities,
    "P_INTERFACE": lambda port: [port._interface],
    "P_SPEED": lambda port: [int(port.model.speed * 1000)],
    "P_RECEIVESYNC": lambda port: [int(port.in_sync())],
    "P_TRAFFIC": lambda port: [int(port.sending())],
    "P_TXTIME": lambda port: [port.transmit_time()],
    "P_ERRORS": lambda port: port.statistics.errors(),
    "PS_INDICES": lambda port: list(port.streams),
    "PT_TOTAL": lambda port: port.statistics.block("sent"),
    "PT_TOTALEXT": lambda port: port.statistics.block("sent", octets=True),
    "PT_NOTPLD": lambda port: port.statistics.block("sent", lambda made: made.tpld < 0),
    "PT_STREAM": lambda port, index: port.sent_by(index, octets=False),
    "PT_STREAMEXT": lambda port, index: port.sent_by(index, octets=True),
    "PR_TOTAL": lambda port: port.statistics.block("received"),
    "PR_TOTALEXT": lambda port: [*port.statistics.block("received", octets=True), 0, 0, 0, 0],
    "PR_NOTPLD": lambda port: port.statistics.block("received", lambda made: made.tpld < 0),
    "PR_EXTRA": lambda port: [0] * 8,
    "PR_TPLDS": lambda port: port.statistics.seen(),
    "PR_TPLDTRAFFIC": lambda port, tpld: port.statistics.block("received", lambda made: made.tpld == tpld),
    "PR_TPLDERRORS": lambda port, tpld: port.statistics.errors_of(tpld),
    "PR_TPLDLATENCY": lambda port, tpld: port.statistics.latency(tpld),
    "PR_TPLDJITTER": lambda port, tpld: port.statistics.jitter(tpld),
}
_GIVE: dict[str, Callable[..., None]] = {
    "P_RESET": lambda port, _: port.reset(),
    "P_SPEEDSELECTION": XenaPort._set_speed,
    "P_INTERFRAMEGAP": XenaPort._set_gap,
    "P_LOOPBACK": XenaPort._set_loopback,
    "P_TXMODE": XenaPort._set_mode,
    "P_TXENABLE": XenaPort._set_transmitter,
    "P_TXTIMELIMIT": XenaPort._set_time_limit,
    "PS_INDICES": XenaPort._set_indices,
    "PS_CREATE": XenaPort._create,
    "PS_DELETE": XenaPort._delete,
    "PS_ENABLE": XenaPort._set_enable,
    "PT_CLEAR": lambda port, _: port.model.clear_sent(),
    "PR_CLEAR": lambda port, _: port.model.clear_received(),
    "PR_CALIBRATE": lambda port, _: port.statistics.calibrate(),
}

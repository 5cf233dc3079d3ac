"""A simulated Xena chassis: sessions, reservations, modules (C_, M_), the same for its text and its binary port.

Facts: network.md sections 4.1 to 4.4. The mark of a simulator travels in C_BUILDSTRING and C_VERSIONSTR, because the
serial number of this family is an integer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..world import World
from ..world.faults import FaultPlan
from .port import Network, PathOptions, PortOptions
from .xena_commands import CODED, Command, Refused
from .xena_port import XenaPort
from .xena_stream import Transmitted, Values

_EPOCH = 1262304000
"""2010-01-01 in s since 1970: what C_TIME counts from."""
_CAGE = 110
"""QSFP-DD800, as coded in M_MEDIA and M_MEDIASUPPORT."""
_ANYBODY = {"C_LOGON", "C_OWNER", "C_TIMEOUT", "C_LOGOFF", "C_MULTIUSER", "C_TRAFFIC"}
"""Settings that need no reservation, or look at it themselves; M_ and P_RESERVATION are the others."""
_WHILE_SENDING = {
    "P_RESERVATION",
    "P_TRAFFIC",
    "P_RESET",
    "P_COMMENT",
    "PS_ENABLE",
    "PT_CLEAR",
    "PR_CLEAR",
    "PR_CALIBRATE",
}
_SOMEBODY = "somebody-else"
"""The owner that faults let appear."""
_RELEASED, _MINE, _OTHERS = CODED["RESERVED"].values()


class Options(BaseModel):
    """Options of the simulated chassis. Those that its facts leave open have the default that is likeliest.

    serial: build string, begins with SIM. overrate: what becomes of a stream's rate beyond the line's. idle_timeout:
    real s without a byte until a text session ends. relinquish_after: real s until a port that was taken away is free.
    release_on_disconnect: whether ports of a lost session become free. wrong_password, busy: status words.
    held_by: owner of all ports from the start.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    serial: str = "SIM0001"
    serial_number: int = Field(default=1, ge=1)
    model: str = "ValkyrieCompact"
    name: str = "simulated"
    password: str = "xena"
    version: tuple[int, int] = (487, 5)
    module_model: str = "Z800-Q Freya"
    module_revision: str = "Freya-800G-4S-2P[a]"
    interface: str = "QSFP-DD800"
    ports: tuple[PortOptions, ...] = (PortOptions(name="0/0"), PortOptions(name="0/1"))
    path: PathOptions = PathOptions()
    overrate: Literal["cap", "refuse"] = "cap"
    idle_timeout: float = Field(default=60.0, gt=0)
    relinquish_after: float = Field(default=0.1, ge=0)
    release_on_disconnect: bool = True
    wrong_password: str = "BADVALUE"
    busy: str = "NOTVALID"
    held_by: str = ""

    @field_validator("serial")
    @classmethod
    def _marked(cls, serial: str) -> str:
        if not serial.startswith("SIM"):
            raise ValueError("the build string of a simulator begins with SIM")
        return serial

    @field_validator("ports")
    @classmethod
    def _numbered(cls, ports: tuple[PortOptions, ...]) -> tuple[PortOptions, ...]:
        if not ports or any(len(port.name.split("/")) != 2 for port in ports):
            raise ValueError("ports of this chassis are named MODULE/PORT")
        return ports


class Session:
    """One client. timeout: real s."""

    def __init__(self, timeout: float, owner: str = "") -> None:
        self.timeout, self.owner = timeout, owner
        self.logged_on = False
        self.ended = False
        self.ticks = 0


class Resource:
    """A chassis, a module or a port as something to be reserved."""

    def __init__(self) -> None:
        self._holder: Session | None = None
        self._free_at: float | None = None

    @property
    def holder(self) -> Session | None:
        """Who has it."""
        if self._free_at is not None and time.monotonic() >= self._free_at:
            self.take(None)
        return self._holder

    def take(self, session: Session | None) -> None:
        """Give it to a session, or to nobody."""
        self._holder, self._free_at = session, None

    def relinquish(self, after: float) -> None:
        """Take it away from who has it, after a moment."""
        self._free_at = time.monotonic() + after


class Chassis:
    """The chassis behind both ports. `ask` and `give` raise Refused with the status word."""

    def __init__(self, world: World, faults: FaultPlan, options: Options) -> None:
        self.options, self.network = options, Network(world, faults, options.ports, options.path)
        self.guard = threading.RLock()
        self._faults = faults
        self._multiuser = False
        self._values: dict[str, Values] = {"C_NAME": [options.name], "C_COMMENT": [""]}
        self._trims: dict[int, int] = {}
        self.ports: dict[tuple[int, int], XenaPort] = {}
        for port in options.ports:
            module, number = (int(part) for part in port.name.split("/"))
            self._trims.setdefault(module, 0)
            self.ports[module, number] = XenaPort(
                self.network.ports[port.name],
                overrate=options.overrate,
                interface=options.interface,
                serial=options.serial_number,
                trim=lambda module=module: self._trims[module],  # type: ignore[misc]
            )
        for one in self.ports.values():
            one.mate = next(other for other in self.ports.values() if other.model is one.model.peer)
        self._module_values: dict[int, dict[str, Values]] = {
            module: {"M_TIMESYNC": [0], "M_COMMENT": [""]} for module in self._trims
        }
        self._resources: dict[tuple[int, ...], Resource] = {(): Resource()}
        self._resources.update({(module,): Resource() for module in self._trims})
        self._resources.update({place: Resource() for place in self.ports})
        if options.held_by:
            self._seize(self.ports, options.held_by)

    def connect(self) -> Session:
        """Return a session for one more client."""
        return Session(self.options.idle_timeout)

    def disconnect(self, session: Session) -> None:
        """Forget a session; what it had running goes on."""
        with self.guard:
            session.ended = True
            if self.options.release_on_disconnect:
                for resource in self._resources.values():
                    if resource.holder is session:
                        resource.take(None)

    def occasion(self, session: Session) -> None:
        """Let faults of ownership strike; every command of a client is an occasion."""
        with self.guard:
            if self._faults.strikes("locked") is not None:
                self._seize([place for place in self.ports if self._resources[place].holder is None], _SOMEBODY)
            held = [place for place in self.ports if self._resources[place].holder is session]
            if held and self._faults.strikes("stolen") is not None:
                self._seize(held, _SOMEBODY)

    def ask(self, session: Session, command: Command, place: tuple[int, ...], indices: Sequence[int]) -> Values:
        """Return the values of a reply. place: (), (module,) or (module, port)."""
        with self.guard:
            if not session.logged_on:
                raise Refused("NOTLOGGEDON")
            if command.asked is None:
                raise Refused("NOTREADABLE")
            self._find(command, place)
            if command.name.endswith("_RESERVATION"):
                return [self._state(session, self._resources[place])]
            if command.name.endswith("_RESERVEDBY"):
                holder = self._resources[place].holder
                return [holder.owner if holder is not None else ""]
            if command.scope == "C":
                return self._ask_chassis(session, command.name)
            if command.scope == "M":
                return self._ask_module(command.name, place[0])
            return self.ports[place[0], place[1]].ask(command.name, indices)

    def give(
        self, session: Session, command: Command, place: tuple[int, ...], indices: Sequence[int], values: Values
    ) -> None:
        """Carry out a setting."""
        with self.guard:
            if command.name == "C_LOGON":
                if values[0] != self.options.password:
                    raise Refused(self.options.wrong_password)
                session.logged_on = True
                return
            if not session.logged_on:
                raise Refused("NOTLOGGEDON")
            if command.given is None:
                raise Refused("NOTWRITABLE")
            self._find(command, place)
            if command.name.endswith("_RESERVATION"):
                self._reserve(session, place, values[0])
                return
            if command.name not in _ANYBODY and self._state(session, self._resources[place]) != _MINE:
                raise Refused("NOTRESERVED")
            if command.scope == "C":
                self._give_chassis(session, command.name, values)
            elif command.scope == "M":
                self._give_module(command.name, place[0], values)
            elif command.name == "P_TRAFFIC":
                self._traffic([self.ports[place[0], place[1]]], bool(values[0]))
            else:
                port = self.ports[place[0], place[1]]
                if port.sending() and command.name not in _WHILE_SENDING:
                    raise Refused("NOTVALID")
                port.give(command.name, indices, values)

    def _find(self, command: Command, place: tuple[int, ...]) -> None:
        if command.scope == "C":
            return
        if place[0] not in self._trims:
            raise Refused("BADMODULE")
        if command.scope == "P" and place not in self.ports:
            raise Refused("BADPORT")

    # Reservation

    def _seize(self, places: Iterable[tuple[int, ...]], owner: str) -> None:
        somebody = Session(0, owner)
        for place in places:
            self._resources[place].take(somebody)

    def _state(self, session: Session, resource: Resource) -> int:
        holder = resource.holder
        if holder is None:
            return _RELEASED
        shared = self._multiuser and holder.owner == session.owner
        return _MINE if holder is session or shared else _OTHERS

    def _reserve(self, session: Session, place: tuple[int, ...], operation: int) -> None:
        resource = self._resources[place]
        state = self._state(session, resource)
        if operation == CODED["OPERATION"]["RELEASE"]:
            if state != _MINE:
                raise Refused("NOTRESERVED")
            resource.take(None)
        elif operation == CODED["OPERATION"]["RELINQUISH"]:
            if self._faults.strikes("force_refused") is not None:
                raise Refused("FAILED")
            resource.relinquish(self.options.relinquish_after)
        else:
            if self._faults.strikes("licence") is not None:
                raise Refused("XLSDENIED")
            around = [
                other for at, other in self._resources.items() if at == place[: len(at)] or place == at[: len(place)]
            ]
            if not session.owner:
                raise Refused("NOTVALID")
            if any(self._state(session, other) == _OTHERS for other in around):
                raise Refused(self.options.busy)
            resource.take(session)

    # Chassis and modules

    def _ask_chassis(self, session: Session, name: str) -> Values:
        options = self.options
        major, minor = options.version
        if name == "C_KEEPALIVE":
            session.ticks += 1
        slots = [sum(module == slot for module, _ in self.ports) for slot in range(max(self._trims) + 1)]
        known: dict[str, Values] = {
            "C_OWNER": [session.owner],
            "C_KEEPALIVE": [session.ticks],
            "C_TIMEOUT": [int(session.timeout)],
            "C_CAPABILITIES": [1, 32, 64, 32, 0, 500, 0, 12, 48, 0, 0, 0, 0, 0, 0, 1, 32, 1],
            "C_MODEL": [options.model],
            "C_SERIALNO": [options.serial_number],
            "C_VERSIONNO": [major, 0],
            "C_VERSIONNO_MINOR": [minor, 0, 0],
            "C_VERSIONSTR": [f"SIM-{major}.{minor}.0"],
            "C_BUILDSTRING": [options.serial],
            "C_PORTCOUNTS": slots,
            "C_MULTIUSER": [int(self._multiuser)],
            "C_TIME": [int(time.time()) - _EPOCH],
        }
        return known[name] if name in known else list(self._values[name])

    def _give_chassis(self, session: Session, name: str, values: Values) -> None:
        if name == "C_OWNER":
            if not values[0]:
                raise Refused("BADVALUE")
            session.owner = values[0]
        elif name == "C_TIMEOUT":
            if values[0] <= 0:
                raise Refused("BADVALUE")
            session.timeout = float(values[0])
        elif name == "C_LOGOFF":
            session.ended = True
        elif name == "C_MULTIUSER":
            self._multiuser = bool(values[0])
        elif name == "C_TRAFFIC":
            self._chassis_traffic(session, values)
        else:
            self._values[name] = values

    def _chassis_traffic(self, session: Session, values: Values) -> None:
        on, *numbers = values
        if not numbers or len(numbers) % 2:
            raise Refused("BADSIZE")
        places = list(zip(numbers[::2], numbers[1::2], strict=True))
        for place in places:
            if place not in self.ports:
                raise Refused("BADPORT" if place[0] in self._trims else "BADMODULE")
            if self._state(session, self._resources[place]) != _MINE:
                raise Refused("NOTRESERVED")
        self._traffic([self.ports[place] for place in places], bool(on))

    def _traffic(self, ports: Sequence[XenaPort], on: bool) -> None:
        if not on:
            for port in ports:
                port.stop()
            return
        if any(port.sending() for port in ports):
            raise Refused("NOTVALID")
        prepared: list[list[Transmitted]] = [port.prepare() for port in ports]
        together = [stream for streams in prepared for stream in streams]
        self.network.remove(
            [stream for stream in self.network.streams if stream.port in {port.model for port in ports}]
        )
        wrap = self._faults.strikes("counter_wrap")
        if wrap is not None:
            for model in {one for stream in together for one in (stream.port, stream.to)}:
                model.preset(int(wrap.amount))
        for stream in together:
            self.network.add(stream)
        self.network.start(together)
        for port, streams in zip(ports, prepared, strict=True):
            port.started(streams)

    def _ask_module(self, name: str, module: int) -> Values:
        options = self.options
        ports = [port for (slot, _), port in self.ports.items() if slot == module]
        speeds = sorted({int(speed * 1000) for port in ports for speed in port.model.options.speeds}, reverse=True)
        known: dict[str, Callable[[], Values]] = {
            "M_MODEL": lambda: [options.module_model],
            "M_SERIALNO": lambda: [options.serial_number + module],
            "M_VERSIONNO": lambda: [options.version[0]],
            "M_VERSIONSTR": lambda: [f"SIM-{options.version[0]}.{options.version[1]}.0"],
            "M_STATUS": lambda: [45],
            "M_PORTCOUNT": lambda: [len(ports)],
            "M_REVISION": lambda: [options.module_revision],
            "M_NAME": lambda: [options.module_model],
            "M_MEDIA": lambda: [_CAGE],
            "M_MEDIASUPPORT": lambda: [_CAGE, len(speeds), *(part for speed in speeds for part in (len(ports), speed))],
            "M_CFPCONFIGEXT": lambda: [len(ports), *(int(port.model.speed * 1000) for port in ports)],
            "M_MODEL_NAME": lambda: [10],
            "M_CLOCKPPB": lambda: [self._trims[module]],
        }
        return known[name]() if name in known else list(self._module_values[module][name])

    def _give_module(self, name: str, module: int, values: Values) -> None:
        if any(port.sending() for (slot, _), port in self.ports.items() if slot == module):
            raise Refused("NOTVALID")
        if name == "M_CLOCKPPB":
            self._trims[module] = values[0]
        else:
            self._module_values[module][name] = values

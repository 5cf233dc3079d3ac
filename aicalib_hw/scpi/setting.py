"""Settings and queries of an instrument as typed class attributes, each command string standing once.

class Meter:
    session: ScpiSession
    header = Setting(":COMMunicate:HEADer", BOOLEAN)

meter.header = False     # sent, error queue read
meter.header             # asked
"""

from __future__ import annotations

from typing import Generic, Protocol, Self, TypeVar, overload

from aicalib_hw.scpi.codec import Codec
from aicalib_hw.scpi.session import ScpiSession

T = TypeVar("T")


class _HasSession(Protocol):
    @property
    def session(self) -> ScpiSession: ...


class Query(Generic[T]):
    """Something that can be asked: `header?`, decoded by `codec`. doc: quantity and unit."""

    def __init__(self, header: str, codec: Codec[T], doc: str = "") -> None:
        self.header = header
        self.codec = codec
        self.__doc__ = doc

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: _HasSession, owner: type) -> T: ...
    def __get__(self, instance: _HasSession | None, owner: type) -> T | Self:
        if instance is None:
            return self
        return self.codec.decode(instance.session.query(f"{self.header}?"))


class Setting(Query[T]):
    """Something that can be set and asked; setting reads the error queue in the same critical section."""

    def __set__(self, instance: _HasSession, value: T) -> None:
        instance.session.command(f"{self.header} {self.codec.encode(value)}")

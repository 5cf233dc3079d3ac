"""Commands that SCPI-99 requires of every device beside those of IEEE 488.2 (volume 1, chapter 4.2.1 and 20, 21)."""

from __future__ import annotations

from collections.abc import Sequence

from .data import NOT_ALLOWED, OUT_OF_RANGE, CommandError, integer
from .engine import Ask, Device, Set
from .status import Register

VERSION = "1999.0"
_MOST = 0xFFFF


def register_required(device: Device, *, most_errors_at_once: bool = True) -> None:
    """Register :SYSTem:ERRor, :SYSTem:VERSion and :STATus of `device`.

    most_errors_at_once: also :SYSTem:ERRor:ALL? and :COUNt?, which SCPI-99 has as an option.
    """
    status = device.status

    def error(*_: object) -> str:
        return '{},"{}"'.format(*status.next_error())

    def all_errors(*_: object) -> str:
        return ",".join(error() for _ in range(max(1, status.errors)))

    device.command(":SYSTem:ERRor[:NEXT]", ask=error, query_data=0)
    device.command(":SYSTem:VERSion", ask=lambda *_: VERSION, query_data=0)
    if most_errors_at_once:
        device.command(":SYSTem:ERRor:COUNt", ask=lambda *_: str(status.errors), query_data=0)
        device.command(":SYSTem:ERRor:ALL", ask=all_errors, query_data=0)
    for header, group in ((":STATus:OPERation", status.operation), (":STATus:QUEStionable", status.questionable)):
        _register_group(device, header, group)

    def preset(_: Sequence[int], data: Sequence[bytes]) -> None:
        if data:
            raise CommandError(NOT_ALLOWED)
        status.operation.preset()
        status.questionable.preset()

    device.command(":STATus:PRESet", set=preset)


def _register_group(device: Device, header: str, group: Register) -> None:
    def settable(name: str) -> tuple[Set, Ask]:
        def set_it(_: Sequence[int], data: Sequence[bytes]) -> None:
            value = integer(data)
            if not 0 <= value <= _MOST:
                raise CommandError(OUT_OF_RANGE)
            setattr(group, name, value & 0x7FFF)

        return set_it, lambda *_: str(getattr(group, name))

    device.command(f"{header}[:EVENt]", ask=lambda *_: str(group.read_event()), query_data=0)
    device.command(f"{header}:CONDition", ask=lambda *_: str(group.condition), query_data=0)
    for word, name in ((":ENABle", "enable"), (":PTRansition", "positive"), (":NTRansition", "negative")):
        set_it, ask = settable(name)
        device.command(header + word, set=set_it, ask=ask, query_data=0)

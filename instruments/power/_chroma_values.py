"""What a Chroma 66203 or 66204 shows of a channel, and the readings that it is.

Source: 66203/66204 user manual v1.0 (March 2014) p. 5-15 (items), 5-17 (−1, −2, −3), 5-36 (alarms).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from aicalib_hw.errors import ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import ElementReading
from aicalib_hw.readings import Reading, Status, Window
from aicalib_hw.scpi.codec import parse_integer, parse_number
from aicalib_hw.scpi.events import without_header

from . import _evaluation
from ._polled_meter import impossible

ITEMS = {"V": "V", "I": "A", "W": "W", "VA": "VA", "VAR": "var", "PF": "1", "FREQ": "Hz"}
"""What is asked of a channel, and its unit; ten items at most fit into one question."""

_NEVER_NEGATIVE = ("V", "I", "VA", "FREQ")

MARKERS = {-1.0: Status.NOT_SETTLED, -2.0: Status.NOT_SETTLED, -3.0: Status.OVER_RANGE}
"""Instead of a value: the first result is not complete; the range changed; OVR, OCR or OCP is active (p. 5-17)."""

ALARMS = {
    1: Status.OVER_RANGE,
    2: Status.OVER_RANGE,
    4: Status.OVER_RANGE | Status.INVALID,
    8: Status.NOT_SETTLED,
    32768: Status.INVALID,
}
"""OVR, OCR, OCP (the input is shorted by a relay until cleared), range changed during integration, fan failed."""


def element_reading(
    channel: int, line: str, alarm: int, window: Window, extra: Status, source: Identity, address: str
) -> ElementReading:
    """Return the readings of a channel. line: its values, `;`, its condition. alarm: its bits of `PROTection?`.

    Raises ProtocolError for what is no set of values.
    """
    values, _, condition = line.rpartition(";")
    texts = [text.strip() for text in without_header(values).split(",")]
    if len(texts) != len(ITEMS):
        raise ProtocolError(
            f"{values!r} is no set of {len(ITEMS)} values",
            where=address,
            why="the separator or the header was changed by somebody, or the reply belongs to another question",
            advice="open the instrument again; let no other program use it meanwhile",
        )
    flags = extra
    bits = alarm | parse_integer(without_header(condition))
    for bit, status in ALARMS.items():
        flags |= status if bits & bit else Status.VALID
    taken = dict(zip(ITEMS, texts, strict=True))
    numbers = {item: parse_number(text) for item, text in taken.items()}
    invalid = any(numbers[item] in MARKERS for item in _NEVER_NEGATIVE)
    flags |= impossible(*(numbers[item] for item in _NEVER_NEGATIVE if numbers[item] not in MARKERS))

    def reading(item: str) -> Reading:
        # A real power may be −1 W: a marker is bare, or stands beside one where no value can be negative.
        number = numbers[item]
        bare = "." not in taken[item]
        marker = MARKERS.get(number, Status.VALID) if invalid or bare or flags else Status.VALID
        return Reading(
            value=None if marker else number,
            unit=ITEMS[item],
            status=flags | marker,
            window=window,
            source=source,
            channel=f"{item}, channel {channel}",
            resolution=None if marker else _evaluation.last_digit(taken[item]),
            raw=taken[item],
        )

    return ElementReading(
        voltage=reading("V"),
        current=reading("I"),
        active_power=reading("W"),
        apparent_power=reading("VA"),
        reactive_power=reading("VAR"),
        power_factor=reading("PF"),
        frequency=reading("FREQ"),
    )


def summed(
    elements: Sequence[ElementReading], channels: Sequence[int], window: Window, source: Identity
) -> ElementReading:
    """Sums of powers with their sign, means of voltage and current; nothing where a part is missing."""

    def together(name: str, *, mean: bool = False) -> Reading:
        parts: list[Reading] = [getattr(element, name) for element in elements]
        status = Status.VALID
        for part in parts:
            status |= part.status
        values = [float(part.value) for part in parts if part.value is not None]
        whole = len(values) == len(parts)
        steps = [part.resolution for part in parts if part.resolution is not None]
        return Reading(
            value=math.fsum(values) / (len(values) if mean else 1) if whole else None,
            unit=parts[0].unit,
            status=status,
            window=window,
            source=source,
            channel=f"{name} of channels {', '.join(str(channel) for channel in channels)}",
            resolution=math.fsum(steps) / (len(steps) if mean else 1) if len(steps) == len(parts) else None,
            raw=" ".join(part.raw for part in parts),
        )

    return ElementReading(
        voltage=together("voltage", mean=True),
        current=together("current", mean=True),
        active_power=together("active_power"),
        apparent_power=together("apparent_power"),
        reactive_power=together("reactive_power"),
    )

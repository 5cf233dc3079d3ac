"""Coming into step with an instrument whose late answers nothing can take back."""

from __future__ import annotations

from collections.abc import Callable

_COMMAS_OF_AN_IDENTIFICATION = 3


def come_into_step(send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
    """Ask `*OPC?` and `*IDN?`, and read until their answers have come in this order.

    An instrument answers in the order it is asked, so these are the end of all earlier answers, whatever
    those were: a late `1` or a late identification alone does not look like the pair.
    """
    send(b"*OPC?")
    send(b"*IDN?")
    complete = False
    while True:
        for line in receive().splitlines():  # an instrument may put the answers to both into one message
            if complete and line.count(b",") == _COMMAS_OF_AN_IDENTIFICATION:
                return
            complete = complete or line.strip() == b"1"

"""Which runs are repeated: those that can still save the point, within a bound, and never by what they measured."""

from __future__ import annotations

import pytest

from aicalib_hw.identity import Identity
from aicalib_hw.procedures._point import worth_repeating
from aicalib_hw.readings import Instant, Measurement, Validity, ValidityStatus, Window


def runs(pattern: str) -> list[Measurement]:
    """One run a letter: `.` can be used, `x` cannot."""
    window = Window(Instant(0, 0), Instant(10**9, 10**9), "test")
    identity = Identity("m", "o", "s", "f", "a")
    invalid = Validity(ValidityStatus.INVALID, ("disturbed",))
    return [
        Measurement(
            "power", "power/active/mean", 1.0, "W", window, identity, validity=invalid if mark == "x" else Validity()
        )
        for mark in pattern
    ]


@pytest.mark.parametrize(
    ("pattern", "planned", "goes_on"),
    [
        ("...", 3, False),
        ("..x", 3, True),
        ("..x.", 3, True),
        ("..x..", 3, False),
        ("..x.x", 3, False),
        (".xx", 3, False),
        ("xxx", 3, False),
        (".....x", 6, False),
        ("....xx", 6, True),
        ("....xx...", 6, True),
        ("....xx....", 6, False),
        ("...xxx", 6, False),
        ("....", 5, True),
    ],
)
def test_a_run_is_repeated_while_at_most_a_fifth_can_still_be_unusable(
    pattern: str, planned: int, goes_on: bool
) -> None:
    """Three planned runs allow five in all and one unusable; six allow ten and two."""
    assert worth_repeating(runs(pattern), planned) is goes_on


@pytest.mark.parametrize("planned", range(2, 20))
def test_repeating_ends_however_the_runs_turn_out(planned: int) -> None:
    for letters in (".", "x", "x.", "..x", "...x", "....x"):
        pattern = (letters * 60)[:planned]
        while worth_repeating(runs(pattern), planned):
            pattern += letters[len(pattern) % len(letters)]
        assert len(pattern) <= max(5, 5 * planned / 3 + 1)
        unusable = pattern.count("x")
        if len(pattern) > planned and unusable <= len(pattern) / 5:
            assert not worth_repeating(runs(pattern), planned)

"""Energy of a power plateau whose true energy is known in closed form, from samples of both kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.energy import difference, integrate
from aicalib_hw.readings import Series, Status

SECOND = 1_000_000_000
IDLE, FULL, RAMP = 60e3, 150e3, 2.0
BEGIN, END = 20.0, 80.0
"""The window, s: from the foot of the ramp up to the last moment before the ramp down."""


def _energy_until(time: float) -> float:
    """True energy from 0 to `time`, J: idle, a ramp up at BEGIN, the plateau, a ramp down at END."""

    def ramp(since: float) -> float:
        inside = min(max(since, 0.0), RAMP)
        return (FULL - IDLE) * (inside**2 / (2 * RAMP) + max(0.0, since - RAMP))

    return IDLE * time + ramp(time - BEGIN) - ramp(time - END)


def _power(time: float) -> float:
    up = min(max((time - BEGIN) / RAMP, 0.0), 1.0)
    down = min(max((END + RAMP - time) / RAMP, 0.0), 1.0)
    return IDLE + (FULL - IDLE) * min(up, down)


def series(
    kind: Literal["instant", "interval_mean"],
    *,
    shift: float = 0.0,
    interval: float = 1.0,
    lost: Callable[[float], bool] = lambda _: False,
) -> Series:
    """100 s of samples, stamped `shift` s late; `lost` says which are without data."""
    stamps = [interval * (1 + number) for number in range(round(100 / interval))]
    if kind == "instant":
        values = [_power(stamp) for stamp in stamps]
    else:
        values = [(_energy_until(stamp) - _energy_until(stamp - interval)) / interval for stamp in stamps]
    gone = [lost(stamp) for stamp in stamps]
    return Series(
        {"quantity": "power", "unit": "W"},
        tuple(round((stamp + shift) * SECOND) for stamp in stamps),
        tuple(None if missing else value for value, missing in zip(values, gone, strict=True)),
        tuple(Status.NO_DATA if missing else Status.VALID for missing in gone),
        kind,
    )


def off(measured: Series, begin: float = BEGIN, end: float = END) -> float:
    """Relative error of the integral from `begin` to `end`."""
    true = _energy_until(end) - _energy_until(begin)
    return integrate(measured, round(begin * SECOND), round(end * SECOND)).energy / true - 1


def mistaken(measured: Series, kind: Literal["instant", "interval_mean"]) -> Series:
    """The same samples, taken for what they are not."""
    return Series(measured.header, measured.times, measured.values, measured.statuses, kind)


@pytest.mark.parametrize(
    ("shift", "held", "joined"), [(0.0, 0.0, -0.51), (0.05, -0.05, -0.56), (0.2, -0.20, -0.71), (0.8, -0.81, -1.31)]
)
def test_interval_means_are_held_and_joining_them_costs_half_a_percent(
    shift: float, held: float, joined: float
) -> None:
    means = series("interval_mean", shift=shift)
    assert 100 * off(means) == pytest.approx(held, abs=0.01)
    assert 100 * off(mistaken(means, "instant")) == pytest.approx(joined, abs=0.01)


@pytest.mark.parametrize(("shift", "held", "joined"), [(0.0, 0.52, 0.0), (0.05, 0.47, -0.06), (0.2, 0.31, -0.22)])
def test_instants_are_joined_and_holding_them_costs_half_a_percent(shift: float, held: float, joined: float) -> None:
    instants = series("instant", shift=shift)
    assert 100 * off(instants) == pytest.approx(joined, abs=0.02)
    assert 100 * off(mistaken(instants, "interval_mean")) == pytest.approx(held, abs=0.02)


def test_where_the_kind_of_sample_is_right_nothing_is_lost() -> None:
    for interval in (1.0, 0.25):
        assert off(series("interval_mean", interval=interval)) == pytest.approx(0.0, abs=1e-9)
        assert off(series("instant", interval=interval)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("begin", [30.0, 30.25, 30.999])
def test_a_window_inside_the_plateau_need_not_meet_the_samples(begin: float) -> None:
    assert off(series("interval_mean"), begin, begin + 20.5) == pytest.approx(0.0, abs=1e-9)
    assert off(series("instant"), begin, begin + 20.5) == pytest.approx(0.0, abs=1e-9)


def test_a_late_clock_costs_the_same_however_fast_is_sampled() -> None:
    slow, fast = (off(series("interval_mean", shift=0.8, interval=interval)) for interval in (1.0, 0.1))
    assert fast == pytest.approx(slow, rel=0.1)
    assert fast == pytest.approx(-0.0082, abs=2e-4)


def test_adjoining_windows_add_up() -> None:
    for measured in (series("interval_mean"), series("instant")):
        whole = integrate(measured, 20 * SECOND, 80 * SECOND).energy
        cut = round(41.7 * SECOND)
        parts = integrate(measured, 20 * SECOND, cut).energy + integrate(measured, cut, 80 * SECOND).energy
        assert parts == pytest.approx(whole, rel=1e-12)


def test_a_gap_is_neither_filled_nor_hidden() -> None:
    broken = series("instant", lost=lambda stamp: 40 < stamp < 50)
    integral = integrate(broken, 20 * SECOND, 80 * SECOND)
    assert integral.gaps == 1
    assert integral.covered == pytest.approx(50 / 60)
    assert not integral.valid
    true = _energy_until(80) - _energy_until(20)
    assert integral.energy == pytest.approx(true - 10 * FULL, rel=1e-9)


def test_a_window_that_the_samples_do_not_reach_is_not_valid() -> None:
    measured = series("interval_mean")
    assert integrate(measured, 20 * SECOND, 80 * SECOND).valid
    assert not integrate(measured, 60 * SECOND, 120 * SECOND).valid
    assert integrate(measured, 60 * SECOND, 120 * SECOND).covered == pytest.approx(40 / 60)
    assert integrate(measured, 200 * SECOND, 260 * SECOND).covered == 0.0


def counter(*, unit: str = "J", interval: float = 1.0, lost: Callable[[float], bool] = lambda _: False) -> Series:
    """100 s of readings of an energy counter."""
    stamps = [interval * number for number in range(round(100 / interval) + 1)]
    gone = [lost(stamp) for stamp in stamps]
    return Series(
        {"quantity": "energy", "unit": unit},
        tuple(round(stamp * SECOND) for stamp in stamps),
        tuple(
            None if missing else _energy_until(stamp) / (3600.0 if unit == "Wh" else 1.0)
            for stamp, missing in zip(stamps, gone, strict=True)
        ),
        tuple(Status.NO_DATA if missing else Status.VALID for missing in gone),
        "instant",
    )


@pytest.mark.parametrize("unit", ["J", "Wh"])
@pytest.mark.parametrize(("begin", "end"), [(20.0, 80.0), (30.25, 70.75), (35.0, 35.5)])
def test_a_counter_tells_the_energy_of_a_plateau_exactly(unit: str, begin: float, end: float) -> None:
    told = difference(counter(unit=unit), round(begin * SECOND), round(end * SECOND))
    assert told.energy == pytest.approx(_energy_until(end) - _energy_until(begin), rel=1e-9)
    assert told.covered == pytest.approx(1.0)
    assert told.valid


def test_a_counter_goes_on_during_a_gap_but_an_edge_inside_one_is_not_known() -> None:
    broken = counter(lost=lambda stamp: 40 < stamp < 50)
    across = difference(broken, 20 * SECOND, 80 * SECOND)
    assert across.energy == pytest.approx(_energy_until(80) - _energy_until(20), rel=1e-9)
    assert across.gaps == 1
    assert across.valid
    edge = difference(broken, 45 * SECOND, 80 * SECOND)
    assert edge.covered == pytest.approx(30 / 35)
    assert not edge.valid
    assert edge.energy == pytest.approx(_energy_until(80) - _energy_until(50), rel=1e-9)


def test_a_counter_that_was_not_read_in_the_window_covers_nothing() -> None:
    told = difference(counter(), 200 * SECOND, 260 * SECOND)
    assert (told.energy, told.covered, told.valid) == (0.0, 0.0, False)


def test_a_counter_that_runs_backwards_or_counts_no_energy_is_refused() -> None:
    sound = counter()
    reset = (*sound.values[:50], *sound.values[:51])
    with pytest.raises(UsageError, match="backwards"):
        difference(Series(sound.header, sound.times, reset, sound.statuses, "instant"), 20 * SECOND, 80 * SECOND)
    with pytest.raises(UsageError):
        difference(series("instant"), 20 * SECOND, 80 * SECOND)
    with pytest.raises(UsageError):
        difference(sound, 80 * SECOND, 20 * SECOND)


def test_what_is_no_power_or_no_window_is_refused() -> None:
    measured = series("instant")
    with pytest.raises(UsageError):
        integrate(measured, 30 * SECOND, 30 * SECOND)
    with pytest.raises(UsageError):
        integrate(series("instant", lost=lambda stamp: stamp != 5), 0, SECOND)
    current = Series({"unit": "A"}, measured.times, measured.values, measured.statuses, "instant")
    with pytest.raises(UsageError):
        integrate(current, 0, SECOND)

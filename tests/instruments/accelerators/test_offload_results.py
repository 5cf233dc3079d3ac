"""The rules by which a device's launches count or do not, on launches whose rate is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.offload import Circumstances, Launch, Observation, Work, evaluate

from aicalib_hw.errors import MeasurementInvalid
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PrecisionSupport, TelemetryReading, ThrottleState
from aicalib_hw.procedures.compute import _doubt_of_clock
from aicalib_hw.readings import Instant, Reading, Status, Window

SOMEBODY = Identity("Maker", "Model", "1", "2", "maker://0")
ABOUT = Circumstances(
    identity=SOMEBODY,
    support=PrecisionSupport("fp32", "fp32", "vector", "test"),
    definition="flop/fp32-accumulate-fp32/vector",
    unit="FLOP/s",
    per_cycle=1000.0,
    maximum_clock=2e9,
)


def ten_launches(*, duration: float = 0.1, gap: float = 0.0, host: float | None = None, wrong: str = "") -> Work:
    """Ten launches of 1e11 operations: 1e12 operations a second where they last 0.1 s without a gap."""
    launches = tuple(Launch(index * (duration + gap), duration, 100_000_000_000) for index in range(10))
    seconds = launches[-1].begin + duration if host is None else host
    return Work(launches, 1_000_000_000, 1_000_000_000 + round(seconds * 1e9), wrong)


def seen(*clocks: float, throttle: ThrottleState | None = None, **series: list[float]) -> Observation:
    """Samples with the given clocks in Hz, throttle state and other fields, in the time of the launches.

    They are 0.1 s apart, and 0.2 s where there is more than clocks.
    """
    samples = []
    apart = 0.2e9 if series else 0.1e9
    for index in range(max(len(clocks), *(len(values) for values in series.values()), 0)):
        at = Instant(0, round(1.05e9 + index * apart))
        window = Window(at, at, "one sample")

        def reading(value: float, unit: str, window: Window = window) -> Reading:
            return Reading(value, unit, Status.VALID, window, SOMEBODY)

        units = {"power": "W", "energy": "J", "temperature": "degC"}
        fields: dict[str, Any] = {name: reading(values[index], units[name]) for name, values in series.items()}
        if clocks:
            fields["clock"] = reading(clocks[index], "Hz")
        samples.append(TelemetryReading(window=window, throttle=throttle, **fields))
    return Observation(tuple(samples))


def test_rate_and_efficiencies_are_operations_over_the_devices_own_time() -> None:
    result = evaluate(ten_launches(gap=0.025), seen(1.25e9, 1.25e9), ABOUT)
    assert result.peak.value == pytest.approx(1e12)
    assert result.sustained.value == pytest.approx(1e12 / (1.225))
    assert result.efficiency_measured_clock == pytest.approx(0.8)
    assert result.efficiency_maximum_clock == pytest.approx(0.5)
    assert result.share == pytest.approx(1 / 1.225)
    assert result.peak.validity
    assert result.sustained.validity


def test_a_sustained_rate_of_a_device_that_a_busy_host_kept_waiting_says_so_and_its_peak_does_not() -> None:
    waited = evaluate(ten_launches(gap=0.1), seen(1.25e9, 1.25e9), ABOUT)
    assert waited.sustained.value == pytest.approx(1e12 / 1.9)
    assert waited.sustained.validity.reasons == ("busy host: the device had work for 52.6% of the time",)
    assert waited.peak.validity.reasons == ()
    assert evaluate(ten_launches(gap=0.001), seen(1.25e9, 1.25e9), ABOUT).sustained.validity.reasons == ()


def test_wrong_results_make_both_rates_invalid() -> None:
    result = evaluate(ten_launches(wrong="wrong results: 3 of 9"), seen(1.25e9, 1.25e9), ABOUT)
    assert not result.peak.validity
    assert not result.sustained.validity


@pytest.mark.parametrize("host", [0.9, 1.1])
def test_a_devices_clock_that_disagrees_with_the_hosts_makes_both_rates_invalid(host: float) -> None:
    result = evaluate(ten_launches(host=host), seen(1.25e9, 1.25e9), ABOUT)
    assert not result.peak.validity
    assert not result.sustained.validity
    assert "1.0000 s" in result.sustained.validity.reasons[0]


@pytest.mark.parametrize(("clock", "valid"), [(0.99e9, True), (0.975e9, False)])
def test_a_rate_above_what_the_measured_clock_allows_is_a_fault_and_no_good_news(clock: float, valid: bool) -> None:
    assert bool(evaluate(ten_launches(), seen(clock, clock), ABOUT).sustained.validity) is valid


def test_throttling_spoils_the_claim_at_the_rated_clock_and_not_the_sustained_rate() -> None:
    result = evaluate(ten_launches(), seen(1.25e9, 1.25e9, throttle=ThrottleState(power_cap=True)), ABOUT)
    assert not result.peak.validity
    assert "rated clock" in result.peak.validity.reasons[0]
    assert "power_cap" in result.peak.validity.reasons[0]
    assert result.sustained.validity
    assert any("rated clock" in reason for reason in result.sustained.validity.reasons)
    assert result.throttle == ThrottleState(power_cap=True)


def test_an_unsteady_clock_spoils_the_peak_unless_it_was_locked() -> None:
    unsteady = seen(1.2e9, 1.3e9, 1.2e9)
    assert not evaluate(ten_launches(), unsteady, ABOUT).peak.validity
    assert evaluate(ten_launches(), unsteady, replace(ABOUT, clock_locked=True)).peak.validity


def test_a_stranger_on_the_device_makes_both_rates_invalid() -> None:
    result = evaluate(ten_launches(), seen(1.25e9), replace(ABOUT, strangers=("process 77",)))
    assert "process 77" in result.sustained.validity.reasons[0]
    assert not result.sustained.validity


def test_energy_is_told_both_ways_and_a_disagreement_is_said() -> None:
    agreeing = seen(power=[100.0] * 6, energy=[5.0, 25.0, 45.0, 65.0, 85.0, 105.0])
    assert agreeing.energy == pytest.approx({"counter": 100.0, "integral": 100.0})
    assert agreeing.energy_remarks() == []
    lying = seen(power=[100.0] * 6, energy=[0.0, 12.0, 24.0, 36.0, 48.0, 60.0])
    assert evaluate(ten_launches(), lying, ABOUT).energy == pytest.approx({"counter": 60.0, "integral": 100.0})
    (remark,) = lying.energy_remarks()
    assert "0.600" in remark
    frozen = seen(power=[100.0] * 7, energy=[7.0] * 7)
    assert "did not advance" in frozen.energy_remarks()[0]


def sampled(*samples: tuple[float, float, float]) -> Observation:
    """Samples of (s, W, J), each read at one instant."""
    made = []
    for at_s, power, energy in samples:
        at = Instant(0, round(at_s * 1e9))
        window = Window(at, at, "one sample")
        watts, joules = (
            Reading(value, unit, Status.VALID, window, SOMEBODY) for value, unit in ((power, "W"), (energy, "J"))
        )
        made.append(TelemetryReading(window=window, power=watts, energy=joules))
    return Observation(tuple(made))


def test_what_counter_and_integral_may_differ_by_follows_from_the_samples_that_were_seen() -> None:
    on_time = [(index / 10, 100.0, index * 10.0) for index in range(101)]
    # 1 % of 1000 J, and 0.1 s of 100 W for the age of the counter.
    assert sampled(*on_time).energy_tolerance() == pytest.approx(10.0 + 10.0)
    # The load stood still for a second that no sample fell into: the integral lacks it, and that says nothing.
    late = [(at, power, energy - (80.0 if at > 5.0 else 0.0)) for at, power, energy in on_time if not 4.0 < at < 5.0]
    dip = [*late, (10.1, 20.0, 922.0)]
    assert sampled(*dip).energy["integral"] > 1.08 * sampled(*dip).energy["counter"]
    assert sampled(*dip).energy_remarks() == []
    # The same difference where every sample came on time, and one that late samples do not explain, are told.
    lying = [(at, power, 0.92 * energy) for at, power, energy in [*on_time, (10.1, 20.0, 1006.0)]]
    assert len(sampled(*lying).energy_remarks()) == 1
    worse = [(at, power, energy / 2) for at, power, energy in dip]
    assert len(sampled(*worse).energy_remarks()) == 1
    assert sampled((0.0, 100.0, 0.0)).energy_tolerance() is None


def test_a_device_that_still_warms_up_is_remarked() -> None:
    result = evaluate(ten_launches(), seen(temperature=[50.0, 51.0, 52.0, 53.0, 54.0, 55.0]), ABOUT)
    assert any("+5.00 K/s" in reason for reason in result.sustained.validity.reasons)


def test_the_whole_difference_of_the_clocks_is_stated_as_uncertainty() -> None:
    result = evaluate(ten_launches(host=1.004), seen(1.25e9), ABOUT)
    (stated,) = [one for one in result.sustained.components if one.name.startswith("time base")]
    assert stated.half_width == pytest.approx(0.004 / 1.004)


def test_no_launch_is_no_measurement() -> None:
    with pytest.raises(MeasurementInvalid):
        evaluate(Work((), 0, 1, ""), Observation(), ABOUT)


def test_the_fastest_launch_may_have_had_the_highest_clock_and_the_sustained_rate_the_mean() -> None:
    launches = list(ten_launches().launches)
    launches[3] = Launch(0.3, 0.08, 100_000_000_000)
    work = Work(tuple(launches), 1_000_000_000, 2_000_000_000, "")
    varying = seen(1.0e9, 1.0e9, 1.0e9, 1.25e9)
    result = evaluate(work, varying, ABOUT)
    assert result.sustained.validity
    assert not any("allows" in reason for reason in result.peak.validity.reasons)
    assert any("allows" in reason for reason in evaluate(work, seen(1.0e9, 1.0e9), ABOUT).peak.validity.reasons)


def test_the_clock_of_an_idle_device_before_and_after_the_launches_does_not_count() -> None:
    def sample(at_s: float, clock: float) -> TelemetryReading:
        at = Instant(0, round(at_s * 1e9))
        window = Window(at, at, "one sample")
        return TelemetryReading(window=window, clock=Reading(clock, "Hz", Status.VALID, window, SOMEBODY))

    idle_round_it = Observation((sample(0.9, 0.3e9), sample(1.0, 0.3e9), sample(1.5, 1.25e9), sample(2.1, 0.3e9)))
    result = evaluate(ten_launches(), idle_round_it, ABOUT)
    assert result.clock is not None
    assert float(result.clock) == pytest.approx(1.25e9)
    assert result.peak.validity


def test_the_clock_of_a_device_that_the_host_kept_waiting_in_between_does_not_count() -> None:
    def sample(at_s: float, clock: float) -> TelemetryReading:
        at = Instant(0, round(at_s * 1e9))
        window = Window(at, at, "one sample")
        return TelemetryReading(window=window, clock=Reading(clock, "Hz", Status.VALID, window, SOMEBODY))

    # Ten launches of 0.1 s with 0.2 s of waiting after each: it works from 1.0 to 1.1 s, from 1.3 to 1.4 s …
    work = ten_launches(gap=0.2)
    seen_then = Observation((sample(1.05, 1.25e9), sample(1.2, 0.3e9), sample(1.31, 0.8e9), sample(1.35, 1.25e9)))
    result = evaluate(work, seen_then, ABOUT)
    assert result.clock is not None
    assert float(result.clock) == pytest.approx(1.25e9)
    assert result.peak.validity
    never = evaluate(work, Observation((sample(1.2, 0.3e9),)), ABOUT)
    assert not never.peak.validity


def test_the_clock_is_known_to_half_a_step_and_its_scatter_and_the_limit_of_a_rate_is_wider_by_it() -> None:
    steady = evaluate(ten_launches(), seen(*[1e9] * 9), replace(ABOUT, clock_step=15e6))
    assert steady.clock is not None
    assert steady.clock.resolution == 15e6
    assert [part.half_width for part in steady.clock.components] == [7.5e6, None]
    assert _doubt_of_clock([steady]) == pytest.approx(0.0075)
    unsteady = evaluate(ten_launches(), seen(*[0.99e9, 1.01e9] * 4, 1e9), ABOUT)
    assert unsteady.clock is not None
    (scatter,) = unsteady.clock.components
    assert (scatter.kind, scatter.dof) == ("A", 8)
    assert scatter.standard_uncertainty == pytest.approx(0.01e9 / 3)
    assert _doubt_of_clock([unsteady, steady]) == pytest.approx(0.0075)
    assert _doubt_of_clock([evaluate(ten_launches(), seen(), ABOUT)]) == 0.0

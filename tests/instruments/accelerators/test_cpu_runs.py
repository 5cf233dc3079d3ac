"""Runs made of slices of known speed: what counts as disturbed, what is used, and what makes a result invalid."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.cpu.arithmetic import Kernel, gain
from aicalib_hw.instruments.accelerators.cpu.cores import CoreOfHost
from aicalib_hw.instruments.accelerators.cpu.crew import CoreWork, worked_together
from aicalib_hw.instruments.accelerators.cpu.disturbance import HostCounters
from aicalib_hw.instruments.accelerators.cpu.native import Plan, Spans
from aicalib_hw.instruments.accelerators.cpu.results import Circumstances, evaluate, taken_away

from aicalib_hw import definitions
from aicalib_hw.errors import MeasurementInvalid
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PeakMeasurement
from aicalib_hw.readings import from_plain, to_plain

PAIRS, CLOCK_PAIRS, CYCLES_A_PAIR, CHAIN = 10_000, 2_500, 16, 18
KERNEL = Kernel(0, "fp32", "fp32", "avx512", "vector", 16, 16, 1, 0, CHAIN, 4, True)
GAIN = gain(KERNEL, KERNEL.operands, PAIRS)
CLOCK_GAIN = gain(KERNEL, KERNEL.operands, CLOCK_PAIRS)
STAMP_NS = 40
GHZ = 2.5
GROUPS, GROUPS_A_RUN = 3600, 360  # about 1 s, cut into about ten runs
PER_CYCLE = KERNEL.operations_per_pair // CYCLES_A_PAIR
RATE = PAIRS * KERNEL.operations_per_pair * 1e9 / (PAIRS * CYCLES_A_PAIR / GHZ + STAMP_NS)
"""What a slice did over what it lasted, in which it was also begun."""


def core(
    processor: int = 0,
    *,
    groups: int = GROUPS,
    begin: int = 0,
    slowed: range = range(0),
    by: float = 1.0,
    chain_by: float = 1.0,
    share: float = 1.0,
    varying: Callable[[int], float] = lambda group: 1.0,
    held_up: int = 0,
) -> CoreWork:
    """Groups of four plain slices and one with the chain; those in `slowed` last longer by the factors given.

    varying: by what factor everything of a group lasts longer, because the clock is lower.
    held_up: the last plain slice of every so many groups lasts a fifth longer, 0 = of none.
    """
    spans, time = Spans(), begin
    for group in range(groups):
        hit = group in slowed
        for number in range(4):
            length = round(PAIRS * CYCLES_A_PAIR / GHZ * (by if hit else 1.0) * varying(group)) + STAMP_NS
            if held_up and number == 3 and group % held_up == 0:
                length += length // 5
            spans.slices.extend((time, time + length))
            time += length + 100
        length = round(CLOCK_PAIRS * CHAIN / GHZ * (chain_by if hit else 1.0) * varying(group)) + STAMP_NS
        spans.clocks.extend((time, time + length))
        time += length + 100
    spans.gained, spans.clock_gained = {GAIN}, {CLOCK_GAIN}
    plan = Plan(KERNEL, PAIRS, clock_pairs=CLOCK_PAIRS, clock_variant=1, slices_per_clock=4)
    work = CoreWork(CoreOfHost(processor, (processor,)), plan, spans, pinned=True)
    work.cpu_ns, work.wall_ns, work.preempted, work.stamp_cost_s = (
        round(share * (time - begin)),
        time - begin,
        0,
        STAMP_NS / 1e9,
    )
    return work


def judged(*work: CoreWork, per_cycle: int | None = PER_CYCLE, **about: Any) -> PeakMeasurement:
    duration = work[0].wall_ns / 1e9
    circumstances = Circumstances(
        identity=Identity("maker", "model", "", "", "cpu://local"),
        unit="FLOP/s",
        definition="flop/fp32-accumulate-fp32/vector",
        per_cycle=per_cycle,
        per_cycle_reached=False,
        maximum_clock=5e9,
        host=HostCounters(0.0, None),
        settings={},
        others={},
    )
    return evaluate(work, duration, replace(circumstances, **about))


def value(measurement: Any) -> float:
    assert measurement.value is not None
    return float(measurement.value)


def test_an_undisturbed_machine_reaches_its_theory() -> None:
    result = judged(core(0), core(1, begin=1234))
    assert value(result.peak) == pytest.approx(2 * RATE, rel=1e-6)
    assert result.efficiency_measured_clock == pytest.approx(1.0, rel=1e-6)
    assert result.efficiency_maximum_clock == pytest.approx(RATE / (PER_CYCLE * 5e9), rel=1e-6)
    assert result.clock is not None
    assert float(result.clock) == pytest.approx(GHZ * 1e9, rel=1e-6)
    assert result.rejected == 0
    assert result.peak.validity
    assert result.sustained.validity.reasons == ()


def test_sustained_is_exact_operations_over_the_common_window() -> None:
    late = core(1, begin=5_000_000)
    early = core(0)
    result = judged(early, late)
    begin, end = late.spans.slices[0], early.spans.clocks[-1]
    pairs = 0
    for one in (early, late):
        for spans, each in ((one.spans.slices, PAIRS), (one.spans.clocks, CLOCK_PAIRS)):
            pairs += each * sum(begin <= a and b <= end for a, b in zip(spans[::2], spans[1::2], strict=True))
    operations = pairs * KERNEL.operations_per_pair
    assert result.sustained.evidence["operations"] == operations
    assert isinstance(result.sustained.evidence["operations"], int)
    assert value(result.sustained) == pytest.approx(operations / ((end - begin) / 1e9), rel=1e-12)
    assert result.sustained.window.start.monotonic_ns == begin


def test_sustained_and_peak_are_two_definitions() -> None:
    result = judged(core())
    assert definitions.require(result.sustained.definition).id == "flop/fp32-accumulate-fp32/vector/sustained"
    assert definitions.require(result.peak.definition).id == "flop/fp32-accumulate-fp32/vector/peak"
    assert value(result.sustained) < value(result.peak)


def test_a_peak_above_what_the_clock_allows_is_kept_and_not_used() -> None:
    # For more than one run every clock reading is 2 % low, and the work itself is not.
    result = judged(core(slowed=range(GROUPS_A_RUN + 20), chain_by=1.02))
    assert result.rejected == 1
    rejected = [run for run in result.peak.runs if not run.used]
    assert len(rejected) == result.rejected
    assert all("read low" in reason for run in rejected for reason in run.reasons)
    assert result.peak.validity
    assert result.efficiency_measured_clock == pytest.approx(1.0, abs=0.003)


def with_chains(changed: Callable[[int], float], groups: range) -> CoreWork:
    """One core whose clock slices in `groups` last longer by a factor."""
    work = core()
    clocks = array("q", work.spans.clocks)
    for i in groups:
        start, stop = clocks[2 * i], clocks[2 * i + 1]
        clocks[2 * i + 1] = start + round((stop - start) * changed(i))
    work.spans.clocks = clocks
    return work


def test_a_clock_that_was_held_up_by_another_amount_each_time_is_read_low() -> None:
    result = judged(with_chains(lambda i: 1.004 + i % 50 / 100, range(GROUPS_A_RUN + 20)))
    assert result.rejected == 1
    assert result.peak.validity
    assert result.efficiency_measured_clock == pytest.approx(1.0, rel=1e-6)


def test_a_chain_that_seems_faster_than_all_work_is_no_clock() -> None:
    result = judged(with_chains(lambda i: 0.95, range(GROUPS_A_RUN + 20)))
    assert result.rejected == 1
    (reasons,) = [run.reasons for run in result.peak.runs if not run.used]
    assert "no reading that undisturbed work" in reasons[0]
    assert result.clock is not None
    assert float(result.clock) == pytest.approx(GHZ * 1e9, rel=1e-6)


@pytest.mark.parametrize("known", [PER_CYCLE, None])
def test_a_clock_that_changes_all_the_time_changes_neither_ratio_nor_operations_a_cycle(known: int | None) -> None:
    # The clock goes up and down by 5 % within a run, as that of a shared Zen 5 does; chain and work alike.
    wandering = core(varying=lambda group: 1.0 + 0.05 * abs(group % 100 - 50) / 50)
    result = judged(wandering, per_cycle=known)
    assert result.rejected == 0
    assert result.peak.evidence["cores"][0]["operations_per_cycle"] == pytest.approx(PER_CYCLE, rel=2e-3)
    assert result.efficiency_measured_clock == (None if known is None else pytest.approx(1.0, abs=2e-3))
    assert value(result.peak) == pytest.approx(PER_CYCLE * GHZ * 1e9, rel=1e-3)


def test_a_rate_above_every_clock_that_was_read_is_a_fault_and_no_peak() -> None:
    work = core()
    slices = array("q", work.spans.slices)
    slices[801] = slices[800] + (slices[801] - slices[800]) * 2 // 3
    work.spans.slices = slices
    result = judged(work)
    assert result.rejected == 1
    assert "clock, time or count" in next(run.reasons[0] for run in result.peak.runs if not run.used)
    assert value(result.peak) == pytest.approx(RATE, rel=1e-6)


def test_slices_that_were_held_up_beside_a_reading_of_the_clock_do_not_count_against_the_core() -> None:
    # Of every second reading the work before it took a fifth longer: two neighbours that differ compare nothing.
    result = judged(core(held_up=2))
    assert result.rejected == 0
    assert result.efficiency_measured_clock == pytest.approx(1.0, rel=1e-6)


def test_a_clock_that_was_read_low_most_of_the_time_gives_no_efficiency_and_no_valid_rate() -> None:
    result = judged(core(slowed=range(GROUPS * 2 // 3), chain_by=1.02))
    assert result.efficiency_measured_clock is None
    assert not result.peak.validity


def test_more_than_a_fifth_of_disturbed_runs_makes_the_result_invalid() -> None:
    result = judged(core(slowed=range(3 * GROUPS_A_RUN + 20), chain_by=1.02))
    assert result.rejected > 0.2 * len(result.peak.runs)
    assert not result.peak.validity
    assert not result.sustained.validity
    assert "disturbed" in result.peak.validity.reasons[0]


def test_a_core_that_is_slow_and_at_full_clock_lowers_the_rate_and_is_no_reason_to_reject() -> None:
    result = judged(core(slowed=range(5 * GROUPS_A_RUN), by=1.025))
    assert result.rejected == 0
    assert value(result.peak) == pytest.approx(RATE, rel=1e-6)
    assert value(result.sustained) < 0.998 * value(result.peak)
    assert result.sustained.validity
    assert not result.peak.validity
    for one in (result.peak, result.sustained):
        assert "something else used its units" in one.validity.reasons[0]


def test_the_peak_is_looked_for_where_nothing_else_used_the_units_of_a_core() -> None:
    # In one part a sibling takes half a hundredth while the clock is higher by more than that.
    part = range(GROUPS_A_RUN)
    result = judged(core(slowed=part, by=1.005, varying=lambda group: 0.985 if group in part else 1.0))
    assert result.rejected == 0
    assert result.peak.evidence["slowed_runs"] == 1
    assert result.peak.validity
    assert result.efficiency_measured_clock == pytest.approx(1.0, rel=1e-4)
    assert value(result.peak) == pytest.approx(RATE, rel=1e-6)


@pytest.mark.parametrize(("reached", "slowed"), [(True, 10), (False, 0)])
def test_a_core_that_always_does_less_than_the_table_says_is_slowed_where_the_kernel_is_known_to_do_that(
    reached: bool, slowed: int
) -> None:
    result = judged(core(slowed=range(GROUPS), by=1.02), per_cycle_reached=reached)
    assert result.peak.evidence["slowed_runs"] == slowed
    assert bool(result.peak.validity) is not reached
    assert result.sustained.validity
    assert result.efficiency_measured_clock == pytest.approx(1 / 1.02, rel=1e-4)


def test_an_unknown_processor_is_judged_by_itself_and_has_no_efficiency() -> None:
    result = judged(core(slowed=range(GROUPS_A_RUN + 20), chain_by=1.02), per_cycle=None)
    assert result.efficiency_measured_clock is None
    assert result.efficiency_maximum_clock is None
    assert result.rejected == 1
    assert result.peak.evidence["cores"][0]["operations_per_cycle"] == pytest.approx(PER_CYCLE, rel=1e-6)


def test_a_table_that_promises_too_much_rejects_nothing() -> None:
    result = judged(core(), per_cycle=2 * PER_CYCLE)
    assert result.rejected == 0
    assert result.efficiency_measured_clock == pytest.approx(0.5, rel=1e-6)


def test_a_kernel_without_clock_chain_gives_rates_and_no_clock() -> None:
    work = core()
    work.spans.clocks = array("q")
    work.plan = Plan(KERNEL, PAIRS)
    result = judged(work)
    assert result.clock is None
    assert result.efficiency_measured_clock is None
    assert value(result.peak) == pytest.approx(RATE, rel=1e-6)


@pytest.mark.parametrize("gained", [{GAIN - 1, GAIN}, {GAIN, GAIN + 1}, {0}])
def test_one_wrong_lane_makes_the_result_invalid(gained: set[int]) -> None:
    work = core(1)
    work.spans.gained = gained
    result = judged(core(0), work)
    assert not result.sustained.validity
    assert not result.peak.validity
    assert "wrong results on processor 1" in result.peak.validity.reasons[0]


def test_a_wrong_lane_in_a_clock_slice_is_found_too() -> None:
    work = core()
    work.spans.clock_gained = {CLOCK_GAIN, CLOCK_GAIN + 1}
    assert not judged(work).sustained.validity


def test_a_core_without_a_slice_is_no_measurement() -> None:
    work = core(1)
    work.spans = Spans()
    with pytest.raises(MeasurementInvalid, match="processor 1"):
        judged(core(0), work)


def test_cores_that_had_no_turn_at_the_same_time_did_not_work_together() -> None:
    none = core(1)
    none.spans = Spans()
    assert worked_together([core(0), core(1, begin=1234)])
    assert not worked_together([core(0, groups=10), core(1, groups=10, begin=1_000_000_000)])
    assert not worked_together([core(0), none])


def test_a_busy_host_is_named_and_not_refused() -> None:
    result = judged(core(share=0.9))
    assert result.share == pytest.approx(0.9, abs=0.001)
    assert result.sustained.validity
    assert "busy host" in result.sustained.validity.reasons[0]


def test_unlike_cores_are_reported_apart() -> None:
    big, little = core(0), core(1, slowed=range(GROUPS), by=2.0, chain_by=2.0)
    big.core, little.core = CoreOfHost(0, (0,), "core"), CoreOfHost(1, (1,), "atom")
    kinds = judged(big, little, per_cycle=None).peak.evidence["kinds"]
    assert kinds["core"]["cores"] == kinds["atom"]["cores"] == 1
    assert kinds["core"]["best_rate"] == pytest.approx(2 * kinds["atom"]["best_rate"], rel=1e-3)
    assert kinds["atom"]["operations_per_cycle"] == pytest.approx(PER_CYCLE, rel=1e-3)


def test_every_component_names_its_source_and_the_counting_has_no_doubt() -> None:
    result = judged(core())
    for measurement in (result.sustained, result.peak):
        components = {component.name: component for component in measurement.components}
        assert all(component.source and component.kind == "B" for component in components.values())
        assert components["operations"].half_width == 0
        assert components["time base"].half_width == pytest.approx(5e-4)
    named = {component.name: component for component in result.sustained.components}
    assert 0 <= (named["window edges"].half_width or 0) < 0.001
    assert 0 < (named["the measurement's own work"].half_width or 0) < 0.05


def test_both_measurements_survive_their_record() -> None:
    result = judged(core(0), core(1))
    for measurement in (result.sustained, result.peak):
        again = from_plain(type(measurement), to_plain(measurement))
        assert again.value == pytest.approx(measurement.value)
        assert again.evidence == measurement.evidence
        assert again.runs == measurement.runs


def test_cores_that_others_had_for_more_than_a_fifth_of_the_time_give_no_rate_of_theirs() -> None:
    assert "end them" in taken_away(0.19, 1.0)
    assert "end them" in taken_away(0.79, 1.0)
    assert taken_away(0.81, 1.0) == ""
    # A quota is not somebody else: what it leaves is what there is, and no more than that is excused.
    assert taken_away(0.45, 0.5) == ""
    assert "end them" in taken_away(0.3, 0.5)

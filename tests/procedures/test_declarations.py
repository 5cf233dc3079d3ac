"""What a report says to add to the bench file brings a verdict to that very point, and to no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import aicalib_hw as hw
from aicalib_hw import procedures
from aicalib_hw._bench_file import IndicationEntry
from aicalib_hw._bench_plans import Plans, PowerPlan
from aicalib_hw._bench_statements import contradictions
from aicalib_hw.bench import InferencePlan, load_bench
from aicalib_hw.definitions import DEFINITIONS
from aicalib_hw.errors import BenchError
from aicalib_hw.metrology import Calibration, Result, Verdict
from aicalib_hw.metrology.budget import evaluate, type_a
from aicalib_hw.metrology.indications import declaration
from aicalib_hw.procedures._point import decided
from aicalib_hw.procedures.inference import _points
from aicalib_hw.readings import Validity

BENCH = """
[bench]
name = "everything"

[decision]
rule = "simple"

[instruments]
cpu = { driver = "cpu", address = "cpu://local" }
meter = { driver = "yokogawa-wt300", simulator = "yokogawa-wt300" }
tester = { driver = "xena", simulator = "xena" }
disk = { driver = "fio", simulator = "fio" }
training = { driver = "log", simulator = "training", options = { framework = "megatron", load = 0.0 } }

[instruments.service]
driver = "openai"
simulator = "openai"
options = { stream_rate = 2.5, first_token = 0.02, follows_platform = false }

[load]
source = "world"

[world]
rate = 10.0

[plan.compute]
duration = 0.2
runs = 2
warm_up = 0
gemm = false

[plan.power]
loads = [0.0, 1.0]
duration = 1.0
settle = 0
ranging_duration = 1.0
energy_duration = 1

[plan.network]
frame_sizes = [64, 1518]
directions = ["forward", "backward", "both"]
duration = 0.2
warm_up = 0
settle = 0.05

[plan.storage]
patterns = ["sequential-read", "checkpoint-write"]
size = 16_777_216
duration = 5
warm_up = 0

[plan.inference]
input_tokens = 16
output_tokens = 8
concurrency = [2, 4]
request_rates = [4.0]
duration = 0.8
warm_up = 0
headroom = 1.0
failure_rate = 1.0
parameters = 1_000_000

[plan.training]
global_batch = 16
sequence_length = 4096
warm_up_steps = 2
steps = 4
parameters = 1_000_000
"""
SHORTER = {
    "inference": {"plan": InferencePlan(input_tokens=16, output_tokens=4, concurrency=(2,), duration=0.3, warm_up=0.0,
                                        headroom=1.0, failure_rate=1.0, parameters=1_000_000)}
}  # fmt: skip
MEASURED = ("compute", "power", "network", "storage", "inference", "training")
QUANTITIES = (*MEASURED, "energy", "effective_compute")
SHARES = [one for one in DEFINITIONS if one.startswith("effective-compute/")]
LIMITS = "".join(
    f'\n[permissible_errors.{quantity}]\nvalue = 0.1\nkind = "relative"\nsource = "this test"\n'
    for quantity in QUANTITIES
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Result]]:
    """Every point of every quantity, measured once without an indication.

    Whether a busy host let it measure well is no matter here: each is then given a value that is sound. A service is
    measured under one of the loads that the procedure would apply, and shares of effective compute stand here by their
    definitions: both take long.
    """
    path = tmp_path_factory.mktemp("bench") / "everything.toml"
    path.write_text(BENCH + LIMITS, encoding="utf-8")
    with hw.open_bench(path, simulate=True) as bench:

        def measured(quantity: str) -> tuple[Result, ...]:
            calibration: Calibration = getattr(procedures, f"calibrate_{quantity}")(bench, **SHORTER.get(quantity, {}))
            return calibration.results

        with ThreadPoolExecutor() as side_by_side:
            found = [result for results in side_by_side.map(measured, MEASURED) for result in results]
        found += procedures.calibrate_compute(bench, precision="fp64").results
        loads = _points(bench.the("inference_service"), bench.settings.plan.inference)
    service = [result for result in found if result.quantity == "inference"]
    found = [result for result in found if result not in service]
    found += [replace(result, conditions=load.conditions) for load in loads for result in service]
    found += [_of(found[0], "effective_compute", definition, "%") for definition in SHARES]
    return path, [_sound(result, 1234.5 + index) for index, result in enumerate(found)]


def _of(result: Result, quantity: str, definition: str, unit: str) -> Result:
    measured = replace(result.measurement, quantity=quantity, definition=definition, unit=unit)
    return replace(result, quantity=quantity, definition=definition, measurement=measured)


def _sound(result: Result, value: float) -> Result:
    unit = result.measurement.unit
    measured = replace(result.measurement, value=value, validity=Validity())
    return replace(
        result, measurement=measured, validity=Validity(), evaluation=evaluate(value, unit, (type_a([1, 2, 3], unit),))
    )


def pasted(path: Path, *snippets: str) -> SimpleNamespace:
    """A bench whose file has these lines at its end."""
    file = path.with_name("pasted.toml")
    file.write_text("\n".join([BENCH + LIMITS, *snippets]), encoding="utf-8")
    return SimpleNamespace(settings=load_bench(file), name="everything")


def again(bench: SimpleNamespace, result: Result) -> Result:
    """The same measurement decided on by another bench file."""
    return decided(
        bench,
        result.measurement,
        result.evaluation,
        title=result.title,
        asked_load=result.asked_load,
        conditions=result.conditions,
    )


def filled(result: Result) -> str:
    """What the report says to add, with what was measured for the value that the platform would state."""
    assert result.evaluation is not None
    lines = declaration(result).splitlines()
    unit = next(line for line in lines if line.startswith("unit = ")).partition("= ")[2].strip('"')
    value = hw.units.convert(result.evaluation.value, result.evaluation.unit, unit)
    return "\n".join(lines).replace("value = …", f"value = {value!r}").replace("…", "its display")


def test_each_declaration_brings_a_verdict_to_its_point_and_to_no_other(results: tuple[Path, list[Result]]) -> None:
    path, measured = results
    assert {result.quantity for result in measured} == set(QUANTITIES)
    assert all(result.decision.verdict is Verdict.NOT_EVALUATED for result in measured)
    for result in measured:
        bench = pasted(path, filled(result))
        judged = {id(one) for one in measured if again(bench, one).indication is not None}
        assert judged == {id(result)}, (result.quantity, result.title)
        assert again(bench, result).decision.verdict is Verdict.PASS


def test_the_declarations_of_all_points_stand_beside_each_other(results: tuple[Path, list[Result]]) -> None:
    path, measured = results
    bench = pasted(path, *map(filled, measured))
    assert [again(bench, one).decision.verdict for one in measured] == [Verdict.PASS] * len(measured)


def test_two_of_one_point_are_found_before_anything_is_measured(results: tuple[Path, list[Result]]) -> None:
    path, measured = results
    for result in measured:
        with pytest.raises(BenchError, match="speak of the same point"):
            pasted(path, filled(result), filled(result))
    loose = "\n".join(line for line in filled(measured[0]).splitlines() if not line.startswith("definition"))
    with pytest.raises(BenchError, match="speak of the same point") as caught:
        pasted(path, loose, filled(measured[0]))
    assert [problem.key for problem in caught.value.problems] == ["indications[1]"]


SAID = '[[indications]]\nquantity = "inference"\nvalue = 980\nunit = "token/s"\nsource = "display"\n'


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        ("", "indications[0]", "add concurrency = 2 or concurrency = 4 or request_rate = 4"),
        ("concurrency = 40\n", "indications[0].concurrency", "did you mean '4'?"),
        ("request_rate = 9.5\n", "indications[0].request_rate", "plan.inference.request_rates has 4.0"),
    ],
)
def test_what_would_be_held_against_another_load_or_none_is_refused(
    tmp_path: Path, line: str, key: str, text: str
) -> None:
    with pytest.raises(BenchError) as caught:
        pasted(tmp_path / "b.toml", SAID + line)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert text in str(problem)


@pytest.mark.parametrize(
    "line",
    ['definition = "token/output/engine-counter/window"\n', "concurrency = 4\n", "request_rate = 4\n"],
)
def test_what_can_only_be_said_of_one_point_is_taken_and_the_counters_of_an_engine_know_no_load(
    tmp_path: Path, line: str
) -> None:
    assert len(pasted(tmp_path / "b.toml", SAID + line).settings.indications) == 1


def test_a_load_that_is_written_shorter_than_the_plan_has_it_is_the_same_one_before_measuring_too() -> None:
    def said(load: float) -> IndicationEntry:
        return IndicationEntry(quantity="power", value=300.0, unit="W", source="display", load=load)

    plan = Plans(power=PowerPlan(loads=(0.0, 1 / 3, 1.0)))
    assert list(contradictions([said(0.333)], plan)) == []
    (problem,) = contradictions([said(0.32)], plan)
    assert problem.key == "indications[0].load"


def test_a_contradiction_that_no_check_could_find_takes_nothing_of_what_was_measured(
    results: tuple[Path, list[Result]],
) -> None:
    path, measured = results
    result = next(one for one in measured if one.quantity == "power")
    bench = pasted(path, filled(result))
    (said,) = bench.settings.indications
    other = said.model_copy(update={"value": 2 * said.value})
    bench.settings = bench.settings.model_copy(update={"indications": (said, other)})
    judged = again(bench, result)
    assert judged.decision.verdict is Verdict.NOT_EVALUATED
    assert "2 indications of power fit one point" in judged.decision.reason
    assert judged.evaluation == result.evaluation
    assert again(bench, next(one for one in measured if one.quantity == "network")).evaluation is not None


def test_an_indication_in_a_unit_of_something_else_takes_nothing_either(results: tuple[Path, list[Result]]) -> None:
    path, measured = results
    result = measured[0]
    bench = pasted(path, filled(result))
    (said,) = bench.settings.indications
    bench.settings = bench.settings.model_copy(update={"indications": (said.model_copy(update={"unit": "OP/s"}),)})
    judged = again(bench, result)
    assert judged.indication is None
    assert judged.evaluation == result.evaluation
    assert judged.decision.verdict is Verdict.NOT_EVALUATED
    assert "cannot convert 'OP/s'" in judged.decision.reason

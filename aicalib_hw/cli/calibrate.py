"""`aicalib calibrate [BENCH]`: every quantity the bench can measure, on the screen, in a record and in a report."""

from __future__ import annotations

import contextlib
import datetime
import enum
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicalib_hw.cli._needed import ROLE_OF, WORKLOADS, with_needed

if TYPE_CHECKING:
    from aicalib_hw.bench import Bench, BenchFile
    from aicalib_hw.cli._session import Session, Step


class PlanName(enum.StrEnum):
    """How long and how often is measured."""

    DEFAULT = "default"
    SPECIFICATION = "specification"


class MeasuredQuantity(enum.StrEnum):
    """The quantities that a procedure of this version measures."""

    COMPUTE = "compute"
    POWER = "power"
    NETWORK = "network"
    STORAGE = "storage"
    INFERENCE = "inference"
    TRAINING = "training"
    EFFECTIVE_COMPUTE = "effective_compute"


def _quantity(text: str) -> MeasuredQuantity:
    """Return the quantity of this name; raises ValueError for any other."""
    if text == "energy":
        raise ValueError("energy is measured with power: --quantity power")
    if text not in list(MeasuredQuantity):
        raise ValueError(f"{text!r} is not one of {', '.join(map(repr, map(str, MeasuredQuantity)))}")
    return MeasuredQuantity(text)


class PathName(enum.StrEnum):
    """What computes: vector units, matrix units by our own kernels, or a library's matrix product."""

    VECTOR = "vector"
    MATRIX = "matrix"
    GEMM = "gemm"


class RuleName(enum.StrEnum):
    """The decision rules."""

    JJF1094 = "jjf1094"
    NONBINARY_U = "nonbinary_u"
    SIMPLE = "simple"
    NONE = "none"


def run(
    bench: Annotated[str, typer.Argument(help="Name of a bench, or path to a .toml file.")] = "this-machine",
    plan: Annotated[
        PlanName,
        typer.Option(help="How long and how often: the bench's own, or 6 runs of 60 s a point (tokens: 600 s)."),
    ] = PlanName.DEFAULT,
    quantity: Annotated[
        list[MeasuredQuantity] | None,
        typer.Option(
            parser=_quantity,
            metavar="|".join(MeasuredQuantity),
            help="Measure only this; may be repeated; energy comes with power. Default: all it can.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, fp64, bf16, int8, …; may be repeated. Default: the bench's.")
    ] = None,
    path: Annotated[
        PathName | None, typer.Option(help="Which units compute, for every precision. Default: the bench's.")
    ] = None,
    rule: Annotated[RuleName | None, typer.Option(help="Decision rule instead of the bench's.")] = None,
    sim: Annotated[
        bool, typer.Option("--sim", help="Use the simulator of every instrument that declares one.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New directory for record, report and trace.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
) -> None:
    """Calibrate: measure every quantity BENCH can, state value and uncertainty, and a verdict where one is due.

    Record, report and trace land in ./aicalib-results/TIME-BENCH/. Ctrl-C stops at once and keeps what was measured.
    """
    from rich.markup import escape

    from aicalib_hw.bench import load_bench, open_bench
    from aicalib_hw.cli import _screen
    from aicalib_hw.cli._interrupts import Interrupts
    from aicalib_hw.trace import Trace

    settings = _adjusted(load_bench(bench), plan, rule, path)
    if quantity:
        settings = with_needed(settings, [one.value for one in quantity], simulate=sim)
    remarks = _screen.remarks()
    if sim and (real := [name for name, entry in settings.instruments.items() if entry.simulator is None]):
        said = f"opened for real, as the bench file names no simulator: {', '.join(real)}"
        remarks.print(f"[yellow]{escape(said)}[/]", soft_wrap=True)
    session: Session | None = None
    with (
        Interrupts() as interrupts,
        _new_directory(output, settings.bench.name) as directory,
        Trace(directory / "trace.jsonl") as trace,
    ):
        try:
            with remarks.status(f"opening the instruments of {settings.bench.name}"):
                opened = open_bench(settings, simulate=sim, trace=trace)
            with opened:
                _announce(opened, plan)
                steps = _steps(opened, quantity, precision)
                session = _measure(opened, steps, directory / "record.sqlite", plan)
        except KeyboardInterrupt:
            if interrupts.received is None:
                raise
        if trace.failure is not None:
            remarks.print(f"[yellow]the trace is not whole: {trace.failure}[/]")
        status = _conclude(session, directory, settings, interrupts.exit_status, as_json=as_json)
    raise typer.Exit(status)


def _adjusted(settings: BenchFile, plan: PlanName, rule: RuleName | None, path: PathName | None = None) -> BenchFile:
    update: dict[str, Any] = {}
    plans = settings.plan
    if plan is PlanName.SPECIFICATION:
        plans = plans.model_copy(update={name: plan.specification() for name, plan in plans})
    if path is not None:
        plans = plans.model_copy(update={"compute": plans.compute.model_copy(update={"path": path.value})})
    update["plan"] = plans
    if rule is not None:
        update["decision"] = settings.decision.model_copy(update={"rule": rule.value})
    return settings.model_copy(update=update)


@contextlib.contextmanager
def _new_directory(output: Path | None, name: str) -> Iterator[Path]:
    """Make the directory for the results; in the end it is removed again if nothing was recorded in it.

    Raises UsageError for one that is not empty. A trace without a record is kept if it holds exchanges, and named on
    the screen.
    """
    from aicalib_hw.errors import UsageError

    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    directory = output if output is not None else Path("aicalib-results") / f"{stamp}-{name}"
    again = 1
    while output is None and directory.exists():  # a second calibration within the same second
        again += 1
        directory = directory.with_name(f"{stamp}-{name}-{again}")
    if there := sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []:
        several = f" and {len(there) - 3} more" if len(there) > 3 else ""
        raise UsageError(
            "the output directory is not empty",
            where=str(directory.absolute()),
            why=f"measured data is never overwritten or mixed, and it holds {', '.join(there[:3])}{several}",
            advice="name a new directory with --output",
        )
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
    finally:
        _leave(directory, made)


def _leave(directory: Path, made: Sequence[Path]) -> None:
    """Remove a trace that stayed empty without a record, and those of `made`, innermost first, that are empty then."""
    from aicalib_hw.cli import _screen

    trace = directory / "trace.jsonl"
    with contextlib.suppress(OSError):  # what cannot be removed must not stand before the error that is to be shown
        if [path.name for path in directory.iterdir()] == [trace.name]:
            if trace.stat().st_size:
                said = f"trace  {trace}, what was exchanged with the instruments"
                _screen.remarks().print(said, markup=False, soft_wrap=True)
                return
            trace.unlink()
        for path in made:
            path.rmdir()


def _announce(bench: Bench, plan: PlanName) -> None:
    from aicalib_hw.cli import _screen
    from aicalib_hw.trace import redacted

    screen = _screen.remarks()
    screen.print(f"[bold]{bench.settings.bench.title or bench.name}[/]  bench {bench.settings.origin}", soft_wrap=True)
    for name, instrument in bench.instruments.items():
        where = redacted(instrument.address)
        screen.print(f"  {name}: {instrument.identity} at {where}", markup=False, soft_wrap=True)
    for name, error in bench.left_out.items():
        remedy = f" ({error.advice})" if error.advice else ""
        screen.print(f"  {name}: left out, {error.what}{remedy}", markup=False, soft_wrap=True)
    if bench.settings.time_remark and bench.simulated:
        screen.print(f"[yellow]  {bench.settings.time_remark}[/]", soft_wrap=True)
    screen.print(f"  rule {bench.settings.decision.rule}, plan {plan}")


def _steps(
    bench: Bench, quantities: Sequence[MeasuredQuantity] | None, precisions: Sequence[str] | None
) -> dict[str, Step]:
    """The procedures to run, by title: all that the bench can measure, or what was asked for."""
    from aicalib_hw import procedures
    from aicalib_hw.errors import UsageError

    able = [MeasuredQuantity(quantity) for quantity, role in ROLE_OF.items() if bench.of_role(role)]
    if bench.of_role("accelerator") and any(bench.of_role(role) for role in WORKLOADS):
        able.append(MeasuredQuantity.EFFECTIVE_COMPUTE)
    impossible = [quantity for quantity in quantities or () if quantity not in able]
    if impossible or not able:
        raise UsageError(
            f"bench {bench.name!r} cannot measure {', '.join(impossible) or 'anything'}",
            where=f"{bench.settings.origin}: instruments",
            why=f"its instruments measure {', '.join(able) or 'nothing that a procedure knows'}",
            advice="; ".join(
                [
                    *(f"for {quantity} add a {role}" for quantity, role in ROLE_OF.items()),
                    f"for {MeasuredQuantity.EFFECTIVE_COMPUTE} add an accelerator and a {' or '.join(WORKLOADS)}",
                ]
            ),
        )
    steps: dict[str, Step] = {}
    asked = [quantity for quantity in able if quantity in (quantities or able)]
    # It takes the workload's time once more, and has to be told what its operations are: only where its plan says so.
    effective = bench.settings.plan.effective_compute
    if not quantities and not effective.workloads and effective.parameters is None:
        asked = [quantity for quantity in asked if quantity is not MeasuredQuantity.EFFECTIVE_COMPUTE]
    if MeasuredQuantity.COMPUTE in asked:
        for precision in _precisions(bench, precisions):
            measure: Any = partial(procedures.calibrate_compute, bench, precision=precision)
            steps[f"compute {precision}"] = measure
    if MeasuredQuantity.POWER in asked:
        steps["power"] = partial(procedures.calibrate_power, bench)
    if MeasuredQuantity.NETWORK in asked:
        steps["network"] = partial(procedures.calibrate_network, bench)
    if MeasuredQuantity.STORAGE in asked:
        steps["storage"] = partial(procedures.calibrate_storage, bench)
    if MeasuredQuantity.INFERENCE in asked:
        steps["inference"] = partial(procedures.calibrate_inference, bench)
    if MeasuredQuantity.TRAINING in asked:
        steps["training"] = partial(procedures.calibrate_training, bench)
    if MeasuredQuantity.EFFECTIVE_COMPUTE in asked:
        steps["effective compute"] = partial(procedures.calibrate_effective_compute, bench)
    return steps


def _precisions(bench: Bench, asked: Sequence[str] | None) -> Sequence[str]:
    """The precisions to measure, in order; refuses, before anything is measured, what no accelerator can compute."""
    from aicalib_hw.errors import NotSupported

    path = bench.settings.plan.compute.path
    precisions = list(dict.fromkeys(asked or [bench.settings.plan.compute.precision]))
    accelerators = bench.of_role("accelerator")
    supports = [
        support.precision
        for accelerator in accelerators
        for support in accelerator.capabilities.supports
        if support.path == path
    ]
    known = ", ".join(dict.fromkeys(supports))
    others = dict.fromkeys(
        support.path for accelerator in accelerators for support in accelerator.capabilities.supports
    )
    for precision in precisions:
        if precision not in supports:
            models = ", ".join(dict.fromkeys(accelerator.identity.model for accelerator in accelerators))
            raise NotSupported(
                f"nothing here computes in {precision} by the path {path!r}: {models}",
                where=f"{' '.join(accelerator.address for accelerator in accelerators)}, --precision {precision}",
                why=f"by this path there are: {known or 'none'}",
                advice=f"choose one of: {known}" if known else f"choose another path: {', '.join(others) or 'none'}",
            )
    return precisions


def _measure(bench: Bench, steps: dict[str, Step], record: Path, plan: PlanName) -> Session:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from aicalib_hw.cli import _screen
    from aicalib_hw.cli._session import Session

    columns = (TextColumn("{task.fields[title]}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(
        *columns, TimeElapsedColumn(), TextColumn("{task.description}"), console=_screen.remarks(), transient=True
    ) as bars:
        tasks = {title: bars.add_task("waiting", title=title, total=1.0, start=False) for title in steps}

        def show(title: str, done: float, note: str) -> None:
            bars.start_task(tasks[title])
            bars.update(tasks[title], completed=done, description=note)

        stated = {"name": plan.value, **bench.settings.plan.model_dump(mode="json")}
        session = Session(bench, steps, record=record, plan=stated, progress=show)
        try:
            session.run()
        except KeyboardInterrupt:
            _screen.remarks().print("stopping …")
            if not session.abort():
                _screen.remarks().print("[red]an instrument did not stop in time; `aicalib release` may be needed[/]")
    return session


def _conclude(session: Session | None, directory: Path, settings: BenchFile, interrupted: int, *, as_json: bool) -> int:
    """Show results, what could not be given back, and where all lies, and return the exit status."""
    from rich.markup import escape

    from aicalib_hw.cli import _problems, _results, _screen
    from aicalib_hw.cli._session import all_valid, verdict_failed

    calibrations = session.calibrations if session is not None else []
    record, report = directory / "record.sqlite", directory / "report.html"
    status = 0
    if interrupted:
        status = interrupted
    elif session is not None and session.error is not None:
        if not isinstance(session.error, Exception):
            raise session.error
        status = _problems.show(session.error)
    elif not all_valid(calibrations):
        status = 3
    elif verdict_failed(calibrations):
        status = 1
    not_released = list(session.released.failures) if session is not None and session.released is not None else []
    for failure in not_released:
        _screen.remarks().print(f"[yellow]not given back: {escape(failure)}[/]", soft_wrap=True)
    written = bool(record.is_file() and not interrupted and _write_report(record, report))
    simulated = any(result.simulated for calibration in calibrations for result in calibration.results)
    remark = settings.time_remark if simulated else ""
    if as_json:
        _screen.print_json(
            {
                "bench": settings.bench.name,
                "rule": settings.decision.rule,
                "results": _results.as_plain(calibrations),
                "notes": [note for calibration in calibrations for note in calibration.notes],
                "not_given_back": not_released,
                "remark_on_times": remark or None,
                "record": str(record) if record.is_file() else None,
                "report": str(report) if written else None,
                "exit_status": status,
            }
        )
        return status
    screen = _screen.output()
    for calibration in calibrations:
        screen.print(_results.table_of(calibration))
    if remark:
        screen.print(f"\n[yellow]{remark}[/]")
    if hint := _results.how_to_declare(calibrations, settings.origin):
        screen.print(hint, markup=False, soft_wrap=True)
    if record.is_file():
        screen.print(f"\nrecord  {record}", soft_wrap=True)
    if written:
        screen.print(f"report  {report}", soft_wrap=True)
    elif record.is_file():
        screen.print(f"no report yet; write it with: aicalib report {record}", soft_wrap=True)
    if told := _results.conclusion(calibrations):
        screen.print(f"\n[bold red]{told}[/] (exit status {status})")
    return status


def _write_report(record: Path, report: Path) -> bool:
    """Write the report; what goes wrong there is shown and takes nothing of the calibration back."""
    from aicalib_hw.cli import _problems, _screen
    from aicalib_hw.reports.html import write_report

    try:
        with _screen.remarks().status("writing the report"):
            write_report(record, report)
    except Exception as error:  # noqa: BLE001 - the record is safe, and the report can be written again
        _problems.show(error)
        return False
    return True

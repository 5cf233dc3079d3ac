"""Network: the rate that a port carries (specification, procedure 2).

Assumed, as the specification leaves it open: layer and frame sizes, full offered load, the gate of the tester,
both directions one after the other and together, a warm-up that is discarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aicalib_hw import rates
from aicalib_hw.errors import LinkDown, UsageError
from aicalib_hw.interfaces import EffectiveConfig, Gate, NetworkTester, PortInfo, Progress, Rate, Reservation, Stream
from aicalib_hw.interfaces.network_tester import Layer
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.certificates import TIME_BASE, points_in_range
from aicalib_hw.procedures._bystanders import others_told
from aicalib_hw.procedures._certified import certificate_of, certified, notes_on
from aicalib_hw.procedures._point import largest_components, make_point, worth_repeating
from aicalib_hw.readings import Measurement, to_plain

OWNER = "aicalib calibration"

_MOST_LOSS = 1e-3
"""Share of frames that may be lost before a point says so among its remarks."""


@dataclass(frozen=True, slots=True)
class _Point:
    """One point: its title, the streams that run at a time, and the direction as the plan calls it."""

    title: str
    streams: tuple[Stream, ...]
    direction: str


def calibrate_network(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the rate that two ports carry, bit/s at the layer of the plan, at each frame size and direction.

    bench: an opened bench with one network tester. plan: a NetworkPlan, None = the bench's. record: gets every
    run as it ends; one that cannot be used is repeated, within a bound. A tester of layer 4 (iperf3) has no frame
    sizes and is measured at layer 4. Traffic is stopped and the ports are given back on every way out. Raises
    UsageError for a certificate of another layer or line rate, LinkDown, LockedByOther, OutOfRange, Aborted.
    """
    plan = plan or bench.settings.plan.network
    report = progress or (lambda done, note: None)
    tester: NetworkTester = bench.the("network_tester")
    certificate = certificate_of(bench, tester)
    pair = _pair(tester, plan)
    layer = _layer(tester, plan)
    if certificate is not None:
        points_in_range(certificate, "network", "bit/s", pair[0].speed, layer=layer)
    points = _points(tester, plan, pair)
    results: list[Result] = []
    with tester.reserve([port.port for port in pair], owner=OWNER) as reservation:
        for index, point in enumerate(points):

            def step(done: float, note: str, index: int = index) -> None:
                report((index + done) / len(points), note)

            results.append(_measure(bench, tester, reservation, point, plan, pair, certificate, record, step))
            if record is not None:
                record.result(results[-1])
    calibration = Calibration(
        quantity="network",
        results=tuple(results),
        plan={**plan.model_dump(mode="json"), "ports": [to_plain(port) for port in pair]},
        notes=(
            *notes_on(certificate),
            *(f"{result.title}: {remark}" for result in results for remark in result.measurement.evidence["remarks"]),
        ),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _layer(tester: NetworkTester, plan: Any) -> str:
    """The layer of the rates that are measured."""
    return "L4" if tester.capabilities.native_layer == "L4" else str(plan.layer)


def _pair(tester: NetworkTester, plan: Any) -> tuple[PortInfo, PortInfo]:
    """The two ports to measure between, as of now; both must have a link."""
    known = {port.port: port for port in tester.ports()}
    names = list(plan.ports) or list(known)[:2]
    if len(names) != 2 or any(name not in known for name in names):
        raise UsageError(
            f"two ports are needed to measure between, not {', '.join(names) or 'none'}",
            where=tester.address,
            why=f"the tester has {', '.join(known) or 'none'}",
            advice="name two under [plan.network] ports = […]",
        )
    pair = known[names[0]], known[names[1]]
    down = [port.port for port in pair if port.link_up is False]
    if down:
        raise LinkDown(
            f"port {', '.join(down)} has no link", where=tester.address, advice="check cable, transceiver, FEC"
        )
    return pair


def _points(tester: NetworkTester, plan: Any, pair: tuple[PortInfo, PortInfo]) -> list[_Point]:
    there, back = pair[0].port, pair[1].port
    layer_4 = _layer(tester, plan) == "L4"
    sizes: Sequence[int] = [1518] if layer_4 else plan.frame_sizes
    points = []
    for size in sizes:
        forward = Stream(f"{there} to {back}", there, back, size, plan.load)
        backward = Stream(f"{back} to {there}", back, there, size, plan.load)
        chosen = {"forward": (forward,), "backward": (backward,), "both": (forward, backward)}
        for direction in plan.directions:
            streams = chosen[direction]
            way = "both ways" if len(streams) > 1 else streams[0].name
            points.append(_Point(f"{way}, layer 4" if layer_4 else f"{way}, {size} B", streams, direction))
    return points


def _measure(
    bench: Any,
    tester: NetworkTester,
    reservation: Reservation,
    point: _Point,
    plan: Any,
    pair: tuple[PortInfo, PortInfo],
    certificate: Any,
    record: Any,
    step: Progress,
) -> Result:
    """Set up the streams, let them run once for nothing, and measure the runs."""
    step(0.0, f"{point.title}, warming up")
    effective = reservation.configure(point.streams)
    gate = Gate("seconds", plan.duration)
    if plan.warm_up:
        reservation.measure_throughput(Gate("seconds", plan.warm_up), settle=plan.settle)
    measured: list[Measurement] = []
    while len(measured) < plan.runs or worth_repeating(measured, plan.runs):
        number = len(measured)
        step(min(1.0, (1 + number) / (1 + plan.runs)), f"{point.title}, run {number + 1} of {plan.runs}")
        run = reservation.measure_throughput(gate, settle=plan.settle)
        if record is not None:
            record.measurement(run)
        measured.append(
            certified(
                at_layer(run, plan.layer),
                certificate,
                full_scale=pair[0].speed,
                # A gate that this host times hangs on a clock that the tester's certificate says nothing of.
                limits=(TIME_BASE,) if run.evidence.get("gate_source") == "instrument" else (),
                layer=_layer(tester, plan),
            )
        )
    return make_point(
        bench,
        measured,
        title=point.title,
        conditions={"direction": point.direction},
        components=largest_components(measured),
        evidence={
            "streams": [run.evidence.get("streams") for run in measured],
            "gate_source": measured[0].evidence.get("gate_source"),
            **others_told([run.evidence for run in measured]),
            **_counts(measured),
            "effective": [_said(stream) for stream in effective.streams],
            "line_rate": [port.speed for port in pair],
            "fec": [port.fec for port in pair] if any(port.fec for port in pair) else None,
            "remarks": _remarks(effective, measured),
        },
        reasons=(f"the tester changed the streams: {'; '.join(effective.differences)}",)
        if _changed(effective, tester)
        else (),
    )


def at_layer(run: Measurement, layer: Layer) -> Measurement:
    """Return a measurement of layer 2 with FCS as one of another layer, by its frame size and the gap in force.

    One of layer 4 stays what it is: what programs get cannot be told from frames, nor the other way round.
    """
    _, present, size, *rest = run.definition.split("/")
    if present == "L4" or present == layer:
        return run
    definition = "/".join(("rate", layer, size, *rest))
    if run.value is None:
        return replace(run, definition=definition)
    frame = rates.Frame(int(size.removesuffix("B")), gap=run.evidence["gap_B"])
    origin: Layer = "L2-fcs"

    def converted(value: float | int | None) -> float | None:
        return None if value is None else rates.convert(float(value), origin, layer, frame)

    return replace(
        run,
        value=converted(run.value),
        definition=definition,
        runs=tuple(replace(one, value=converted(one.value)) for one in run.runs),
    )


def _counts(measured: Sequence[Measurement]) -> dict[str, list[int]]:
    """The frames of every run and stream, in this order, where the tester counts them."""
    counted = [one for run in measured for one in (run.evidence.get("streams") or {}).values()]
    if not counted:
        return {}
    return {"frames_sent": [one["sent"] for one in counted], "frames_received": [one["received"] for one in counted]}


def _said(stream: Stream) -> str:
    load = stream.load
    offered = f"{load.value:g} bit/s of {load.layer}" if isinstance(load, Rate) else f"{100 * load:.6g} % of the line"
    return f"{stream.name}: {stream.frame_size} B, {offered}"


def _changed(effective: EffectiveConfig, tester: NetworkTester) -> bool:
    return bool(effective.differences) and tester.capabilities.native_layer != "L4"


def _remarks(effective: EffectiveConfig, measured: Sequence[Measurement]) -> list[str]:
    found = [
        *effective.differences,
        *dict.fromkeys(remark for run in measured for remark in run.evidence.get("remarks", ())),
    ]
    losses = [
        (name, counted["loss_ratio"])
        for run in measured
        for name, counted in (run.evidence.get("streams") or {}).items()
        if counted["loss_ratio"]
    ]
    worst: Mapping[str, float] = {name: max(loss for who, loss in losses if who == name) for name, _ in losses}
    several = any(len(run.evidence.get("streams") or {}) > 1 for run in measured)
    found += [
        f"up to {loss:.3%} of the frames were lost" + (f" on {name}" if several else "")
        for name, loss in worst.items()
        if loss > _MOST_LOSS
    ]
    return found

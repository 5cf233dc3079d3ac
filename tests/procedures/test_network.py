"""The network procedure: over loopback with real iperf3, and the arithmetic of layers against published tables."""

from __future__ import annotations

import datetime
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import NetworkPlan, load_bench
from aicalib_hw.errors import BenchError, InstrumentError, MissingProgram, UsageError
from aicalib_hw.metrology import Verdict
from aicalib_hw.procedures import calibrate_network
from aicalib_hw.procedures.network import at_layer
from aicalib_hw.readings import Instant, Measurement, Run, ValidityStatus, Window
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record

BENCH = """
[bench]
name = "loopback"

[instruments.tester]
driver = "iperf3"
address = "{address}"
optional = {optional}

[plan.network]
duration = 1.0
directions = ["forward", "backward"]
warm_up = 0
"""


@pytest.fixture
def bench_file(tmp_path: Path) -> Callable[..., Path]:
    def write(address: str = "iperf3://127.0.0.1?serve=yes&omit=0", optional: bool = False) -> Path:
        path = tmp_path / "loopback.toml"
        path.write_text(BENCH.format(address=address, optional=str(optional).lower()))
        return path

    return write


def test_real_traffic_over_loopback_is_measured_recorded_and_called_what_it_is(
    bench_file: Callable[..., Path], tmp_path: Path
) -> None:
    if not shutil.which("iperf3"):
        pytest.skip("iperf3 is not installed: sudo apt-get install iperf3")
    settings = load_bench(bench_file())
    with (
        hw.open_bench(settings) as bench,
        Record.create(tmp_path / "record.sqlite", title="loopback", bench={}, rule="none", plan={}) as record,
    ):
        calibration = calibrate_network(bench, record=record)
    assert [result.title for result in calibration.results] == ["local to remote, layer 4", "remote to local, layer 4"]
    for result in calibration.results:
        assert result.validity
        assert result.evaluation is not None
        assert result.decision.verdict is Verdict.NOT_EVALUATED
        assert result.definition == "rate/L4/tcp/unidirectional"
        used = [run.value for run in result.measurement.runs if run.used and run.value is not None]
        assert len(used) >= 3
        assert min(used) <= result.evaluation.value <= max(used)
        assert result.evaluation.value > 1e8
        assert not result.simulated
    assert any("loopback" in note for note in calibration.notes)
    contents = read_record(tmp_path / "record.sqlite")
    assert len(contents.results) == 2


def test_an_optional_instrument_is_left_out_where_its_program_is_missing(bench_file: Callable[..., Path]) -> None:
    address = "iperf3://127.0.0.1?program=iperf3-is-not-here"
    with hw.open_bench(bench_file(address, optional=True)) as bench:
        assert bench.instruments == {}
        assert isinstance(bench.left_out["tester"], MissingProgram)
        with pytest.raises(BenchError, match="network_tester"):
            calibrate_network(bench)
    with pytest.raises(MissingProgram):
        hw.open_bench(bench_file(address))


def test_an_optional_instrument_that_is_wrong_is_an_error_all_the_same(bench_file: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="windowsize"):
        hw.open_bench(bench_file("iperf3://127.0.0.1?windowsize=1", optional=True))


@pytest.mark.parametrize("ports", [("local", "there"), ("local", "local2"), ("local",)])
def test_ports_that_the_tester_lacks_are_refused(bench_file: Callable[..., Path], ports: tuple[str, ...]) -> None:
    if not shutil.which("iperf3"):
        pytest.skip("iperf3 is not installed: sudo apt-get install iperf3")
    with hw.open_bench(bench_file()) as bench, pytest.raises(UsageError, match="two ports") as refused:
        calibrate_network(bench, plan=NetworkPlan(ports=ports))
    assert "local, remote" in str(refused.value)


SIMULATED = """
[bench]
name = "port"
[decision]
rule = "jjf1094"
[instruments.tester]
driver = "{driver}"
simulator = "{driver}"
timeout = 1.0
[world]
rate = {rate}
[plan.network]
frame_sizes = [64, 9018]
directions = ["forward"]
duration = {duration}
warm_up = 0.0
settle = 0.05
layer = "{layer}"
[permissible_errors.network]
value = 0.01
kind = "relative"
source = "test"
[[indications]]
quantity = "network"
definition = "rate/{layer}/64B/unidirectional"
value = 612.0
unit = "Gbit/s"
source = "test"
[[indications]]
quantity = "network"
definition = "rate/{layer}/9018B/unidirectional"
value = 780.0
unit = "Gbit/s"
source = "test"
"""


def simulated(folder: Path, driver: str, *, rate: float = 50.0, duration: float = 1.0, layer: str = "L2-fcs") -> Path:
    path = folder / "port.toml"
    path.write_text(SIMULATED.format(driver=driver, rate=rate, duration=duration, layer=layer))
    return path


@pytest.mark.parametrize("driver", ["xena", "otg"])
def test_a_port_of_800_gbit_gets_its_rate_its_uncertainty_and_its_verdicts(driver: str, tmp_path: Path) -> None:
    with hw.open_bench(simulated(tmp_path, driver), simulate=True) as bench:
        small, large = calibrate_network(bench).results
    for result, true in ((small, 609.5238095e9), (large, 798.2296968e9)):
        assert result.validity
        assert result.evaluation is not None
        assert abs(result.evaluation.value - true) <= result.evaluation.expanded_uncertainty < 2e-4 * true
    assert (small.decision.verdict, large.decision.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert len(small.measurement.evidence["frames_received"]) == len(small.measurement.runs) == 3
    assert small.measurement.evidence["frames_sent"] == small.measurement.evidence["frames_received"]
    assert small.measurement.evidence["effective"][0].endswith("64 B, 100 % of the line")
    assert large.decision.relative_error == pytest.approx(780 / 798.2296968 - 1, abs=1e-6)


EXPIRED = """
[instruments.tester.certificate]
number = "2019-1"
issuer = "lab"
calibrated_on = "2019-01-01"
valid_until = "2020-01-01"
[[instruments.tester.certificate.points]]
quantity = "network"
layer = "L2-fcs"
at = 0.0
correction = 0.0
expanded_uncertainty = 0.1
unit = "Gbit/s"
[[instruments.tester.certificate.points]]
quantity = "network"
layer = "L2-fcs"
at = 700.0
correction = 0.7
expanded_uncertainty = 0.1
unit = "Gbit/s"
"""


def test_a_certificate_that_has_expired_is_told_and_one_that_does_not_reach_a_point_leaves_it_without_verdict(
    tmp_path: Path,
) -> None:
    path = simulated(tmp_path, "xena")
    path.write_text(path.read_text() + EXPIRED)
    with hw.open_bench(path, simulate=True) as bench:
        calibration = calibrate_network(bench)
    assert any("2019-1 expired" in note for note in calibration.notes)
    small, large = calibration.results
    assert small.evaluation is not None
    assert small.evaluation.value == pytest.approx(609.5238095e9 * 1.001, rel=2e-4)
    assert (large.evaluation, large.decision.verdict) == (None, Verdict.NOT_EVALUATED)
    assert any("does not reach" in reason for reason in large.validity.reasons)


VALID = """
[instruments.tester.certificate]
number = "2026-1"
issuer = "lab"
calibrated_on = "{today}"
valid_until = "{today}"
{drift}
points = [
{{ quantity = "network", layer = "{layer}", at = 0, correction = 0, expanded_uncertainty = 4e-3, unit = "Gbit/s" }},
{{ quantity = "network", layer = "{layer}", at = 800, correction = 0.8, expanded_uncertainty = 4e-3, unit = "Gbit/s" }},
]
"""


def with_certificate(path: Path, layer: str = "L2-fcs", drift: str = "drift = 2e-6") -> Path:
    """Give a bench file a certificate that is valid today."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    path.write_text(path.read_text() + VALID.format(today=today, layer=layer, drift=drift))
    return path


def components_of(result: Any) -> dict[str, Any]:
    return {one.name: one for one in result.measurement.components}


@pytest.mark.parametrize(("drift", "limit"), [("drift = 2e-6", 2e-6), ("", 100e-6)])
def test_a_valid_certificate_and_a_drift_since_stand_instead_of_the_limit_of_the_testers_clock(
    drift: str, limit: float, tmp_path: Path
) -> None:
    with hw.open_bench(with_certificate(simulated(tmp_path, "xena"), drift=drift), simulate=True) as bench:
        small, _ = calibrate_network(bench).results
    stated = components_of(small)
    assert "time base of the gate" not in stated
    assert stated["certificate"].standard_uncertainty == pytest.approx(2e6)
    assert stated["drift since calibration"].half_width == pytest.approx(limit)
    assert small.evaluation is not None
    assert small.evaluation.value == pytest.approx(609.5238095e9 * 1.001, rel=1e-7)
    # The certificate's 0.002 Gbit/s, the drift, and the microsecond of the gate: root of the sum of squares, k = 2.
    gate = 1e-6
    wanted = 2 * (2e6**2 + (small.evaluation.value / 3**0.5) ** 2 * (limit**2 + gate**2)) ** 0.5
    assert small.evaluation.expanded_uncertainty == pytest.approx(wanted, rel=0.02)


def test_beside_an_expired_certificate_the_limit_of_the_testers_clock_stays(tmp_path: Path) -> None:
    path = simulated(tmp_path, "xena")
    path.write_text(path.read_text() + EXPIRED)
    with hw.open_bench(path, simulate=True) as bench:
        small, _ = calibrate_network(bench).results
    assert {"time base of the gate", "certificate"} <= components_of(small).keys()


@pytest.mark.parametrize(("certified", "measured"), [("L1", "L2-fcs"), ("L4", "L2-fcs"), ("L2-fcs", "L1")])
def test_a_certificate_of_another_layer_is_refused_before_anything_is_sent(
    certified: str, measured: str, tmp_path: Path
) -> None:
    path = with_certificate(simulated(tmp_path, "xena", layer=measured), layer=certified)
    with hw.open_bench(path, simulate=True) as bench:
        before = len(bench.simulated["tester"].exchanges)
        with pytest.raises(UsageError, match=f"no point of network at layer {measured}"):
            calibrate_network(bench)
        written = bench.simulated["tester"].exchanges[before:]
        assert not any(b"P_TRAFFIC ON" in data or b"C_TRAFFIC ON" in data for _, data in written)


@pytest.mark.parametrize(("quantity", "layer"), [("network", ""), ("power", 'layer = "L1", ')])
def test_a_point_of_a_network_tester_names_its_layer_and_no_other_point_has_one(
    quantity: str, layer: str, tmp_path: Path
) -> None:
    unit = "Gbit/s" if quantity == "network" else "W"
    path = with_certificate(simulated(tmp_path, "xena"))
    named = 'quantity = "network", layer = "L2-fcs", '
    path.write_text(
        path.read_text().replace(named, f'quantity = "{quantity}", {layer}').replace('Gbit/s" }', f'{unit}" }}')
    )
    with pytest.raises(BenchError, match="names the layer"):
        load_bench(path)


@pytest.mark.parametrize("layer", ["L1", "L2-fcs"])
def test_what_was_measured_before_a_tester_vanished_is_in_the_record_and_the_last_run_is_marked(
    layer: str, tmp_path: Path
) -> None:
    path = simulated(tmp_path, "xena", rate=1.0, duration=0.6, layer=layer)
    settings = load_bench(path)
    with (
        hw.open_bench(settings, simulate=True) as bench,
        Record.create(tmp_path / "record.sqlite", title="t", bench={}, rule="none", plan={}) as record,
    ):

        def vanish(done: float, note: str) -> None:
            if "run 3" in note:
                threading.Timer(0.3, bench.simulated["tester"].stop).start()

        with pytest.raises(InstrumentError):
            calibrate_network(bench, record=record, progress=vanish)
    contents = read_record(tmp_path / "record.sqlite")
    assert [one.validity.status for one in contents.measurements] == [
        ValidityStatus.VALID,
        ValidityStatus.VALID,
        ValidityStatus.ERROR,
    ]
    broken = contents.measurements[-1]
    assert broken.value is None
    assert int(broken.evidence["last_seen"]["streams"]["0/0 to 0/1"]["tx_frames"]) > 0


def of_layer_2(value: float | None, size: int) -> Measurement:
    now = Instant(0, 0)
    window = Window(now, now, "gate")
    identity = hw.Identity("maker", "model", "1", "1", "address")
    evidence: dict[str, Any] = {"gap_B": 20}
    definition = f"rate/L2-fcs/{size}B/unidirectional"
    return Measurement(
        "network", definition, value, "bit/s", window, identity, runs=(Run(value, window),), evidence=evidence
    )


@pytest.mark.parametrize(
    ("size", "layer_2"), [(64, 609.5238095238095e9), (1518, 789.5968790637191e9), (9018, 798.2296968356937e9)]
)
def test_a_rate_of_layer_2_is_stated_at_the_layer_that_was_asked_for(size: int, layer_2: float) -> None:
    measured = of_layer_2(layer_2, size)
    wire = at_layer(measured, "L1")
    assert wire.value == pytest.approx(800e9, rel=1e-12)
    assert wire.runs[0].value == wire.value
    assert wire.definition == f"rate/L1/{size}B/unidirectional"
    without = at_layer(measured, "L2-nofcs")
    assert without.value == pytest.approx(layer_2 * (size - 4) / size, rel=1e-12)
    assert at_layer(measured, "L2-fcs") is measured


def test_a_run_without_value_is_of_the_layer_of_those_it_stands_beside() -> None:
    empty = at_layer(of_layer_2(None, 64), "L1")
    assert (empty.value, empty.definition) == (None, "rate/L1/64B/unidirectional")
    assert empty.definition == at_layer(of_layer_2(1e9, 64), "L1").definition

"""An opened bench: what it holds, what it refuses, and that it gives everything back on every way out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw.bench import Bench, open_bench, release_bench, runtime_directory, simulate_bench
from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    BenchError,
    ConnectionFailed,
    IdentityMismatch,
    LockedByOther,
    OutOfRange,
)
from aicalib_hw.leases import LeaseBook
from tests import on_windows

CPU = """
[bench]
name = "lab"

[instruments.cpu]
driver = "cpu"
address = "cpu://local"
"""

METER = """
[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
"""


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def bench(directory: Path, text: str) -> Path:
    path = directory / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def held() -> list[str]:
    return [lease.address for lease in LeaseBook(runtime_directory()).held()]


def port_of(address: str) -> int:
    return int(address.split("::")[1].split(",")[1])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_what_is_opened_is_held_and_given_back(tmp_path: Path) -> None:
    with open_bench(bench(tmp_path, CPU)) as opened:
        assert opened.instruments["cpu"].is_open
        assert held() == ["cpu://local"]
    assert held() == []


def test_two_benches_never_hold_one_instrument(tmp_path: Path) -> None:
    path = bench(tmp_path, CPU)
    with open_bench(path):
        with pytest.raises(LockedByOther) as caught:
            open_bench(path)
        assert "instruments.cpu" in caught.value.where
        assert held() == ["cpu://local"]
    open_bench(path).close()


def test_when_one_instrument_fails_the_others_are_closed_again(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    lost = METER.replace('simulator = "yokogawa-wt300"', f'address = "TCPIP::127.0.0.1,{port}::inst0::INSTR"')
    before = threading.active_count()
    with pytest.raises(ConnectionFailed) as caught:
        open_bench(bench(tmp_path, CPU + lost))
    assert "instruments.meter" in caught.value.where
    assert held() == []
    assert threading.active_count() <= before


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    opened = open_bench(bench(tmp_path, CPU))
    assert opened.close()
    assert opened.close().actions == ()


def test_the_only_accelerator_loads_the_platform_and_closing_ends_the_load(tmp_path: Path) -> None:
    opened = open_bench(bench(tmp_path, CPU))
    load = opened.load.run_load(0.1)
    assert opened.load.source == "cpu"
    assert load.running
    report = opened.close()
    assert not load.running
    assert report


def test_abort_ends_a_measurement_within_a_second(tmp_path: Path) -> None:
    ended: list[float] = []
    with open_bench(bench(tmp_path, CPU)) as opened:
        cpu = opened.the("accelerator")

        def measure() -> None:
            with pytest.raises(Aborted):
                cpu.measure_peak("fp32", duration=30.0)
            ended.append(time.monotonic())

        worker = threading.Thread(target=measure)
        worker.start()
        time.sleep(0.3)
        asked = time.monotonic()
        opened.abort()
        worker.join(5)
    assert ended[0] - asked < 1.0


def test_a_role_that_nothing_on_the_bench_has_is_told_with_the_file(tmp_path: Path) -> None:
    with open_bench(bench(tmp_path, CPU)) as opened:
        assert opened.of_role("power_meter") == []
        with pytest.raises(BenchError) as caught:
            opened.the("power_meter")
        assert "lab.toml" in caught.value.where


def test_an_instrument_without_address_is_simulated_and_says_so(tmp_path: Path) -> None:
    with open_bench(bench(tmp_path, CPU + METER)) as opened:
        meter = opened.the("power_meter")
        assert meter.identity.simulated
        assert not opened.instruments["cpu"].identity.simulated
        assert opened.address_of("meter") == meter.address == opened.simulated["meter"].address
        assert held() == ["cpu://local"]
        port = port_of(meter.address)
        assert listens(port)
    assert not listens(port)


def test_simulation_swaps_the_address_and_nothing_else(tmp_path: Path) -> None:
    real = METER + 'address = "TCPIP::192.0.2.7::INSTR"\nsettings = { voltage_range = 150.0, current_range = 5.0 }\n'
    with open_bench(bench(tmp_path, '[bench]\nname = "lab"\n' + real), simulate=True) as opened:
        meter = opened.the("power_meter")
        assert "127.0.0.1" in meter.address
        assert meter.read().settings.voltage_range[0] == 150.0
        assert meter.read().settings.current_range[0] == 5.0


def test_an_instrument_is_opened_with_the_keywords_that_the_file_gives_its_driver(tmp_path: Path) -> None:
    options = 'driver_options = { query = "FETC:VOLT?", unit = "mW", update_interval = 0.5 }\n'
    with open_bench(
        bench(tmp_path, '[bench]\nname = "lab"\n' + METER.replace("yokogawa-wt300", "generic-meter") + options)
    ) as opened:
        meter = opened.the("power_meter")
        assert float(meter.read().active_power) == pytest.approx(0.230, rel=0.01)  # 230 V, which the file calls mW
        assert meter.snapshot()["update_interval"].value == 0.5


def test_what_was_left_behind_is_released_with_the_same_keywords(tmp_path: Path) -> None:
    meter = METER.replace("yokogawa-wt300", "zes-lmg600")
    with simulate_bench(bench(tmp_path, '[bench]\nname = "lab"\n' + meter)) as simulation:
        real = f'{meter}address = "{simulation.addresses["meter"]}"\ndriver_options = {{ reset = true }}\n'
        assert release_bench(bench(tmp_path, '[bench]\nname = "lab"\n' + real))["meter"]
        assert any(b"*rst" in data.lower() for way, data in simulation.instruments["meter"].exchanges if way == ">")


def test_a_bench_with_an_address_but_no_simulator_is_not_simulated(tmp_path: Path) -> None:
    with open_bench(bench(tmp_path, CPU), simulate=True) as opened:
        assert opened.world is None
        assert not opened.the("accelerator").identity.simulated


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ('identity = { model = "WT333E" }', IdentityMismatch, "WT333E"),
        ('identity = { maker = "HIOKI" }', IdentityMismatch, "HIOKI"),
        ("settings = { voltage_range = 1000 }", OutOfRange, "1000"),
        ('settings = { crest_factor = "5" }', OutOfRange, "5"),
        ('options = { model = "WT9999" }', BenchError, "WT9999"),
        ('options = { modell = "WT310E" }', BenchError, "'model'"),
    ],
)
def test_what_does_not_fit_the_instrument_is_told_with_its_place_and_leaves_nothing_running(
    tmp_path: Path, line: str, kind: type[AicalibError], text: str
) -> None:
    before = threading.active_count()
    with pytest.raises(kind, match=text) as caught:
        open_bench(bench(tmp_path, CPU + METER + line + "\n"))
    assert "lab.toml: instruments.meter" in caught.value.where
    assert held() == []
    assert threading.active_count() <= before


def test_an_expected_serial_is_not_asked_of_a_simulator_but_of_the_real_address(tmp_path: Path) -> None:
    text = '[bench]\nname = "lab"\n' + METER + 'identity = { serial = "C3SB12345V" }\n'
    open_bench(bench(tmp_path, text)).close()
    with simulate_bench(bench(tmp_path, text)) as simulation:
        address = f'address = "{simulation.addresses["meter"]}"\n'
        with pytest.raises(IdentityMismatch, match="C3SB12345V"):
            open_bench(bench(tmp_path, text + address))


@pytest.mark.parametrize(
    ("table", "key"),
    [("[world]\nsed = 1\n", "world.sed"), ('[world]\nseed = "one"\n', "world.seed")],
)
def test_what_is_wrong_with_the_world_is_told_with_file_and_key(tmp_path: Path, table: str, key: str) -> None:
    with pytest.raises(BenchError) as caught:
        open_bench(bench(tmp_path, CPU + METER + table))
    assert caught.value.where == f"{tmp_path / 'lab.toml'}: {key}"


def loaded_by(path: Path) -> str:
    with open_bench(path) as opened:
        return opened.load.source


@pytest.mark.parametrize("table", ['\n[load]\nsource = "world"\n', METER.replace("meter", "other", 1)])
def test_the_world_does_not_pass_for_the_load_of_a_meter_outside_of_it(tmp_path: Path, table: str) -> None:
    with simulate_bench(bench(tmp_path, '[bench]\nname = "elsewhere"\n' + METER)) as elsewhere:
        meter = METER.replace('simulator = "yokogawa-wt300"', f'address = "{elsewhere.addresses["meter"]}"')
        path = bench(tmp_path, '[bench]\nname = "lab"\n' + meter + table)
        with pytest.raises(BenchError, match="operator"):
            loaded_by(path)


def test_a_meter_outside_of_the_world_may_read_this_host_and_the_world_only_where_it_follows_it(tmp_path: Path) -> None:
    with simulate_bench(bench(tmp_path, '[bench]\nname = "elsewhere"\n' + METER)) as elsewhere:
        outside = METER.replace('simulator = "yokogawa-wt300"', f'address = "{elsewhere.addresses["meter"]}"')
        load = '\n[load]\nsource = "{}"\n'
        follows = '[world.platform]\nload_source = "host"\n'
        gpu = '[instruments.gpu]\ndriver = "nvidia"\nsimulator = "nvidia"\n'
        world = METER + load.format("world")
        metered = {}
        for text in (world, world + follows, outside + gpu + load.format("gpu"), METER + gpu + load.format("gpu")):
            with open_bench(bench(tmp_path, '[bench]\nname = "lab"\n' + text)) as opened:
                assert not opened.load.is_host
                metered[text] = opened.load.host_is_metered
    assert list(metered.values()) == [False, True, True, False]


def test_the_processors_of_this_host_are_the_load_of_a_bench_that_names_them(tmp_path: Path) -> None:
    text = '[bench]\nname = "lab"\n[instruments.cores]\ndriver = "cpu"\naddress = "cpu://local"\n' + METER
    with open_bench(bench(tmp_path, text)) as opened:
        assert opened.load.source == "cores"
        assert opened.load.is_host


def test_the_load_that_an_operator_states_is_there_and_not_measured(tmp_path: Path) -> None:
    text = '[bench]\nname = "lab"\n' + METER + '\n[load]\nsource = "operator"\n\n[plan.power]\nloads = [0.4]\n'
    with open_bench(bench(tmp_path, text)) as opened, opened.load.run_load(0.4) as load:
        assert (load.fraction, load.running, load.achieved(), load.others()) == (0.4, True, None, None)
        opened.load.stop()
        assert not load.running


def test_the_world_can_load_the_platform(tmp_path: Path) -> None:
    text = '[bench]\nname = "lab"\n' + METER + '\n[load]\nsource = "world"\n'
    with open_bench(bench(tmp_path, text)) as opened, opened.load.run_load(0.75) as load:
        assert opened.load.source == "world"
        assert load.fraction == 0.75
        time.sleep(0.1)
        assert opened.world.platform.load == pytest.approx(0.75, abs=0.05)


def test_a_bench_that_nothing_can_load_says_how_to_declare_it(tmp_path: Path) -> None:
    text = '[bench]\nname = "lab"\n' + METER
    with simulate_bench(bench(tmp_path, text)) as simulation:
        address = f'address = "{simulation.addresses["meter"]}"\n'
        with open_bench(bench(tmp_path, text + address)) as opened:
            assert not opened.can_load
            with pytest.raises(BenchError) as caught:
                opened.load  # noqa: B018 - reading the property is the test
    assert "[load]" in caught.value.advice


def test_simulating_a_bench_serves_every_instrument_that_declares_a_simulator(tmp_path: Path) -> None:
    both = CPU + METER + METER.replace("meter", "second")
    with simulate_bench(bench(tmp_path, both)) as simulation:
        assert set(simulation.addresses) == {"meter", "second"}
        assert all(listens(port_of(address)) for address in simulation.addresses.values())
    assert not any(listens(port_of(address)) for address in simulation.addresses.values())


def test_a_bench_without_simulators_cannot_be_simulated(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing to simulate"):
        simulate_bench(bench(tmp_path, CPU))


def test_a_bench_is_opened_by_the_public_name(tmp_path: Path) -> None:
    import aicalib_hw as hw

    opened: Any
    with hw.open_bench(str(bench(tmp_path, CPU))) as opened:
        assert isinstance(opened, Bench)
        assert isinstance(opened.the("accelerator"), hw.Accelerator)


HELD = """
import sys
from aicalib_hw.bench import hold, open_bench
with open_bench(sys.argv[1]) as bench, hold("TCPIP::192.0.2.7::INSTR"):
    print(bench.the("power_meter").identity.simulated)
"""


def test_benches_and_leases_use_nothing_that_only_linux_has(tmp_path: Path) -> None:
    path = bench(tmp_path, '[bench]\nname = "lab"\n' + METER)
    run = subprocess.run(
        [sys.executable, on_windows.__file__, HELD, str(path)],
        env={**os.environ, "LOCALAPPDATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (run.returncode, run.stdout) == (0, "True\n"), run.stderr

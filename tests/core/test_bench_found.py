"""An entry of a bench that stands for whatever this machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw._bench_found import with_found
from aicalib_hw.bench import load_bench, release_bench

BENCH = """
[bench]
name = "found"
[instruments.cpu]
driver = "cpu"
address = "cpu://local"
[instruments.gpu]
driver = "nvidia"
address = "nvidia://*"
[instruments.npu]
driver = "ascend"
address = "ascend://*"
[load]
source = "cpu"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "found.toml"
    path.write_text(BENCH, encoding="utf-8")
    return path


def test_a_machine_without_such_devices_has_the_bench_without_them(file: Path) -> None:
    with hw.open_bench(file) as bench:
        assert list(bench.instruments) == ["cpu"]
        assert not bench.left_out


def test_each_device_that_is_found_becomes_an_entry_of_its_own(file: Path) -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 0, "seed": 1})
    gpus = [registry.simulator("nvidia")(world, f"gpu{number}") for number in range(3)]
    world.start()
    try:
        for gpu in gpus:
            gpu.start()
        settings = with_found(load_bench(file))
        assert list(settings.instruments) == ["cpu", "gpu0", "gpu1", "gpu2"]
        assert settings.instruments["gpu2"].address == "nvidia://2"
        assert settings.origin == load_bench(file).origin
        with hw.open_bench(file) as bench:
            serials = [bench.instruments[f"gpu{number}"].identity.serial for number in range(3)]
            assert serials == [gpu.identity_serial for gpu in gpus]
    finally:
        world.stop()


def test_simulated_one_device_of_the_simulator_stands_for_all_of_its_family(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace('"nvidia://*"', '"nvidia://*"\nsimulator = "nvidia"')
    file.write_text(text, encoding="utf-8")
    with hw.open_bench(file, simulate=True) as bench:
        assert list(bench.instruments) == ["cpu", "gpu"]
        assert bench.instruments["gpu"].identity.serial == bench.simulated["gpu"].identity_serial
        assert bench.address_of("gpu") == "nvidia://0"
    with hw.open_bench(file) as bench:
        assert list(bench.instruments) == ["cpu"]


def test_what_stands_for_whatever_is_here_does_not_keep_the_others_from_being_released(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    reports = release_bench(file)
    assert list(reports) == ["cpu"]
    assert all(reports.values())

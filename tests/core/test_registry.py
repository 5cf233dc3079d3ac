"""The registry: what is installed is found by name, scheme and identity, and nobody shadows what is built in."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aicalib_hw import registry
from aicalib_hw.errors import UnknownDriver
from aicalib_hw.identity import Identity

DRIVER = """
from aicalib_hw.interfaces import DriverInfo

class {name}:
    DRIVER = DriverInfo(
        name="{entry}", role="power_meter", summary="Acme meters", manual="none",
        schemes=("acme",), models=(("ACME.*", "A[0-9]+"),),
    )
"""


def install(directory: Path, distribution: str, group: str, **entries: str) -> None:
    """Lay down a distribution as pip would: its modules, and the metadata that names its entry points."""
    info = directory / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name.replace('_', '-')} = {target}" for name, target in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")


def test_a_driver_of_another_distribution_is_the_equal_of_a_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme-drivers", registry.DRIVERS, acme="acme_meter_1:Acme")
    (tmp_path / "acme_meter_1.py").write_text(DRIVER.format(name="Acme", entry="acme"))
    monkeypatch.syspath_prepend(tmp_path)
    kind = registry.driver("acme")
    assert registry.driver_for_address("acme://bench-3") is kind
    assert registry.driver_for_identity(Identity("Acme Ltd", "A12", "7", "1.0", "GPIB::3::INSTR")) is kind
    assert not registry.entries(registry.DRIVERS)["acme"].built_in


def test_a_built_in_driver_cannot_be_shadowed_and_the_attempt_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "aaa-shadow", registry.DRIVERS, cpu="shadow_cpu:Shadow")
    (tmp_path / "shadow_cpu.py").write_text(DRIVER.format(name="Shadow", entry="cpu"))
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.WARNING, logger="aicalib_hw.registry"):
        assert registry.entries(registry.DRIVERS)["cpu"].built_in
    assert "aaa-shadow" in caplog.text


def test_what_is_installed_or_removed_while_this_runs_is_found_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert "late" not in registry.entries(registry.DRIVERS)
    install(tmp_path, "late-drivers", registry.DRIVERS, late="late_meter:Late")
    assert registry.entries(registry.DRIVERS)["late"].distribution == "late-drivers"
    shutil.rmtree(tmp_path / "late_drivers-1.0.dist-info")
    assert "late" not in registry.entries(registry.DRIVERS)


def test_a_driver_whose_module_is_broken_does_not_hide_which_distribution_brought_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "broken-drivers", registry.DRIVERS, broken="no_such_module_at_all:Driver")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownDriver) as caught:
        registry.driver("broken")
    assert "broken-drivers" in str(caught.value)
    assert "no_such_module_at_all" in str(caught.value)


@pytest.mark.parametrize(
    ("module", "code", "told"),
    [
        ("no_such_module_at_all", None, "no_such_module_at_all"),
        ("broken_at_import", "1 / 0", "ZeroDivisionError"),
        ("broken_by_name", "", "Driver"),
    ],
)
def test_a_broken_driver_does_not_keep_the_others_from_being_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: str,
    code: str | None,
    told: str,
) -> None:
    install(tmp_path, "broken-drivers", registry.DRIVERS, broken=f"{module}:Driver")
    if code is not None:
        (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.drivers()["cpu"] is registry.driver("cpu")
    assert told in caplog.text


def test_an_unknown_driver_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownDriver) as caught:
        registry.driver("yokogawa-wt30")
    assert "yokogawa-wt300" in caught.value.advice


def test_an_unknown_scheme_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownDriver) as caught:
        registry.driver_for_address("gpu://0")
    assert "cpu" in caught.value.advice


def test_an_instrument_that_no_driver_knows_is_named_with_its_address() -> None:
    with pytest.raises(UnknownDriver) as caught:
        registry.driver_for_identity(Identity("Nobody", "X1", "", "", "TCPIP::192.0.2.1::INSTR"))
    assert "Nobody X1" in caught.value.what
    assert caught.value.where == "TCPIP::192.0.2.1::INSTR"


def test_a_visa_resource_name_belongs_to_no_scheme() -> None:
    assert registry.driver_for_address("TCPIP::192.0.2.1::INSTR") is None


def test_a_scheme_that_names_a_built_in_driver_imports_no_other() -> None:
    program = (
        "import sys\nfrom aicalib_hw import registry\n"
        "print(registry.driver_for_address('otg+http://192.0.2.1').DRIVER.name)\n"
        "print([name for name in sys.modules if name.endswith(('.xena', '.yokogawa_wt300', '.openai', '.cpu'))])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ran.stdout == "otg\n[]\n", ran.stderr


@pytest.mark.parametrize("group", [registry.DRIVERS, registry.SIMULATORS])
def test_everything_that_is_registered_here_can_be_loaded(group: str) -> None:
    assert registry.entries(group)
    for entry in registry.entries(group).values():
        assert entry.load() is not None

"""lxi-tools reads simulated meters, and tshark's dissectors find nothing wrong in what passes over any wire."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def namespace() -> list[str]:
    """The command that runs another in a network namespace of its own, as root or as anybody."""
    as_anybody = ["unshare", "--map-root-user", "--net"]
    allowed = subprocess.run([*as_anybody, "true"], capture_output=True, check=False).returncode == 0
    return as_anybody if allowed else ["unshare", "--net"]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("capture")
    command = [*namespace(), sys.executable, "-m", "tests.simulators.foreign_programs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_lxi_tools_reads_identity_and_power_over_vxi11_and_the_raw_socket(said: Any) -> None:
    for wire in ("VXI-11", "TCP"):
        assert said[f"identity over {wire}"].split(",")[2].startswith("SIM")
        assert 100.0 < float(said[f"power over {wire}"]) < 10_000.0


@pytest.mark.parametrize("family", ["yokogawa-wt300", "hioki-pw3336", "tektronix-pa1000", "zes-lmg600"])
def test_lxi_tools_reads_identity_and_power_of_the_families_that_it_can_reach(said: Any, family: str) -> None:
    """It knows VXI-11 and raw sockets that end their lines with a newline, and sends one message."""
    assert said[f"identity of {family}"].split(",")[2].startswith("SIM")
    assert 100.0 < float(said[f"power of {family}"].split(",")[-1]) < 10_000.0


def test_no_packet_is_malformed(said: Any) -> None:
    assert min(said["protocols"].values()) >= 4
    assert said["malformed"] == ""


def test_the_dissector_of_vxi11_reads_what_was_meant(said: Any) -> None:
    lines = said["vxi11"].splitlines()
    assert "V1 DEVICE_INTR_SRQ Call" in lines
    assert any("DEVICE_READSTB Reply" in line and "STB=0x64" in line for line in lines)
    replies = [line for line in lines if "Reply" in line]
    assert len(replies) >= 15
    assert [line for line in replies if "No Error" not in line] == []


def test_the_dissector_of_hislip_reads_what_was_meant(said: Any) -> None:
    lines = said["hislip"].splitlines()
    assert lines[:4] == [
        "Initialize hislip0",
        "InitializeResponse [Prefer Synchronized]",
        "AsyncInitialize",
        "AsyncInitializeResponse",
    ]
    assert "DeviceClearAcknowledge [Synchronized mode]" in lines
    assert lines.count("DataEnd hello\\n") == 2

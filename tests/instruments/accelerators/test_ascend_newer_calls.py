"""The newer generation of DCMI (Ascend 950): one number a device, and nothing of the older calls is asked any more."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.ascend import dcmi

from aicalib_hw.errors import ConnectionLost


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dcmi.Dcmi:
    """A library written from the facts alone, which answers the older `dcmi_init` with -8255."""
    built = tmp_path_factory.mktemp("dcmi") / "libdcmi_newer.so"
    source = Path(__file__).with_name("dcmi_of_the_newer_calls.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", built, source], check=True)
    return dcmi.Dcmi("ascend://5/0", (str(built),))


def test_devices_are_counted_by_one_number_each(newer: dcmi.Dcmi) -> None:
    assert newer.newer
    assert newer.devices() == [(0, 0), (5, 0)]


def test_identity_and_every_quantity_come_from_the_newer_calls(newer: dcmi.Dcmi) -> None:
    device = dcmi.Device(newer, 5, 0)
    identity = device.identity("ascend://5/0")
    assert (identity.maker, identity.model, identity.firmware) == ("Huawei", "Ascend 950PR_9589", "V1")
    assert identity.extra["pci"] == "0001:C5:02.0"
    assert identity.extra["calls"] == "dcmiv2"
    assert device.logic_id == 5
    assert device.cores == 32
    assert device.clock(dcmi.CLOCK_RATED) == 1650e6
    reading: Any = device.read(identity)
    assert float(reading.power) == pytest.approx(432.1)
    assert float(reading.clock) == 1500e6
    assert float(reading.memory_clock) == 1600e6
    assert float(reading.temperature) == 45.0
    assert float(reading.utilisation) == pytest.approx(0.87)
    assert float(reading.memory_used) == 1024 * 2**20
    assert reading.throttle.power_cap
    assert not reading.throttle.thermal
    assert device.processes() == [4711]


def test_the_die_that_has_a_number_there_is_another_one(newer: dcmi.Dcmi) -> None:
    assert dcmi.Device(newer, 5, 0).identity("ascend://5/0").extra["uuid"] == (
        "00000050-00000051-00000052-00000053-00000054"
    )


def test_what_could_not_be_read_is_no_number(newer: dcmi.Dcmi) -> None:
    device = dcmi.Device(newer, 0, 0)
    power = device.read(device.identity("ascend://0/0")).power
    assert power is not None
    assert power.value is None
    assert power.status


def test_a_number_that_no_device_has_is_lost(newer: dcmi.Dcmi) -> None:
    with pytest.raises(ConnectionLost):
        dcmi.Device(newer, 3, 0)

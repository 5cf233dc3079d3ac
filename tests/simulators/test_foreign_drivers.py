"""Drivers that nobody here wrote read simulated meters: those of the package instrumation, as programs of their own.

Of the families here it has the WT310 and the PA1000; PyMeasure, QCoDeS with its contributed drivers, instro, easy-scpi
have none. What is stated in `docs/reference/power-meters.md` about it is what is shown here.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("instrumation") is None, reason="needs drivers of others: pip install instrumation"
)

WT310 = """
meter = YokogawaWT310(address, rm=pyvisa.ResourceManager("@py"))
hasten(meter)
meter.connect()
meter.inst.write("*CLS")  # it has asked for *OPT?, which a WT310 does not know, and left the error
said = {"identity": meter.identity, "voltage": meter.measure_voltage().value}
said["power"] = meter.measure_active_power().value
said["power factor"] = meter.measure_power_factor().value
meter.set_update_rate("250MS")
try:
    meter.safe_send("FOO")
except Exception as error:
    said["error"] = str(error)
meter.disconnect()
print(json.dumps(said))
"""
PA1000 = """
manager = pyvisa.ResourceManager("@py")
opened = manager.open_resource
manager.open_resource = lambda name: opened(name, read_termination="\\n", write_termination="\\n")
meter = TektronixPA1000(address, rm=manager)
meter._SETTER_DELAY_S = 0.1  # of a world 20 times as fast
hasten(meter)
meter.connect()
said = {"identity": meter.identity, "voltage": meter.measure_voltage_rms().value}
said["frequency"] = meter.measure_frequency().value
meter.disconnect()
print(json.dumps(said))
"""


HASTEN = """
def hasten(meter):
    '''Neither meter knows *OPT?, for which the drivers ask: they wait their 5 s for no answer.'''
    ask = meter._discover_options
    def hurried():
        usual, meter.inst.timeout = meter.inst.timeout, 300
        ask()
        meter.inst.timeout = usual
    meter._discover_options = hurried
"""


def told(program: str, address: str) -> Any:
    """What a program of its own says of the meter at `address`."""
    begin = (
        HASTEN + "import json, pyvisa, sys\nfrom instrumation.drivers.yokogawa_wt import YokogawaWT310\n"
        "from instrumation.drivers.tektronix_pa1000 import TektronixPA1000\naddress = sys.argv[1]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", begin + program, address], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_foreign_driver_of_the_wt310_reads_the_truth_and_the_error_queue(serve: Callable[..., Any]) -> None:
    meter = serve("yokogawa-wt300", rate=20.0)
    meter.world.run_load(0.5)
    said = told(WT310, meter.address)
    assert said["identity"]["serial"].startswith("SIM")
    assert said["voltage"] == pytest.approx(230.0, rel=0.005)
    assert said["power"] == pytest.approx(meter.truth.active_power, rel=0.02)
    assert 0.8 < said["power factor"] <= 1.0
    assert '113,"Undefined' in said["error"]


def test_a_foreign_driver_of_the_pa1000_reads_voltage_and_frequency(serve: Callable[..., Any]) -> None:
    """It asks for the power by a word that no source here knows (`:SEL:PWR`), and gets none."""
    meter = serve("tektronix-pa1000", rate=20.0)
    said = told(PA1000, meter.address)
    assert said["identity"]["serial"].startswith("SIM")
    assert said["voltage"] == pytest.approx(230.0, rel=0.005)
    assert said["frequency"] == pytest.approx(50.0, rel=0.005)

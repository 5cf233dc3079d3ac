"""What a simulated WT meter measures: within its table for every seed, energy as the world's, faults as reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import vxi11

from .conftest import send

Serve = Callable[..., Any]
Connect = Callable[[str], Any]

FIXED = ":COMM:HEAD OFF;:RATE 1S;:INP:VOLT:AUTO OFF;RANG 300;:INP:CURR:AUTO OFF;RANG 20"
STEADY = {"ripple": 0.0, "leakage": 0.0}
POV1, POA1, OVR1 = 1 << 7, 1 << 8, 1 << 6


def values(wire: Any, meter: Any, seconds: float = 1.0) -> list[str]:
    meter.world.clock.advance(seconds)
    return str(wire.query(":NUM:NORM:VAL?")).split(",")


def items(*names: str) -> str:
    listed = ";".join(f"ITEM{place} {name}" for place, name in enumerate(names, 1))
    return f":NUM:NORM:CLE ALL;NUMB {len(names)};{listed}"


@pytest.mark.parametrize("crest_factor", ["3", "6"])
def test_no_seed_gives_a_specimen_outside_the_table(serve: Serve, connect: Connect, crest_factor: str) -> None:
    for seed in range(12):
        meter = serve(seed=seed, platform=STEADY)
        meter.world.run_load(0.4)
        wire = connect(meter.address)
        send(wire, f":INP:CFAC {crest_factor};{FIXED.replace('RANG 20', 'RANG 10') if crest_factor == '6' else FIXED}")
        send(wire, items("P,1"))
        true = meter.truth.active_power
        apparent = true / meter.world.platform.power_factor(true)
        tangent = math.sqrt((apparent / true) ** 2 - 1)
        voltage, current = (150, 10) if crest_factor == "6" else (300, 20)
        if crest_factor == "6":
            send(wire, ":INP:VOLT:RANG 300")
            voltage = 300
        wide = 2 if crest_factor == "6" else 1
        limit = 0.001 * true + wide * 0.0005 * voltage * current + 0.001 * tangent * true
        for _ in range(3):
            (shown,) = values(wire, meter)
            assert abs(float(shown) - meter.truth.active_power) <= limit + 0.05


def test_specimens_of_other_seeds_differ_and_the_same_seed_is_the_same_specimen(serve: Serve, connect: Connect) -> None:
    shown = []
    for seed in (1, 1, 2):
        meter = serve(seed=seed, platform=STEADY)
        meter.world.run_load(0.4)
        wire = connect(meter.address)
        send(wire, f"{FIXED};{items('P,1')}")
        shown.append(values(wire, meter, 2.0))
    assert shown[0] == shown[1] != shown[2]


@pytest.mark.parametrize("interval", ["100MS", "2S"])
def test_energy_is_the_integral_of_the_worlds_power_whatever_the_load_does(
    serve: Serve, connect: Connect, interval: str
) -> None:
    meter = serve(platform={"ripple": 0.2})
    wire = connect(meter.address)
    send(wire, f"{FIXED};:RATE {interval};{items('WH,1', 'TIME,1')};:INTEG:STAR")
    begin = meter.world.clock.now()
    for load, seconds in ((0.1, 7.3), (0.5, 0.55), (0.2, 11.15), (0.0, 3.0), (0.45, 8.0)):
        meter.world.run_load(load)
        meter.world.clock.advance(seconds)
    send(wire, ":INTEG:STOP")
    energy, elapsed = wire.query(":NUM:NORM:VAL?").split(",")
    true = meter.truth.energy_between(begin, begin + 30.0)
    assert elapsed == "30"
    assert abs(float(energy) * 3600 - true) <= 0.001 * true + 0.0005 * 6000 * 30 + 0.001 * 0.5 * true


def test_two_hundred_kilowatts_through_current_transformers(serve: Serve, connect: Connect) -> None:
    platform = {"phases": 3, "idle_power": 190e3, "full_power": 200e3, **STEADY}
    meter = serve(model="WT333E", ct=100.0, platform=platform)
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:WIR P3W4;VOLT:AUTO OFF;RANG 300;:INP:CURR:AUTO OFF;RANG 5")
    send(wire, f"{items('P,SIGMA', 'I,1', 'P,1', 'LAMBDA,SIGMA')};:INP:SCAL:STAT ON;CT:ALL 100")
    total, current, part, factor = (float(text) for text in values(wire, meter, 2.0))
    true = meter.truth.active_power
    assert 195e3 < true < 210e3
    assert total == pytest.approx(true, rel=0.002)
    assert part == pytest.approx(true / 3, rel=0.004)
    assert current == pytest.approx(true / 3 / 230 / factor, rel=0.004)


def test_a_reversed_transformer_keeps_its_sign(serve: Serve, connect: Connect) -> None:
    meter = serve(model="WT333E", reversed_elements=(2,), platform={"phases": 3, **STEADY})
    wire = connect(meter.address)
    send(wire, f"{FIXED};{items('P,1', 'P,2', 'P,3', 'P,SIGMA')};:INP:WIR P3W4")
    first, second, third, total = (float(text) for text in values(wire, meter, 2.0))
    assert first > 0 > second
    assert total == pytest.approx(first + second + third, abs=0.5)
    assert total == pytest.approx(meter.truth.active_power / 3, rel=0.02)


def test_peaks_beyond_the_converter_are_cut_flagged_and_make_it_read_too_little(serve: Serve, connect: Connect) -> None:
    meter = serve(platform={"crest_factor": (3.5, 3.5), "idle_power": 900.0, **STEADY})
    wire = connect(meter.address)
    send(wire, f"{FIXED.replace('RANG 20', 'RANG 5')};{items('P,1', 'IPP,1')}")
    shown, peak = (float(text) for text in values(wire, meter, 2.0))
    assert int(wire.query(":STAT:COND?")) & POV1
    assert not int(wire.query(":STAT:COND?")) & OVR1
    assert int(wire.query(":INP:POV?")) == 2
    assert peak == pytest.approx(15.0)
    assert 0.8 * meter.truth.active_power < shown < 0.99 * meter.truth.active_power


def test_a_spike_sends_auto_range_up_although_the_load_is_steady(serve: Serve, connect: Connect) -> None:
    meter = serve(auto_range=True, platform={"idle_power": 250.0, **STEADY})
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 100MS")
    meter.world.clock.advance(3.0)
    assert wire.query(":INP:CURR:RANG?") == "2.0000E+00"
    meter.inject("spike")
    meter.world.clock.advance(0.1)
    assert wire.query(":INP:CURR:RANG?") == "5.0000E+00"
    assert int(wire.query(":STAT:COND?")) & (POV1 | POA1) == POV1 | POA1
    meter.world.clock.advance(0.1)
    assert not int(wire.query(":STAT:COND?")) & POV1


def test_hunting_between_two_ranges_shows_nonsense_and_the_auto_range_bit(serve: Serve, connect: Connect) -> None:
    meter = serve(auto_range=True, platform={"idle_power": 250.0, **STEADY})
    wire = connect(meter.address)
    send(wire, f":COMM:HEAD OFF;:RATE 100MS;{items('I,1', 'P,1')}")
    values(wire, meter, 3.0)
    meter.inject({"kind": "range_edge", "count": 3})
    ranges = []
    for _ in range(3):
        current, power = (float(text) for text in values(wire, meter, 0.1))
        assert current < 0
        assert power < 0
        assert int(wire.query(":STAT:COND?")) & POA1
        ranges.append(wire.query(":INP:CURR:RANG?"))
    assert len(set(ranges)) > 1
    assert float(values(wire, meter, 0.5)[1]) > 0


def test_hours_without_data_are_hours_of_nan(serve: Serve, connect: Connect) -> None:
    meter = serve()
    wire = connect(meter.address)
    send(wire, f"{FIXED};:RATE 20S;{items('U,1', 'I,1', 'P,1')}")
    meter.inject({"kind": "no_data", "count": None})
    for _ in range(4):
        assert values(wire, meter, 600.0) == ["NAN"] * 3


def test_a_header_that_somebody_left_on_stays_until_it_is_switched_off(serve: Serve, connect: Connect) -> None:
    wire = connect((meter := serve()).address)
    send(wire, ":COMM:HEAD OFF")
    meter.inject("header_on")
    assert wire.query(":INP:CFAC?") == ":INPUT:CFACTOR 3"
    assert wire.query(":INP:CFAC?") == ":INPUT:CFACTOR 3"
    send(wire, ":COMM:HEAD OFF")
    assert wire.query(":INP:CFAC?") == "3"


def test_a_locked_panel_refuses_settings_and_still_answers(serve: Serve, connect: Connect) -> None:
    wire = connect((meter := serve(panel_error=85)).address)
    send(wire, FIXED)
    meter.inject({"kind": "panel_locked", "count": None})
    send(wire, ":INP:VOLT:RANG 150")
    assert wire.query(":STAT:ERR?").split(",")[0] == "85"
    assert wire.query(":INP:VOLT:RANG?") == "300.0E+00"


def test_a_range_refused_is_out_of_range_and_changes_nothing(serve: Serve, connect: Connect) -> None:
    wire = connect((meter := serve()).address)
    send(wire, FIXED)
    meter.inject("range_refused")
    send(wire, ":INP:CURR:RANG 10")
    assert wire.query(":STAT:ERR?").split(",")[0] == "222"
    assert wire.query(":INP:CURR:RANG?") == "20.000E+00"
    send(wire, ":INP:CURR:RANG 10")
    assert wire.query(":INP:CURR:RANG?") == "10.000E+00"


def test_a_reboot_drops_the_line_and_leaves_defaults_and_a_broken_integration(serve: Serve, connect: Connect) -> None:
    meter = serve()
    client = vxi11.vxi11.CoreClient("127.0.0.1", int(meter.address.split(",")[1].split("::")[0]))
    _, link, _, _ = client.create_link(1, 0, 1000, b"inst0")
    client.device_write(link, 1000, 1000, 8, f"{FIXED};:INTEG:STAR;*OPC?".encode())
    assert client.device_read(link, 10, 1000, 1000, 0, 0)[2] == b"1\n"
    meter.inject({"kind": "reboot", "amount": 0.05})
    with pytest.raises(EOFError):
        client.device_write(link, 1000, 1000, 8, b":INTEG:STAT?")
    client.close()
    meter.world.clock.wait_until(1e9, limit=0.1)
    again = connect(meter.address)
    assert again.query(":INP:VOLT:RANG?") == ":INPUT:VOLTAGE:RANGE 600.0E+00"
    assert again.query(":INTEG:STAT?") == "ERROR"
    assert int(again.query("*ESR?")) & 128
    send(again, ":INTEG:RES")
    assert again.query(":INTEG:STAT?") == "RESET"


def test_hold_keeps_the_display_and_a_trigger_lets_one_update_through(serve: Serve, connect: Connect) -> None:
    meter = serve()
    wire = connect(meter.address)
    send(wire, f"{FIXED};{items('P,1')}")
    before = values(wire, meter, 2.0)
    send(wire, ":HOLD ON")
    meter.world.run_load(0.6)
    assert values(wire, meter, 3.0) == before
    send(wire, "*TRG")
    after = values(wire, meter, 1.0)
    assert float(after[0]) > 2 * float(before[0])
    meter.world.run_load(0.1)
    assert values(wire, meter, 3.0) == after


def test_a_linear_average_of_eight_updates_takes_eight_updates(serve: Serve, connect: Connect) -> None:
    meter = serve(platform=STEADY, error_fraction=0.0, noise=0.0)
    wire = connect(meter.address)
    send(wire, f"{FIXED};{items('P,1')};:MEAS:AVER:TYPE LIN;COUN 8;STAT ON")
    low = float(values(wire, meter, 10.0)[0])
    meter.world.run_load(0.4)
    shown = [float(values(wire, meter)[0]) for _ in range(9)]
    high = shown[-1]
    assert shown == pytest.approx([low + (high - low) * min(k, 8) / 8 for k in range(1, 10)], abs=2.0)


def test_harmonic_distortion_grows_with_the_crest_factor(serve: Serve, connect: Connect) -> None:
    found = []
    for crest in (math.sqrt(2), 2.0, 3.0):
        meter = serve(platform={"crest_factor": (crest, crest), **STEADY})
        wire = connect(meter.address)
        send(wire, f"{FIXED};{items('ITHD,1', 'IPP,1', 'I,1')}")
        distortion, peak, current = (float(text) for text in values(wire, meter, 2.0))
        assert peak / current == pytest.approx(crest, rel=0.01)
        found.append(distortion)
    assert found[0] == pytest.approx(0.0, abs=0.5)
    assert found[0] < found[1] < found[2]

"""Every driver of a traffic tester against its simulator for every fault: a typed error, or a result that says no.

After each of them nothing transmits any more, as only the simulated world knows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import (
    AicalibError,
    ConnectionFailed,
    InstrumentError,
    InstrumentReportedError,
    LicenceMissing,
    LinkDown,
    LockedByOther,
    OutOfRange,
)
from aicalib_hw.interfaces import Gate, NetworkTester, Rate, Reservation, Stream
from aicalib_hw.readings import Measurement, ValidityStatus
from aicalib_hw.trace import Trace

from .families import FAMILIES, Family

LINE = 800e9 * 1518 / 1538
"""bit/s of layer 2 that frames of 1518 bytes make of a line of 800 Gbit/s."""


@dataclass
class Lab:
    """A simulated tester of one family, on a world of its own."""

    family: Family
    simulator: Any
    world: Any

    @property
    def address(self) -> str:
        return self.family.address(self.simulator)

    @property
    def truth(self) -> Any:
        """The simulated ports by name, which know the truth."""
        return self.family.network(self.simulator).ports

    @property
    def sending(self) -> list[str]:
        """The ports that transmit."""
        return [name for name, port in self.truth.items() if port.sending]

    @contextmanager
    def open(self, **options: Any) -> Iterator[NetworkTester]:
        """Open the driver, and require in the end that nothing transmits."""
        with hw.open_instrument(self.address, **options) as tester:
            yield tester
        assert self.sending == []

    @contextmanager
    def reserved(self, size: int = 1518, **options: Any) -> Iterator[Reservation]:
        """Reserve both ports and set up a stream at full load from the first to the second."""
        with self.open(**options) as tester, tester.reserve(self.family.ports, owner="test") as reservation:
            reservation.configure([self.stream(size)])
            yield reservation

    def stream(self, size: int = 1518, load: Rate | float = 1.0) -> Stream:
        return Stream("there", *self.family.ports, size, load)

    def once_sending(self, act: Callable[[], object]) -> None:
        """Do something as soon as traffic runs, in a thread of its own."""

        def wait() -> None:
            deadline = time.monotonic() + 20
            while not self.sending and time.monotonic() < deadline:
                time.sleep(0.005)
            act()

        threading.Thread(target=wait, daemon=True).start()


Start = Callable[..., Lab]


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """A function that starts the simulator of a family, on a world 20 times as fast as ours or as asked."""
    running: list[Any] = []

    def started(*, rate: float = 20.0, **options: Any) -> Lab:
        family: Family = request.param
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate})
        simulator = registry.simulator(family.name)(world, family.name, **family.options(**options))
        world.start()
        simulator.start()
        running.extend((simulator, world))
        return Lab(family, simulator, world)

    yield started
    for one in running:
        one.stop()


def one_rate(lab: Lab, size: int = 1518) -> Measurement:
    """Open, reserve, measure once, and give all back."""
    with lab.reserved(size) as reservation:
        return measured(reservation)


def measured(reservation: Reservation, seconds: float = 1.0) -> Measurement:
    return reservation.measure_throughput(Gate("seconds", seconds), settle=0.0)


def test_a_port_of_somebody_else_is_refused_and_left_alone(start: Start) -> None:
    lab = start(held_by="other")
    with lab.open() as tester:
        with pytest.raises(LockedByOther) as refused:
            tester.reserve(lab.family.ports, owner="test")
        assert "other" in str(refused.value)
        assert tester.release().failures == ()


def test_a_port_that_is_not_given_up_to_force_is_refused_and_stays_theirs(start: Start) -> None:
    lab = start(held_by="other")
    with lab.open() as tester:
        lab.simulator.inject("force_refused")
        with pytest.raises((LockedByOther, InstrumentReportedError)):
            tester.reserve(lab.family.ports, owner="test", force=True)
        # The controller of an Open Traffic Generator tells whose locations are only when they are asked for.
        if lab.family.name != "otg":
            assert "other" in {port.owner for port in tester.ports()}
        assert not any(port.owned_by_us for port in tester.ports())


def test_frames_that_the_path_loses_are_counted_and_the_result_stays_valid(start: Start) -> None:
    lab = start()
    lab.simulator.inject({"kind": "loss", "amount": 0.25})
    result = one_rate(lab)
    assert result.validity, result.validity.reasons
    assert result.evidence["streams"]["there"]["loss_ratio"] == pytest.approx(0.25, abs=1e-3)
    assert result.value == pytest.approx(0.75 * LINE, rel=2e-3)


def test_a_second_client_that_looks_all_the_time_changes_nothing(start: Start) -> None:
    lab = start()
    over = threading.Event()
    seen: list[bool] = []

    def look() -> None:
        with hw.open_instrument(lab.address) as bystander:
            while not over.is_set():
                seen.append(any(port.owner for port in bystander.ports()))

    with lab.reserved() as reservation:
        looking = threading.Thread(target=look)
        looking.start()
        try:
            result = measured(reservation, 4.0)
        finally:
            over.set()
            looking.join()
        assert result.validity, result.validity.reasons
        assert result.value == pytest.approx(LINE, rel=1e-3)
        assert any(seen)


def test_a_port_that_is_taken_in_the_gate_gives_no_valid_result_and_is_told_on_the_way_out(start: Start) -> None:
    lab = start(rate=2.0)
    with lab.open() as tester:
        reservation = tester.reserve(lab.family.ports, owner="test")
        reservation.configure([lab.stream()])
        lab.once_sending(lambda: lab.simulator.inject("stolen"))
        result = measured(reservation, 2.0)
        assert not result.validity
        assert any("no longer ours" in reason or "belongs to somebody" in reason for reason in result.validity.reasons)
        report = tester.release()
        # A configuration of somebody else replaces ours whole, and our streams with it.
        assert any("has taken it" in failure for failure in report.failures) == (lab.family.name != "otg")


# TRex knows no licence, and takes every size that the driver offers.
of_hardware = pytest.mark.parametrize(
    "start", [one for one in FAMILIES if one.name != "trex"], ids=lambda family: family.name, indirect=True
)


@of_hardware
def test_a_missing_licence_is_told_as_such(start: Start) -> None:
    lab = start()
    lab.simulator.inject("licence")
    with pytest.raises(LicenceMissing):
        one_rate(lab)
    assert lab.sending == []
    assert one_rate(lab).validity


def test_no_link_before_the_gate_is_told_and_nothing_is_sent(start: Start) -> None:
    lab = start()
    with lab.reserved() as reservation:
        lab.truth[lab.family.in_truth[1]].set_link(False)
        with pytest.raises(LinkDown):
            measured(reservation)
        with pytest.raises(LinkDown):
            reservation.start()
        assert lab.sending == []


def test_a_link_that_goes_down_in_the_gate_makes_the_result_invalid_and_keeps_the_counts(start: Start) -> None:
    lab = start()
    lab.simulator.inject({"kind": "link_down", "amount": 0.5})
    with lab.reserved() as reservation:
        result = measured(reservation, 1.0)
        assert not result.validity
        assert any("lost its link" in reason for reason in result.validity.reasons)
        counted = result.evidence["streams"]["there"]
        assert 0 < counted["received"] < 0.6 * LINE / (8 * 1518)


@of_hardware
def test_a_frame_size_that_the_tester_refuses_is_its_own_error_and_one_that_no_tester_has_is_ours(start: Start) -> None:
    lab = start(port={"largest_frame": 2000})
    for size in (63, 20_000):
        with pytest.raises(OutOfRange):
            one_rate(lab, size)
    with pytest.raises(InstrumentReportedError):
        one_rate(lab, 9000)
    assert one_rate(lab).validity


@pytest.mark.parametrize("load", [1.01, Rate(1.001 * LINE, "L2-fcs"), Rate(801e9, "L1")])
def test_a_rate_above_the_line_is_refused_before_the_wire(start: Start, load: Rate | float) -> None:
    lab = start()
    with lab.reserved() as reservation:
        before = len(lab.simulator.exchanges)
        with pytest.raises(OutOfRange):
            reservation.configure([lab.stream(1518, load)])
        written = [data for direction, data in lab.simulator.exchanges[before:] if direction == ">"]
        setting = (b"PS_", b"POST /config", b"_stream")
        assert [data for data in written if any(word in data for word in setting)] == []


@pytest.mark.parametrize("amount", [20, 5_000, 30_000_000])
def test_counters_that_wrap_never_give_a_valid_rate_that_is_wrong(start: Start, amount: int) -> None:
    lab = start()
    with lab.reserved() as reservation:
        lab.simulator.inject({"kind": "counter_wrap", "amount": amount})
        result = measured(reservation)
        limit = sum(one.half_width or 0.0 for one in result.components)
        assert not result.validity or result.value == pytest.approx(LINE, rel=limit)
        again = measured(reservation)
        assert again.validity, again.validity.reasons


def test_a_tester_that_vanishes_in_the_gate_leaves_its_last_counters_and_no_value(start: Start) -> None:
    lab = start(rate=1.0)
    tester: Any = hw.open_instrument(lab.address, timeout=1.0)
    reservation = tester.reserve(lab.family.ports, owner="test")
    reservation.configure([lab.stream()])
    lab.once_sending(lambda: threading.Timer(0.4, lab.simulator.stop).run())
    result = measured(reservation, 3.0)
    assert (result.value, result.validity.status) == (None, ValidityStatus.ERROR)
    assert any("broke off" in reason for reason in result.validity.reasons)
    assert 0 < int(result.evidence["last_seen"]["streams"]["there"]["tx_frames"]) < 3 * LINE / (8 * 1518)
    assert issubclass(getattr(hw.errors, result.evidence["error"]), InstrumentError)
    with pytest.raises(InstrumentError):
        measured(reservation)
    report = tester.close()
    assert any("traffic may still" in failure or "cannot be told" in failure for failure in report.failures)


@pytest.mark.parametrize("fault", ["refuse", "drop", "garble", "half_line", "pieces", "delay", "double_terminator"])
def test_a_bad_wire_is_an_error_with_a_type_or_does_no_harm(start: Start, fault: str) -> None:
    lab = start()
    with lab.reserved(timeout=2.0) as reservation:
        lab.once_sending(lambda: lab.simulator.inject({"kind": fault, "amount": 0.05}))
        try:
            result = measured(reservation, 2.0)
        except AicalibError:
            result = None
        limit = 2e-4
        assert result is None or not result.validity or result.value == pytest.approx(LINE, rel=limit)
        again = measured(reservation)
        assert again.validity, again.validity.reasons


@pytest.mark.parametrize("kept", [True, False], ids=["reservation kept", "reservation lost"])
def test_a_session_that_breaks_in_the_gate_ends_its_traffic_whatever_becomes_of_the_reservation(kept: bool) -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1.0})
    chassis = registry.simulator("xena")(world, "xena", release_on_disconnect=not kept)
    world.start()
    chassis.start()
    lab = Lab(FAMILIES[0], chassis, world)
    try:
        with lab.reserved(timeout=2.0) as reservation:
            lab.once_sending(lambda: chassis.inject("drop"))
            broken = measured(reservation, 30.0)
            assert (broken.value, broken.validity.status) == (None, ValidityStatus.ERROR)
            assert lab.sending == []
            assert measured(reservation, 0.5).validity
    finally:
        chassis.stop()
        world.stop()


@pytest.mark.alone
def test_abort_ends_a_gate_within_a_second_and_the_traffic_with_it(start: Start) -> None:
    lab = start(rate=1.0)
    with lab.open() as tester, tester.reserve(lab.family.ports, owner="test") as reservation:
        reservation.configure([lab.stream()])
        lab.once_sending(tester.abort)
        began = time.monotonic()
        with pytest.raises(hw.errors.Aborted):
            measured(reservation, 30.0)
        assert time.monotonic() - began < 3.0
        assert lab.sending == []


def test_what_is_secret_in_an_address_reaches_neither_trace_nor_record() -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
    chassis = registry.simulator("xena")(world, "xena", password="open sesame")
    world.start()
    chassis.start()
    try:
        with Trace() as trace:
            with hw.open_instrument(f"{chassis.address}&password=open%20sesame", trace=trace) as tester:
                tester.ports()
                assert trace.recent
                assert "sesame" not in str(tester.identity.address)
            assert "sesame" not in json.dumps(trace.recent)
        with pytest.raises(ConnectionFailed) as refused:
            hw.open_instrument(f"{chassis.address}&password=guess")
        assert "password" in str(refused.value)
    finally:
        chassis.stop()
        world.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: sudo apt-get install openssl")
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(paths[1]), "-out", str(paths[0])]
    subprocess.run([*made, *name, *files], check=True, capture_output=True, timeout=30)
    return paths


def test_a_controller_with_an_unknown_certificate_is_not_spoken_to(certificate: tuple[Path, Path]) -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
    controller = registry.simulator("otg")(world, "otg", certificate=str(certificate[0]), key=str(certificate[1]))
    world.start()
    controller.start()
    try:
        address = controller.address.partition("&certificate=")[0]
        assert address.startswith("otg+https://")
        with pytest.raises(ConnectionFailed) as refused:
            hw.open_instrument(address)
        assert "certificate" in refused.value.advice
        assert controller.exchanges == []
        trusted = f"{address}&certificate={quote(str(certificate[0]))}"
        with hw.open_instrument(trusted) as tester, tester.reserve(("p1", "p2"), owner="test") as reservation:
            reservation.configure([Stream("there", "p1", "p2", 1518, 1.0)])
            assert measured(reservation).validity
    finally:
        controller.stop()
        world.stop()

"""What a tester is left as: traffic of others goes on, settings are as they were, a session in doubt is renewed."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from aicalib_hw.instruments.network._xena_session import XenaSession
from aicalib_hw.instruments.network.otg import OpenTrafficGenerator

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import LockedByOther, ProtocolError
from aicalib_hw.interfaces import Stream

from .families import FAMILIES


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A running simulator of the family that the test names, on a world of its own."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
    simulator = registry.simulator(request.param)(world, request.param)
    world.start()
    simulator.start()
    yield simulator
    simulator.stop()
    world.stop()


def posted(controller: Any, path: str, body: Any) -> Any:
    """Send as somebody else does, by none of our code."""
    base = controller.address.removeprefix("otg+").partition("?")[0].rstrip("/")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read() or b"{}")


START = {"choice": "traffic", "traffic": {"choice": "flow_transmit", "flow_transmit": {"state": "start"}}}


@pytest.mark.parametrize("simulated", ["otg"], indirect=True)
def test_stopping_and_releasing_leave_the_traffic_of_a_configuration_that_replaced_ours(simulated: Any) -> None:
    with hw.open_instrument(simulated.address) as tester:
        reservation = tester.reserve(("p1", "p2"), owner="test")
        reservation.configure([Stream("there", "p1", "p2", 512, 0.5)])
        reservation.start()
        theirs = posted(simulated, "/config", None)
        theirs["layer1"][0]["name"] = "their ports"
        posted(simulated, "/config", theirs)
        posted(simulated, "/control/state", START)
        with pytest.raises(LockedByOther, match="their ports"):
            reservation.stop()
        report = tester.release()
        assert (report.failures, len(report.actions)) == ((), 1)
        assert "left to somebody (their ports)" in report.actions[0]
        assert any(port.sending for port in simulated.network.ports.values())


@pytest.mark.parametrize("simulated", ["otg"], indirect=True)
def test_stopping_names_our_streams_and_a_flow_that_somebody_added_is_told_when_it_ends_with_ours(
    simulated: Any,
) -> None:
    with hw.open_instrument(simulated.address) as tester:
        reservation = tester.reserve(("p1", "p2"), owner="test")
        reservation.configure([Stream("there", "p1", "p2", 512, 0.4)])
        both = posted(simulated, "/config", None)
        both["flows"].append({**both["flows"][0], "name": "theirs"})
        posted(simulated, "/config", both)
        posted(simulated, "/control/state", START)
        reservation.stop()
        states = {one["name"]: one["transmit"] for one in tester.metrics("flow")}
        assert states == {"there": "stopped", "theirs": "started"}
        report = tester.release()
        assert report
        assert any("theirs" in action for action in report.actions)
        assert not any(port.sending for port in simulated.network.ports.values())


@pytest.mark.parametrize("simulated", [one.name for one in FAMILIES], indirect=True)
def test_a_program_that_only_looks_leaves_what_another_of_this_host_sends_on_its_way_out(simulated: Any) -> None:
    family = next(one for one in FAMILIES if one.name == simulated.simulates)
    with (
        hw.open_instrument(family.address(simulated)) as tester,
        tester.reserve(family.ports, owner="test") as reservation,
    ):
        reservation.configure([Stream("there", *family.ports, 512, 0.5)])
        reservation.start()
        with hw.open_instrument(family.address(simulated)) as bystander:
            assert all(port.owner for port in bystander.ports())
        assert reservation.running
        assert all(port.owned_by_us for port in tester.ports())
    assert not any(port.sending for port in family.network(simulated).ports.values())


class Older(BaseHTTPRequestHandler):
    """A controller that has a configuration of ours and takes no names of flows."""

    mark = ""
    orders: list[list[str]]

    def do_GET(self) -> None:
        held = {"ports": [{"name": "p1"}], "layer1": [{"name": self.mark}], "flows": [{"name": "there"}]}
        self.answer(200, {"api_spec_version": "1.1.0"} if "version" in self.path else held)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path != "/control/state":
            return self.answer(200, {})
        names = body["traffic"]["flow_transmit"]["flow_names"]
        self.orders.append(names)
        if names:
            return self.answer(400, {"code": 400, "errors": ["starting or stopping selected flows is not supported"]})
        return self.answer(200, {})

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


def test_a_controller_that_stops_no_flow_by_name_is_told_to_stop_our_whole_configuration() -> None:
    orders: list[list[str]] = []
    handler = type("Handler", (Older,), {"orders": orders})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            tester = OpenTrafficGenerator(f"otg+http://127.0.0.1:{server.server_port}?port=p1@x", timeout=5.0)
            handler.mark = tester.mark  # type: ignore[attr-defined]
            with tester:
                tester.stop_flows(["there"])
                assert orders == [["there"], []]
        finally:
            server.shutdown()


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_configuration_that_replaces_ours_while_we_release_is_not_emptied(looks: int) -> None:
    pushed: list[Any] = []

    class Replaced(Older):
        left = 0

        def do_GET(self) -> None:
            if "version" not in self.path:
                type(self).left -= 1
                type(self).mark = self.mark if type(self).left >= 0 else "their ports"
            super().do_GET()

        def do_POST(self) -> None:
            if self.path == "/config":
                pushed.append(self.path)
            super().do_POST()

    with HTTPServer(("127.0.0.1", 0), Replaced) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            with OpenTrafficGenerator(f"otg+http://127.0.0.1:{server.server_port}?port=p1@x", timeout=5.0) as tester:
                Replaced.mark, Replaced.left, Replaced.orders = tester.mark, 1, []
                tester.reserve(["p1"], owner="test")
                pushed.clear()
                Replaced.left = looks
                report = tester.release()
                assert pushed == []
                assert any("left to somebody (their ports)" in action for action in report.actions)
        finally:
            server.shutdown()


@pytest.mark.parametrize("simulated", ["xena"], indirect=True)
def test_the_latency_mode_of_a_port_is_what_it_was_once_the_port_is_given_back(simulated: Any) -> None:
    def modes() -> list[str]:
        with hw.open_instrument(simulated.address) as bystander:
            told = bystander.snapshot()
            return [told[f"{port} P_LATENCYMODE"].value for port in ("0/0", "0/1")]

    before = modes()
    with hw.open_instrument(simulated.address) as tester:
        for mode in ("FIRST2FIRST", "LAST2FIRST"):
            with tester.reserve(("0/0", "0/1"), owner="test") as reservation:
                reservation.configure([Stream("there", "0/0", "0/1", 512, 0.5, latency_mode="FIRST2LAST")])
                reservation.configure([Stream("there", "0/0", "0/1", 512, 0.5, latency_mode=mode)])
                assert modes() == [mode, mode] != before
            assert modes() == before
    assert modes() == before


@pytest.mark.parametrize("simulated", ["xena"], indirect=True)
def test_the_latency_mode_that_somebody_else_has_set_meanwhile_is_the_one_that_a_port_gets_back(simulated: Any) -> None:
    ours, place = Stream("there", "0/0", "0/1", 512, 0.5, latency_mode="FIRST2LAST"), urlsplit(simulated.address)
    with hw.open_instrument(simulated.address) as tester:
        reservation = tester.reserve(("0/0", "0/1"), owner="test")
        reservation.configure([ours])
        with XenaSession("127.0.0.1", place.port or 0, password="xena", owner="others", timeout=5.0) as others:
            for port in ("0/0", "0/1"):
                others.command(f"{port} P_RESERVATION RELINQUISH")
                while others.ask(f"{port} P_RESERVATION ?")[0].values != ["RELEASED"]:
                    time.sleep(0.02)
                others.command(f"{port} P_RESERVATION RESERVE", f"{port} P_LATENCYMODE LAST2FIRST")
                others.command(f"{port} P_RESERVATION RELEASE")
        reservation.release()
        with tester.reserve(("0/0", "0/1"), owner="test") as again:
            again.configure([ours])
        told = tester.snapshot()
        assert [told[f"{port} P_LATENCYMODE"].value for port in ("0/0", "0/1")] == ["LAST2FIRST", "LAST2FIRST"]


@pytest.mark.parametrize("odd", ["0/0  P_SPEED  800000\n0/0  P_SPEED  1", "0/1  P_TRAFFIC  ON", ""])
def test_an_answer_that_makes_no_sense_is_not_the_answer_to_what_is_asked_next(odd: str) -> None:
    sessions: list[int] = []

    class Chassis(StreamRequestHandler):
        def handle(self) -> None:
            sessions.append(0)
            for line in self.rfile:
                asked = line.decode().strip()
                if asked.startswith("C_"):
                    self.wfile.write(b"<OK>\n")
                elif asked == "SYNC":
                    self.wfile.write(b"<SYNC>\n")
                else:
                    # The first session answers out of step; one that is made anew does not.
                    told = odd if len(sessions) == 1 else "0/0  P_SPEED  800000"
                    self.wfile.write(f"{told}\n".encode())

    with ThreadingTCPServer(("127.0.0.1", 0), Chassis) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            place = server.server_address
            with XenaSession("127.0.0.1", place[1], password="x", owner="us", timeout=5.0) as session:
                with pytest.raises(ProtocolError):
                    session.ask("0/0 P_SPEED ?")
                assert session.ask("0/0 P_SPEED ?")[0].numbers == [800000]
            assert len(sessions) == 2
        finally:
            server.shutdown()

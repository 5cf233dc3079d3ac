"""The vendor's own clients, unmodified tdl-xoa-driver, against both ports of the simulated Xena chassis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aicalib_hw.simulators.network.xena import SimulatedXena
from xoa_driver import enums, testers
from xoa_driver.functions.cli._cli_manager import XenaSocketDriver

from aicalib_hw import registry

FRAMES = 650195058
"""800 Gbit/s for 10 s in frames of 1518 bytes: 8e12 / (8 * 1538)."""


@pytest.fixture
def xena() -> Iterator[Any]:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 0})
    chassis = SimulatedXena(world, "xena")
    world.start()
    chassis.start()
    yield chassis
    chassis.stop()
    world.stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the chassis tells unasked."""
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("the chassis did not tell")


def with_tester(xena: Any, do: Callable[[Any], Awaitable[None]], owner: str = "owner") -> None:
    async def session() -> None:
        async with testers.L23Tester("127.0.0.1", owner, "xena", port=xena.binary_port) as tester:
            await do(tester)

    asyncio.run(session())


def test_the_vendors_client_connects_reserves_starts_and_reads_statistics(xena: Any) -> None:
    async def do(tester: Any) -> None:
        assert (tester.info.build_string, tester.info.version_string) == ("SIM0001", "SIM-487.5.0")
        module: Any = tester.modules.obtain(0)
        assert module.info.model_name == "Z_800_Q_FREYA"
        sender, receiver = module.ports.obtain(0), module.ports.obtain(1)
        assert sender.info.capabilities.max_speed == 800_000
        assert sender.info.capabilities.max_packet_length == 16_000
        for port in (sender, receiver):
            await port.reservation.set(enums.ReservedAction.RESERVE)
            await port.reset.set()
        stream = await sender.streams.create()
        await stream.packet.length.set(enums.LengthType.FIXED, 1518, 1518)
        await stream.packet.limit.set(-1)
        await stream.packet.header.data.set("ffffffffffff04f4bc0000000800")
        await stream.packet.header.protocol.set([enums.ProtocolOption.ETHERNET])
        await stream.payload.content.set(enums.PayloadType.PATTERN, "00ff")
        await stream.comment.set("calibration")
        await stream.rate.fraction.set(1_000_000)
        await stream.tpld_id.set(7)
        await stream.enable.set(enums.OnOffWithSuppress.ON)
        assert (await stream.comment.get()).comment == "calibration"
        assert (await stream.packet.header.data.get()).hex_data == "ffffffffffff04f4bc0000000800"
        assert (await stream.rate.fraction.get()).stream_rate_ppm == 1_000_000
        await sender.tx_config.time_limit.set(10_000_000)
        await sender.statistics.tx.clear.set()
        await receiver.statistics.rx.clear.set()
        await sender.traffic.state.set(enums.StartOrStop.START)
        xena.world.clock.advance(5.0)
        await until(lambda: sender.info.traffic_state == enums.TrafficOnOff.ON)
        assert sender.is_reserved_by_me()
        assert sender.info.reserved_by == "owner"
        xena.world.clock.advance(5.5)
        await until(lambda: sender.info.traffic_state == enums.TrafficOnOff.OFF)
        received = receiver.statistics.rx.access_tpld(7)
        traffic = await received.traffic.get()
        assert traffic.packet_count_since_cleared == FRAMES
        assert traffic.byte_count_since_cleared == FRAMES * 1518
        assert (await sender.statistics.tx.total.get()).packet_count_since_cleared == FRAMES
        assert (await received.errors.get()).packet_loss_by_seq == 0
        assert (await received.latency.get()).avg_val == 1000
        for port in (sender, receiver):
            await port.reservation.set(enums.ReservedAction.RELEASE)
        with pytest.raises(Exception, match="NOTRESERVED"):
            await sender.reset.set()

    with_tester(xena, do)


def test_the_vendors_client_sees_what_another_session_does(xena: Any) -> None:
    async def do(tester: Any) -> None:
        port = tester.modules.obtain(0).ports.obtain(0)
        async with testers.L23Tester("127.0.0.1", "rival", "xena", port=xena.binary_port) as rival:
            theirs: Any = rival.modules.obtain(0)
            await theirs.ports.obtain(0).reservation.set(enums.ReservedAction.RESERVE)
            await until(port.is_reserved_by_others)
            assert port.info.reserved_by == "rival"
            with pytest.raises(Exception, match="NOTVALID"):
                await port.reservation.set(enums.ReservedAction.RESERVE)
        await until(port.is_released)
        xena.chassis.network.ports["0/0"].set_link(False)
        await until(lambda: port.info.sync_status == enums.SyncStatus.NO_SYNC)

    with_tester(xena, do)


def test_the_vendors_client_knows_a_wrong_password(xena: Any) -> None:
    async def session() -> None:
        await testers.L23Tester("127.0.0.1", "owner", "wrong", port=xena.binary_port)

    with pytest.raises(Exception, match="password is incorrect"):
        asyncio.run(session())


def test_the_vendors_text_client_has_its_session(xena: Any) -> None:
    port = int(xena.address.removeprefix("xena://127.0.0.1:").split("?")[0])
    driver: Any = XenaSocketDriver("127.0.0.1", port)
    assert driver.send_and_response('C_LOGON "xena"') == "<OK>"
    assert driver.send_and_response('C_OWNER "XOACLI"') == "<OK>"
    assert "RELEASED" in driver.send_and_response("0/0 P_RESERVATION ?")
    assert driver.send_and_response("0/0 P_RESERVATION RESERVE") == "<OK>"
    both = driver.send_and_response_multiple("0/0 P_SPEED ?\n0/1 P_SPEED ?\n", 2)
    assert both == "0/0  P_SPEED  800000\n0/1  P_SPEED  800000\n"
    assert driver.send_and_response("SYNC ON", sync_on=True).endswith("<SYNC>")
    assert driver.send_and_response("0/0 P_FULLCONFIG ?", sync_on=True).endswith("<SYNC>")
    assert driver.send_and_response("SYNC OFF") == "<OK>"
    assert driver.send_and_response("0/0 P_NOSUCH ?") == "----^\n#Syntax error in column 5"
    assert driver.send_and_response("C_LOGOFF") == "<OK>"
    driver.close()

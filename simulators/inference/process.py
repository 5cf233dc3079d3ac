"""The server's own process, so that the simulator and its client share no interpreter; standard library alone.

`python -m aicalib_hw.simulators.inference.process`, started by `openai.SimulatedInferenceService` alone: it reads one
line from its standard input, connects to the port told there, and takes its settings and orders over that link, one
JSON object a line. It ends with the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import select
import selectors
import signal
import ssl
import sys
import time
from typing import Any

from ..occasions import Occasions
from .api import Service
from .harm import ArmedFault
from .http11 import Connection

_BACKLOG = 1024
_MOST_RECEIVED = 1 << 26


class PreciseSelector(selectors.DefaultSelector):
    """Waits to the microsecond, where epoll rounds up to the next millisecond."""

    def select(self, timeout: float | None = None) -> Any:
        if sys.platform == "linux" and timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


class Process:
    """Serves one model until the link to the simulator ends."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._rate, self._origin = settings["rate"], settings["origin"]
        self._stepped = settings["now"]
        self._settings = settings["options"]
        self._occasions: Occasions[ArmedFault] = Occasions(settings["seed"])
        self._service = Service(
            self._settings, settings["seed"], self._now, self._nanoseconds, self._occasions.strikes, self
        )
        self._service.wake = self._arm
        self._timer: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._down_until = 0.0
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        """Listen; return the port."""
        context = None
        if self._settings["certificate"] is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._settings["certificate"], self._settings["key"])
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(
                self._service.handle, self._admit, self._connections.discard, self._settings["server_header"]
            ),
            "127.0.0.1",
            self._settings["listen_port"],
            ssl=context,
            backlog=_BACKLOG,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def order(self, asked: dict[str, Any]) -> Any:
        """Do what the simulator asks for and return the answer."""
        what, service = asked["do"], self._service
        if what == "sync":
            self._stepped = asked["now"]
            service.engine.clock, service.engine.share = asked["clock"], asked["share"]
            if self._rate == 0:
                self._run()
            return {"work": service.work}
        if what == "inject":
            return self._occasions.arm(ArmedFault.from_data(asked["fault"]))
        if what == "clear":
            return self._occasions.clear()
        if what == "totals":
            return {"tokens": service.tokens, "prompt_tokens": service.prompt_tokens, "work": service.work}
        if what == "requests":
            return service.records.told()
        if what == "stamps":
            wanted = asked.get("number")
            return service.records.stamps(lambda record: wanted is None or record.number == wanted)
        if what == "between":
            return service.records.between(asked["start"], asked["stop"])
        if what == "log":
            return service.log
        raise ValueError(f"unknown order {what!r}")

    def restart(self, after: float) -> None:
        """Let the service be down for `after` real s and forget what a restart forgets."""
        self._down_until = time.monotonic() + after
        self._disconnect()
        self._service.power_up()

    def die(self) -> None:
        """Let the service be down for good; its records stay."""
        if self._server is not None:
            self._server.close()
        self._disconnect()

    def _disconnect(self) -> None:
        for connection in tuple(self._connections):
            gone, connection.on_gone = connection.on_gone, None
            if gone is not None:
                gone()
            connection.abort()

    def _admit(self, connection: Connection) -> bool:
        self._connections.add(connection)
        return time.monotonic() >= self._down_until and self._occasions.strikes("refuse") is None

    def _now(self) -> float:
        return float((time.monotonic() - self._origin) * self._rate if self._rate else self._stepped)

    def _nanoseconds(self, moment: float) -> int:
        return round((self._origin + moment / self._rate) * 1e9) if self._rate else time.monotonic_ns()

    def _run(self) -> None:
        self._service.engine.run()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._service.engine.due()
        if due is not None and self._rate:
            self._timer = asyncio.get_running_loop().call_at(self._origin + due / self._rate, self._run)


async def serve(port: int, token: str) -> None:
    """Connect to the simulator and do as it says until the link ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_MOST_RECEIVED)
    writer.write(f"{token}\n".encode())
    process = Process(json.loads(await reader.readline()))
    try:
        answer: Any = {"port": await process.listen()}
    except (OSError, ssl.SSLError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    writer.write(json.dumps(answer).encode() + b"\n")
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(json.dumps(process.order(json.loads(line))).encode() + b"\n")


def main() -> None:
    """Read where the simulator listens, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the simulator, which then ends the link
    port, token = sys.stdin.readline().split()
    loop = asyncio.SelectorEventLoop(PreciseSelector())
    loop.run_until_complete(serve(int(port), token))


if __name__ == "__main__":
    main()

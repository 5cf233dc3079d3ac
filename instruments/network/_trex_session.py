"""JSON-RPC 2.0 with a TRex server: compressed messages over ZeroMQ, batches, tickets for what takes long.

Source: trex-core 3.08, its RPC server and Python client. Every request is compressed: a header of two 32-bit numbers in
network order, a mark and the length before compression, then zlib. A reply comes compressed or plain.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from aicalib_hw.errors import (
    AicalibError,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentReportedError,
    LicenceMissing,
    LinkDown,
    LockedByOther,
    ProtocolError,
)
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.link import MessageLink, Wire
from aicalib_hw.transport.zmq import LARGEST, RequestWire

PORT = 4501
_HEADER = struct.Struct(">II")
_MARK = 0xABE85CEA

UNKNOWN_METHOD, TRY_AGAIN, IN_PROGRESS, NO_RESULTS = -32601, -32001, -32002, -32003
_PAUSE = 0.05
API_NAME, API_MAJOR, API_MINOR = "STL", 5, 1

_encoded = json.JSONEncoder(separators=(",", ":")).encode

Call = tuple[str, Mapping[str, Any]]
"""A method and its parameters."""


class TrexSession(MessageLink):
    """A session with the server at HOST:PORT; `open()` agrees on the version of the interface."""

    def __init__(self, host: str, port: int, *, timeout: float, trace: Trace | None = None) -> None:
        super().__init__(f"trex://{host}:{port}", timeout=timeout, connect_timeout=timeout, trace=trace)
        self._endpoint = f"tcp://{host}:{port}"
        self._number = 0
        self._handle = ""

    def agree(self) -> None:
        """Agree on the interface (api_sync_v2); raises IdentityMismatch for a server that has another."""
        version = {"name": API_NAME, "major": API_MAJOR, "minor": API_MINOR}
        self._handle = ""
        try:
            said = self.call("api_sync_v2", **version)
        except InstrumentReportedError as error:
            older = error.code == UNKNOWN_METHOD
            raise IdentityMismatch(
                f"the server does not speak the interface {API_NAME} {API_MAJOR}.{API_MINOR}",
                where=self.resource,
                why="it is of version 2.30 or earlier" if older else error.text,
                advice="run TRex 3 in stateless mode (t-rex-64 -i)",
            ) from error
        if not isinstance(said, dict) or not isinstance(said.get("api_h"), str):
            raise ProtocolError("the server gave no handle of its interface", where=self.resource, why=repr(said)[:80])
        self._handle = said["api_h"]

    def call(self, method: str, **parameters: Any) -> Any:
        """Call one method and return its result; raises as `batch`."""
        return self.batch([(method, parameters)])[0]

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Call methods in one exchange and return their results in order.

        Raises InstrumentReportedError with the server's code and words, LockedByOther, LinkDown, ProtocolError,
        DeadlineExceeded, ConnectionLost, Aborted. The results of the others are lost to the first error.
        """
        deadline = Deadline(self.timeout)
        results: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        with self.lock:
            while left:
                replies = self._exchanged([calls[place] for place in left])
                again = []
                for place, reply in zip(left, replies, strict=True):
                    if "error" not in reply:
                        results[place] = reply.get("result")
                    elif _code(reply) == TRY_AGAIN:
                        again.append(place)
                    elif _code(reply) == IN_PROGRESS:
                        results[place] = self._result_of(reply, calls[place][0], deadline)
                    else:
                        raise _refusal(reply["error"], calls[place][0], self.resource)
                if again and deadline.expired:
                    raise DeadlineExceeded(
                        f"the server puts {calls[again[0]][0]} off", where=self.resource, advice="wait until it is idle"
                    )
                left = again
                if left:
                    time.sleep(min(_PAUSE, deadline.left))
        return results

    def _result_of(self, reply: Mapping[str, Any], method: str, deadline: Deadline) -> Any:
        """The result of what takes long, by its ticket."""
        ticket = reply["error"].get("specific_err")
        while True:
            (said,) = self._exchanged([("get_async_results", {"ticket_id": ticket})])
            if "error" not in said:
                return said.get("result")
            if _code(said) not in (IN_PROGRESS, TRY_AGAIN):
                raise _refusal(said["error"], method, self.resource)
            if deadline.expired:
                raise DeadlineExceeded(f"{method} did not end within {deadline.seconds:g} s", where=self.resource)
            time.sleep(min(_PAUSE, deadline.left))

    def _exchanged(self, calls: Sequence[Call]) -> list[Mapping[str, Any]]:
        """One request and its replies in the order of `calls`."""
        requests: list[dict[str, Any]] = []
        for method, parameters in calls:
            self._number += 1
            if self._handle:
                parameters = {"api_h": self._handle, **parameters}
            requests.append({"jsonrpc": "2.0", "id": self._number, "method": method, "params": parameters})
        text = self.query_bytes(_encoded(requests if len(requests) > 1 else requests[0]))
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ProtocolError(
                f"the reply to {_methods(calls)} is no JSON", where=self.resource, why=str(error)
            ) from error
        replies = found if isinstance(found, list) else [found]
        if not all(isinstance(one, dict) for one in replies):
            raise ProtocolError(
                f"the reply to {_methods(calls)} is no object", where=self.resource, why=repr(text[:80])
            )
        by_number = {one.get("id"): one for one in replies}
        if len(calls) == 1 and len(replies) == 1 and replies[0].get("id") is None and "error" in replies[0]:
            raise _refusal(replies[0]["error"], _methods(calls), self.resource)
        if len(replies) != len(requests):
            raise ProtocolError(f"{len(replies)} replies came to {len(requests)} requests", where=self.resource)
        answers = []
        for request in requests:
            reply = by_number.get(request["id"])
            if reply is None:
                raise ProtocolError(f"{request['method']} was not answered", where=self.resource, why=repr(text[:80]))
            if ("error" in reply) == ("result" in reply) or not isinstance(reply.get("error", {}), dict):
                raise ProtocolError(f"the reply to {request['method']} has neither result nor error")
            answers.append(reply)
        return answers

    def _connect(self) -> Wire:
        return CompressedWire(RequestWire(self._endpoint, timeout=self._connect_timeout))


class CompressedWire:
    """A wire whose messages are packed as TRex packs them; the trace shows them unpacked."""

    reopens_to_clear = True
    remedy = ", and whether it still runs"

    def __init__(self, below: Wire) -> None:
        self._below = below

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        return self._below.send(packed(message), deadline)

    def receive(self, deadline: Deadline) -> bytes:
        return unpacked(self._below.receive(deadline))

    def clear(self, deadline: Deadline) -> None:
        self._below.clear(deadline)

    def interrupt(self) -> bool:
        return self._below.interrupt()

    def cut(self) -> None:
        self._below.cut()

    def close(self) -> None:
        self._below.close()


def packed(message: bytes) -> bytes:
    """Return a message as it travels."""
    return _HEADER.pack(_MARK, len(message)) + zlib.compress(message, 1)


def unpacked(data: bytes) -> bytes:
    """Return a message that travelled packed or plain; raises ProtocolError for a packed one that is not whole."""
    if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MARK:
        return data
    length = _HEADER.unpack_from(data)[1]
    problem = f"{length} bytes were announced"
    try:
        unpacker = zlib.decompressobj()
        message = unpacker.decompress(data[_HEADER.size :], min(length, LARGEST) + 1)
    except zlib.error as error:
        raise ProtocolError("a packed reply cannot be unpacked", why=str(error)) from error
    if len(message) != length or not unpacker.eof:
        raise ProtocolError("a packed reply is not whole", why=f"{problem}, {len(message)} came")
    return message


def _methods(calls: Sequence[Call]) -> str:
    return ", ".join(dict.fromkeys(method for method, _ in calls))


def _code(reply: Mapping[str, Any]) -> int | None:
    code = reply["error"].get("code")
    return code if isinstance(code, int) else None


def _refusal(error: Mapping[str, Any], method: str, where: str) -> AicalibError:
    """The error for what the server refused, by what its words speak of."""
    code = error.get("code")
    said = "; ".join(str(error[name]) for name in ("message", "specific_err") if error.get(name))
    number = code if isinstance(code, int) else 0
    words = said.lower()
    if "owned" in words or "already taken" in words:
        return LockedByOther(
            "a port belongs to somebody else",
            where=where,
            why=said,
            advice="let them release it, or reserve with force=True, which is recorded",
        ).of_vendor(number, said, method)
    if "link" in words and "down" in words:
        return LinkDown("a port has no link", where=where, why=said).of_vendor(number, said, method)
    if "licen" in words:
        return LicenceMissing(f"the server lacks a licence for {method}", where=where, why=said).of_vendor(
            number, said, method
        )
    return InstrumentReportedError(number, said, method, where=where)

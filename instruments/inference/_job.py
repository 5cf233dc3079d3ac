"""What one client process is told to do, and what it leaves: plain data in one directory of its own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

JOB = "job.json"
"""The file, in the directory of a client process, of what it is to do next."""

GO, STOP, CUT, HURRY = "go", "stop", "cut", "hurry"
"""Files that tell all client processes of a load to begin, to begin no request any more, to drop what is under way, to
decode no more of what came than a moment allows."""


@dataclass(frozen=True, slots=True)
class Job:
    """The share of a load that one process carries: times in s, rate in requests/s.

    body: of every request but for its prompt. opening, words, count, closing: of a prompt: the opening, `count` of the
    words, of which the first are drawn anew for each request, and the closing. slots: closed loop, so many requests at
    all times; 0 = open loop at `rate`, of which this is process `number` of `processes`. seed: of the arrivals.
    prompt_seed: of the prompts. warm_requests: of each slot, until it says that it is warm. most_requests: of each
    slot, 0 = until the signal to stop. silence: after which a request has failed. longest: of a request. most_bytes: of
    an answer. stamped: the text of each event is the moment at which it was sent, ns.
    """

    directory: str
    signals: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    chat: bool
    streaming: bool
    slots: int
    certificate: str | None = None
    opening: str = "Say"
    words: tuple[str, ...] = ("so",)
    count: int = 1
    closing: str = ""
    rate: float = 0.0
    constant: bool = False
    number: int = 0
    processes: int = 1
    seed: int = 0
    prompt_seed: str = ""
    warm_requests: int = 1
    most_requests: int = 0
    silence: float = 60.0
    longest: float = 3600.0
    most_bytes: int = 1 << 30
    stamped: bool = False

    def write(self) -> Path:
        """Put it, whole, where only this user can read it (it may hold a key), and return the file."""
        draft, path = Path(self.directory) / ".job", Path(self.directory) / JOB
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        return draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read it, and remove the file."""
        told = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return cls(**{**told, "words": tuple(told["words"])})


@dataclass(slots=True)
class Request:
    """One request: when it was due and was sent, when its answer ended (monotonic ns), and what came of it.

    failure: why it is no complete answer, "" if it is one. kind: of failure: "refused", "unreachable", "broken",
    "silent", "overrun", "garbled", "unfinished", "cut". closed: of a closed loop, in which it is due when it is sent.
    """

    number: int
    due: int
    sent: int
    ended: int = 0
    status: int = 0
    failure: str = ""
    kind: str = ""
    events: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    finish: str = ""
    fingerprint: str = ""
    done: bool = False
    closed: bool = True

    @property
    def complete(self) -> bool:
        """True if the whole answer came."""
        return not self.failure


@dataclass(frozen=True, slots=True)
class Effort:
    """What a load cost the client: CPU time in s while it ran and afterwards in decoding; bytes and reads that came."""

    seconds_receiving: float = 0.0
    seconds_decoding: float = 0.0
    bytes: int = 0
    reads: int = 0

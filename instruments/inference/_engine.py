"""An engine that is started here: asked what it is, started under a guard, waited for, and ended with all its files."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import Aborted, ConnectionFailed, ConnectionLost, DeadlineExceeded, MissingExtra, UsageError
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Process
from aicalib_hw.transport.work_folder import work_folder

FORM = "transformers://local?model=PATH&endpoint=completions&threads=1&device=cpu&dtype=float32&python=PATH"
MADE = "tiny-random-llama"
"""The name of the model that is made here where the address names none."""

_SCRIPT = Path(__file__).with_name("engine") / "serve.py"
_MARK = "@serving "
_SERVING = re.compile(r"running on (http://127\.0\.0\.1:[1-9]\d*)\b")
_WORDS = {
    "endpoint": ("completions", "chat"),
    "device": ("cpu", "cuda", "npu"),
    "dtype": ("float32", "bfloat16", "float16"),
}
_LOOK_EVERY = 0.05
_ADVICE = "install the PyTorch that fits the platform, and the engine: pip install torch 'transformers[serving]'"


@dataclass(frozen=True, slots=True)
class Launched:
    """How an engine is started. model: a folder, "" = a tiny one of random weights is made. threads: of processors."""

    model: str = ""
    endpoint: str = "completions"
    threads: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    python: str = sys.executable


def launched_by(address: str) -> Launched:
    """Take a `transformers://local` address apart; raises UsageError naming what does not belong there."""

    def refuse(why: str) -> UsageError:
        return UsageError(f"{address!r} is no address of an engine started here", why=why, advice=FORM)

    try:
        parts = urlsplit(address)
        options: dict[str, Any] = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise refuse(str(error)) from error
    if parts.scheme != "transformers" or parts.netloc != "local" or parts.path.strip("/"):
        raise refuse("it runs on this host only")
    for name, text in options.items():
        if name not in Launched.__dataclass_fields__:
            raise refuse(f"unknown: {name}")
        if name in _WORDS and text not in _WORDS[name]:
            raise refuse(f"{name} is one of {', '.join(_WORDS[name])}")
        if name == "threads":
            if not (text.isascii() and text.isdigit() and int(text) > 0):
                raise refuse("threads is a whole number above 0")
            options[name] = int(text)
    return Launched(**options)


def versions_of(how: Launched, timeout: float, trace: Trace | None) -> dict[str, str]:
    """Return the versions of transformers and torch in that interpreter; raises MissingExtra, ConnectionFailed."""
    try:
        with Process(_command(how, ask_only=True), trace=trace) as asked:
            ended = asked.wait(timeout)
    except DeadlineExceeded as error:
        raise ConnectionFailed(
            f"{how.python} does not tell its transformers", where=how.python, why=error.why
        ) from error
    said = _told(ended.output)
    if ended.status or "transformers" not in said:
        missing = ", ".join(said.get("missing", ())) or (ended.errors.strip().splitlines() or ["it tells nothing"])[-1]
        raise MissingExtra(
            "serving a model of our own needs PyTorch and transformers with its server",
            where=how.python,
            why=f"not there: {missing}",
            advice=_ADVICE,
        )
    return {name: str(said[name]) for name in ("transformers", "torch")}


class Engine:
    """A running `transformers serve`. base: its URL; model: the name that it is asked for by."""

    def __init__(self, how: Launched, trace: Trace | None) -> None:
        self._how, self._trace = how, trace
        self.model = str(Path(how.model).absolute()) if how.model else MADE
        self.base = ""
        self._last: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None

    def start(self, timeout: float, aborted: threading.Event) -> None:
        """Start it and wait until it serves; raises ConnectionFailed, DeadlineExceeded, Aborted, and leaves nothing."""
        self._folder = work_folder("engine", whose="the engine")
        try:
            self._process = Process(
                _command(self._how, model=self.model, ask_only=False),
                trace=self._trace,
                on_line=self._hear,
                directory=Path(self._folder.name),
                merged=True,
                guarded=True,
                remove=self._folder.name,
            ).start()
            self._wait(timeout, aborted)
        except BaseException:
            self.stop()
            raise

    @property
    def running(self) -> bool:
        """True while the engine runs."""
        return self._process is not None and self._process.running

    def stop(self) -> bool:
        """End the engine and remove its files; True if it was running; never raises."""
        running = self.running
        if self._process is not None:
            self._process.stop(grace=0.0)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return running

    def _wait(self, timeout: float, aborted: threading.Event) -> None:
        end = time.monotonic() + timeout
        while not self.base:
            if aborted.wait(_LOOK_EVERY):
                raise Aborted("starting the engine was aborted")
            if not self.running and not self.base:
                raise ConnectionLost("the engine ended before it served", where=self._how.python, why=self._words())
            if time.monotonic() > end:
                raise DeadlineExceeded(
                    f"the engine did not serve within {timeout:g} s", where=self._how.python, why=self._words()
                )

    def _hear(self, line: str) -> None:
        if line.strip():
            self._last = [*self._last, line.strip()][-3:]
        if _MARK not in line and (found := _SERVING.search(line)):
            self.base = found[1]

    def _words(self) -> str:
        return " / ".join(self._last) or "it wrote nothing"


def _command(how: Launched, **more: Any) -> list[str]:
    settings = {**asdict(how), **more, "make": not how.model, "prepared": False}
    # A path that begins here means the same where the engine runs; a bare name is looked up.
    python = str(Path(how.python).absolute()) if os.sep in how.python else how.python
    return [python, str(_SCRIPT), json.dumps(settings)]


def _told(output: str) -> dict[str, Any]:
    """Return what the lines of the engine's own say together."""
    said: dict[str, Any] = {}
    for line in output.splitlines():
        _before, mark, text = line.partition(_MARK)
        if mark:
            said.update(json.loads(text))
    return said

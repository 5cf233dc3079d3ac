"""The command line as a user runs it, in a directory and with leases of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aicalib_hw.cli import main

LABELS = ("what to do", "what", "where", "why")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status, standard output and error, and the error screen by its labels."""

    status: int
    out: str
    err: str

    @property
    def screen(self) -> dict[str, str]:
        """What the error screen says under each of its labels."""
        found: dict[str, str] = {}
        label = ""
        for line in self.err.splitlines():
            body = re.fullmatch(r"│(.*)│", line.strip())
            if body is None:
                continue
            text = body[1].strip()
            start = next((word for word in LABELS if re.match(rf"{word}\s\s", text)), "")
            label = start or label
            found[label] = f"{found.get(label, '')} {text.removeprefix(start).strip()}".strip()
        return found


Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("AICALIB_BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def aicalib(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run one command line in this process."""

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        status = caught.value.code
        return Ended(status if isinstance(status, int) else 0, out, err)

    return run

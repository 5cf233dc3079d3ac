"""Serve one model by `transformers serve` on a free port of loopback, after making a tiny one where none is named.

A script of its own that needs torch and transformers alone, as those of the platform may live in another environment:
`python serve.py SETTINGS`. It works in the current directory. Lines that begin with MARK tell what is there, or what is
missing; where it serves, the server's own line tells.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

MARK = "@serving "
NEEDED = ("torch", "transformers", "fastapi", "uvicorn", "openai")


def tell(**said: Any) -> None:
    """Write one line for the process that started this one."""
    os.write(1, f"{MARK}{json.dumps(said)}\n".encode())


def main(settings: dict[str, Any]) -> None:
    """Tell the versions; serve unless that was all that was asked."""
    if settings["prepared"]:
        serve(settings)
        return
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        tell(missing=missing)
        return
    tell(transformers=version("transformers"), torch=version("torch"))
    if settings["ask_only"]:
        return
    cache = Path("home", "hub").absolute()
    cache.mkdir(parents=True)  # without one, transformers 5.17 answers with an error when it is asked for its models
    # More threads than there are processors make a small model slower by a factor of eight.
    prepared = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(cache.parent),
        "OMP_NUM_THREADS": str(settings["threads"]),
    }
    for name, value in prepared.items():
        os.putenv(name, value)
    again = json.dumps({**settings, "prepared": True})
    os.execv(sys.executable, [sys.executable, __file__, again])  # which begins with what was put into the environment


def serve(settings: dict[str, Any]) -> None:
    """Make the model where none is named, and serve it."""
    if settings["make"]:
        importlib.import_module("tiny_model").make(Path(settings["model"]))
    command = ["transformers", "serve", settings["model"], "--device", settings["device"], "--dtype", settings["dtype"]]
    sys.argv = [*command, "--host", "127.0.0.1", "--port", "0"]
    importlib.import_module("transformers.cli.transformers").main()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

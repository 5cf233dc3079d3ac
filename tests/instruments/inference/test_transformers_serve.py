"""A real engine: `transformers serve` with a tiny model made here, measured, and held against another client."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.interfaces import InferenceLoad

from .tiny_model import library

NEEDED = ("torch", "transformers", "fastapi", "openai")
TINY_MODEL = Path(__file__).with_name("tiny_model.py")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Base URL and model of a running engine."""
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if program is None or any(importlib.util.find_spec(name) is None for name in NEEDED):
        pytest.skip("no engine to measure: pip install torch==2.13.0 'transformers[serving]'")
    folder = tmp_path_factory.mktemp("engine")
    model = str(folder / "tiny")
    # One thread: more than there are processors make such a small model slower by a factor of eight.
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home")}
    subprocess.run([sys.executable, str(TINY_MODEL), model], check=True, env=offline, capture_output=True, timeout=100)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        program,
        "serve",
        model,
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    log = folder / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(command, env=offline, stdout=file, stderr=subprocess.STDOUT) as server,
    ):
        try:
            deadline = time.monotonic() + 100
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.3)
            yield f"http://127.0.0.1:{port}/v1", model
        finally:
            server.terminate()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_a_real_engine_is_measured_and_its_tokens_are_counted_to_the_last(
    engine: tuple[str, str], endpoint: str
) -> None:
    base, model = engine
    load = InferenceLoad(model, 40, 24, concurrency=2, warm_up=0.2, duration=1.5)
    with hw.open_instrument(f"openai+{base}?endpoint={endpoint}") as service:
        found = service.measure_tokens(load)
    assert not found.identity.simulated
    assert found.definition == "token/output/usage-counted/steady-window"
    assert found.value is not None
    assert found.value > 10
    requests = found.evidence["requests"]
    assert requests["complete"] == requests["sent"] > 2
    assert requests["output_tokens_by_usage"] == 24 * requests["complete"]
    assert requests["finish_reasons"] == {"length": requests["complete"]}
    assert requests["done_marks"] == 0  # this engine never sends [DONE]
    assert found.evidence["prompt_tokens"] == {"least": 40, "most": 40}
    assert found.evidence["proof"]["events_received"] == found.evidence["proof"]["events_sent"]
    wrong = [one for one in found.validity.reasons if "client" not in one]
    assert wrong == []


@pytest.mark.timeout(240)
def test_the_vendors_client_counts_a_prompt_of_ours_as_we_do(engine: tuple[str, str]) -> None:
    from aicalib_hw.instruments.inference._prompts import prompts_of

    base, model = engine
    client: Any = library("openai").OpenAI(base_url=base, api_key="none", timeout=60)

    def ask(text: str) -> int:
        return int(client.completions.create(model=model, prompt=text, max_tokens=1).usage.prompt_tokens)

    for wanted in (33, 64):
        prompts = prompts_of(wanted, ask)
        assert prompts.exact
        assert ask(prompts.example) == wanted

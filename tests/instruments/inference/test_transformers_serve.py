"""A real engine: `transformers serve` with a tiny model made here, measured, and held against another client."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.inference._engine import MADE, Engine, launched_by
from aicalib_hw.instruments.inference.transformers_serve import TransformersService

import aicalib_hw as hw
from aicalib_hw.errors import Aborted, ConnectionLost, MissingExtra, NotSupported, OutOfRange, UsageError
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.readings import Measurement, to_plain

LOCAL = "transformers://local"
LOAD = InferenceLoad("", 40, 24, concurrency=2, warm_up=0.2, duration=1.0)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """The driver, opened, and the folder in which its engine's files lie."""
    folder = tmp_path_factory.mktemp("engine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        try:
            instrument = hw.open_instrument(LOCAL)
        except MissingExtra as missing:
            pytest.skip(f"no engine to measure: {missing.advice}")
        with instrument:
            yield instrument, folder


@pytest.fixture(scope="module")
def first(serving: tuple[Any, Path]) -> Measurement:
    """What the driver measured first, for which it started its engine."""
    instrument, _ = serving
    found = instrument.measure_tokens(LOAD)
    assert isinstance(found, Measurement)
    return found


@pytest.fixture(scope="module")
def engine(serving: tuple[Any, Path], first: Measurement) -> tuple[str, str]:
    """Base URL and model of a running engine."""
    instrument, _ = serving
    return f"{instrument._engine.base}/v1", instrument._engine.model


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("driver", "endpoint"), [("transformers", "completions"), ("openai", "completions"), ("openai", "chat")]
)
def test_a_real_engine_is_measured_and_its_tokens_are_counted_to_the_last(
    engine: tuple[str, str], first: Measurement, driver: str, endpoint: str
) -> None:
    base, model = engine
    found = first
    if driver == "openai":
        with hw.open_instrument(f"openai+{base}?endpoint={endpoint}&model={model}") as service:
            found = service.measure_tokens(LOAD)
    assert found.settings["endpoint"] == endpoint
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
    client: Any = importlib.import_module("openai").OpenAI(base_url=base, api_key="none", timeout=60)

    def ask(text: str) -> int:
        return int(client.completions.create(model=model, prompt=text, max_tokens=1).usage.prompt_tokens)

    for wanted in (33, 64):
        prompts = prompts_of(wanted, ask)
        assert prompts.exact
        assert ask(prompts.example) == wanted


@pytest.mark.timeout(240)
def test_an_engine_started_here_is_told_from_a_service_of_others_and_leaves_nothing(
    serving: tuple[Any, Path], first: Measurement
) -> None:
    """Last in this file: it ends the engine of the others."""
    instrument, folder = serving
    assert instrument.identity.model == "transformers serve"
    assert not instrument.identity.simulated
    assert instrument.identity.firmware
    with pytest.raises(OutOfRange, match="other"):
        instrument.measure_tokens(InferenceLoad("other", 40, 24))
    with pytest.raises(NotSupported):
        instrument.read()
    assert first.identity == instrument.identity
    assert first.settings["model"] == MADE
    assert any("random weights" in one for one in first.evidence["remarks"])
    assert any("share this host's processors" in one for one in first.evidence["remarks"])
    assert str(folder) not in str(to_plain(first))
    process = instrument._engine._process
    threading.Timer(0.5, instrument.abort).start()
    with pytest.raises(Aborted):
        instrument.measure_tokens(InferenceLoad("", 40, 24, duration=600))
    assert list(folder.iterdir())
    assert instrument.release().actions == ("the engine was stopped",)
    assert not process.running
    assert list(folder.iterdir()) == []
    assert not instrument.release().actions


def interpreter(folder: Path, body: str) -> str:
    """A program that stands where an interpreter is expected."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


def test_an_interpreter_without_an_engine_says_in_one_line_how_to_get_it(tmp_path: Path) -> None:
    bare = interpreter(tmp_path, f'exec {sys.executable} -S "$@"')
    with pytest.raises(MissingExtra) as missing:
        hw.open_instrument(f"{LOCAL}?python={bare}")
    assert "torch" in missing.value.why
    assert "pip install torch 'transformers[serving]'" in missing.value.advice


def test_an_engine_that_ends_or_never_serves_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(files))
    aborted = threading.Event()
    ending = interpreter(tmp_path, "touch left-over; echo cannot serve today; exit 3")
    with pytest.raises(ConnectionLost, match="cannot serve today"):
        Engine(launched_by(f"{LOCAL}?python={ending}"), None).start(60.0, aborted)
    assert list(files.iterdir()) == []
    hanging = Engine(launched_by(f"{LOCAL}?python={interpreter(tmp_path, 'touch left-over; sleep 60')}"), None)
    threading.Timer(0.5, aborted.set).start()
    began = time.monotonic()
    with pytest.raises(Aborted):
        hanging.start(60.0, aborted)
    assert time.monotonic() - began < 10
    assert not hanging.running
    assert list(files.iterdir()) == []


def test_an_abort_between_the_start_of_the_engine_and_its_first_request_is_not_forgotten(tmp_path: Path) -> None:
    asked: list[str] = []

    class Aborting(BaseHTTPRequestHandler):
        """Is the engine that has come to serve, and has the measurement aborted while it is first asked for models."""

        def do_GET(self) -> None:
            asked.append(self.path)
            service.abort()
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Aborting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        versions = """echo '@serving {"transformers": "5.24", "torch": "2.13.0"}'"""
        serving = f"echo running on http://127.0.0.1:{server.server_port}; sleep 60"
        body = f"""case "$2" in *'"ask_only": true'*) {versions};; *) {serving};; esac"""
        try:
            with TransformersService(f"{LOCAL}?python={interpreter(tmp_path, body)}", timeout=5.0) as service:
                with pytest.raises(Aborted):
                    service.measure_tokens(LOAD)
                assert [path for path in asked if "completions" in path] == []
        finally:
            server.shutdown()
            thread.join()
    assert asked


def test_an_interpreter_that_is_named_from_here_starts_the_engine_in_its_own_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter(tmp_path, "echo running on http://127.0.0.1:4321; sleep 60")
    monkeypatch.chdir(tmp_path)
    engine = Engine(launched_by(f"{LOCAL}?python=./python"), None)
    try:
        engine.start(60.0, threading.Event())
        assert engine.base == "http://127.0.0.1:4321"
    finally:
        engine.stop()


@pytest.mark.parametrize(
    "options",
    ["/path", "?threads=0", "?threads=two", "?device=tpu", "?dtype=int8", "?endpoint=images", "?speed=1", "?x"],
)
def test_an_address_that_makes_no_sense_is_refused(options: str) -> None:
    with pytest.raises(UsageError):
        launched_by(f"{LOCAL}{options}")

"""The simulated inference service under clients that nobody here wrote: openai, httpx-sse, curl, Prometheus' parser."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from httpx_sse import connect_sse
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from .serving import MODEL, QUICK, asked, base, rest_of, root, served


def client(service: Any, **more: Any) -> openai.OpenAI:
    settings: dict[str, Any] = {"base_url": base(service), "api_key": "none", "max_retries": 0, "timeout": 20}
    return openai.OpenAI(**settings | more)


def samples(service: Any) -> dict[str, float]:
    """Sums over labels of what the metrics page says, by the parser of Prometheus' own client."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(root(service) + "/metrics").text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def events_of(service: Any, tokens: int) -> list[str]:
    """The data of the events of one stream, by httpx-sse."""
    with (
        httpx.Client(timeout=20) as http,
        connect_sse(http, "POST", base(service) + "/completions", json=asked(tokens)) as source,
    ):
        return [event.data for event in source.iter_sse()]


@pytest.mark.alone
def test_it_is_ready_within_half_a_second_and_marked_wherever_a_client_looks() -> None:
    began = time.monotonic()
    with served(**QUICK) as service:
        assert time.monotonic() - began < 0.5
        models = client(service).models.list().data
        assert [model.id for model in models] == [MODEL]
        assert models[0].owned_by.startswith("SIM")
        answer = httpx.get(root(service) + "/version")
        assert answer.json()["version"].startswith("SIM")
        assert answer.headers["server"].startswith("SIM")
        made = client(service).completions.create(model=MODEL, prompt="a", max_tokens=2)
        assert made.system_fingerprint is not None
        assert made.system_fingerprint.startswith("SIM")
        assert service.identity_serial.startswith("SIM")


@pytest.mark.parametrize(
    ("engine", "path", "field"),
    [("tgi", "/info", "version"), ("llama.cpp", "/props", "build_info"), ("transformers", "/version", "version")],
)
def test_each_family_tells_its_build_where_it_does_and_bears_the_mark_at_one_place_with_all(
    engine: str, path: str, field: str
) -> None:
    with served(engine=engine) as service:
        assert httpx.get(root(service) + path).json()[field].startswith("SIM")
        assert httpx.get(root(service) + "/version").json()["version"].startswith("SIM")


def test_tokens_that_the_openai_client_counts_are_those_that_were_sent() -> None:
    with served(**QUICK) as service:
        stream = client(service).chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "tell me of watts"}],
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
        chunks = list(stream)
        truth = rest_of(0, service)
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).split()
    bearing = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(words) == len(bearing) == truth.tokens == truth.events == 50
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert bearing[-1].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 50
    assert chunks[-1].usage.prompt_tokens == truth.prompt_tokens == 4 + 4 + 4
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_an_answer_that_is_not_streamed_has_the_same_count() -> None:
    with served(**QUICK) as service:
        made = client(service).completions.create(model=MODEL, prompt=[5, 6, 7, 8], max_tokens=30)
        assert made.usage is not None
        assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (4, 30)
        assert len(made.choices[0].text.split()) == 30
        assert rest_of(0, service).tokens == 30


def test_httpx_sse_sees_one_event_a_token_and_the_end_mark() -> None:
    with served(**QUICK) as service:
        events = events_of(service, 20)
    assert events[-1] == "[DONE]"
    assert sum(bool(json.loads(data)["choices"]) for data in events[:-1]) == 20


def test_curl_reads_the_stream_to_its_end() -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is missing: apt-get install curl")
    with served(**QUICK) as service:
        done = subprocess.run(
            [curl, "-sSN", "--max-time", "20", "-d", json.dumps(asked(10)), base(service) + "/completions"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.count("data: ") == 10 + 2
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_a_text_ends_by_itself_unless_that_is_suppressed() -> None:
    with served(**QUICK, natural_length=20) as service:
        create = client(service).completions.create
        free = create(model=MODEL, prompt="a", max_tokens=200)
        least = create(model=MODEL, prompt="a", max_tokens=200, extra_body={"min_tokens": 90})
        forced = create(model=MODEL, prompt="a", max_tokens=200, extra_body={"ignore_eos": True})
    for made, reason in ((free, "stop"), (least, "stop"), (forced, "length")):
        assert made.choices[0].finish_reason == reason
    counts = [made.usage.completion_tokens for made in (free, least, forced) if made.usage is not None]
    assert 10 <= counts[0] <= 30
    assert 90 < counts[1] < 200
    assert counts[2] == 200


def test_families_differ_in_usage_and_end_mark() -> None:
    told = {}
    for engine in ("vllm", "llama-cpp-python", "transformers"):
        with served(**QUICK, engine=engine) as service:
            data = events_of(service, 5)
        chunks = [json.loads(one) for one in data if one != "[DONE]"]
        with_usage = [chunk for chunk in chunks if chunk.get("usage")]
        told[engine] = ("[DONE]" in data, [bool(chunk["choices"]) for chunk in with_usage])
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]].count("length") == 1
    assert told == {
        "vllm": (True, [False]),
        "llama-cpp-python": (True, []),
        "transformers": (False, [True]),
    }


@pytest.mark.parametrize(
    ("engine", "prompt", "generated"),
    [
        ("vllm", "vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
        ("tgi", "tgi_request_input_length_sum", "tgi_request_generated_tokens_sum"),
        ("llama.cpp", "llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"),
    ],
)
def test_counters_agree_with_the_truth(engine: str, prompt: str, generated: str) -> None:
    with served(**QUICK, engine=engine) as service:
        for _ in range(2):
            client(service).completions.create(model=MODEL, prompt="a b c", max_tokens=40)
        found = samples(service)
        assert found[generated] == service.truth.tokens == 80
        assert found[prompt] == service.truth.prompt_tokens == 6


def test_vllm_counts_while_it_generates_and_the_others_at_the_end() -> None:
    names = {"vllm": "vllm:generation_tokens_total", "llama.cpp": "llamacpp:tokens_predicted_total"}
    for engine, name in names.items():
        with served(engine=engine, stream_rate=100.0) as service, httpx.Client(timeout=20) as http:
            with http.stream("POST", base(service) + "/completions", json=asked(60)) as stream:
                for number, _ in enumerate(line for line in stream.iter_lines() if line):
                    if number == 20:
                        halfway = samples(service)[name]
            assert samples(service)[name] == 60
        assert (halfway > 0) == (engine == "vllm"), engine


def test_several_engines_share_the_count_and_a_million_is_written_as_prometheus_writes_it() -> None:
    with served(engines=2, capacity=1e8, stream_rate=1e8, tokens_per_event=30_000, context=3_000_000) as service:
        long: dict[str, Any] = {"max_tokens": 2_469_135, "extra_body": {"ignore_eos": True}}
        client(service).completions.create(model=MODEL, prompt="a", **long)
        page = httpx.get(root(service) + "/metrics").text
        assert samples(service)["vllm:generation_tokens_total"] == 2_469_135
    lines = [line for line in page.splitlines() if line.startswith("vllm:generation_tokens_total{")]
    written: Any = floatToGoString
    assert [line.split("} ")[1] for line in lines] == [written(1_234_567), written(1_234_568)]
    assert all("e+06" in line for line in lines)


def test_a_key_is_asked_for_and_an_unknown_model_refused() -> None:
    with served(**QUICK, api_key="secret") as service:
        with pytest.raises(openai.AuthenticationError):
            client(service).models.list()
        right = client(service, api_key="secret")
        assert right.models.list().data
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            right.completions.create(model="other", prompt="a")
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            right.completions.create(model=MODEL, prompt="a", max_tokens=10**6)
        with pytest.raises(openai.InternalServerError, match="not simulated"):
            right.completions.create(model=MODEL, prompt="a", n=2)
        assert not any(b"secret" in data for _, data in service.exchanges)


def test_a_certificate_that_nobody_knows_is_refused_by_clients(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *name, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    with served(**QUICK, certificate=certificate, key=key) as service:
        assert service.address.startswith("openai+https://127.0.0.1:")
        with pytest.raises(openai.APIConnectionError):
            client(service).models.list()
        with httpx.Client(verify=ssl.create_default_context(cafile=str(certificate))) as http:
            assert client(service, http_client=http).models.list().data[0].id == MODEL
            made_there = client(service, http_client=http).completions.create(model=MODEL, prompt="a", max_tokens=5)
            assert made_there.usage is not None
            assert made_there.usage.completion_tokens == 5


def test_prompts_are_counted_as_the_server_says() -> None:
    with served(prompt_cache=True, **QUICK) as service:
        text = " ".join(f"w{number}" for number in range(40))
        told = httpx.post(root(service) + "/tokenize", json={"model": MODEL, "prompt": text}).json()
        back = httpx.post(root(service) + "/detokenize", json={"model": MODEL, "tokens": told["tokens"]}).json()
        assert told["count"] == 40 == len(back["prompt"].split())
        usages = [client(service).completions.create(model=MODEL, prompt=text, max_tokens=2).usage for _ in range(2)]
        details = [usage.prompt_tokens_details for usage in usages if usage is not None]
        assert [one.cached_tokens for one in details if one is not None] == [0, 32]


def test_a_client_that_leaves_gets_no_more_tokens() -> None:
    with served(stream_rate=50.0) as service, httpx.Client(timeout=20) as http:
        with http.stream("POST", base(service) + "/completions", json=asked(5000)) as stream:
            next(stream.iter_lines())
        truth = rest_of(0, service)
        assert truth.outcome == "abort"
        assert truth.tokens < 100
        found = samples(service)
        assert found["vllm:num_requests_running"] == 0
        assert found["vllm:generation_tokens_total"] == service.truth.tokens

"""Counters in the text format of Prometheus under the engines' own names; standard library alone.

vLLM writes floats as Python does (1e+06 from a million on) and one line for each of its engines; its histogram
`vllm:iteration_tokens_total` is no count of tokens although it is called so. TGI has no counter of tokens but the sums
of histograms. llama.cpp writes integers, beside gauges whose names differ from the counters' by little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What an engine has counted since its start. seconds: spent on prompts and on generating, s."""

    prompt_tokens: int
    tokens: int
    finished: Mapping[str, int]
    running: int
    waiting: int
    steps: int
    prompt_seconds: float
    seconds: float


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text_of(prefix: str, counts: Counts, *, model: str, engines: int) -> bytes:
    """Return the page of metrics of the family whose names begin with `prefix`."""
    lines = {"vllm:": _vllm, "tgi_": _tgi, "llamacpp:": _llama_cpp}[prefix](counts, model, engines)
    return "".join(f"{line}\n" for line in lines).encode()


def _float(value: float) -> str:
    """As the Python client of Prometheus writes it: an exponent from a million on."""
    text = repr(float(value))
    digits, _, rest = text.partition(".")
    if len(digits) <= 6 or "e" in text or digits.startswith("-"):
        return text
    mantissa = f"{digits[0]}.{digits[1:]}{rest}".rstrip("0.")
    return f"{mantissa}e+{len(digits) - 1:02d}"


def _shares(count: int, engines: int) -> Iterable[int]:
    """Split a count over engines, no two alike where it can be."""
    each = count // engines
    return [each] * (engines - 1) + [count - each * (engines - 1)]


def _vllm(counts: Counts, model: str, engines: int) -> Iterable[str]:
    def family(name: str, kind: str, about: str, value: int, suffix: str = "") -> Iterable[str]:
        yield f"# HELP {name}{suffix} {about}"
        yield f"# TYPE {name}{suffix} {kind}"
        for engine, share in enumerate(_shares(value, engines)):
            yield f'{name}{suffix}{{engine="{engine}",model_name="{model}"}} {_float(share)}'

    yield from family("vllm:num_requests_running", "gauge", "Requests in execution batches.", counts.running)
    yield from family("vllm:num_requests_waiting", "gauge", "Requests that wait.", counts.waiting)
    yield from family("vllm:prompt_tokens", "counter", "Prefill tokens processed.", counts.prompt_tokens, "_total")
    yield from family("vllm:generation_tokens", "counter", "Generation tokens processed.", counts.tokens, "_total")
    yield "# HELP vllm:generation_tokens_created Generation tokens processed."
    yield "# TYPE vllm:generation_tokens_created gauge"
    yield f'vllm:generation_tokens_created{{engine="0",model_name="{model}"}} 1.7e+09'
    yield "# HELP vllm:request_success_total Requests that ended well."
    yield "# TYPE vllm:request_success_total counter"
    for reason in ("stop", "length", "abort"):
        value = _float(counts.finished.get(reason, 0))
        yield f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="{model}"}} {value}'
    labels = f'engine="0",model_name="{model}"'
    yield "# HELP vllm:iteration_tokens_total Histogram of tokens per engine step."
    yield "# TYPE vllm:iteration_tokens_total histogram"
    yield f'vllm:iteration_tokens_total_bucket{{{labels},le="+Inf"}} {_float(counts.steps)}'
    yield f"vllm:iteration_tokens_total_count{{{labels}}} {_float(counts.steps)}"
    yield f"vllm:iteration_tokens_total_sum{{{labels}}} {_float(counts.tokens + counts.prompt_tokens)}"


def _tgi(counts: Counts, model: str, engines: int) -> Iterable[str]:
    ended = sum(counts.finished.values())
    yield "# TYPE tgi_request_count counter"
    yield f"tgi_request_count {ended + counts.running + counts.waiting}"
    yield "# TYPE tgi_request_success counter"
    yield f'tgi_request_success{{method="completions"}} {ended}'
    yield "# TYPE tgi_queue_size gauge"
    yield f"tgi_queue_size {counts.waiting}"
    yield "# TYPE tgi_batch_current_size gauge"
    yield f"tgi_batch_current_size {counts.running}"
    for name, total in (("input_length", counts.prompt_tokens), ("generated_tokens", counts.tokens)):
        yield f"# TYPE tgi_request_{name} histogram"
        yield f'tgi_request_{name}_bucket{{le="+Inf"}} {ended}'
        yield f"tgi_request_{name}_sum {total}"
        yield f"tgi_request_{name}_count {ended}"


def _llama_cpp(counts: Counts, model: str, engines: int) -> Iterable[str]:
    rate = counts.tokens / counts.seconds if counts.seconds else 0.0
    prompt_rate = counts.prompt_tokens / counts.prompt_seconds if counts.prompt_seconds else 0.0
    for name, kind, about, value in (
        ("prompt_tokens_total", "counter", "Number of prompt tokens processed.", f"{counts.prompt_tokens}"),
        ("prompt_seconds_total", "counter", "Prompt process time", f"{counts.prompt_seconds:g}"),
        ("tokens_predicted_total", "counter", "Number of generation tokens processed.", f"{counts.tokens}"),
        ("tokens_predicted_seconds_total", "counter", "Predict process time", f"{counts.seconds:g}"),
        ("prompt_tokens_seconds", "gauge", "Average prompt throughput in tokens/s.", f"{prompt_rate:g}"),
        ("predicted_tokens_seconds", "gauge", "Average generation throughput in tokens/s.", f"{rate:g}"),
        ("requests_processing", "gauge", "Number of requests processing.", f"{counts.running}"),
        ("requests_deferred", "gauge", "Number of requests deferred.", f"{counts.waiting}"),
    ):
        yield f"# HELP llamacpp:{name} {about}"
        yield f"# TYPE llamacpp:{name} {kind}"
        yield f"llamacpp:{name} {value}"

"""The counters that an inference engine serves for Prometheus: which they are, and how a page of them is read.

Source: Prometheus text exposition format 0.0.4; the metrics that vLLM, SGLang, llama.cpp's server and Text Generation
Inference document. Those of MindIE are not confirmed: name them in the address. SGLang, TGI and llama.cpp count a
request when it ends, vLLM as it goes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

GENERATED = (
    "vllm:generation_tokens_total",
    "sglang:generation_tokens_total",
    "llamacpp:tokens_predicted_total",
    "tgi_request_generated_tokens_sum",
)
AS_THEY_COME = ("vllm:",)
"""What the counters of engines begin with that count each token when it is generated; others do when a request ends."""

PROMPT = (
    "vllm:prompt_tokens_total",
    "sglang:prompt_tokens_total",
    "llamacpp:prompt_tokens_total",
    "tgi_request_input_length_sum",
)
RUNNING = (
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "llamacpp:requests_processing",
    "tgi_batch_current_size",
)
WAITING = (
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "llamacpp:requests_deferred",
    "tgi_queue_size",
)
MODEL_LABELS = ("model_name", "model", "model_id")

_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?\s*')
_ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the page: the metric, its labels, and its value as the text gives it, exactly; None for NaN."""

    name: str
    labels: Mapping[str, str]
    value: Fraction | None

    @property
    def series(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What tells this line from all others."""
        return self.name, tuple(sorted(self.labels.items()))


def parse(page: str) -> tuple[Sample, ...]:
    """Return every sample of a page; raises ValueError for a line that is none, naming it."""
    found = []
    for line in page.split("\n"):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!r} is no sample")
        labels = {name: _unescaped(value) for name, value in _LABEL.findall(match[2] or "")}
        if _LABEL.sub("", match[2] or "").strip():
            raise ValueError(f"{text[:80]!r} has labels that are none")
        found.append(Sample(match[1], labels, _number(match[3])))
    return tuple(found)


def total(
    samples: Iterable[Sample], names: Iterable[str], model: str = ""
) -> tuple[Fraction, frozenset[object], str] | None:
    """Return the sum over all series of the first of `names` that is served, these series, and the name; None = none.

    model: only series whose label names it, where there are such labels. A NaN among them is no number: ValueError.
    """
    held = tuple(samples)
    for name in names:
        those = [one for one in held if one.name == name]
        if model and any(label in one.labels for one in those for label in MODEL_LABELS):
            those = [one for one in those if model in (one.labels.get(label) for label in MODEL_LABELS)]
        if those:
            values = [one.value for one in those]
            if any(value is None for value in values):
                raise ValueError(f"{name} is not a number")
            summed = sum((value for value in values if value is not None), Fraction(0))
            return summed, frozenset(one.series for one in those), name
    return None


def _number(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except ValueError:
        value = float(text)  # +Inf, -Inf, NaN; anything else raises
        if math.isfinite(value):
            return Fraction(value)
        return None


def _unescaped(text: str) -> str:
    return re.sub(r'\\[\\"n]', lambda found: _ESCAPED[found[0]], text)

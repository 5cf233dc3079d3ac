"""What the lines of training logs say, framework by framework.

Source: Megatron-LM `training_log`, MindSpeed-LLM and Primus in the same form; torchtitan `metrics.py`, 0.3.0; DeepSpeed
`ThroughputTimer`, 0.19.8; nanoGPT `train.py`; Trainer of transformers 5.24. The lines of torchtitan, DeepSpeed, nanoGPT
and the Trainer were taken from runs of their code. Keys are found by name and never by
place, a time only with its unit. TFLOP/s and MFU are not read: no two frameworks count the same operations by them.
"""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Pace = Literal["s/step", "sample/s", "token/s/device", "s in all", "s/sample in all"]


@dataclass(frozen=True, slots=True)
class Logged:
    """What one line says of the steps up to it; None = it does not say.

    pace: as the line gives it, in `unit`, with `half_digit`, half of its last digit. last_step_only: it is that of the
    last step, not the mean since the line before. tokens, samples: in all so far. batch: sequences in a step. skipped,
    spoiled: steps since the line before that were not applied, or had no finite loss. at: s of the log's own time
    stamp, whose zero and time zone mean nothing, and its last digit.
    """

    pace: float
    half_digit: float
    unit: Pace
    last_step_only: bool = False
    step: int | None = None
    tokens: int | None = None
    samples: int | None = None
    batch: int | None = None
    skipped: int | None = None
    spoiled: int = 0
    loss: float | None = None
    at: tuple[float, float] | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """One framework's log: the name that an address gives it, its own name, and how a line is read.

    tells_skipped: some of its lines can say which steps were not applied. `read` returns None for a line of something
    else, and raises ValueError for one of a step that does not say what it should. skipped_so_far: how a line of
    another kind is read that says, at a step, how many were not applied in all.
    """

    name: str
    title: str
    read: Callable[[str], Logged | None]
    tells_skipped: bool = False
    skipped_so_far: Callable[[str], tuple[int, int] | None] = lambda line: None


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?")
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

_MEGATRON = re.compile(r"iteration\s+(\d+)\s*/\s*\d+\s*\|")
_MEGATRON_TIME = re.compile(
    rf"(?:elapsed time per iteration \((?P<in>\w+)\):\s*(?P<mean>{_NUMBER})|"
    rf"\biteration time:\s*(?P<fork>{_NUMBER})\s*(?P<of>\w+))"
)
_TITAN = re.compile(r"(?<!validate )\bstep:\s*(\d+)\s.*?\bloss:")
_TITAN_TPS = re.compile(rf"\btps:\s*({_NUMBER})")
_DEEPSPEED = re.compile(r"(?:global_step=(\d+)|\b\d+/(\d+))\s*,\s*RunningAvgSamplesPerSec=")
_DEEPSPEED_MEAN = re.compile(rf"RunningAvgSamplesPerSec=({_NUMBER})")
_DEEPSPEED_NOW = re.compile(rf"CurrSamplesPerSec=({_NUMBER})")
_DEEPSPEED_SKIPPED = re.compile(r"\bstep=(\d+), skipped=(\d+), lr=")
_DEEPSPEED_UNTIMED = 2
"""Steps before the running average begins (`start_step` of ThroughputTimer)."""

_OVERFLOW = re.compile(r"\boverflow\b.{0,60}\bskipping step\b", re.IGNORECASE)
"""What the loss scalers of DeepSpeed ("OVERFLOW! Rank 0 Skipping step.") and apex write of a step, also amid the log of
another framework; how often, for one step, is not known."""

_NANOGPT = re.compile(r"\biter (\d+): loss\b")
_NANOGPT_TIME = re.compile(rf"\btime ({_NUMBER})\s*([a-z]+)\b")
_RECORD = re.compile(r"\{'[^{}]*\}")


def overflows(line: str) -> bool:
    """Return whether a loss scaler says in this line that a step is skipped."""
    return _OVERFLOW.search(line) is not None


def plain(line: str) -> str:
    """Return a line without colours, and of a progress bar that redraws itself only what stands there last."""
    return _ANSI.sub("", line).rstrip("\r\n").rpartition("\r")[2].replace("\0", "")


def _half_digit(text: str) -> float:
    """Half of the last digit of a number as it is written: 0.05 for 892.1, 0.5 for 5,432."""
    mantissa, _, exponent = text.lower().replace(",", "").partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _positive(text: str, what: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise ValueError(f"{what} is {text}")
    return value


def _stamp(line: str) -> tuple[float, float] | None:
    found = _STAMP.search(line)
    if found is None:
        return None
    day, time, fraction = found.groups()
    try:
        # Any zone will do: only differences are used.
        moment = datetime.datetime.fromisoformat(f"{day}T{time}+00:00")
    except ValueError:
        return None
    return moment.timestamp() + float(f"0.{fraction or 0}"), 10.0 ** -len(fraction or "")


def _after(line: str, key: str) -> str | None:
    """The number after a key, None without the key or without a number."""
    found = re.search(rf"(?:^|[|,\s]){re.escape(key)}:\s*({_NUMBER})", line)
    return found[1] if found else None


def _count(line: str, key: str) -> int | None:
    text = _after(line, key)
    return None if text is None else int(_number(text))


def _loss(text: str | None) -> float | None:
    return None if text is None else _number(text)


def _seconds(text: str, unit: str) -> tuple[float, float]:
    if unit not in _SECONDS:
        raise ValueError(f"the time of a step is in {unit!r}, and {', '.join(_SECONDS)} are known")
    return _positive(text, "the time of a step") * _SECONDS[unit], _half_digit(text) * _SECONDS[unit]


def _megatron(line: str) -> Logged | None:
    found = _MEGATRON.search(line)
    if found is None:
        return None
    time = _MEGATRON_TIME.search(line)
    if time is None:
        raise ValueError("it has no 'elapsed time per iteration' with a unit")
    pace, half = _seconds(time["mean"] or time["fork"], time["in"] or time["of"])
    return Logged(
        pace,
        half,
        "s/step",
        step=int(found[1]),
        samples=_count(line, "consumed samples"),
        batch=_count(line, "global batch size"),
        skipped=_count(line, "number of skipped iterations"),
        spoiled=_count(line, "number of nan iterations") or 0,
        loss=_loss(_after(line, "lm loss") or _after(line, "loss")),
        at=_stamp(line),
    )


def _torchtitan(line: str) -> Logged | None:
    found = _TITAN.search(line)
    if found is None:
        return None
    rate = _TITAN_TPS.search(line)
    if rate is None:
        raise ValueError("it has no 'tps'")
    pace = _positive(rate[1], "tps")
    loss = _loss(_after(line, "loss"))
    return Logged(pace, _half_digit(rate[1]), "token/s/device", step=int(found[1]), loss=loss, at=_stamp(line))


def _deepspeed(line: str) -> Logged | None:
    found = _DEEPSPEED.search(line)
    if found is None:
        return None
    mean, now = _DEEPSPEED_MEAN.search(line), _DEEPSPEED_NOW.search(line)
    if now is None or mean is None:
        raise ValueError("it has no 'CurrSamplesPerSec' behind the average")
    if found[1] is None:
        pace = _positive(now[1], "CurrSamplesPerSec")
        remark = "the log does not say whether it counts optimizer steps or parts of them"
        return Logged(pace, _half_digit(now[1]), "sample/s", True, step=int(found[2]), at=_stamp(line), remark=remark)
    step = int(found[1])
    if step <= _DEEPSPEED_UNTIMED:
        raise ValueError(f"a rate at step {step}, and the first {_DEEPSPEED_UNTIMED} are not timed")
    # All steps since the line before, and not only the last one: from the two averages.
    average = _positive(mean[1], "RunningAvgSamplesPerSec")
    passed = (step - _DEEPSPEED_UNTIMED) / average
    half = passed * _half_digit(mean[1]) / average
    return Logged(passed, half, "s/sample in all", step=step, at=_stamp(line))


def _deepspeed_skipped(line: str) -> tuple[int, int] | None:
    """What the engine reports at a step, one line before the rate of it."""
    found = _DEEPSPEED_SKIPPED.search(line)
    return None if found is None else (int(found[1]), int(found[2]))


def _nanogpt(line: str) -> Logged | None:
    found = _NANOGPT.search(line)
    if found is None:
        return None
    time = _NANOGPT_TIME.search(line)
    if time is None:
        raise ValueError("it has no 'time' with a unit")
    pace, half = _seconds(time[1], time[2])
    loss = re.search(rf"loss ({_NUMBER})", line)
    said = _loss(loss[1] if loss else None)
    return Logged(pace, half, "s/step", True, step=int(found[1]), loss=said, at=_stamp(line))


def _trainer(line: str) -> Logged | None:
    found = _RECORD.search(line)
    if found is None:
        return None
    try:
        said = ast.literal_eval(re.sub(r": (nan|-?inf)\b", r": '\1'", found[0]))
    except (ValueError, SyntaxError):
        return None
    if not isinstance(said, dict) or "loss" not in said or "learning_rate" not in said:
        return None
    missing = [key for key in ("num_input_tokens_seen", "train_runtime") if key not in said]
    if missing:
        raise ValueError(f"it has no {missing[0]!r}: train with include_num_input_tokens_seen='all'")
    return _of_trainer(said)


def _of_trainer(said: Mapping[str, Any]) -> Logged:
    elapsed = str(said["train_runtime"])
    pace = _positive(elapsed, "train_runtime")
    tokens = int(_positive(str(said["num_input_tokens_seen"]), "num_input_tokens_seen"))
    return Logged(pace, _half_digit(elapsed), "s in all", tokens=tokens, loss=float(said["loss"]))


FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("megatron", "Megatron-LM", _megatron, tells_skipped=True),
        Format("mindspeed", "MindSpeed-LLM", _megatron, tells_skipped=True),
        Format("torchtitan", "torchtitan", _torchtitan),
        Format("deepspeed", "DeepSpeed", _deepspeed, tells_skipped=True, skipped_so_far=_deepspeed_skipped),
        Format("nanogpt", "nanoGPT", _nanogpt),
        Format("huggingface", "Trainer of transformers", _trainer),
    )
}
"""The formats by the name that an address gives them."""

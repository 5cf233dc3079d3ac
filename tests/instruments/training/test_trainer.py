"""The Trainer of transformers really trains, and is followed: its token/s against what a callback in it counted."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from aicalib_hw.instruments.training.log import TrainingLog

from aicalib_hw.interfaces import TrainingPlan

from .conftest import needs_trainer

SCRIPT = """
import sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

torch.set_num_threads(1)
folder = sys.argv[1]
model = LlamaForCausalLM(LlamaConfig(vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64))
rows = [{"input_ids": (row + torch.arange(64)) % 256, "labels": (row + torch.arange(64)) % 256} for row in range(2000)]

class Witness(TrainerCallback):
    def on_step_end(self, arguments, state, control, **_):
        with open(folder + "/witness", "a") as file:
            print(state.global_step, time.perf_counter(), file=file)

arguments = TrainingArguments(output_dir=folder, per_device_train_batch_size=2, gradient_accumulation_steps=2,
    max_steps=400, logging_steps=2, include_num_input_tokens_seen="all", report_to=[], save_strategy="no", seed=0,
    use_cpu=True)
Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Witness()]).train()
"""
PLAN = TrainingPlan(4, 64, warm_up_steps=10, steps=100, step_timeout=60.0, precision="fp32")


@needs_trainer
def test_the_trainers_token_per_second_is_what_a_callback_counted_within_half_a_per_cent(tmp_path: Path) -> None:
    command = (sys.executable, "-c", SCRIPT, str(tmp_path))
    with TrainingLog("log://command?framework=huggingface") as log:
        result = log.measure_tokens(dataclasses.replace(PLAN, command=command))
    assert result.validity, result.validity.reasons
    first, last = result.runs[0].evidence["step"] - 2, result.runs[-1].evidence["step"]
    ends = dict(line.split() for line in (tmp_path / "witness").read_text().splitlines())
    truth = (last - first) * 4 * 64 / (float(ends[str(last)]) - float(ends[str(first)]))
    assert last - first == 100
    assert result.value == pytest.approx(truth, rel=0.005)
    assert result.evidence["tokens"] == 100 * 4 * 64

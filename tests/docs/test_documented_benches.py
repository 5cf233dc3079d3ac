"""Bench files and parts of bench files that the pages show are accepted."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw.bench import BenchFile, load_bench

from .pages import Block, blocks, pages

SHOWN = [block for page in pages() for block in blocks(page, "toml")]
WHOLE = [block for block in SHOWN if "bench" in tomllib.loads(block.text)]
PARTS = [block for block in SHOWN if not tomllib.loads(block.text).keys() & {"bench", "project", "tool"}]

AROUND = """
[bench]
name = "lab"
[decision]
rule = "simple"
[instruments.cpu]
driver = "cpu"
address = "cpu://local"
[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
"""


def merged(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in part.items():
        inner = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if inner else value
    return both


@pytest.mark.parametrize("block", WHOLE, ids=lambda block: block.name)
def test_every_whole_bench_file_can_be_loaded(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(block.text, encoding="utf-8")
    assert load_bench(path).instruments


@pytest.mark.parametrize("block", PARTS, ids=lambda block: block.name)
def test_every_part_of_a_bench_file_fits_into_one(block: Block) -> None:
    BenchFile.model_validate(merged(tomllib.loads(AROUND), tomllib.loads(block.text)))

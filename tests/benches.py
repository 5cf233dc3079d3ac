"""Bench files for tests: shipped ones, as they are but for the pace of their world."""

from __future__ import annotations

from pathlib import Path

from aicalib_hw.bench import find_bench


def in_a_fast_world(folder: Path) -> Path:
    """Write the bench file of the simulated server, whose world runs ten times as fast as it is shipped."""
    text = Path(find_bench("simulated-server")).read_text(encoding="utf-8")
    assert text.count("\n[world]\n") == 1
    path = folder / "simulated-server.toml"
    path.write_text(text.replace("\n[world]\n", "\n[world]\nrate = 10.0\n"), encoding="utf-8")
    return path

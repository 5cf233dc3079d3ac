"""What the tests of a run in PyTorch need."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed; for processors: .venv/bin/pip install torch==2.13.0"
)
needs_trainer = pytest.mark.skipif(
    find_spec("transformers") is None or find_spec("accelerate") is None,
    reason="the Trainer is not installed: .venv/bin/pip install torch==2.13.0 transformers accelerate",
)

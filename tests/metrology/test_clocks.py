"""The host's clock: what the kernel tells is taken over, and what it does not tell is not assumed."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.metrology.clocks import ClockEvidence, clock_evidence, time_base
from aicalib_hw.readings import Instant
from tests import on_windows


def evidence(synchronised: bool | None) -> ClockEvidence:
    return ClockEvidence(Instant.now(), synchronised, None, None, None, "an example")


@pytest.mark.parametrize(("synchronised", "rate"), [(True, 10e-6), (False, 500e-6), (None, 500e-6)])
def test_only_a_synchronised_clock_is_better_than_the_kernels_limit_of_slew(
    synchronised: bool | None, rate: float
) -> None:
    result = evaluate(60.0, "s", [time_base(evidence(synchronised))])
    assert result.standard_uncertainty == pytest.approx(60.0 * rate / 3**0.5)


def test_all_durations_of_one_host_share_its_clock() -> None:
    both = evaluate(10.0, "s", [time_base(evidence(None)), time_base(evidence(None))])
    one = evaluate(10.0, "s", [time_base(evidence(None))])
    assert both.standard_uncertainty == pytest.approx(2 * one.standard_uncertainty)


def test_the_kernel_is_asked_now() -> None:
    before = Instant.now()
    found = clock_evidence()
    assert 0 <= found.at.seconds_since(before) < 1.0
    assert found.source


def test_the_evidence_is_what_the_c_library_says() -> None:
    words = (ctypes.c_long * 64)()
    code = ctypes.CDLL(None).adjtimex(words)
    found = clock_evidence()
    assert code >= 0
    if code == 5:
        assert found.synchronised is False
    assert found.frequency is not None
    assert found.frequency == pytest.approx(words[2] / 65536 * 1e-6, abs=1e-6)
    assert abs(found.frequency) <= 500e-6
    assert found.maximum_error is not None
    assert found.maximum_error == pytest.approx(words[3] * 1e-6, abs=0.1)


def test_a_system_that_tells_nothing_of_its_clock_has_the_same_limit_as_an_assumption_and_not_as_the_kernels() -> None:
    told = "from aicalib_hw.metrology.clocks import clock_evidence, time_base; print(time_base(clock_evidence()))"
    run = subprocess.run([sys.executable, on_windows.__file__, told], capture_output=True, text=True, check=True)
    assert "monotonic clock of win32, of whose rate nothing is known" in run.stdout
    assert "half_width=0.0005" in run.stdout

"""Trials of RFC 2544 that may not be believed: no load is claimed of them."""

from __future__ import annotations

import pytest

from aicalib_hw.identity import Identity
from aicalib_hw.procedures.rfc2544 import Trial
from aicalib_hw.readings import Instant, Measurement, Validity, ValidityStatus, Window


@pytest.mark.parametrize(
    ("loss", "value", "status", "lossless"),
    [
        (0.0, 1e9, ValidityStatus.VALID, True),
        (1e-9, 1e9, ValidityStatus.VALID, False),
        # The generator fell short: every frame it sent arrived, which says nothing of the load that was asked for.
        (0.0, 6e8, ValidityStatus.INVALID, False),
        (0.0, None, ValidityStatus.ERROR, False),
    ],
)
def test_a_load_is_without_loss_only_by_a_trial_that_may_be_believed(
    loss: float, value: float | None, status: ValidityStatus, lossless: bool
) -> None:
    reasons = () if status is ValidityStatus.VALID else ("the generator is limited",)
    measured = Measurement(
        quantity="network",
        definition="rate/L2-fcs/64B/unidirectional",
        value=value,
        unit="bit/s",
        window=Window(Instant(0, 0), Instant(1, 1), "gate"),
        identity=Identity("maker", "tester", "1", "1", "address"),
        validity=Validity(status, reasons),
    )
    assert Trial(1.0, loss, measured).lossless is lossless

"""The table of definitions is closed, also where a part of an identifier is a number."""

from __future__ import annotations

import pytest

from aicalib_hw import definitions, units
from aicalib_hw.errors import DefinitionMismatch, UsageError


def test_every_definition_has_a_unit_a_sentence_a_formula_and_a_source() -> None:
    for id, one in definitions.DEFINITIONS.items():
        assert one.id == id
        assert units.require(one.unit)
        assert all((one.sentence, one.formula, one.source))


@pytest.mark.parametrize("size", [64, 1518, 9018, 16000])
def test_any_frame_size_has_the_definition_of_its_layer(size: int) -> None:
    one = definitions.require(f"rate/L2-fcs/{size}B/unidirectional")
    assert one.id == f"rate/L2-fcs/{size}B/unidirectional"
    assert one.unit == "bit/s"
    assert one.sentence == definitions.DEFINITIONS["rate/L2-fcs/{size}B/unidirectional"].sentence


@pytest.mark.parametrize(
    "id",
    [
        "rate/L2/1518B/unidirectional",
        "rate/L2-fcs/0B/unidirectional",
        "rate/L2-fcs/064B/unidirectional",
        "rate/L2-fcs/B/unidirectional",
        "rate/L2-fcs/{size}B/unidirectional",
        "rate/L4/1518B/unidirectional",
        "power/active/1518B/mean",
        "flop/fp32/vector/peak",
        "",
    ],
)
def test_nothing_else_is_in_the_table(id: str) -> None:
    with pytest.raises(UsageError, match="definition"):
        definitions.require(id)


def test_rates_of_different_layer_or_size_never_meet() -> None:
    of_64, of_1518 = (f"rate/L2-fcs/{size}B/unidirectional" for size in (64, 1518))
    assert definitions.require_same(of_64, of_64).id == of_64
    for other in (of_1518, "rate/L1/64B/unidirectional", "throughput/L2-fcs/64B/unidirectional"):
        with pytest.raises(DefinitionMismatch):
            definitions.require_same(of_64, other)

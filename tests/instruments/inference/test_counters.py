"""Pages of counters as the exposition format and the engines' documentation have them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from aicalib_hw.instruments.inference._counters import GENERATED, PROMPT, RUNNING, Sample, parse, total
from hypothesis import given
from hypothesis import strategies as st

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 8.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 27453.0
vllm:generation_tokens_total{engine="1",model_name="meta-llama/Llama-3.1-8B-Instruct"} 2.0
vllm:generation_tokens_created{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1.7386e+09
vllm:iteration_tokens_total_bucket{le="+Inf",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1.0
"""
LLAMA_CPP = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 6886
llamacpp:tokens_predicted_total 3469
llamacpp:requests_processing 0
"""
SGLANG = """\
sglang:prompt_tokens_total{model_name="m"} 8.128902e+06
sglang:generation_tokens_total{model_name="m"} 7.557572e+06
"""
TGI = """\
tgi_request_generated_tokens_bucket{le="1"} 0
tgi_request_generated_tokens_sum 512
tgi_request_generated_tokens_count 4
"""


@pytest.mark.parametrize(
    ("page", "generated"),
    [(VLLM, 27455), (LLAMA_CPP, 3469), (SGLANG, 7_557_572), (TGI, 512)],
    ids=["vllm", "llama", "sglang", "tgi"],
)
def test_the_tokens_of_each_engine_are_found_and_summed_over_its_series(page: str, generated: int) -> None:
    found = total(parse(page), GENERATED)
    assert found is not None
    assert found[0] == generated


def test_a_model_takes_only_the_series_that_name_it() -> None:
    page = 'vllm:generation_tokens_total{model_name="a"} 3\nvllm:generation_tokens_total{model_name="b"} 4\n'
    found = total(parse(page), GENERATED, "b")
    assert found is not None
    assert found[0] == 4
    assert total(parse(page), GENERATED, "c") is None
    alone = total(parse(LLAMA_CPP), GENERATED, "any")
    assert alone is not None
    assert alone[0] == 3469
    assert total(parse(LLAMA_CPP), PROMPT) is not None
    running = total(parse(VLLM), RUNNING)
    assert running is not None
    assert running[0] == 8


def test_counts_beyond_a_double_are_read_to_the_token() -> None:
    (sample,) = parse("llamacpp:tokens_predicted_total 510000000000000001\n")
    assert sample.value == 510_000_000_000_000_001


def test_labels_are_read_with_what_they_escape() -> None:
    (sample,) = parse('m{a="x\\"y\\\\z\\n",b="}, {"} 1 1700000000000\n')
    assert sample == Sample("m", {"a": 'x"y\\z\n', "b": "}, {"}, Fraction(1))


@pytest.mark.parametrize("line", ["<html>", "vllm:generation_tokens_total", "a b c d", 'm{a="x} 1', "m 1x"])
def test_a_line_that_is_no_sample_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(line)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_what_is_not_a_number_is_never_summed(value: str) -> None:
    with pytest.raises(ValueError, match="number"):
        total(parse(f"llamacpp:tokens_predicted_total {value}\n"), GENERATED)


@given(st.text())
def test_whatever_a_page_holds_it_is_samples_or_a_value_error(page: str) -> None:
    try:
        parse(page)
    except ValueError:
        return

"""The closed table of definitions: what exactly each measured number counts.

A definition is an identifier, a sentence, a formula, a unit and a source. Identifiers of one
family differ in the parts between slashes (precision, accumulator, path); `require` accepts
only what stands in the table, and two measurements with different identifiers never meet.
Where a part is a number, as a frame size is, the table holds one entry with `{size}` in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from aicalib_hw.errors import DefinitionMismatch, UsageError


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition: `id`, the unit it is stated in, a sentence, a formula and its source."""

    id: str
    unit: str
    sentence: str
    formula: str
    source: str


_TABLE: dict[str, Definition] = {}


def _add(id: str, unit: str, sentence: str, formula: str, source: str) -> None:
    _TABLE[id] = Definition(id, unit, sentence, formula, source)


# (precision of the operands, accumulator, unit of the rate)
_VECTOR_PATHS = (
    ("fp64", "fp64", "FLOP/s"),
    ("fp32", "fp32", "FLOP/s"),
    ("fp16", "fp16", "FLOP/s"),
    ("bf16", "fp32", "FLOP/s"),
    ("int8", "int32", "OP/s"),
)
for _precision, _accumulator, _rate in _VECTOR_PATHS:
    _name = f"{_precision}-accumulate-{_accumulator}"
    _add(
        f"flop/{_name}/vector/sustained",
        _rate,
        f"{_precision} multiply-adds on the vector units, accumulated in {_accumulator}: all operations "
        "of all cores over their common window",
        "rate = sum(2 x multiply-adds) / (min(stop) - max(start)), work inside the common window only",
        "specification, procedure 1; the window rule is an assumption of this project",
    )
    _add(
        f"flop/{_name}/vector/peak",
        _rate,
        f"{_precision} multiply-adds on the vector units, accumulated in {_accumulator}: the best moment in "
        "which slices overlap in time on every core",
        "rate = max over moments of sum over cores(operations of the slice / duration of the slice)",
        "definition of this project; not comparable with sustained",
    )
# (precision of the operands, accumulator, extension of the processor, unit of the rate)
for _precision, _accumulator, _extension, _rate in (
    ("bf16", "fp32", "amx-bf16", "FLOP/s"),
    ("int8", "int32", "amx-int8", "OP/s"),
):
    _name = f"{_precision}-accumulate-{_accumulator}/matrix-{_extension}"
    _what = (
        f"{_precision} matrix products by {_extension} on operands that stay in tile registers, "
        f"accumulated in {_accumulator}"
    )
    _add(
        f"flop/{_name}/sustained",
        _rate,
        f"{_what}: all operations of all cores over their common window",
        "rate = sum(2 m n k) / (min(stop) - max(start)), work inside the common window only",
        "specification, procedure 1; the window rule is an assumption of this project",
    )
    _add(
        f"flop/{_name}/peak",
        _rate,
        f"{_what}: the best moment in which slices overlap in time on every core",
        "rate = max over moments of sum over cores(operations of the slice / duration of the slice)",
        "definition of this project; not comparable with sustained",
    )
# (precision of the operands, instruction that multiplies small matrices in registers or shared memory)
for _precision in ("tf32", "fp16", "bf16"):
    for _instruction in ("mma.sync", "wgmma"):
        _name = f"{_precision}-accumulate-fp32/matrix-{_instruction}"
        _what = f"{_precision} matrix products by {_instruction} on operands that stay on the chip, accumulated in fp32"
        _add(
            f"flop/{_name}/sustained",
            "FLOP/s",
            f"{_what}: all operations of all multiprocessors over the time from the first launch to the last",
            "rate = sum(2 m n k) / (end of the last launch - begin of the first), by the device's events",
            "specification, procedure 1; operations of an instruction: PTX ISA, mma.sync and wgmma",
        )
        _add(
            f"flop/{_name}/peak",
            "FLOP/s",
            f"{_what}: the fastest launch on all multiprocessors",
            "rate = max over launches of 2 m n k x instructions / duration by the device's events",
            "definition of this project; rates by different instructions are not comparable",
        )
for _precision in ("tf32", "fp16", "bf16", "fp8e4m3"):
    _name = f"{_precision}-accumulate-fp32/gemm-cublasLt"
    _what = f"{_precision} matrix product by cuBLASLt, accumulated in what the library calls 32F"
    _add(
        f"flop/{_name}/sustained",
        "FLOP/s",
        f"{_what}: all repeated calls over the whole time they took",
        "rate = calls x 2 m n k / (end of the last - begin of the first), by the device's events",
        "operation count of a dense matrix product without Strassen, as the TOP500 rules demand",
    )
    _add(
        f"flop/{_name}/best-call",
        "FLOP/s",
        f"{_what}: the fastest group of calls between two events",
        "rate = calls x 2 m n k / duration by the device's events",
        "operation count of a dense matrix product without Strassen; not comparable with kernels that stay on the chip",
    )
# (precision as it is asked for, accumulator as far as it is documented, cubeMathType of the operator)
for _precision, _accumulator, _mode in (
    ("fp16", "by-operator", 0),
    ("bf16", "by-operator", 0),
    ("fp32", "fp32", 0),
    ("hf32", "by-operator", 3),
):
    _name = f"{_precision}-accumulate-{_accumulator}/gemm-aclnnMatmul-cubeMathType{_mode}"
    _what = (
        f"{_precision} matrix product by aclnnMatmul with cubeMathType {_mode}, the accumulator as the operator has it"
    )
    _add(
        f"flop/{_name}/sustained",
        "FLOP/s",
        f"{_what}: all repeated calls over the whole time they took",
        "rate = calls x 2 m n k / (end of the last - begin of the first), by the device's events",
        "operation count of a dense matrix product without Strassen, as the TOP500 rules demand",
    )
    _add(
        f"flop/{_name}/best-call",
        "FLOP/s",
        f"{_what}: the fastest group of calls between two events",
        "rate = calls x 2 m n k / duration by the device's events",
        "operation count of a dense matrix product without Strassen; rates of another cubeMathType are not comparable",
    )
for _precision in ("fp64", "fp32"):
    _add(
        f"flop/{_precision}-accumulate-{_precision}/gemm/sustained",
        "FLOP/s",
        f"{_precision} matrix product of the installed BLAS, all repeated calls over the whole time they took",
        "rate = calls x 2 m n k / (stop of the last - start of the first)",
        "operation count of a dense matrix product without Strassen, as the TOP500 rules demand",
    )
    _add(
        f"flop/{_precision}-accumulate-{_precision}/gemm/best-call",
        "FLOP/s",
        f"{_precision} matrix product of the installed BLAS, fastest of the repeated calls",
        "rate = 2 m n k / duration of the call",
        "operation count of a dense matrix product without Strassen, as the TOP500 rules demand",
    )

_add(
    "power/active/mean",
    "W",
    "active power of the whole input, mean of the meter's updates that lie wholly in the window",
    "P = sum(P_i) / n",
    "specification, procedure 6",
)
_add(
    "energy/active/meter-integrator",
    "J",
    "active energy of the window by the meter's own integrator",
    "E = 3600 x (Wh at stop - Wh at start)",
    "specification, item 'energy'; the integrator is the meter's",
)
_add(
    "energy/active/summed-intervals",
    "J",
    "active energy of the window as the sum of the meter's consecutive interval means, none of them missing",
    "E = sum(P_i x t_i)",
    "specification, item 'energy', for meters whose integrator cannot be reached",
)

_LAYERS = {
    "L1": "frames with FCS, preamble and gap",
    "L2-fcs": "frames with FCS",
    "L2-nofcs": "frames without FCS",
}
for _layer, _counted in _LAYERS.items():
    _add(
        f"rate/{_layer}/{{size}}B/unidirectional",
        "bit/s",
        f"rate received in one direction over a gate, at the offered load stated, counting {_counted}, of one size",
        "R = 8 x sum(counted bytes of the received frames) / gate",
        "specification, procedure 2; IEEE 802.3 for what a frame takes; RFC 2544 section 9 for its size",
    )
    _add(
        f"rate/{_layer}/{{size}}B/bidirectional",
        "bit/s",
        f"rate received in the slower direction while both are loaded as stated, counting {_counted}, of one size",
        "R = min over directions of 8 x sum(counted bytes of the received frames) / gate",
        "specification, procedure 2; both directions at a time is an assumption of this project",
    )
    _add(
        f"throughput/{_layer}/{{size}}B/unidirectional",
        "bit/s",
        f"highest offered rate at which no frame was lost, counting {_counted}, of one size",
        "largest R of a search over offered loads with frames received = frames sent",
        "RFC 2544 section 26.1",
    )
for _transport in ("tcp", "udp"):
    _add(
        f"rate/L4/{_transport}/unidirectional",
        "bit/s",
        f"what {_transport.upper()} delivered to the receiving program in one direction over a gate, no header counted",
        "R = 8 x bytes delivered / time of the receiver",
        "RFC 6349 section 3.3 (goodput); the receiver's own count",
    )
for _pattern, _counted in {
    "sequential-read": "bytes read in order",
    "sequential-write": "bytes written in order, brought to the device before the clock stops,",
    "random-read": "bytes read at random places",
    "mixed": "bytes read and bytes written at random places, in the shares stated,",
}.items():
    _add(
        f"rate/storage/{_pattern}",
        "bit/s",
        f"{_counted} past the page cache by all jobs over a window, at the block size and queue depth stated",
        "R = 8 x sum(bytes of all jobs) / longest running time of a job",
        "specification, item 'storage capability'; pattern and window rule are assumptions of this project",
    )
_add(
    "rate/storage/checkpoint-write",
    "bit/s",
    "bytes of a whole checkpoint written past the page cache, a new file for each job, until the slowest job has "
    "brought its file to the device",
    "R = 8 x sum(bytes of all files) / time from the common start to the end of the slowest job's last flush",
    "specification, item 'storage capability'; pattern and time rule are assumptions of this project",
)
_add(
    "token/training/applied-steps/timed-here",
    "token/s",
    "tokens of whole, applied optimizer steps over a window that all devices began and ended together, padding counted",
    "rate = steps x sequences in a step x tokens in a sequence / (end of the last step - end of the warm-up)",
    "specification, procedure 5; step-aligned window after a warm-up is an assumption of this project",
)
_add(
    "token/training/applied-steps/timed-by-job",
    "token/s",
    "tokens of whole, applied optimizer steps over the times that the job's log states for them, padding as it has it",
    "rate = sum(applied steps x sequences in a step x tokens in a sequence) / sum(steps x logged time of a step)",
    "specification, procedure 5; the job's stop-watch is held against the arrival of its lines or their stamps",
)

_COUNTS = {
    "usage-counted": "as many as the service's own usage states for each request",
    "length-counted": "as many as each request asked for, of a service that states no usage and ended each by length",
}
_WINDOWS = {
    "steady-window": "a fixed number of requests under way at all times",
    "offered-window": "requests offered at the rate stated",
}
_ARRIVED = "N = sum over requests of tokens x share of its text events that arrived in the window"
_TOKENS_SOURCE = "specification, procedure 4; which tokens count, and in which window, are assumptions of this project"


def _add_token_rate(id: str, sentence: str, formula: str) -> None:
    _add(id, "token/s", sentence, formula, _TOKENS_SOURCE)
    _add(
        f"{id}/parameter-normalised",
        "token/s",
        f"{sentence}, times the parameters of the model",
        f"{formula}, x number of parameters",
        "the ranges of the specification are those of a model of one parameter; an assumption of this project",
    )


for _counted, _how in _COUNTS.items():
    for _kind, _under in _WINDOWS.items():
        _add_token_rate(
            f"token/output/{_counted}/{_kind}",
            f"output tokens that arrived at the client in a window from one arrival to another, {_how}, with {_under}",
            f"R = N / T, {_ARRIVED}",
        )
    _add_token_rate(
        f"token/output/{_counted}/completed-window",
        f"output tokens of the answers that arrived whole in a window from one arrival to another, {_how}",
        "R = sum of tokens of the answers in the window / T",
    )
for _kind, _under in _WINDOWS.items():
    _add_token_rate(
        f"token/total/usage-counted/{_kind}",
        "prompt tokens of the requests whose first text arrived in a window, and output tokens that arrived in it, "
        f"both as the service's own usage states them, with {_under}",
        f"R = (prompt tokens + N) / T, {_ARRIVED}",
    )
_add_token_rate(
    "token/output/engine-counter/window",
    "output tokens by the engine's own counters over a window between two changes of them, whoever had asked for them",
    "R = (counter at stop - counter at start) / T",
)
# (convention by which the operations of a token are counted, what of the model is run)
for _model, _run in {
    "palm-6n-12lhqt-no-embed-no-causal": "training, 6 N + 12 L H Q T a token",
    "2n-4lhq-position-no-embed": "inference, 2 N + 4 L H Q x position a prompt token and 2 N + 4 L H Q x context a "
    "generated one",
}.items():
    for _variant, _rate in {
        "calibrated": "the sustained rate measured before and after",
        "nominal": "the dense rate of the data sheet",
    }.items():
        _add(
            f"effective-compute/v1/{_model}/{_variant}",
            "%",
            f"time in which the valid model operations ({_run}) could have been done at the reference rate of all "
            f"devices, {_rate}, as a share of the time that passed",
            "eta = 100 % x (1 / T) x sum over precisions(operations in T / reference rate)",
            "definition of this project, version 1: the draft gives a range and no procedure; operations of a token: "
            "PaLM, arXiv 2204.02311, appendix B",
        )
for _variant, _rate in (("calibrated", "measured before and after each run"), ("nominal", "of the data sheet")):
    _add(
        f"effective-compute/v1/all-workloads/{_variant}",
        "%",
        "time in which the valid model operations of several workloads that ran in turn, each counted by its own "
        f"convention, could have been done at the reference rate {_rate}, as a share of the time of them all",
        "eta = sum over workloads(T x eta) / sum over workloads(T)",
        "definition of this project, version 1: the draft gives a range and no procedure",
    )
for _timed in ("timed-here", "timed-by-job"):
    _plain = _TABLE[f"token/training/applied-steps/{_timed}"]
    _add(
        f"{_plain.id}/parameter-normalised",
        "token/s",
        f"{_plain.sentence}, times the parameters of the model",
        f"{_plain.formula}, x number of parameters",
        "the ranges of the specification are those of a model of one parameter; an assumption of this project",
    )

_SIZE = re.compile(r"/([1-9][0-9]{1,4})B/")


class _Table(Mapping[str, Definition]):
    """The entries by identifier; one with a frame size in it is made from the entry with `{size}`."""

    def __getitem__(self, id: str) -> Definition:
        if id in _TABLE:
            return _TABLE[id]
        return replace(_TABLE[_SIZE.sub("/{size}B/", id)], id=id)

    def __iter__(self) -> Iterator[str]:
        return iter(_TABLE)

    def __len__(self) -> int:
        return len(_TABLE)


DEFINITIONS: Mapping[str, Definition] = _Table()


def require(id: str) -> Definition:
    """Return the definition of this identifier; raise UsageError if the table has none."""
    try:
        if "{" in id:
            raise KeyError(id)
        return DEFINITIONS[id]
    except KeyError:
        raise UsageError(
            f"unknown definition {id!r}",
            advice="see `aicalib_hw.definitions.DEFINITIONS` for the closed table",
        ) from None


def require_same(*ids: str) -> Definition:
    """Return the one definition shared by all `ids`; raise DefinitionMismatch if they differ."""
    if len(set(ids)) != 1:
        raise DefinitionMismatch(
            "measurements of different definition cannot be compared or combined",
            why=" ≠ ".join(sorted(set(ids))),
            advice="measure both by the same definition",
        )
    return require(ids[0])

"""Our own kernels as PTX text, which the CUDA driver compiles for the device: multiply-adds and matrix products.

Each kernel takes `rounds`: in a round every accumulator takes PAIRS pairs of steps, is folded as a whole number into a
sum, and begins anew, so that nothing ever leaves the exact range. At the end each thread compares its sum with the gain
of a round times the rounds, modulo 2^32, and marks a difference in its own place of `wrong`, which no launch clears:
every launch is checked in every thread. The first group of threads also leaves its sums in `sums`. Source: PTX ISA
(NVIDIA), version 8.0: fma, mma.sync, wgmma and their fragments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

PAIRS = 1024
"""Pairs of steps in a round."""

VECTOR_ACCUMULATORS = 8
MMA_ACCUMULATORS = 12
_VECTOR_UNROLLED = 32
_MMA_UNROLLED = 8
_WGMMA_UNROLLED = 8


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel. target: the architecture that its PTX declares. threads: of a block. text: the PTX.

    flop: of one thread (one group of `shared_by` threads that work together) in one round. optimisation: level of the
    driver's compiler; above 1 it takes a quarter of a minute over wgmma, and the instructions in the loop are the same.
    """

    name: str
    precision: str
    accumulator: str
    path: str
    implementation: str
    target: str
    threads: int
    shared_by: int
    flop: int
    text: str
    optimisation: int = 4


@dataclass(frozen=True, slots=True)
class _Number:
    """How one precision is written: type of register and load, of the step, and of the conversion to whole numbers."""

    register: str
    load: str
    step: str
    lanes: int
    zero: str
    bytes: int


_NUMBERS = {
    "fp64": _Number("f64", "f64", "fma.rn.f64", 1, "0d0000000000000000", 8),
    "fp32": _Number("f32", "f32", "fma.rn.f32", 1, "0f00000000", 4),
    "fp16": _Number("b32", "b32", "fma.rn.f16x2", 2, "0x00000000", 4),
}
VECTOR_BYTES = {name: number.bytes for name, number in _NUMBERS.items()}
"""Bytes of one operand of the vector kernels: fp16 operands are pairs."""


_COMMON = (".u64 wrong", ".u64 sums", ".u32 rounds")


def _head(version: str, target: str, name: str, parameters: list[str]) -> list[str]:
    listed = ",\n".join(f"    .param {parameter}" for parameter in parameters)
    return [
        f".version {version}",
        f".target {target}",
        ".address_size 64",
        "",
        f".visible .entry {name}(",
        listed,
        ")",
        "{",
    ]


def _place() -> list[str]:
    """The thread's number into %r0, and that within its block into %r3."""
    return [
        "    mov.u32 %r1, %ctaid.x;",
        "    mov.u32 %r2, %ntid.x;",
        "    mov.u32 %r3, %tid.x;",
        "    mad.lo.u32 %r0, %r1, %r2, %r3;",
    ]


def _loops(body: list[str], fold: list[str], begin: list[str], inner: int, group: int) -> list[str]:
    """`rounds` times: begin, `inner` times the body, fold into %r6; then compare with the gain in %r8, and tell."""
    return [
        "    ld.param.u32 %r4, [rounds];",
        "    mov.u32 %r5, 0;",
        "    mov.u32 %r6, 0;",
        "ROUND:",
        *begin,
        "    mov.u32 %r7, 0;",
        "STEPS:",
        *body,
        "    add.u32 %r7, %r7, 1;",
        f"    setp.lt.u32 %p0, %r7, {inner};",
        "    @%p0 bra STEPS;",
        *fold,
        "    add.u32 %r5, %r5, 1;",
        "    setp.lt.u32 %p1, %r5, %r4;",
        "    @%p1 bra ROUND;",
        "    mul.lo.u32 %r8, %r8, %r4;",
        "    sub.u32 %r8, %r6, %r8;",
        "    mul.wide.u32 %rd1, %r0, 4;",
        "    ld.param.u64 %rd0, [wrong];",
        "    cvta.to.global.u64 %rd0, %rd0;",
        "    add.u64 %rd0, %rd0, %rd1;",
        "    setp.ne.u32 %p0, %r8, 0;",
        "    @%p0 st.global.u32 [%rd0], %r8;",
        "    ld.param.u64 %rd0, [sums];",
        "    cvta.to.global.u64 %rd0, %rd0;",
        "    add.u64 %rd0, %rd0, %rd1;",
        f"    setp.lt.u32 %p1, %r0, {group};",
        "    @%p1 st.global.u32 [%rd0], %r6;",
        "    ret;",
        "}",
        "",
    ]


def vector(precision: str) -> Kernel:
    """Independent chains of fused multiply-adds; operands a, again, m, c as parameters (fp16: twice in 32 bits).

    The first step multiplies a by itself. An H200 reaches 0.990 of its fp32 peak if it takes both from one register,
    and 0.885 from two that hold the same; in fp16 it is the other way round, 116 and 131 TFLOP/s.
    """
    number, count = _NUMBERS[precision], VECTOR_ACCUMULATORS
    target = "sm_53" if precision == "fp16" else "sm_50"
    name = f"multiply_add_{precision}"
    operands = ("a", "again", "m", "c")
    kind = number.register
    registers = [
        "    .reg .pred %p<2>;",
        "    .reg .b32 %r<12>;",
        "    .reg .b64 %rd<2>;",
        f"    .reg .{kind} %o<{len(operands)}>;",
        f"    .reg .{kind} %a<{count}>;",
        *(["    .reg .b16 %h<2>;"] if precision == "fp16" else []),
    ]
    loads = [f"    ld.param.{number.load} %o{index}, [{operand}];" for index, operand in enumerate(operands)]
    factors = ("%o0, %o1" if precision == "fp16" else "%o0, %o0", "%o2, %o3")
    pair = [f"    {number.step} %a{k}, {factor}, %a{k};" for factor in factors for k in range(count)]
    fold = []
    for k in range(count):
        if precision == "fp16":
            fold.append(f"    mov.b32 {{%h0, %h1}}, %a{k};")
            for half in ("%h0", "%h1"):
                fold += [f"    cvt.rni.s32.f16 %r9, {half};", "    add.u32 %r6, %r6, %r9;"]
        else:
            fold += [f"    cvt.rni.s32.{kind} %r9, %a{k};", "    add.u32 %r6, %r6, %r9;"]
    begin = [f"    mov.{kind} %a{k}, {number.zero};" for k in range(count)]
    text = [
        *_head("6.0", target, name, [*_COMMON, ".u32 gain", *(f".{number.load} {one}" for one in operands)]),
        *registers,
        *_place(),
        *loads,
        "    ld.param.u32 %r8, [gain];",
        *_loops(pair * _VECTOR_UNROLLED, fold, begin, PAIRS // _VECTOR_UNROLLED, 1),
    ]
    flop = PAIRS * 2 * count * number.lanes * 2
    return Kernel(name, precision, precision, "vector", "ptx-fma", target, 256, 1, flop, "\n".join(text))


_MMA = {
    # precision: shape, type in the name, k
    "fp16": ("m16n8k16", "f16", 16),
    "bf16": ("m16n8k16", "bf16", 16),
    "tf32": ("m16n8k8", "tf32", 8),
}
MMA_OPERANDS = 10
"""32-bit registers of operands that each lane loads: four of A, four of the second A, two of B; its gain follows."""


def mma(precision: str) -> Kernel:
    """mma.sync with fp32 accumulators: A·B and then A'·B are added; operands from a table by lane."""
    shape, kind, k = _MMA[precision]
    count, name = MMA_ACCUMULATORS, f"matrix_{precision}"
    registers = [
        "    .reg .pred %p<2>;",
        "    .reg .b32 %r<12>;",
        "    .reg .b64 %rd<4>;",
        f"    .reg .b32 %o<{MMA_OPERANDS}>;",
        f"    .reg .f32 %a<{4 * count}>;",
    ]
    loads = [
        "    ld.param.u64 %rd2, [operands];",
        "    cvta.to.global.u64 %rd2, %rd2;",
        "    and.b32 %r9, %r3, 31;",
        f"    mul.wide.u32 %rd3, %r9, {4 * (MMA_OPERANDS + 1)};",
        "    add.u64 %rd2, %rd2, %rd3;",
        *(f"    ld.global.u32 %o{index}, [%rd2+{4 * index}];" for index in range(MMA_OPERANDS)),
        f"    ld.global.u32 %r8, [%rd2+{4 * MMA_OPERANDS}];",
    ]
    pair = []
    for first in (0, 4):
        for one in range(count):
            held = ", ".join(f"%a{4 * one + index}" for index in range(4))
            left = ", ".join(f"%o{first + index}" for index in range(4))
            step = f"mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32"
            pair.append(f"    {step} {{{held}}}, {{{left}}}, {{%o8, %o9}}, {{{held}}};")
    fold = [line for one in range(4 * count) for line in _folded(f"%a{one}")]
    begin = [f"    mov.f32 %a{one}, 0f00000000;" for one in range(4 * count)]
    text = [
        *_head("7.0", "sm_80", name, [*_COMMON, ".u64 operands"]),
        *registers,
        *_place(),
        *loads,
        *_loops(pair * _MMA_UNROLLED, fold, begin, PAIRS // _MMA_UNROLLED, 32),
    ]
    flop = PAIRS * 2 * count * 2 * 16 * 8 * k
    return Kernel(name, precision, "fp32", "matrix", "mma.sync", "sm_80", 256, 32, flop, "\n".join(text))


def _folded(register: str) -> list[str]:
    return [f"    cvt.rni.s32.f32 %r9, {register};", "    add.u32 %r6, %r6, %r9;"]


_WGMMA = {
    # precision: shape, types in the name, k, transposition arguments
    "fp16": ("m64n256k16", "f16.f16", 16, ", 0, 0"),
    "bf16": ("m64n256k16", "bf16.bf16", 16, ", 0, 0"),
    "tf32": ("m64n256k8", "tf32.tf32", 8, ""),
}
WGMMA_ROWS = (64, 64, 256)
"""Rows of A, of the second A, and of B (its columns), each of 32 bytes, one after the other; then a gain a thread."""

WGMMA_BYTES = 32 * sum(WGMMA_ROWS)
_LEADING, _STRIDE = 128, 256
"""Bytes from one 8 x 16-byte core matrix to the next along k, and along the rows: no swizzling."""


def wgmma(precision: str) -> Kernel:
    """wgmma with both operands in shared memory and fp32 accumulators, one warp group a block; sm_90a alone."""
    shape, kinds, k, transposition = _WGMMA[precision]
    name, held = f"warpgroup_{precision}", ", ".join(f"%a{index}" for index in range(128))
    registers = [
        "    .reg .pred %p<3>;",
        "    .reg .b32 %r<16>;",
        "    .reg .b64 %rd<12>;",
        "    .reg .f32 %a<128>;",
        f"    .shared .align 128 .b8 tiles[{WGMMA_BYTES}];",
    ]
    # The table is already in the order of shared memory: each thread copies every 128th word.
    loads = [
        "    ld.param.u64 %rd2, [operands];",
        "    cvta.to.global.u64 %rd2, %rd2;",
        "    mov.u32 %r9, tiles;",
        "    mul.wide.u32 %rd3, %r3, 4;",
        "    add.u64 %rd2, %rd2, %rd3;",
        "    shl.b32 %r10, %r3, 2;",
        "    add.u32 %r10, %r9, %r10;",
    ]
    for step in range(0, WGMMA_BYTES, 512):
        loads += [f"    ld.global.u32 %r11, [%rd2+{step}];", f"    st.shared.u32 [%r10+{step}], %r11;"]
    loads += [f"    ld.global.u32 %r8, [%rd2+{WGMMA_BYTES}];", "    fence.proxy.async;", "    bar.sync 0;"]
    constant = (_LEADING >> 4) << 16 | (_STRIDE >> 4) << 32
    for index, begin_at in enumerate((0, 32 * WGMMA_ROWS[0], 32 * (WGMMA_ROWS[0] + WGMMA_ROWS[1]))):
        loads += [
            f"    add.u32 %r12, %r9, {begin_at};",
            "    and.b32 %r12, %r12, 0x3FFFF;",
            "    shr.u32 %r12, %r12, 4;",
            f"    cvt.u64.u32 %rd{4 + index}, %r12;",
            f"    or.b64 %rd{4 + index}, %rd{4 + index}, {constant:#x};",
        ]
    loads.append("    setp.eq.u32 %p2, 0, 0;")
    pair = [
        f"    wgmma.mma_async.sync.aligned.{shape}.f32.{kinds} {{{held}}}, %rd{left}, %rd6, %p2, 1, 1{transposition};"
        for left in (4, 5)
    ]
    body = [
        "    wgmma.fence.sync.aligned;",
        *pair * _WGMMA_UNROLLED,
        "    wgmma.commit_group.sync.aligned;",
        "    wgmma.wait_group.sync.aligned 0;",
    ]
    fold = [line for one in range(128) for line in _folded(f"%a{one}")]
    begin = [f"    mov.f32 %a{one}, 0f00000000;" for one in range(128)]
    text = [
        *_head("8.0", "sm_90a", name, [*_COMMON, ".u64 operands"]),
        *registers,
        *_place(),
        *loads,
        *_loops(body, fold, begin, PAIRS // _WGMMA_UNROLLED, 128),
    ]
    flop = PAIRS * 2 * 2 * 64 * 256 * k
    return Kernel(name, precision, "fp32", "matrix", "wgmma", "sm_90a", 128, 128, flop, "\n".join(text), 1)


@cache
def kernels() -> tuple[Kernel, ...]:
    """Return every kernel, the better implementation of a path first."""
    return (
        *(vector(precision) for precision in ("fp64", "fp32", "fp16")),
        *(wgmma(precision) for precision in ("tf32", "fp16", "bf16")),
        *(mma(precision) for precision in ("tf32", "fp16", "bf16")),
    )


def runs_on(target: str, major: int, minor: int) -> bool:
    """Return whether PTX of this target runs on a device of this compute capability: "a" targets on their own alone."""
    exact = target.endswith("a")
    number = int(target.removeprefix("sm_").removesuffix("a"))
    have = 10 * major + minor
    return have == number if exact else have >= number

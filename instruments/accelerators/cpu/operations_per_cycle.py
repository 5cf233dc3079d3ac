"""How many operations a cycle one core can do: known for few processors, by family and model.

CPUID does not tell, and one family and model may be sold with one or with two 512-bit units; such
a processor is not listed. Sources:
M  measured by this project's kernels against the clock chain, to 0.1 % of a whole number, on each core
   (`python -m tests.benchmarks.operations_per_cycle`)
H  "FLOPS per cycle for Sandy Bridge and others", Stack Overflow 15655835, which compiles the
   makers' optimization manuals: two 256-bit multiply-adds a cycle from Haswell and from Zen 2 on
W  "Advanced Matrix Extensions", Wikipedia, which cites Intel of Sapphire Rapids: 1024 bf16 and 2048
   int8 operations a cycle; multiplications and additions both count, 16 cycles a product of tiles
"""

from __future__ import annotations

from dataclasses import dataclass

from .native import Processor


@dataclass(frozen=True, slots=True)
class Known:
    """Operations a cycle and core, by (precision, instruction set), and where the numbers come from."""

    name: str
    operations: dict[tuple[str, str], int]
    source: str

    @property
    def measured(self) -> bool:
        """Whether our own kernels were seen to do so."""
        return self.source.startswith("M")


_TWO_256 = {("fp64", "avx2"): 16, ("fp32", "avx2"): 32}
_TWO_512 = {("fp64", "avx512"): 32, ("fp32", "avx512"): 64}
_FOUR_NARROW = {("fp64", "avx512"): 16, ("fp32", "avx512"): 32}
_BYTES_512 = {("int8", "avx512-vnni"): 256, ("int8", "avx-vnni"): 128}
_TILES = {("bf16", "amx-bf16"): 1024, ("int8", "amx-int8"): 2048}

_HASWELL = Known("Intel Haswell to Skylake (client)", _TWO_256, "H")
_GOLDEN_COVE = Known(
    "Intel Sapphire Rapids, Emerald Rapids",
    _TWO_256 | _TWO_512 | _BYTES_512 | _TILES,
    "M (Emerald Rapids); AMX also W",
)
_ZEN_2 = Known("AMD Zen 2, Zen 3", _TWO_256, "H")
_ZEN_4 = Known(
    "AMD Zen 4",
    _TWO_256 | _FOUR_NARROW | {("bf16", "avx512-bf16"): 64, ("int8", "avx512-vnni"): 128},
    "M (EPYC, family 25 model 17)",
)
# Under KVM on a host that others used, two cores at 4.25 to 4.52 GHz: each number to 0.02 % on both cores, where the
# three fastest slices with and without the chain agreed to 0.05 %; additions and multiplications tell the same clock.
_ZEN_5_SERVER = Known(
    "AMD Zen 5 (server, 512-bit data path)",
    _TWO_256 | _TWO_512 | _BYTES_512 | {("bf16", "avx512-bf16"): 128},
    "M (EPYC, family 26 model 2)",
)

# Of family 6, by model.
_INTEL = {
    **dict.fromkeys((0x3C, 0x3F, 0x45, 0x46, 0x3D, 0x47, 0x4F, 0x56, 0x4E, 0x5E, 0x8E, 0x9E), _HASWELL),
    **dict.fromkeys((0x8F, 0xCF), _GOLDEN_COVE),
}
# By family and model: Rome, Matisse, Milan, Vermeer; Genoa; Turin.
_AMD = {
    **dict.fromkeys(((23, 0x31), (23, 0x71), (25, 0x01), (25, 0x21)), _ZEN_2),
    (25, 0x11): _ZEN_4,
    (26, 0x02): _ZEN_5_SERVER,
}


def known(processor: Processor) -> Known | None:
    """Return what is known of this processor, None for any that is not listed."""
    if processor.vendor == "GenuineIntel" and processor.family == 6:
        return _INTEL.get(processor.model)
    if processor.vendor == "AuthenticAMD":
        return _AMD.get((processor.family, processor.model))
    return None


def of_kernel(processor: Processor, precision: str, instruction_set: str) -> int | None:
    """Return the operations a cycle and core of this kernel on this processor, None where not known."""
    entry = known(processor)
    return entry.operations.get((precision, instruction_set)) if entry is not None else None

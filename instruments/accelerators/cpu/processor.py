"""Who this processor is and at which clocks its maker or its system says it runs."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from aicalib_hw.identity import Identity

from .cores import ROOT, CoreOfHost, read_text
from .native import Processor

_X86_MAKERS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}

# Main ID Register, implementer field (Arm Architecture Reference Manual, MIDR_EL1).
_ARM_MAKERS = {
    "0x41": "Arm",
    "0x48": "HiSilicon",
    "0x4e": "NVIDIA",
    "0x61": "Apple",
    "0x70": "Phytium",
    "0xc0": "Ampere",
}


@dataclass(frozen=True, slots=True)
class StatedClock:
    """A clock that was not measured: Hz and who says so; None where nobody does."""

    hertz: float | None
    source: str


def identity(processor: Processor, cores: tuple[CoreOfHost, ...], address: str, *, root: Path = ROOT) -> Identity:
    """Return maker, model and microcode; a processor has no serial number that software could read."""
    told = first_processor(root)
    maker = _X86_MAKERS.get(processor.vendor, processor.vendor) or _ARM_MAKERS.get(told.get("CPU implementer", ""), "")
    model = processor.brand or told.get("model name", "") or _arm_model(told) or platform.machine()
    extra = {
        "architecture": platform.machine(),
        "family": str(processor.family or ""),
        "model number": str(processor.model or told.get("CPU part", "")),
        "stepping": str(processor.stepping or told.get("CPU revision", "")),
        "instruction sets": " ".join(processor.instruction_sets),
        "hypervisor": "yes" if processor.hypervisor else "none seen",
        "cores": str(len(cores)),
        "logical processors": " ".join(str(number) for core in cores for number in core.siblings),
        "system": f"{platform.system()} {platform.release()}",
    }
    return Identity(
        maker=maker or "unknown",
        model=model,
        serial="",
        firmware=microcode(root, told),
        address=address,
        extra={name: value for name, value in extra.items() if value},
    )


def maximum_clock(processor: Processor, cores: tuple[CoreOfHost, ...], *, root: Path = ROOT) -> StatedClock:
    """Return the highest clock that the system or CPUID states for the slowest of `cores`."""
    files = [root / f"sys/devices/system/cpu/cpu{core.processor}/cpufreq/cpuinfo_max_freq" for core in cores]
    stated = [int(text) * 1e3 for text in map(read_text, files) if text.isdigit()]
    if stated:
        return StatedClock(min(stated), "cpufreq, cpuinfo_max_freq")
    if processor.maximum_mhz:
        return StatedClock(processor.maximum_mhz * 1e6, "CPUID leaf 16h, maximum frequency")
    return StatedClock(None, "neither cpufreq nor CPUID states a maximum clock here")


def nominal_clock(processor: Processor, *, root: Path = ROOT) -> StatedClock:
    """Return the clock that the maker sells the processor by, as far as it can be read."""
    if processor.base_mhz:
        return StatedClock(processor.base_mhz * 1e6, "CPUID leaf 16h, base frequency")
    told = first_processor(root)
    in_name = re.search(r"@\s*([\d.]+)\s*GHz", processor.brand or told.get("model name", ""))
    if in_name:
        return StatedClock(float(in_name[1]) * 1e9, "processor brand string")
    base = read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/base_frequency")
    if base.isdigit():
        return StatedClock(int(base) * 1e3, "cpufreq, base_frequency")
    if processor.hypervisor and told.get("cpu MHz"):
        return StatedClock(
            float(told["cpu MHz"]) * 1e6, "/proc/cpuinfo under a hypervisor, the time stamp counter's rate"
        )
    return StatedClock(None, "the processor states no nominal clock")


def microcode(root: Path, told: dict[str, str]) -> str:
    """Return the microcode revision, "" where it cannot be read; a hypervisor may show one of its own."""
    return read_text(root / "sys/devices/system/cpu/cpu0/microcode/version") or told.get("microcode", "")


def first_processor(root: Path = ROOT) -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first processor."""
    first, _, _ = read_text(root / "proc/cpuinfo").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _arm_model(told: dict[str, str]) -> str:
    part = told.get("CPU part", "")
    return f"part {part} variant {told.get('CPU variant', '?')}" if part else ""

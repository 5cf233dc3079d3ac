"""Cores, classes, quotas and identities, from trees of files such as Linux shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aicalib_hw.instruments.accelerators.cpu import disturbance, operations_per_cycle, processor
from aicalib_hw.instruments.accelerators.cpu.cores import (
    CoreOfHost,
    Quota,
    allowed_processors,
    find_cores,
    find_quota,
    parse_list,
)
from aicalib_hw.instruments.accelerators.cpu.native import Processor

CPU = "sys/devices/system/cpu"
UNKNOWN = Processor("", "", 0, 0, 0, False, 0, 0, ())


def intel(model: int, **more: object) -> Processor:
    fields: dict[str, object] = {
        "vendor": "GenuineIntel", "brand": "Intel(R) Xeon(R) Processor", "family": 6, "model": model, "stepping": 2,
        "hypervisor": False, "base_mhz": 0, "maximum_mhz": 0, "instruction_sets": ("avx2", "avx512"),
    }  # fmt: skip
    return Processor(**{**fields, **more})  # type: ignore[arg-type]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0-1,8-9\n", (0, 1, 8, 9)), ("", ())]
)
def test_a_list_of_the_kernel_names_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_list(text) == numbers


def test_hyper_threads_of_one_core_count_once(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{CPU}/cpu{n}/topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}" for n in range(4)})
    assert find_cores((0, 1, 2, 3), root=root) == (CoreOfHost(0, (0, 2)), CoreOfHost(1, (1, 3)))


def test_only_processors_of_the_affinity_mask_are_computed_on(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{CPU}/cpu{n}/topology/core_cpus_list": f"{n % 2},{n % 2 + 2}" for n in range(4)})
    assert [core.processor for core in find_cores((2, 3), root=root)] == [2, 3]


def test_without_topology_every_processor_is_a_core(tmp_path: Path) -> None:
    assert find_cores((0, 5), root=tmp_path) == (CoreOfHost(0, (0,)), CoreOfHost(5, (5,)))


def test_the_mask_of_this_process_is_obeyed() -> None:
    assert set(allowed_processors()) <= set(range(os.cpu_count() or 1))
    assert allowed_processors()


def test_performance_and_efficiency_cores_are_told_apart(tmp_path: Path) -> None:
    root = write(tmp_path, {"sys/devices/cpu_core/cpus": "0-1\n", "sys/devices/cpu_atom/cpus": "2-3\n"})
    assert [core.kind for core in find_cores((0, 1, 2, 3), root=root)] == ["core", "core", "atom", "atom"]


def test_big_and_little_cores_are_told_apart_and_equal_ones_are_not(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{CPU}/cpu{n}/cpu_capacity": "1024" if n else "512" for n in range(3)})
    assert [core.kind for core in find_cores((0, 1, 2), root=root)] == [
        "capacity 512",
        "capacity 1024",
        "capacity 1024",
    ]
    assert [core.kind for core in find_cores((1, 2), root=root)] == ["", ""]


def test_the_tightest_quota_up_the_tree_of_groups_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/cpu.max": "max 100000",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/a/cpu.stat": "usage_usec 5\nnr_throttled 7\n",
        },
    )
    quota = find_quota(root=root)
    assert quota == Quota(1.5, "/sys/fs/cgroup/a/cpu.max")
    assert disturbance.count((0,), quota_file=quota.source, root=root).throttled == 7


def test_a_quota_of_the_old_hierarchy_is_found_too(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/cpu/x"
    files = {"proc/self/cgroup": "2:cpu:/x\n0::/\n", f"{group}/cpu.cfs_period_us": "100000"}
    assert find_quota(root=write(tmp_path, {**files, f"{group}/cpu.cfs_quota_us": "-1"})) is None
    found = find_quota(root=write(tmp_path, {**files, f"{group}/cpu.cfs_quota_us": "50000"}))
    assert found == Quota(0.5, f"/{group}/cpu.cfs_quota_us")


def test_time_stolen_by_other_guests_is_counted_for_our_processors_only(tmp_path: Path) -> None:
    row = "cpu{} 1 2 3 4 5 6 7 {} 0 0\n"
    first = write(tmp_path / "1", {"proc/stat": "cpu 0 0 0 0 0 0 0 9 0 0\n" + row.format(0, 10) + row.format(1, 500)})
    later = write(tmp_path / "2", {"proc/stat": row.format(0, 60) + row.format(1, 900)})
    gone = disturbance.difference(disturbance.count((0,), root=first), disturbance.count((0,), root=later))
    assert gone.stolen_s == pytest.approx(50 / os.sysconf("SC_CLK_TCK"))
    assert gone.throttled is None


def test_what_the_system_does_not_count_is_not_zero(tmp_path: Path) -> None:
    nothing = disturbance.count((0,), root=tmp_path)
    assert disturbance.difference(nothing, nothing) == disturbance.HostCounters(None, None)


def test_a_processor_has_no_serial_number_and_its_microcode_is_its_firmware(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{CPU}/cpu0/microcode/version": "0x2b000590\n"})
    found = processor.identity(intel(0xCF), (CoreOfHost(0, (0,)),), "cpu://local", root=root)
    assert (found.maker, found.model) == ("Intel", "Intel(R) Xeon(R) Processor")
    assert (found.serial, found.firmware, found.simulated) == ("", "0x2b000590", False)


def test_an_arm_core_is_named_by_its_registers(tmp_path: Path) -> None:
    told = "processor\t: 0\nCPU implementer\t: 0x48\nCPU variant\t: 0x1\nCPU part\t: 0xd01\nCPU revision\t: 0\n\n"
    found = processor.identity(UNKNOWN, (), "cpu://local", root=write(tmp_path, {"proc/cpuinfo": told}))
    assert (found.maker, found.model) == ("HiSilicon", "part 0xd01 variant 0x1")


def test_clocks_are_taken_from_whoever_states_them(tmp_path: Path) -> None:
    cores = (CoreOfHost(0, (0,)), CoreOfHost(1, (1,)))
    root = write(tmp_path, {f"{CPU}/cpu{n}/cpufreq/cpuinfo_max_freq": str(3_800_000 - n * 100_000) for n in (0, 1)})
    assert processor.maximum_clock(UNKNOWN, cores, root=root).hertz == 3.7e9
    assert processor.maximum_clock(intel(0xCF, maximum_mhz=3900), cores, root=tmp_path / "none").hertz == 3.9e9
    assert processor.nominal_clock(intel(0xCF, base_mhz=2100), root=tmp_path / "none").hertz == 2.1e9
    named = intel(0x9E, brand="Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz")
    assert processor.nominal_clock(named, root=tmp_path / "none").hertz == 3.2e9


def test_a_clock_that_nobody_states_is_not_made_up(tmp_path: Path) -> None:
    assert processor.maximum_clock(UNKNOWN, (), root=tmp_path).hertz is None
    assert processor.nominal_clock(UNKNOWN, root=tmp_path).hertz is None


def test_operations_a_cycle_are_known_for_listed_processors_only() -> None:
    amd = Processor("AuthenticAMD", "", 25, 17, 1, True, 0, 0, ())
    assert operations_per_cycle.of_kernel(intel(0xCF), "fp32", "avx512") == 64
    assert operations_per_cycle.of_kernel(intel(0xCF), "fp64", "avx2") == 16
    # A product of two whole tiles lasts 16 cycles: 2 x 16 x 16 x 32 operations of bf16, twice as many of int8.
    assert operations_per_cycle.of_kernel(intel(0xCF), "bf16", "amx-bf16") == 2 * 16 * 16 * 32 / 16
    assert operations_per_cycle.of_kernel(intel(0xCF), "int8", "amx-int8") == 2 * 16 * 16 * 64 / 16
    assert operations_per_cycle.of_kernel(amd, "fp32", "avx512") == 32
    assert operations_per_cycle.of_kernel(amd, "bf16", "avx512-bf16") == 64
    turin, client = (Processor("AuthenticAMD", "", 26, model, 1, True, 0, 0, ()) for model in (0x02, 0x44))
    assert operations_per_cycle.of_kernel(turin, "fp64", "avx512") == 32
    assert operations_per_cycle.of_kernel(turin, "fp32", "avx2") == 32
    assert operations_per_cycle.of_kernel(turin, "bf16", "avx512-bf16") == 128
    assert operations_per_cycle.of_kernel(turin, "int8", "avx512-vnni") == 256
    # Another model of the same family may have the narrow data path: nobody has measured it here.
    assert operations_per_cycle.known(client) is None
    # Skylake-SP is sold with one and with two 512-bit units under one model number.
    assert operations_per_cycle.known(intel(0x55)) is None
    assert operations_per_cycle.of_kernel(UNKNOWN, "fp32", "neon") is None
    assert operations_per_cycle.of_kernel(intel(0xCF), "bf16", "avx512-bf16") is None

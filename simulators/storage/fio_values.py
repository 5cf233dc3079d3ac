"""The options of fio's jobs, what values each may have, and what fio says of another.

Options that the simulator acts on, or that change nothing here, stand in the tables; one that fio has and that would
change a result is refused by name instead of being passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path


def _words(*lines: str) -> list[str]:
    return " ".join(lines).split()


ALIASES = {"blocksize": "bs", "readwrite": "rw", "timeout": "runtime", "iodepth_batch_submit": "iodepth_batch"}
FLAGS = frozenset(
    _words(
        "thread group_reporting stonewall wait_for_previous new_group time_based norandommap zero_buffers",
        "refill_buffers",
    )
)
"""Options that take no value; with one it is a number, 0 for off."""
DIRECTIONS = {
    "read": (1.0, False),
    "write": (0.0, False),
    "randread": (1.0, True),
    "randwrite": (0.0, True),
    "rw": (0.5, False),
    "readwrite": (0.5, False),
    "randrw": (0.5, True),
}
"""Value of `rw`: which part is read, and whether in random order."""
VALID_RW = """\
        valid values: read       Sequential read
                    : write      Sequential write
                    : trim       Sequential trim
                    : randread   Random read
                    : randwrite  Random write
                    : randtrim   Random trim
                    : rw         Sequential read and write mix
                    : readwrite  Sequential read and write mix
                    : randrw     Random read and write mix
                    : trimwrite  Trim and write mix, trims preceding writes
                    : randtrimwrite Randomly trim and write mix, trims preceding writes

"""
ENGINES = {"libaio": True, "io_uring": True, "posixaio": True, "sync": False, "psync": False, "vsync": False}
ENGINES |= {"pvsync": False, "pvsync2": False, "mmap": False, "null": True}
"""The engines there are, and whether one keeps more than one I/O under way."""
VERIFY = frozenset(
    _words(
        "crc32c crc32c-intel crc32 crc64 crc16 crc7 md5 sha1 sha256 sha512 sha3-256 xxhash meta",
    )
)

BOOLEANS = {
    "direct": False,
    "buffered": True,
    "invalidate": True,
    "end_fsync": False,
    "do_verify": True,
    "verify_fatal": False,
    "overwrite": False,
    "unlink": False,
    "per_job_logs": True,
    "clat_percentiles": True,
    "lat_percentiles": False,
    "slat_percentiles": False,
    "allow_file_create": True,
    "create_on_open": False,
    "randrepeat": True,
    "scramble_buffers": True,
    "create_serialize": True,
    "create_fsync": True,
    "file_append": False,
    "disk_util": True,
    "fadvise_hint": True,
    "allrandrepeat": False,
    "verify_state_save": True,
    "verify_state_load": False,
}
_NUMBERS = {
    "iodepth": (1, None),
    "numjobs": (1, None),
    "nrfiles": (1, None),
    "openfiles": (0, None),
    "loops": (1, None),
    "fsync": (0, None),
    "fdatasync": (0, None),
    "rwmixread": (0, 100),
    "rwmixwrite": (0, 100),
    "rate_iops": (0, None),
    "log_avg_msec": (0, None),
    "bwavgtime": (1, None),
    "iopsavgtime": (1, None),
    "number_ios": (0, None),
    "iodepth_batch": (0, None),
    "iodepth_batch_complete_min": (0, None),
    "iodepth_batch_complete_max": (0, None),
    "iodepth_low": (0, None),
    "randseed": (0, None),
    "buffer_compress_percentage": (0, 100),
    "dedupe_percentage": (0, 100),
    "nice": (-20, 19),
}
_SIZES = frozenset(("bs", "io_size", "rate", "offset", "verify_interval"))
_TIMES = frozenset(("runtime", "ramp_time"))
_WORDS = frozenset(
    _words(
        "name description filename directory filename_format ioengine write_bw_log write_iops_log write_lat_log",
        "fallocate file_service_type continue_on_error verify rw size percentile_list error_dump",
        "significant_figures cpus_allowed cpus_allowed_policy mem random_generator buffer_pattern verify_pattern",
    )
)
KNOWN_TO_FIO = frozenset(
    _words(
        "wait_for lockfile unique_filename opendir ba bsrange bssplit bs_unaligned ignore_error rw_sequencer",
        "serialize_overlap io_submit_mode filesize offset_increment offset_align random_distribution",
        "percentage_random write_barrier sync_file_range atomic startdelay verify_only clocksource verify_offset",
        "verify_dump verify_async verify_backlog verify_backlog_batch experimental_verify trim_percentage",
        "trim_verify_zero trim_backlog trim_backlog_batch write_iolog read_iolog exec_prerun exec_postrun",
        "ioscheduler zonemode zonesize lockmem prio prioclass thinktime thinktime_spin thinktime_blocks",
        "thinktime_iotime rate_min rate_process rate_cycle rate_iops_min max_latency latency_target",
        "latency_window latency_percentile latency_run sync create_only allow_mounted_write pre_read cpumask",
        "numa_cpu_nodes numa_mem_policy fsync_on_close unlink_each_loop exit_what log_entries log_hist_msec",
        "write_hist_log log_max_value log_offset log_compression log_unix_epoch block_error_percentiles stats",
        "buffer_compress_chunk dedupe_mode gtod_reduce disable_lat disable_clat disable_slat",
        "disable_bw_measurement gtod_cpu unified_rw_reporting profile cgroup uid gid kb_base unit_base flow",
        "steadystate steadystate_duration steadystate_ramp_time fill_device exitall exitall_on_error",
    )
)
"""Options of fio that the simulator does not act on, and so refuses."""

_FACTORS = {"": 1, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_SECONDS = {"": 1.0, "s": 1.0, "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Mistake(Exception):
    """What fio refuses. said: on standard error; shown: on standard output; status: how it exits."""

    def __init__(self, said: str, *, shown: str = "", status: int = 1) -> None:
        super().__init__(said)
        self.said, self.shown, self.status = said, shown, status


def size_of(text: str) -> int:
    """Return bytes; k, m, g, t, p (with "i", "b" or both) are powers of 1024; raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([kmgtp]?)(?:ib|i|b)?", text.strip().lower())
    if found is None:
        raise ValueError(text)
    return int(found[1]) << (_FACTORS[found[2]] if found[2] else 0)


def seconds_of(text: str) -> float:
    """Return a time, s; raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _SECONDS:
        raise ValueError(text)
    return int(found[1]) * _SECONDS[found[2]]


def check(option: str, value: str | None) -> str:
    """Return an option's value as fio keeps it; raises Mistake in fio's words."""
    if value is None:
        if option in FLAGS:
            return "1"
        raise Mistake(f"fio: failed parsing {option}=\n")
    failed = f"fio: failed parsing {option}={value}\n"
    if option in FLAGS:
        return value
    if option in BOOLEANS:
        if not value.isdecimal():
            raise Mistake(failed)
        if int(value) > 1:
            raise Mistake(f"max value out of range: {value} (1 max)\n{failed}")
    elif option in _NUMBERS:
        least, most = _NUMBERS[option]
        try:
            number = int(value)
        except ValueError:
            raise Mistake(failed) from None
        if number < least:
            raise Mistake(f"{option}: min value out of range: {value} ({least} min)\n{failed}")
        if most is not None and number > most:
            raise Mistake(f"{option}: max value out of range: {value} ({most} max)\n{failed}")
    elif option in _SIZES:
        _check_sizes(option, value, failed)
    elif option in _TIMES:
        _check_with(seconds_of, value, failed)
    elif option == "size":
        _check_with(lambda text: int(text[:-1]) if text.endswith("%") else size_of(text), value, failed)
    elif option == "rw" and value not in DIRECTIONS:
        if value in ("trim", "randtrim", "trimwrite", "randtrimwrite") or ":" in value or "," in value:
            raise Mistake(refused(f"rw={value}"))
        raise Mistake(failed, shown=VALID_RW)
    elif option == "verify" and value not in VERIFY:
        raise Mistake(failed)
    elif option == "directory" and not Path(value).is_dir() and "${" not in value:
        raise Mistake(
            f"fio: {value} is not a directory\n{failed}",
            shown="fio: file:options.c:1457, func=lstat, error=No such file or directory\n",
        )
    return value


def known(name: str) -> bool:
    """True for an option of a job that fio has."""
    return name in BOOLEANS or name in _NUMBERS or name in _SIZES | _TIMES | _WORDS | FLAGS | KNOWN_TO_FIO


def refused(what: str) -> str:
    """Return what is said of an option that is not simulated."""
    return f"SIM-fio: {what} is an option of fio that is not simulated\n"


def _check_sizes(option: str, value: str, failed: str) -> None:
    for part in value.split(","):
        try:
            size = size_of(part) if part else 1
        except ValueError:
            letters = re.sub(r"^\d*", "", part)
            unfit = f"{option}: '{letters[:1]}' suffix isn't applicable\n" if option == "bs" and letters else ""
            raise Mistake(unfit + failed) from None
        if option == "bs" and size < 1:
            raise Mistake(f"{option}: min value out of range: {part} (1 min)\n{failed}")


def _check_with(parser: Callable[[str], object], value: str, failed: str) -> None:
    try:
        parser(value)
    except ValueError:
        raise Mistake(failed) from None

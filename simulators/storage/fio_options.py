"""The command line and the job files of fio: what they ask for, and what fio says of a mistake in them.

Options that the simulator acts on, or that change nothing here, stand in the tables; one that fio has and that would
change a result is refused by name instead of being passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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
_VALID_RW = """\
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

_BOOLEANS = {
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
_FORMATS = frozenset(("normal", "json", "json+", "terse"))
_WITH_VALUE = frozenset(
    _words(
        "output output-format status-interval eta eta-newline eta-interval section max-jobs alloc-size debug",
        "terse-version aux-path idle-prof cmdhelp enghelp client server remote-config trigger-file trigger-",
        "timeout trigger",
    )
)
_WITHOUT = frozenset(
    _words(
        "version help readonly minimal bandwidth-log parse-only showcmd warnings-fatal append-terse merge-",
        "blktrace-only crctest cpuclock-test",
    )
)
_NOT_SIMULATED = frozenset(
    _words(
        "debug terse-version idle-prof cmdhelp enghelp client server remote-config trigger-file trigger-timeout",
        "trigger minimal bandwidth-log showcmd append-terse merge-blktrace-only crctest cpuclock-test aux-path",
    )
)


class Mistake(Exception):
    """What fio refuses. said: on standard error; shown: on standard output; status: how it exits."""

    def __init__(self, said: str, *, shown: str = "", status: int = 1) -> None:
        super().__init__(said)
        self.said, self.shown, self.status = said, shown, status


@dataclass
class Job:
    """One section. given: its own options with a value, as written; settings: what holds, those of [global] too."""

    name: str
    given: list[tuple[str, str]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    group: int = 0

    def text(self, option: str, default: str = "") -> str:
        """Return an option as text."""
        return self.settings.get(option, default)

    def flag(self, option: str) -> bool:
        """Return an option that is on or off."""
        if option in FLAGS:
            return self.settings.get(option, "0") != "0"
        return self.settings[option] == "1" if option in self.settings else _BOOLEANS[option]

    def number(self, option: str, default: int = 0) -> int:
        """Return an option that is a number."""
        return int(self.settings[option]) if option in self.settings else default

    def sizes(self, option: str, default: int = 0) -> tuple[int, int]:
        """Return what an option says for reads and for writes, bytes."""
        parts = self.settings.get(option, "").split(",")
        read = size_of(parts[0]) if parts[0] else default
        return read, size_of(parts[1]) if len(parts) > 1 and parts[1] else read

    def seconds(self, option: str) -> float:
        """Return a time, s."""
        return seconds_of(self.settings.get(option, "0"))

    @property
    def direct(self) -> bool:
        """Whether I/O passes the page cache by; `buffered` is its opposite."""
        return self.flag("direct") or ("buffered" in self.settings and not self.flag("buffered"))

    @property
    def reads(self) -> float:
        """Which part of the bytes is read."""
        share = DIRECTIONS[self.text("rw", "read")][0]
        if share != 0.5:
            return share
        if "rwmixwrite" in self.settings:
            return 1 - self.number("rwmixwrite") / 100
        return self.number("rwmixread", 50) / 100

    @property
    def depth(self) -> int:
        """How many I/O are under way at once; synchronous engines silently make it one."""
        return self.number("iodepth", 1) if ENGINES[self.text("ioengine", "psync")] else 1


@dataclass
class Plan:
    """What one command line asks for.

    announced: jobs that were read while the format was that for people, and whether the output file was known by then.
    """

    jobs: list[Job] = field(default_factory=list)
    common: Job = field(default_factory=lambda: Job("global"))
    warnings: list[str] = field(default_factory=list)
    output: str | None = None
    formats: tuple[str, ...] = ("normal",)
    status_interval: float | None = None
    eta: str = "auto"
    eta_newline: float | None = None
    readonly: bool = False
    parse_only: bool = False
    version: bool = False
    help: bool = False
    engines: bool = False
    sections: list[str] = field(default_factory=list)
    announced: list[tuple[Job, bool]] = field(default_factory=list)
    files: int = 0


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
    if option in _BOOLEANS:
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
            raise Mistake(_refused(f"rw={value}"))
        raise Mistake(failed, shown=_VALID_RW)
    elif option == "verify" and value not in VERIFY:
        raise Mistake(failed)
    elif option == "directory" and not Path(value).is_dir() and "${" not in value:
        raise Mistake(
            f"fio: {value} is not a directory\n{failed}",
            shown="fio: file:options.c:1457, func=lstat, error=No such file or directory\n",
        )
    return value


def parse(
    program: str,
    arguments: Iterable[str],
    directory: Path,
    environment: Callable[[str], str],
    standard_input: Callable[[], str],
) -> Plan:
    """Return what a command line asks for; raises Mistake. program: as it was called; directory: where it was."""
    reader = _Reader(directory, environment, standard_input)
    words = list(arguments)
    files: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-v", "-h"):
            word = {"-v": "--version", "-h": "--help"}[word]
        if not word.startswith("--"):
            files.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = ALIASES.get(name, name)
        if name == "enghelp" and not equals:
            reader.plan.engines = True
            continue
        if name in _WITHOUT:
            reader.command(name, "")
            continue
        if not (name in _WITH_VALUE or _known(name)):
            raise Mistake(f"{program}: unrecognized option '{word}'\n" * 2)
        if not equals and name not in FLAGS:
            if not words:
                lacking = f"{program}: option '{word}' requires an argument\n"
                raise Mistake(f"{lacking}{program}: unrecognized option '{word}'\n")
            value, equals = words.pop(0), "="
        if name in _WITH_VALUE:
            reader.command(name, value)
        else:
            reader.option(name, value if equals else None)
    reader.close()
    if not (reader.plan.version or reader.plan.help or reader.plan.engines):
        for file in files:
            reader.file(file)
        reader.plan.files = len(files)
    return reader.plan


def _known(name: str) -> bool:
    return name in _BOOLEANS or name in _NUMBERS or name in _SIZES | _TIMES | _WORDS | FLAGS | KNOWN_TO_FIO


def _refused(what: str) -> str:
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


class _Reader:
    """Collects sections in the order in which they come."""

    def __init__(self, directory: Path, environment: Callable[[str], str], standard_input: Callable[[], str]) -> None:
        self.plan = Plan()
        self._directory, self._environment, self._input = directory, environment, standard_input
        self._section: Job | None = None

    def command(self, name: str, value: str) -> None:
        """Take an option of the program itself."""
        plan = self.plan
        if name in _NOT_SIMULATED:
            raise Mistake(_refused(f"--{name}"))
        if name == "output":
            plan.output = str(self._directory / value)
        elif name == "output-format":
            formats = tuple(value.split(","))
            for one in formats:
                if one not in _FORMATS:
                    raise Mistake(f"fio: invalid output format {one}\nfio: failed parsing output-format\n")
            if "terse" in formats:
                raise Mistake(_refused("--output-format=terse"))
            plan.formats = formats
        elif name in ("status-interval", "eta-newline"):
            try:
                seconds = seconds_of(value)
            except ValueError:
                raise Mistake(f"fio: failed parsing time {value}\n") from None
            if name == "eta-newline":
                plan.eta_newline = seconds
            else:
                plan.status_interval = seconds
        elif name == "eta" and value in ("always", "never", "auto"):
            plan.eta = value
        elif name == "section":
            plan.sections.append(value)
        else:
            plan.readonly |= name == "readonly"
            plan.parse_only |= name == "parse-only"
            plan.version |= name == "version"
            plan.help |= name == "help"

    def option(self, name: str, value: str | None) -> None:
        """Take an option of a job on the command line; those before the first --name are for all jobs."""
        if name == "name":
            self.close()
            self._open(value or "")
        self._take(name, value)

    def close(self) -> None:
        """End the section that is open."""
        section, self._section = self._section, None
        if section is None:
            return
        for part in (self.plan.common, section):
            section.settings |= dict(part.given) | dict.fromkeys(part.flags, "1")
        job = section
        if job.reads < 1 and self.plan.readonly:
            raise Mistake(
                f"fio: job <{job.name}> has write or trim bit set, but fio is in read-only mode\n"
                "Correct format for offending option\n                  rw: IO direction\n"
                "               alias: readwrite\n                type: string (opt=bla)\n"
                f"             default: read\nfio: failed parsing rw={job.text('rw')}\n",
                shown=_VALID_RW,
            )
        engine = job.text("ioengine", "psync")
        if engine not in ENGINES:
            raise Mistake(
                f"fio: engine {engine} not loadable\nfio: failed to load engine\n",
                shown=f"fio: file:ioengines.c:134, func=dlopen, error={engine}: cannot open shared object file: "
                "No such file or directory\n",
            )
        if job.flag("time_based") and not job.seconds("runtime"):
            self.plan.warnings.append("fio: time_based requires a runtime/timeout setting\n")
        jobs = self.plan.jobs
        job.group = jobs[-1].group if jobs else 0
        if jobs and (job.flag("stonewall") or job.flag("new_group")):
            job.group += 1
        if not self.plan.sections or job.name in self.plan.sections:
            jobs.append(job)
            if "normal" in self.plan.formats:
                self.plan.announced.append((job, self.plan.output is not None))

    def file(self, path: str) -> None:
        """Read a job file, "-" is standard input."""
        if path == "-":
            text = self._input()
        else:
            try:
                text = (self._directory / path).read_text(encoding="utf-8", errors="surrogateescape")
            except OSError:
                raise Mistake(f"fio: unable to open '{path}' job file\n") from None
        section: str | None = None
        for raw in text.splitlines():
            line = raw.strip()
            if not line or line[0] in ";#":
                continue
            if line.startswith("[") and line.endswith("]"):
                self.close()
                section = line[1:-1]
                if section != "global":
                    self._open(section)
                continue
            if section is None:
                raise Mistake(f"fio: option <{line}> outside of [] job section\n")
            name, equals, value = (part.strip() for part in line.partition("="))
            name = ALIASES.get(name, name)
            dropped = f"fio: job {section} dropped\n"
            if not _known(name):
                raise Mistake(f"Bad option <{line}>\n{dropped}")
            try:
                self._take(name, self._expand(value) if equals else None)
            except Mistake as mistake:
                mistake.said += dropped
                raise
        self.close()

    def _open(self, name: str) -> None:
        self._section = Job(name)

    def _take(self, name: str, value: str | None) -> None:
        if name in KNOWN_TO_FIO:
            raise Mistake(_refused(name))
        kept = self.plan.common if self._section is None else self._section
        if name == "directory" and value is not None and not Path(value).is_absolute():
            check(name, str(self._directory / value))
        else:
            checked = check(name, value)
            if value is None:
                kept.flags.append(name)
                return
            value = checked
        kept.given.append((name, value))

    def _expand(self, value: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: self._environment(found[1]), value)

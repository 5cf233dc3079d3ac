"""The command line and the job files of fio: which jobs they ask for, and what fio says of a mistake in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from .fio_job import Job, Plan
from .fio_values import ALIASES, ENGINES, FLAGS, KNOWN_TO_FIO, VALID_RW, Mistake, check, known, refused, seconds_of

_FORMATS = frozenset(("normal", "json", "json+", "terse"))
_NOT_SIMULATED_WITH_VALUE = [
    "debug",
    "terse-version",
    "idle-prof",
    "cmdhelp",
    "enghelp",
    "client",
    "server",
    "remote-config",
    "trigger-file",
    "trigger-timeout",
    "trigger",
    "aux-path",
]
_NOT_SIMULATED_WITHOUT = [
    "minimal",
    "bandwidth-log",
    "showcmd",
    "append-terse",
    "merge-blktrace-only",
    "crctest",
    "cpuclock-test",
]
_NOT_SIMULATED = frozenset((*_NOT_SIMULATED_WITH_VALUE, *_NOT_SIMULATED_WITHOUT))
_WITH_VALUE = frozenset(
    (
        *[
            "output",
            "output-format",
            "status-interval",
            "eta",
            "eta-newline",
            "eta-interval",
            "section",
            "max-jobs",
            "alloc-size",
        ],
        *_NOT_SIMULATED_WITH_VALUE,
    )
)
_WITHOUT = frozenset((*["version", "help", "readonly", "parse-only", "warnings-fatal"], *_NOT_SIMULATED_WITHOUT))


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
        if not (name in _WITH_VALUE or known(name)):
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
            raise Mistake(refused(f"--{name}"))
        if name == "output":
            plan.output = str(self._directory / value)
        elif name == "output-format":
            formats = tuple(value.split(","))
            for one in formats:
                if one not in _FORMATS:
                    raise Mistake(f"fio: invalid output format {one}\nfio: failed parsing output-format\n")
            if "terse" in formats:
                raise Mistake(refused("--output-format=terse"))
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
                shown=VALID_RW,
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
            if not known(name):
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
            raise Mistake(refused(name))
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

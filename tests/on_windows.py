"""Runs a program of this project as nearly as on Windows as Linux allows: `python on_windows.py CODE ARGUMENTS…`.

What this project's modules find is what they would find there: no modules of POSIX and no native kernels, nothing in
`os`, `signal`, `socket`, `select` and `time` that Windows lacks, no files of the kernel, `sys.platform`, clocks that
step by 1/64 s (as Python's do there before 3.13). What Windows refuses is refused: names with characters that are
forbidden, to replace or to remove a file that is open. To open a file as text without naming its encoding is an error,
under -X warn_default_encoding. Other people's modules have code of their own for Windows and see the system as it is.

`make types` asks mypy the same of every line of the core and of the drivers of power meters, for names and modules.
"""

from __future__ import annotations

import builtins
import ctypes
import fnmatch
import importlib.abc
import importlib.machinery
import os
import platform
import re
import select
import signal
import socket
import sys
import time
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_PROJECT = "aicalib_hw"
_MODULES = (
    "aicalib_hw._native",
    "fcntl",
    "pty",
    "tty",
    "termios",
    "resource",
    "pwd",
    "grp",
    "syslog",
    "curses",
    "readline",
)
_ABSENT = {
    "os": "fork* killpg [gs]et*[gu]id [gs]etpg* [gs]etsid [gs]etpriority [gs]etxattr nice uname sysconf* *statvfs "
    "*chown fchmod pread* pwrite* readv writev sendfile pipe2 openpty ttyname mkfifo mknod major minor makedev wait "
    "wait[34] waitid* getloadavg getrandom register_at_fork sched_* posix_* sync fdatasync eventfd* pidfd_open "
    "memfd_create WNOHANG WIF* WEXITSTATUS WTERMSIG RTLD_* SCHED_* O_DIRECT* O_NOFOLLOW O_*SYNC O_CLOEXEC O_NONBLOCK "
    "O_TMPFILE",
    "signal": "SIGHUP SIGKILL SIGSTOP SIGCONT SIGALRM SIGCHLD SIGUSR? SIGPIPE SIGQUIT SIGT[SR]* SIGWINCH SIG_*BLOCK "
    "alarm *itimer pause pthread_* sig*wait*",
    "socket": "AF_UNIX AF_PACKET AF_NETLINK SO_REUSEPORT SO_BINDTODEVICE SO_PEERCRED SOCK_CLOEXEC SOCK_NONBLOCK "
    "MSG_DONTWAIT MSG_NOSIGNAL SCM_* TCP_QUICKACK TCP_CORK TCP_INFO TCP_USER_TIMEOUT recv_fds send_fds",
    "select": "poll epoll POLL* EPOLL* PIPE_BUF",
    "time": "CLOCK_* clock_* pthread_* tzset",
}
"""Names, by module, that Windows lacks; `*`, `?` and `[…]` as in names of files."""

_OF_THE_KERNEL = ("/proc", "/sys", "/dev/shm")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
_STEP_NS = 15_625_000
_ENDED = 1
"""Number of a process that has ended; every other one runs."""


class _NotThere(importlib.abc.MetaPathFinder):
    """Refuses the modules of POSIX to everybody."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in _MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


class _Module(types.ModuleType):
    """A module of the standard library as it is on Windows, `different` where its values are."""

    def __init__(self, real: types.ModuleType, **different: Any) -> None:
        super().__init__(real.__name__)
        absent = _ABSENT.get(real.__name__, "").split()
        self.__dict__.update(different, _real=real, _absent=absent)

    def __getattr__(self, name: str) -> Any:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.__dict__["_absent"]):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self.__dict__["_real"], name)


class _Function:
    """A function of a library: what it returns can be typed by setting `restype`, as with ctypes."""

    def __init__(self, does: Callable[..., Any]) -> None:
        self._does = does

    def __call__(self, *given: Any) -> Any:
        return self._does(*given)


class _Kernel32:
    """The functions of kernel32 by which a process is looked up."""

    def __init__(self, name: str, *, use_last_error: bool) -> None:
        self.OpenProcess = _Function(lambda access, inherit, number: None if number == _ENDED else number)
        self.GetExitCodeProcess = _Function(lambda handle, code: _put(259, code))
        self.GetProcessTimes = _Function(lambda handle, *times: _put(133_000_000_000_000_000, *times))
        self.CloseHandle = _Function(lambda handle: 1)


def _put(value: int, *pointers: Any) -> int:
    for pointer in pointers:
        pointer._obj.value = value
    return 1


def _as_there() -> Mapping[str, types.ModuleType]:
    def monotonic_ns() -> int:
        return time.monotonic_ns() // _STEP_NS * _STEP_NS

    def time_ns() -> int:
        return time.time_ns() // _STEP_NS * _STEP_NS

    clocks = {
        "monotonic_ns": monotonic_ns,
        "monotonic": lambda: monotonic_ns() / 1e9,
        "time_ns": time_ns,
        "time": lambda: time_ns() / 1e9,
    }
    return {
        "ctypes": _Module(ctypes, WinDLL=_Kernel32, get_last_error=lambda: 87),
        "os": _Module(os, name="nt"),
        "platform": _Module(platform, system=lambda: "Windows"),
        "select": _Module(select),
        "signal": _Module(signal),
        "socket": _Module(socket),
        "sys": _Module(sys, platform="win32"),
        "time": _Module(time, **clocks),
    }


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    """Raise what Windows would; Python tells of an event before it does it."""
    paths = [os.fspath(one) for one in given[:2] if isinstance(one, (str, os.PathLike))]
    if event == "open" and paths and paths[0].startswith(_OF_THE_KERNEL):
        raise FileNotFoundError(2, "The system cannot find the path specified", paths[0])
    made = {"open": paths[:1], "os.mkdir": paths[:1], "os.rename": paths[1:], "sqlite3.connect": paths[:1]}
    for path in made.get(event, ()):
        for name in path.removeprefix("file:").partition("?")[0].split("/"):
            if _FORBIDDEN.search(name) and name not in (".", ".."):
                raise OSError(22, "The filename, directory name, or volume label syntax is incorrect", path)
    if event in ("os.remove", "os.rename"):
        for path in paths:
            if os.path.realpath(path) in _open_files():
                raise PermissionError(13, "The process cannot access the file because it is in use", path)


def _open_files() -> set[str]:
    found = set()
    for number in range(3, 256):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return found


def begin() -> None:
    """Make it so for all that is imported from now on."""
    for name in _MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _NotThere())
    sys.addaudithook(_refuse)
    warnings.filterwarnings("error", category=EncodingWarning, module=rf"{_PROJECT}\b")
    there, its_own = _as_there(), builtins.__import__

    def imported(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        importer = str((globals or {}).get("__name__", "")).partition(".")[0]
        if importer == _PROJECT and level == 0 and name in there:
            return there[name]
        return its_own(name, globals, locals, fromlist, level)

    builtins.__import__ = imported


if __name__ == "__main__":
    begin()
    del sys.argv[0]
    exec(compile(sys.argv[0], "the program", "exec"), {"__name__": "__main__"})

"""Options that hold for the whole suite."""

from __future__ import annotations

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

# A time limit for each example would judge the machine that the tests share, and not the code. Where a change is judged
# the examples are the same at every run; everywhere else they are new ones, which is how they find something.
settings.register_profile("suite", deadline=None)
settings.register_profile("judged", deadline=None, derandomize=True)


_TRIES = 3
_TAKEN = 0.1
_TAKEN_BESIDE_TIMES = 0.02
"""Share of the processors that others may have while a test runs that judges times."""
_AGAIN = "run again"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail if any test was skipped")
    parser.addoption("--meter", metavar="ADDRESS", help="VISA address of a real power meter, for -m hardware")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(InTurn())
    settings.load_profile("judged" if config.getoption("--no-skips") else "suite")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests marked `alone` last: among others each waits for the test beside it, and the next there for it."""
    items.sort(key=_alone)


class InTurn:
    """Runs a test marked `alone` with no other test beside it. The wait is no part of its time."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Wait for the turn of this test."""
        with _turn(alone=_alone(item)):
            return (yield)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test, and again if it failed while somebody else had the processors: no test is judged by that.

    Least of all one that judges times of this host. What counts is what the hypervisor gave to others; twice at most is
    a failure looked at again, and the summary tells.
    """
    bearable = _TAKEN_BESIDE_TIMES if _alone(item) else _TAKEN
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(_TRIES)):
        began = _processor_time()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        taken = _taken_by_others(began, _processor_time())
        if not left or taken < bearable or not any(report.failed for report in reports):
            break
        item.user_properties.append((_AGAIN, f"failed while others had {taken:.0%} of the processors, run again"))
        item._initrequest()  # type: ignore[attr-defined]  # fixtures anew, as for a test that has not run
        _renew_time_limit(item)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _renew_time_limit(item: pytest.Item) -> None:
    plugin: Any = item.config.pluginmanager.get_plugin("timeout")
    limit = plugin._get_item_settings(item)
    if limit.timeout:
        item.ihook.pytest_timeout_cancel_timer(item=item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=limit)


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, text in report.user_properties:
                    if name == _AGAIN:
                        terminalreporter.write_line(f"AGAIN {report.nodeid} - {text}", yellow=True)


def _processor_time() -> tuple[int, int]:
    """Ticks that the processors have had, and of these what the hypervisor gave to others."""
    user, nice, system, idle, wait, hard, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + idle + wait + hard + soft + steal, steal


def _taken_by_others(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[1] - before[1]) / max(1, after[0] - before[0])


@contextmanager
def _turn(*, alone: bool) -> Iterator[None]:
    here = Path(__file__)
    with here.open("rb") as running, (here.parent / "__init__.py").open("rb") as queue:
        # Who waits to be alone keeps the queue, or tests that begin in the meantime would never let it begin.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(running, fcntl.LOCK_UN)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--no-skips") or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} tests were skipped; --no-skips allows none", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _leases_of_this_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests run side by side and may all hold cpu://local. Fixtures of whole modules have their worker's leases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield


@pytest.fixture(autouse=True)
def _leases_of_this_test_alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test leaves behind is nothing to the next."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))

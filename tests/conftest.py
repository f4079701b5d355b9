"""Settings for all tests. With DIGESTBOT_NO_SKIP set (as CI does) a skipped test is a failed one."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import backends

# CI says the same of the same tree each time; whoever runs the tests by hand gets other examples each time.
settings.register_profile(
    "test",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="DIGESTBOT_NO_SKIP" in os.environ,
)
settings.load_profile("test")


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs a test on SQLite, then on PostgreSQL."""
    if request.param == "sqlite":
        yield
        return
    backends.use(backends.POSTGRES)
    try:
        yield
    finally:
        backends.use(backends.SQLITE)
        backends.POSTGRES.reset()


def pytest_sessionfinish() -> None:
    backends.POSTGRES.stop()


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """A command that sets up logging, called within the process of the tests, does so for its test only."""
    root, own = logging.root, logging.getLogger("digestbot")
    handlers, level, own_level = root.handlers[:], root.level, own.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(own_level)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="run the long forms, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--torture"):
        return
    chosen = [item for item in items if "torture" not in item.keywords]
    config.hook.pytest_deselected(items=[item for item in items if "torture" in item.keywords])
    items[:] = chosen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("DIGESTBOT_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipping is forbidden here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole module can be skipped, too."""
    report = yield
    if report.outcome == "skipped" and os.environ.get("DIGESTBOT_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipping is forbidden here: {report.longrepr}"
    return report

"""What `digestbot run` does on its timetable: read drops, tick, keep house."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from datetime import UTC, datetime

from digestbot.accounts import forget_unanswered
from digestbot.alarms import FAILING, listen_for_sources, note_run, tell_operator
from digestbot.pipeline import (
    Desk,
    RunReport,
    compose_due,
    current_model,
    deliver_due,
    expire_late,
    ingest_drops,
    open_desk,
)
from digestbot.scheduler import Job, Scheduler
from digestbot.settings import Settings

INGEST_EVERY_S = 60
TICK_EVERY_S = 30
HOUSEKEEPING_EVERY_S = 3600
FAILING_RUNS = 3  # in a row, until the operator is told

log = logging.getLogger(__name__)


def serve_forever(settings: Settings, *, stop: threading.Event) -> None:
    """Runs the timetable until `stop` is set. Raises SettingsError, StorageError or TemplateError at its start."""
    with ExitStack() as stack:
        reader, sender, keeper = (stack.enter_context(open_desk(settings)) for _ in range(3))
        watch = FailureWatch(keeper)
        jobs = (
            Job("ingest", INGEST_EVERY_S, lambda: watch.passed("ingest", ingest(reader))),
            Job("tick", TICK_EVERY_S, lambda: watch.passed("tick", tick(sender, stop))),
            Job("housekeeping", HOUSEKEEPING_EVERY_S, lambda: keep_house(keeper, _now())),
        )
        Scheduler(jobs, stop=stop, on_error=watch.failed).run()


def ingest(desk: Desk) -> RunReport:
    """Reads the drops that wait."""
    report = RunReport(_now())
    report.drops = ingest_drops(desk, report.now)
    for drop in report.drops.reports:
        log.info("drop %s: %d new, %d rejected", drop.path, drop.new, len(drop.rejected))
    note_run(desk, report, _now())
    return report


def tick(desk: Desk, stop: threading.Event) -> RunReport:
    """Composes what is due and tries each due mail once."""
    report = RunReport(_now())
    expired = expire_late(desk, report.now)
    report.digests = compose_due(desk, report.now, stop=stop)
    report.delivery = deliver_due(desk, _now, stop=stop)
    report.delivery.counts.update(expired)
    note_run(desk, report, _now())
    return report


def keep_house(desk: Desk, now: datetime) -> None:
    """Fits the ranking's statistics where the catalogue has grown, listens for the sources, forgets what is over."""
    current_model(desk, now)
    listen_for_sources(desk, now)
    desk.storage.limits.forget_handovers(now)
    if forgotten := forget_unanswered(desk.storage, now):
        log.info("forgot %d sign-ups that nobody confirmed for 30 days", forgotten)


class FailureWatch:
    """Notices a job that fails several times in a row."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._failures: dict[str, int] = {}

    def passed(self, name: str, report: RunReport) -> None:
        if self._failures.pop(name, 0) >= FAILING_RUNS:
            self._desk.storage.operation.clear_alarm(FAILING)

    def failed(self, name: str, error: BaseException) -> None:
        """A job raised; the scheduler goes on."""
        self._failures[name] = self._failures.get(name, 0) + 1
        if self._failures[name] == FAILING_RUNS:
            tell_operator(self._desk, FAILING, f"{name} failed {FAILING_RUNS} times: {error}", _now())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

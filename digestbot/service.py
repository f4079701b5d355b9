"""What `digestbot run` does on its timetable: read drops, tick, keep house; and tell the operator of trouble, once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from digestbot.errors import DigestbotError
from digestbot.model import EntryKind
from digestbot.pipeline import (
    Desk,
    RunReport,
    compose_due,
    current_model,
    deliver_due,
    ingest_drops,
    open_desk,
)
from digestbot.scheduler import Job, Scheduler
from digestbot.settings import Settings
from digestbot.storage.outbox import Notice

INGEST_EVERY_S = 60
TICK_EVERY_S = 30
HOUSEKEEPING_EVERY_S = 3600
FAILING_RUNS = 3  # in a row, until the operator is told

log = logging.getLogger(__name__)


def serve_forever(settings: Settings, *, stop: threading.Event) -> None:
    """Runs the timetable until `stop` is set."""
    with ExitStack() as stack:
        reader, sender, keeper = (stack.enter_context(open_desk(settings)) for _ in range(3))
        watch = Watch(sender)
        jobs = (
            Job("ingest", INGEST_EVERY_S, lambda: _ingest(reader)),
            Job("tick", TICK_EVERY_S, lambda: watch.watched(lambda: tick(sender, stop))),
            Job("housekeeping", HOUSEKEEPING_EVERY_S, lambda: keep_house(keeper, _now())),
        )
        Scheduler(jobs, stop=stop, on_error=watch.failed).run()


def tick(desk: Desk, stop: threading.Event) -> RunReport:
    """Composes what is due and tries each due mail once."""
    report = RunReport(_now())
    report.digests = compose_due(desk, report.now, stop=stop)
    report.delivery = deliver_due(desk, _now, stop=stop)
    if report.digests.composed or sum(report.delivery.counts.values()):
        desk.storage.operation.record_run(started_at=report.now, finished_at=_now(), report=report.to_json())
    return report


def keep_house(desk: Desk, now: datetime) -> None:
    """Fits the ranking's statistics where the catalogue has grown, and looks whether the sources have gone silent."""
    current_model(desk.storage, now)
    newest, hours = desk.storage.papers.newest(), desk.settings.expect_drop_hours
    if newest is None or not hours:
        return
    if now - newest > timedelta(hours=hours):
        tell_operator(desk, "silence", f"no new paper since {newest:%Y-%m-%d %H:%M} UTC", now)
    else:
        desk.storage.operation.clear_alarm("silence")


def tell_operator(desk: Desk, kind: str, detail: str, now: datetime) -> None:
    """Raises an alarm, and mails the operator if it is new; the same kind again says nothing until it is cleared."""
    with desk.storage.transaction():
        if not desk.storage.operation.raise_alarm(kind, detail, now=now):
            return
        log.warning("alarm %s: %s", kind, detail)
        if desk.settings.operator:
            left = desk.links.notice_message_id(EntryKind.OPERATOR, None, now) + f".{kind}"
            payload = {"to": desk.settings.operator, "headline": kind, "text": detail}
            notice = Notice(EntryKind.OPERATOR, f"<{left}@{desk.mail_domain}>", now, payload)
            desk.storage.outbox.queue(notice)


class Watch:
    """Notices runs that fail one after the other, and delivery that stops."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._failures = 0

    def watched(self, run: Callable[[], RunReport]) -> None:
        report = run()
        self._failures = 0
        self._desk.storage.operation.clear_alarm("failing runs")
        stopped = report.delivery.stopped if report.delivery else None
        if stopped:
            tell_operator(self._desk, "delivery stopped", str(stopped), _now())
        elif report.delivery and report.delivery.counts:
            self._desk.storage.operation.clear_alarm("delivery stopped")

    def failed(self, name: str, error: BaseException) -> None:
        """A job raised; the scheduler goes on."""
        level = logging.ERROR if isinstance(error, DigestbotError) else logging.CRITICAL
        log.log(level, "%s failed: %s", name, error)
        self._failures += 1
        if self._failures == FAILING_RUNS:
            tell_operator(self._desk, "failing runs", f"{name} failed {FAILING_RUNS} times: {error}", _now())


def _ingest(desk: Desk) -> None:
    now = _now()
    for report in ingest_drops(desk, now).reports:
        log.info("drop %s: %d new, %d rejected", report.path, report.new, len(report.rejected))
        if report.held:
            tell_operator(desk, f"drop held: {report.path}", report.held, now)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

"""What the operator is told of, by mail and in `status`: once per kind, until it is over."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from digestbot.desk import Desk
from digestbot.model import EntryKind
from digestbot.storage.outbox import Notice

if TYPE_CHECKING:
    from digestbot.ingest import IngestPass
    from digestbot.pipeline import RunReport

HELD, FOLDER = "drop held: ", "folder among the drops: "  # and its name
STOPPED, SILENCE, FAILING = "delivery stopped", "silence", "failing runs"

log = logging.getLogger(__name__)


def tell_operator(desk: Desk, kind: str, detail: str, now: datetime) -> None:
    """Raises an alarm, and mails the operator if it is new."""
    with desk.storage.transaction():
        if not desk.storage.operation.raise_alarm(kind, detail, now=now):
            return
        log.warning("alarm: %s: %s", kind, detail)
        if desk.settings.operator:
            left = desk.links.notice_message_id(EntryKind.OPERATOR, None, now)
            tag = blake2b(kind.encode(), digest_size=8).hexdigest()
            payload = {"to": desk.settings.operator, "headline": kind, "text": detail}
            message_id = f"<{tag}.{left}@{desk.mail_domain}>"
            desk.storage.outbox.queue(Notice(EntryKind.OPERATOR, message_id, now, payload))


def note_drops(desk: Desk, found: IngestPass, now: datetime) -> None:
    """Tells of what a person must look at in the drop folder."""
    for drop in found.reports:
        if drop.held:
            tell_operator(desk, HELD + Path(drop.path).name, drop.held, now)
    for name in found.folders:
        tell_operator(desk, FOLDER + name, "only files are read: put those in it into `incoming` itself", now)
    for alarm in desk.storage.operation.alarms():
        if alarm.kind.startswith(FOLDER) and alarm.kind.removeprefix(FOLDER) not in found.folders:
            clear_alarm(desk, alarm.kind)


def note_run(desk: Desk, report: RunReport, finished_at: datetime) -> None:
    """Keeps a run's report, and tells where its delivery stopped."""
    delivery = report.delivery
    if delivery is not None and delivery.stopped:
        tell_operator(desk, STOPPED, str(delivery.stopped), report.now)
    elif delivery is not None and delivery.counts:
        clear_alarm(desk, STOPPED)
    if report.did_something:
        desk.storage.operation.record_run(
            started_at=report.now, finished_at=finished_at, report=report.to_json()
        )


def listen_for_sources(desk: Desk, now: datetime) -> None:
    """Tells when no new paper came for DIGESTBOT_EXPECT_DROP_HOURS; a state without any paper is still being set up."""
    newest, hours = desk.storage.papers.newest(), desk.settings.expect_drop_hours
    if newest is None or not hours:
        return
    if now - newest > timedelta(hours=hours):
        tell_operator(desk, SILENCE, f"no new paper since {newest:%Y-%m-%d %H:%M} UTC", now)
    else:
        clear_alarm(desk, SILENCE)


def clear_alarm(desk: Desk, kind: str) -> None:
    """It is over; the next one of the kind is told of again."""
    if desk.storage.operation.clear_alarm(kind):
        log.info("over: %s", kind)

"""What the operator is told of, by mail and in `status`: once per kind, until it is over."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path

from digestbot.desk import Desk
from digestbot.drops.folder import shown
from digestbot.ingest import IngestPass
from digestbot.model import EntryKind, EntryState, SubscriberId
from digestbot.report import RunReport
from digestbot.storage.outbox import Notice
from digestbot.wording import counted

# Each and its name:
HELD, FOLDER, ZONE, FAILING = "drop held: ", "folder among the drops: ", "time zone: ", "failing runs: "
DAMAGED = "subscriber damaged: "
STOPPED, SILENCE, CLOCK, DISK = "delivery stopped", "silence", "clock", "disk"
KINDS = (
    STOPPED,
    FAILING,
    HELD,
    FOLDER,
    ZONE,
    DAMAGED,
    SILENCE,
    CLOCK,
    DISK,
)  # all that there are; docs/operation.md explains each
FAILING_RUNS = 3  # in a row, until the operator is told
# What else is over when a job works: a pass of `run --once` is all of a scheduler's jobs, whose last one delivers.
_WORKS_AS_WELL = {"run": ("ingest", "compose", "deliver", "tick"), "deliver": ("run",)}
_ANSWERED = (EntryState.SENT, EntryState.DEFERRED, EntryState.BOUNCED)  # a relay took part in it
JUMP_TOLD_S = 3600  # a clock that is set by less makes no digest late
LITTLE_SPACE_BYTES = 500_000_000  # told while the alarm itself can still be written

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
    held = desk.settings.drops / "held"
    kept = {shown(path.name) for path in held.iterdir()} if held.is_dir() else set()
    _keep_only(
        desk, (FOLDER, HELD), {*(FOLDER + name for name in found.folders), *(HELD + name for name in kept)}
    )


def note_zones(desk: Desk, unknown: Mapping[str, int], now: datetime) -> None:
    """Tells of time zones whose rules cannot be read here; unknown: these, with how many people each has."""
    for name, people in unknown.items():
        detail = f"cannot be read here: the digests of {counted(people, 'subscriber')} follow UTC; install tzdata anew"
        tell_operator(desk, ZONE + name, detail, now)
    _keep_only(desk, (ZONE,), {ZONE + name for name in unknown})


def note_damaged(desk: Desk, damaged: Mapping[SubscriberId, str], now: datetime) -> None:
    """Tells of subscribers who are due and get nothing, for their rows cannot be read."""
    for subscriber_id, said in damaged.items():
        tell_operator(desk, DAMAGED + str(subscriber_id), said, now)
    _keep_only(desk, (DAMAGED,), {DAMAGED + str(subscriber_id) for subscriber_id in damaged})


def _keep_only(desk: Desk, prefixes: tuple[str, ...], standing: Collection[str]) -> None:
    """Of the alarms whose kinds begin so, all but these are over."""
    for alarm in desk.storage.operation.alarms():
        if alarm.kind.startswith(prefixes) and alarm.kind not in standing:
            clear_alarm(desk, alarm.kind)


def note_run(desk: Desk, report: RunReport, finished_at: datetime, *, fold: timedelta | None = None) -> None:
    """Keeps a run's report, and tells where its delivery stopped. fold: it is one of many parts of that time."""
    delivery = report.delivery
    if delivery is not None and delivery.stopped:
        tell_operator(desk, STOPPED, str(delivery.stopped), report.now)
    elif delivery is not None and any(delivery.counts[state] for state in _ANSWERED):
        clear_alarm(desk, STOPPED)
    if report.damaged is not None:
        note_damaged(desk, report.damaged, report.now)
    listen_for_sources(desk, report.now)
    if database := desk.settings.sqlite_path:
        watch_space(desk, shutil.disk_usage(database.parent).free, report.now)
    if report.did_something:
        desk.storage.operation.record_run(
            started_at=report.now, finished_at=finished_at, report=report.to_json(), fold=fold
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


def watch_space(desk: Desk, free_bytes: int, now: datetime) -> None:
    """Tells of the last room on the database's disk: on a full one nothing can be written, so no mail may leave."""
    if free_bytes < LITTLE_SPACE_BYTES:
        detail = f"{free_bytes // 1_000_000:,} MB are free where the database is: make room"
        tell_operator(desk, DISK, detail, now)
    else:
        clear_alarm(desk, DISK)


def note_failure(desk: Desk, job: str, error: Exception, now: datetime) -> None:
    """Counts the failures of a job in a row, over restarts, and tells of the third."""
    count = desk.storage.operation.count_up(_failures(job))
    if count >= FAILING_RUNS:
        tell_operator(desk, FAILING + job, f"{job} failed {count} times in a row: {error}", now)


def note_success(desk: Desk, job: str) -> None:
    for name in (job, *_WORKS_AS_WELL.get(job, ())):
        if desk.storage.operation.find_fact(_failures(name)) is not None:
            desk.storage.operation.forget_fact(_failures(name))
            clear_alarm(desk, FAILING + name)


def _failures(job: str) -> str:
    return f"failures of {job}"


def note_jump(desk: Desk, by_s: float, now: datetime) -> None:
    """Tells of a clock that was set by an hour or more while the scheduler ran."""
    if abs(by_s) >= JUMP_TOLD_S:
        way = "forth" if by_s > 0 else "back"
        detail = (
            f"the clock was set {way} by {abs(by_s) / 3600:.1f} hours, to {now:%Y-%m-%d %H:%M} UTC;"
            " slots that a clock in the future skips end late and are not sent any more"
        )
        tell_operator(desk, CLOCK, detail, now)


def forget_jump(desk: Desk, now: datetime) -> None:
    """A day later the clock counts as right."""
    if any(
        a.kind == CLOCK and abs(now - a.since) > timedelta(days=1) for a in desk.storage.operation.alarms()
    ):
        clear_alarm(desk, CLOCK)


def clear_alarm(desk: Desk, kind: str) -> None:
    """It is over; the next one of the kind is told of again."""
    if desk.storage.operation.clear_alarm(kind):
        log.info("over: %s", kind)

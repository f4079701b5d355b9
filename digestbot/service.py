"""What `digestbot run` does on its timetable: read drops, compose, deliver, keep house.

Each in a thread of its own: a slow relay that needs hours for one zone's mails must not make the next zone's slots late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr

import digestbot
from digestbot.accounts import forget_unanswered
from digestbot.alarms import forget_jump, note_failure, note_jump, note_run, note_success, note_zones
from digestbot.choosing import current_model
from digestbot.desk import Desk, open_desk
from digestbot.due_slots import compose_due
from digestbot.model import Status
from digestbot.outbox import DeliveryReport
from digestbot.pipeline import clear_outbox, deliver_due, ingest_drops
from digestbot.relay import SmtpSettings
from digestbot.report import RunReport
from digestbot.scheduler import Job, Scheduler
from digestbot.semantics import forget_texts
from digestbot.settings import Settings
from digestbot.storage import open_storage
from digestbot.zone_rules import follow_zone_rules

INGEST_EVERY_S = 60
COMPOSE_EVERY_S = 30
DELIVER_EVERY_S = 5  # one question to an index where nothing waits
REST_S = 30  # after a relay refused
HOUSEKEEPING_EVERY_S = 3600
FOLDED_AFTER = timedelta(days=90)
FOLDED_FACT = "folded_to"  # the last outbox entry without scores and reasons

log = logging.getLogger(__name__)


def serve_forever(settings: Settings, *, stop: threading.Event) -> None:
    """Runs the timetable until `stop` is set. Raises SettingsError, StorageError or TemplateError at its start."""
    with ExitStack() as stack:
        sender = stack.enter_context(open_desk(settings))  # own templates are tried here, once for all
        reader, keeper = (
            replace(sender, storage=stack.enter_context(open_storage(settings))) for _ in range(2)
        )
        announce(keeper, _now())
        work: dict[str, tuple[float, Callable[[], object]]] = {
            "ingest": (INGEST_EVERY_S, lambda: ingest(reader)),
            "compose": (COMPOSE_EVERY_S, lambda: compose(sender, stop)),
            "deliver": (DELIVER_EVERY_S, Delivery(sender, stop).run),
            "housekeeping": (HOUSEKEEPING_EVERY_S, lambda: keep_house(keeper, _now())),
        }
        Scheduler(
            [Job(name, every_s, run) for name, (every_s, run) in work.items()],
            stop=stop,
            on_success=lambda name: note_success(keeper, name),
            on_error=lambda name, error: note_failure(keeper, name, error, _now()),
            on_jump=lambda by_s: note_jump(keeper, by_s, _now()),
        ).run()


def announce(desk: Desk, now: datetime) -> None:
    """Says what runs from now on: else a quiet day looks like a program that hangs."""
    settings, subscribers = desk.settings, desk.storage.subscribers
    relay = SmtpSettings.from_url(settings.smtp_url)
    log.info(
        "digestbot %s runs: drops from %s, mails through %s port %d as %s; Ctrl-C stops it",
        digestbot.__version__,
        settings.incoming,
        relay.host,
        relay.port,
        parseaddr(settings.from_)[0] or "digestbot",
    )
    confirmed, due = subscribers.count_by_status()[Status.CONFIRMED], subscribers.next_due_at()
    when = f"{max(due, now):%Y-%m-%d %H:%M} UTC" if due else "never: nobody is confirmed yet"
    log.info("%d confirmed subscribers; the next digest is due %s", confirmed, when)


def ingest(desk: Desk) -> RunReport:
    """Reads the drops that wait. Raises DigestbotError where one of them cannot be moved."""
    report = RunReport(_now())
    report.drops = ingest_drops(desk, report.now)
    for drop in report.drops.reports:
        log.info(
            "drop %s: %d new, %d known, %d updated, %d rejected%s",
            *(drop.path, drop.new, drop.known, drop.updated, len(drop.rejected)),
            f"; held: {drop.held}" if drop.held else "" if drop.usable else f"; {drop.rejected[0].reason}",
        )
    note_run(desk, report, _now())
    report.drops.check()
    return report


def compose(desk: Desk, stop: threading.Event) -> RunReport:
    """Composes what is due, after ending what waited too long."""
    report = RunReport(_now())
    report.delivery = DeliveryReport(clear_outbox(desk, report.now))
    try:
        compose_due(desk, report.now, stop=stop, counts=report.digests)
        report.damaged = desk.storage.subscribers.unreadable(report.now)
    finally:
        if any(ended := astuple(report.digests)):
            log.info("slots: %d composed, %d empty, %d late, %d paused", *ended)
        note_run(desk, report, _now())
    return report


class Delivery:
    """Tries each due mail once; a relay that refused is left alone for a while, as it may count what it refuses."""

    def __init__(self, desk: Desk, stop: threading.Event) -> None:
        self._desk = desk
        self._stop = stop
        self._rests_until = 0.0  # on the monotonic clock

    def run(self) -> None:
        if time.monotonic() < self._rests_until:
            return
        report = RunReport(_now())
        report.delivery = deliver_due(self._desk, _now, stop=self._stop)
        if report.delivery.stopped:
            self._rests_until = time.monotonic() + REST_S
        note_run(self._desk, report, _now())


def keep_house(desk: Desk, now: datetime) -> None:
    """What needs no minute: new zone rules, the ranking's statistics, what is to be forgotten."""
    follow_zone_rules(desk.storage, now, tell=lambda unknown: note_zones(desk, unknown, now))
    current_model(desk, now)
    forget_jump(desk, now)
    desk.storage.limits.forget_handovers(now)
    fold_old_digests(desk, now)
    forget_texts(desk.storage, now)
    if forgotten := forget_unanswered(desk.storage, now):
        log.info("forgot %d sign-ups that nobody confirmed for 30 days", forgotten)


def fold_old_digests(desk: Desk, now: datetime) -> None:
    """Scores and reasons are forgotten after a season, a thousand digests at a time, so that nobody waits for it."""
    done = int(desk.storage.operation.find_fact(FOLDED_FACT) or 0)
    while (last := desk.storage.outbox.fold(done, now - FOLDED_AFTER)) is not None:
        done = last
        desk.storage.operation.set_fact(FOLDED_FACT, str(done))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

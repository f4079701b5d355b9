"""Read this first: the whole way, in order.

    drops -> ingest -> catalogue -> candidates -> ranked per topic profile -> digest -> outbox -> mail -> outcome

`run_once` is one pass of all of it, `digestbot run` does the same parts on a timetable, and a preview or a dry run does
them in a rehearsal, where nothing of it ever happened.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from digestbot.alarms import note_drops, note_zones
from digestbot.crew import crew_for, work_together
from digestbot.desk import Desk
from digestbot.drops.folder import DropFolder
from digestbot.errors import StorageError
from digestbot.ingest import IngestPass, Progress, ingest_waiting
from digestbot.mailroom import MailRoom
from digestbot.model import EntryState
from digestbot.outbox import DeliveryPolicy, DeliveryReport, clear_up, deliver, has_abandoned
from digestbot.relay import SmtpSettings
from digestbot.report import RunReport
from digestbot.settings import Settings
from digestbot.zone_rules import follow_zone_rules


@dataclass(frozen=True, slots=True)
class Bars:
    """Who is told how far the long parts are."""

    ingest: Progress | None = None
    deliver: Callable[[int, int], None] | None = None  # (done, due)


def run_once(
    desk: Desk,
    report: RunReport,
    *,
    rehearsal: bool = False,
    stop: threading.Event | None = None,
    bars: Bars | None = None,
) -> None:
    """One pass: ingest what waits, compose what is due, try each due mail once. A rehearsal delivers nothing.

    Drops that make trouble keep nobody from a digest of what there is. Whatever it raises, `report` says what was done.
    """
    bars, now = bars or Bars(), report.now
    trouble: Exception | None = None
    cleared = Counter[EntryState]()
    try:
        follow_zone_rules(desk.storage, now, tell=lambda unknown: note_zones(desk, unknown, now))
        try:
            report.drops = ingest_drops(desk, now, rehearsal=rehearsal, progress=bars.ingest)
            report.drops.check()
        except StorageError:
            raise
        except Exception as error:
            trouble = error
        cleared = clear_outbox(desk, now)
        compose(desk, report, rehearsal=rehearsal, stop=stop)
    except Exception:
        if not rehearsal:  # what is queued is delivered all the same: a word to the operator, too
            report.delivery = deliver_due(desk, lambda: now, stop=stop)
            report.delivery.counts.update(cleared)
        raise
    if not rehearsal:
        report.delivery = deliver_everything(desk, now, stop=stop, progress=bars.deliver)
        report.delivery.counts.update(cleared)
    if trouble is not None:
        raise trouble


def clear_outbox(desk: Desk, now: datetime) -> Counter[EntryState]:
    """Settles mails of dead processes and late ones, before anything is composed: papers become candidates again."""
    return clear_up(desk.storage, delivery_policy(desk.settings), now)


def ingest_drops(
    desk: Desk, now: datetime, *, rehearsal: bool = False, progress: Progress | None = None
) -> IngestPass:
    """Reads the drops that wait in the drop folder and tells the operator of odd ones; in a rehearsal they stay where
    they are, and nobody is told."""
    folder = DropFolder(desk.settings.drops)
    found = ingest_waiting(desk.storage.papers, folder, now=now, progress=progress, move=not rehearsal)
    if not rehearsal:
        note_drops(desk, found, now)
    return found


def compose(
    desk: Desk, report: RunReport, *, rehearsal: bool = False, stop: threading.Event | None = None
) -> None:
    """Ends the slots that are due, and counts them in the report."""
    subscribers = desk.storage.subscribers
    if subscribers.due(report.now, 1):
        from digestbot.due_slots import compose_due, compose_everybody  # with all that ranks

        (compose_due if rehearsal else compose_everybody)(desk, report.now, stop=stop, counts=report.digests)
    report.damaged = subscribers.unreadable(report.now)


def deliver_everything(
    desk: Desk,
    now: datetime,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DeliveryReport:
    """As deliver_due(); where very many mails wait and no limit holds them back, the cores share the connections. Then
    what another run held that died meanwhile."""
    found = _deliver_shared(desk, now, stop=stop, progress=progress)
    if found.stopped or (stop and stop.is_set()) or not has_abandoned(desk.storage.outbox):
        return found
    cleared = clear_outbox(desk, now)
    rest = deliver_due(desk, lambda: now, stop=stop, progress=progress)
    return replace(
        rest, counts=found.counts + cleared + rest.counts, put_off=max(found.put_off, rest.put_off)
    )


def _deliver_shared(
    desk: Desk,
    now: datetime,
    *,
    stop: threading.Event | None,
    progress: Callable[[int, int], None] | None,
) -> DeliveryReport:
    settings = desk.settings
    is_limited = settings.smtp_rate is not None or settings.smtp_daily_limit is not None
    cores = 1 if is_limited else crew_for(desk.storage.outbox.count_due(now))
    size = min(cores + 1, settings.smtp_connections)  # one more, for each waits for the server at times
    if cores == 1 or size == 1:
        return deliver_due(desk, lambda: now, stop=stop, progress=progress)

    desk.renderer.prepare()

    def deliver_some(number: int, tell: Callable[[int, int], None]) -> DeliveryReport:
        connections = len(range(number, settings.smtp_connections, size))
        own = replace(desk, settings=replace(settings, smtp_connections=connections))
        return deliver_due(own, lambda: now, stop=stop, progress=tell)

    found = work_together(desk.storage.db, size, deliver_some, stop=stop, progress=progress)
    counts: Counter[EntryState] = sum((report.counts for report in found), Counter())
    return DeliveryReport(counts, next((r.stopped for r in found if r.stopped), None))


def deliver_due(
    desk: Desk,
    now: Callable[[], datetime],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    most: int | None = None,
) -> DeliveryReport:
    """Tries each due mail once, at most so many (None: all); `now` is what is recorded."""
    settings = desk.settings
    relay = SmtpSettings.from_url(settings.smtp_url)
    room = MailRoom(settings, desk.storage, desk.links, desk.renderer)
    policy = replace(delivery_policy(settings), most=most)
    return deliver(desk.storage, room, relay, policy, now=now, stop=stop, progress=progress)


def delivery_policy(settings: Settings) -> DeliveryPolicy:
    return DeliveryPolicy(
        connections=settings.smtp_connections,
        resend_in_doubt=settings.on_doubt == "resend",
        max_lateness=timedelta(hours=settings.max_lateness_hours),
        rate=settings.smtp_rate,
        daily_limit=settings.smtp_daily_limit,
    )

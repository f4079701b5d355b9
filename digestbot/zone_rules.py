"""Clocks that changed: where governments did it, or the machine's was years ahead, the instants in the database are
worked out anew."""

from __future__ import annotations

import hashlib
import itertools
import logging
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from digestbot import schedule
from digestbot.model import Status, SubscriberId
from digestbot.storage import Storage

BLOCK = 1000
FURTHEST = timedelta(days=30)  # of who gets one digest a week, and skipped one
FACT = "zone rules"

log = logging.getLogger(__name__)


def follow_zone_rules(
    storage: Storage, now: datetime, *, tell: Callable[[Mapping[str, int]], None] = lambda _: None
) -> int:
    """Works all next due instants out anew if the zone files are not those of the last time, else those that no schedule
    leads to, as a clock leaves them that was years ahead; returns how many changed.

    Slots that are recorded stay recorded, and an instant that was overtaken is due at once. Idempotent.
    tell: hears, whenever the zone files changed, of those that cannot be read, as unknown_zones() has them.
    """
    schedule.forget_zone_rules()
    found, known = fingerprint(), storage.operation.find_fact(FACT)
    if known is None:  # what is planned was planned by the rules of today
        storage.operation.set_fact(FACT, found)
    if known in (None, found):
        return _replan_all(
            storage, storage.subscribers.planned_after(now + FURTHEST), "a clock that was ahead", now
        )
    everybody = (s.id for s in storage.subscribers.everybody(Status.CONFIRMED))
    changed = _replan_all(storage, everybody, "new rules of time zones", now)
    tell(unknown_zones(storage))
    storage.operation.set_fact(FACT, found)
    return changed


def _replan_all(storage: Storage, ids: Iterable[SubscriberId], cause: str, now: datetime) -> int:
    waiting, changed = iter(ids), 0
    while block := list(itertools.islice(waiting, BLOCK)):
        changed += _replan(storage, block, now)
    if changed:
        log.info("%s: %d next digests are due at another time", cause, changed)
    return changed


def unknown_zones(storage: Storage) -> dict[str, int]:
    """The zones whose rules cannot be read here, with how many confirmed subscribers each has; they live by UTC."""
    return {
        name: people
        for name, people in storage.subscribers.zones().items()
        if not schedule.is_known_zone(name)
    }


def fingerprint() -> str:
    """A hash of all zone files, the system's and those of the tzdata package."""
    digest = hashlib.sha256()
    for name in sorted(zoneinfo.available_timezones()):
        digest.update(name.encode() + b"\0" + _zone_file(name))
    return digest.hexdigest()[:32]


def _zone_file(name: str) -> bytes:
    try:
        return schedule.zone_file(name)
    except OSError:  # as good as damaged
        return b""


def _replan(storage: Storage, ids: Sequence[SubscriberId], now: datetime) -> int:
    moved: dict[SubscriberId, tuple[datetime | None, datetime | None]] = {}
    with storage.transaction():
        subscribers = storage.subscribers.get_many(ids).values()
        since = min([now, *(s.next_due_at for s in subscribers if s.next_due_at)]).date()
        recorded = storage.slots.recorded(ids, since - timedelta(days=3))
        for s in subscribers:
            plan, taken = s.schedule, recorded.get(s.id, set())
            at = schedule.reschedule(plan, plan, s.next_due_at, now, recorded=taken).next_due_at
            if s.next_due_at is not None and at != s.next_due_at:
                moved[s.id] = (s.next_due_at, at)
        storage.subscribers.advance(moved)
    return len(moved)

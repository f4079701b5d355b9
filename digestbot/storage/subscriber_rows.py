"""How a subscriber lies in a row of its table, and what a row is worth that somebody changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date, datetime, time
from functools import lru_cache

from digestbot.errors import StorageError, in_short
from digestbot.model import WEEKDAYS, Preferences, Schedule, Status, Subscriber, SubscriberId, Topic
from digestbot.storage.database import Row, Value, as_int, from_epoch, to_epoch

SUBSCRIBER_COLUMNS = (
    "id, email, name, status, timezone, send_at, days, paused_until, max_papers, min_score, trending_share,"
    " topics, confirmed_at, next_due_at, quiet_week"
)
# What reading a row raises that somebody changed by hand; instants beyond the year 9999 are of the last two.
_DAMAGES = (AssertionError, KeyError, TypeError, ValueError, OverflowError, OSError)


def row_of(s: Subscriber) -> tuple[Value, ...]:
    """The values of all columns but `id`."""
    schedule, preferences = s.schedule, s.preferences
    return (
        s.email,
        s.name,
        s.status.value,
        schedule.timezone,
        f"{schedule.send_at:%H:%M}",
        ",".join(schedule.days),
        schedule.paused_until.isoformat() if schedule.paused_until else None,
        preferences.max_papers,
        preferences.min_score,
        preferences.trending_share,
        json.dumps(
            [asdict(topic) for topic in preferences.topics], ensure_ascii=False, separators=(",", ":")
        ),
        to_epoch(s.confirmed_at) if s.confirmed_at else None,
        to_epoch(s.next_due_at) if s.next_due_at else None,
        int(preferences.quiet_week),
    )


def read_rows(rows: Iterable[Row]) -> tuple[list[Subscriber], dict[SubscriberId, str]]:
    """The subscribers of these rows; of rows that are damaged, how."""
    found, damaged = list[Subscriber](), dict[SubscriberId, str]()
    for row in rows:
        try:
            found.append(read_subscriber(row))
        except StorageError as error:
            damaged[SubscriberId(as_int(row[0]))] = str(error)
    return found, damaged


def read_subscriber(row: Row) -> Subscriber:
    """Raises StorageError where the row holds what digestbot never writes: somebody changed it by hand."""
    try:
        return _read(row)
    except _DAMAGES as error:
        said = f"the row with id {as_int(row[0])} of the table `subscribers` is damaged: {_damage(row)}"
        raise StorageError(f"{said}; mend it as it was changed, by hand in the database") from error


def _read(row: Row) -> Subscriber:
    key, email, name, status, zone, send_at, days, paused, papers, score, share, topics, *rest = row
    confirmed, due, quiet = rest
    return Subscriber(
        id=SubscriberId(as_int(key)),
        email=str(email),
        name=None if name is None else str(name),
        status=Status(str(status)),
        schedule=_schedule(zone, send_at, days, paused),
        preferences=Preferences(
            as_int(papers), _float(score), _float(share), _topics(str(topics)), bool(quiet)
        ),
        confirmed_at=_instant(confirmed),
        next_due_at=_instant(due),
    )


@lru_cache(maxsize=1 << 12)
def _schedule(zone: Value, send_at: Value, days: Value, paused: Value) -> Schedule:
    """One for all who have the same."""
    return Schedule(
        timezone=str(zone),
        send_at=time.fromisoformat(str(send_at)),
        days=_days(days),
        paused_until=_day(paused),
    )


def _days(value: Value) -> tuple[str, ...]:
    days = tuple(str(value).split(",")) if value else ()
    if not set(days) <= set(WEEKDAYS):
        raise ValueError
    return days


def _day(value: Value) -> date | None:
    return None if value is None else date.fromisoformat(str(value))


def _instant(value: Value) -> datetime | None:
    return None if value is None else from_epoch(value)


def _topics(text: str) -> tuple[Topic, ...]:
    return tuple(
        Topic(
            name=item["name"],
            terms=tuple(item["terms"]),
            exclude=tuple(item["exclude"]),
            authors=tuple(item["authors"]),
            categories=tuple(item["categories"]),
            weight=_float(item["weight"]),
        )
        for item in json.loads(text)
    )


def _float(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _damage(row: Row) -> str:
    """Which column it is, and what it holds."""
    readers: dict[str, Callable[[Value], object]] = {
        "status": lambda value: Status(str(value)),
        "send_at": lambda value: time.fromisoformat(str(value)),
        "days": _days,
        "paused_until": _day,
        "max_papers": as_int,
        "min_score": _float,
        "trending_share": _float,
        "topics": lambda value: _topics(str(value)),
        "confirmed_at": _instant,
        "next_due_at": _instant,
    }
    for column, value in zip(SUBSCRIBER_COLUMNS.split(", "), row, strict=True):
        try:
            readers.get(column, str)(value)
        except _DAMAGES:
            return f"{column} holds {in_short(value)}"
    raise AssertionError("what cannot be read has a column that cannot")

"""The forms of topics and schedule: from posted fields to a subscriber's written form, and back to what is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from zoneinfo import available_timezones

from digestbot.model import WEEKDAYS, Subscriber, Topic
from digestbot.web.visit import Form

_INDEX = re.compile(r"topic-(\d{1,4})-(?:name|terms|exclude|authors|categories|weight)")
_LISTS = ("terms", "exclude", "authors", "categories")
_NAMED = {"topic", "topics"}
_PLAIN = ("timezone", "send_at", "max_papers", "min_score", "trending_share")
WEEKDAY_NAMES = dict(
    zip(WEEKDAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)
_LABELS = {
    "email": "Your address",
    "topics": "Topics",
    "library": "Your library",
    "timezone": "Time zone",
    "send_at": "Time",
    "days": "Days",
    "max_papers": "Papers at most",
    "min_score": "Minimum score",
    "trending_share": "Trending share",
}
WEIGHTS = (("0.5", "less than others"), ("1", "normal"), ("2", "more than others"), ("4", "much more"))


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic's fields as they stand in the form; lists one entry a line."""

    name: str = ""
    terms: str = ""
    exclude: str = ""
    authors: str = ""
    categories: str = ""
    weight: str = "1"


@dataclass(frozen=True, slots=True)
class FormView:
    """All that the form shows."""

    topics: Sequence[TopicRow]  # one more than there are, to fill in
    timezone: str
    send_at: str
    days: Sequence[str]
    max_papers: str
    min_score: str
    trending_share: str
    quiet_week: bool


def written_form(form: Form) -> dict[str, object]:
    """The fields that were posted, as subscriber_form.overlay() reads them."""
    found: dict[str, object] = {name: form.text(name) for name in _PLAIN if form.text(name)}
    if "days-shown" in form.fields:
        found["days"] = form.texts("days")
    if "quiet-shown" in form.fields:
        found["quiet_week"] = bool(form.text("quiet_week"))
    if "topics-shown" in form.fields:
        found["topics"] = [_topic(row) for row in rows(form)]
    elif _NAMED & form.fields.keys():
        found["topics"] = _named(form)
    return found


def rows(form: Form) -> list[TopicRow]:
    """The topics as posted, those that say something and are not to be removed, in order."""
    indexes = {int(match[1]) for name in form.fields if (match := _INDEX.fullmatch(name))}
    found = []
    for index in sorted(indexes):
        row = TopicRow(*(form.text(f"topic-{index}-{name}") for name in ("name", *_LISTS, "weight")))
        says = row.name or row.terms or row.exclude or row.authors or row.categories
        if says and not form.text(f"topic-{index}-remove"):
            found.append(row)
    return found


def _named(form: Form) -> list[str]:
    """Topics by name alone: `topic`, one a line, or `topics`, separated by `;` too, as in an import."""
    names = form.lines("topic") + [name for text in form.texts("topics") for name in _entries(text)]
    return list(dict.fromkeys(names))


def labelled(problems: Sequence[str]) -> list[str]:
    """Problems as the form names its fields: imports and options call them by other names."""
    parted = [problem.partition(": ") for problem in problems]
    return [f"{_LABELS.get(name, name)}{colon}{what}" for name, colon, what in parted]


def view(subscriber: Subscriber, form: Form | None = None) -> FormView:
    """What the form shows: what was posted where something was, else what is stored."""
    schedule, preferences = subscriber.schedule, subscriber.preferences
    form = form or Form()
    if "topics-shown" in form.fields:
        topics = rows(form)
    elif _NAMED & form.fields.keys():
        topics = [TopicRow(name=text, terms=text) for text in _named(form)]
    else:
        topics = [_row(topic) for topic in preferences.topics]
    return FormView(
        topics=[*topics, TopicRow()],
        timezone=form.text("timezone", schedule.timezone),
        send_at=form.text("send_at", f"{schedule.send_at:%H:%M}"),
        days=form.texts("days") if "days-shown" in form.fields else schedule.days,
        max_papers=form.text("max_papers", str(preferences.max_papers)),
        min_score=form.text("min_score", f"{preferences.min_score:g}"),
        trending_share=form.text("trending_share", f"{preferences.trending_share:g}"),
        quiet_week=bool(form.text("quiet_week")) if "quiet-shown" in form.fields else preferences.quiet_week,
    )


@cache
def timezones() -> tuple[str, ...]:
    """Names of zones as people look for them: by continent and city, and UTC."""
    cities = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))
    return ("UTC", *cities)


def _topic(row: TopicRow) -> dict[str, object]:
    topic: dict[str, object] = {name: _entries(getattr(row, name)) for name in _LISTS}
    topic["weight"] = row.weight or "1"
    if row.name:
        topic["name"] = row.name
    if not any(topic[name] for name in ("terms", "authors", "categories")):
        topic["terms"] = [row.name] if row.name else []
    return topic


def _row(topic: Topic) -> TopicRow:
    terms, exclude, authors, categories = ("\n".join(getattr(topic, name)) for name in _LISTS)
    return TopicRow(topic.name, terms, exclude, authors, categories, f"{topic.weight:g}")


def _entries(text: str) -> list[str]:
    """One entry a line; `;` separates, too. A comma may be part of a name."""
    return [entry.strip() for entry in re.split(r"[\n;]", text) if entry.strip()]

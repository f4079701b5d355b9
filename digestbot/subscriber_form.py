"""The written form of a subscriber (CONTRACT.md): from JSON or CSV to a checked `Subscriber`, and back. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from typing import TypeVar

from digestbot.addresses import check_address
from digestbot.errors import in_short
from digestbot.model import WEEKDAYS, Preferences, Schedule, Status, Subscriber, SubscriberId, Topic
from digestbot.schedule import check_schedule
from digestbot.wording import clean

FIELDS = (
    "email",
    "name",
    "status",
    "timezone",
    "send_at",
    "days",
    "max_papers",
    "min_score",
    "trending_share",
    "paused_until",
    "topics",
    "quiet_week",
)
_LISTS = ("days", "topics")  # `;` separates them in CSV
MAX_PAPERS = 100
MAX_NAME = 200
NOBODY = Subscriber(id=SubscriberId(0), email="", status=Status.UNCONFIRMED)
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TOPIC_FIELDS = ("name", "terms", "exclude", "authors", "categories", "weight")


_T = TypeVar("_T")


class FormError(ValueError):
    """`problems`: one line for each thing that is wrong, naming its field."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problems))


def overlay(base: Subscriber, form: Mapping[str, object]) -> Subscriber:
    """`base` with the fields that the form has. Raises FormError with everything that is wrong."""
    from digestbot.ranking import check_topics  # with all that ranks, so only where it is needed

    problems = [f"{name}: there is no such field" for name in form if name not in FIELDS]
    values: dict[str, object] = {}
    for name, parse in _PARSERS.items():
        if name in form:
            try:
                values[name] = parse(form[name])
            except ValueError as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise FormError(problems)
    result = _build(base, values)
    problems = check_schedule(
        result.schedule.timezone, f"{result.schedule.send_at:%H:%M}", result.schedule.days
    ) + check_topics(result.preferences.topics)
    if problems:
        raise FormError(problems)
    return result


def form_from_csv(row: Mapping[str, str]) -> dict[str, object]:
    """The form that a row of a CSV file stands for; empty cells count as not given."""
    form: dict[str, object] = {}
    for name, cell in row.items():
        if cell.strip():
            parts = [part.strip() for part in cell.split(";") if part.strip()]
            form[name] = parts if name in _LISTS else cell.strip()
    return form


def to_form(subscriber: Subscriber) -> dict[str, object]:
    """CONTRACT.md's form, all fields, in its order; `quiet_week` only of those who turned it off."""
    schedule, preferences = subscriber.schedule, subscriber.preferences
    form: dict[str, object] = {
        "email": subscriber.email,
        "name": subscriber.name,
        "status": subscriber.status.value,
        "timezone": schedule.timezone,
        "send_at": f"{schedule.send_at:%H:%M}",
        "days": list(schedule.days),
        "max_papers": preferences.max_papers,
        "min_score": preferences.min_score,
        "trending_share": preferences.trending_share,
        "paused_until": schedule.paused_until.isoformat() if schedule.paused_until else None,
        "topics": [topic_form(topic) for topic in preferences.topics],
    }
    return form if preferences.quiet_week else {**form, "quiet_week": False}


def topic_form(topic: Topic) -> dict[str, object]:
    return {
        "name": topic.name,
        "terms": list(topic.terms),
        "exclude": list(topic.exclude),
        "authors": list(topic.authors),
        "categories": list(topic.categories),
        "weight": topic.weight,
    }


def parse_topic(value: object) -> Topic:
    """A topic from its form, or from a plain string: its name and only term."""
    if isinstance(value, str):
        name = _text(value)
        return Topic(name=name, terms=(name,))
    if not isinstance(value, Mapping):
        raise ValueError(f"{in_short(value)} is neither a text nor an object")
    unknown = [str(name) for name in value if name not in _TOPIC_FIELDS]
    if unknown:
        raise ValueError(f"a topic has no field {', '.join(unknown)}; it has {', '.join(_TOPIC_FIELDS)}")
    terms, followed, categories, exclude = (
        _topic_field(value, field, _texts, ()) for field in ("terms", "authors", "categories", "exclude")
    )
    name = _topic_field(value, "name", lambda given: _text(given or ""), "")
    name = name or next(iter((*terms, *followed, *categories)), "")
    return Topic(
        name=name,
        terms=terms if "terms" in value or followed or categories else (name,),
        exclude=exclude,
        authors=followed,
        categories=categories,
        weight=_topic_field(value, "weight", _weight, 1.0),
    )


def parse_topics(value: object) -> tuple[Topic, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{in_short(value)} is not a list of topics")
    return tuple(parse_topic(item) for item in value)


def _topic_field(
    topic: Mapping[str, object], field: str, parse: Callable[[object], _T], default: object
) -> _T:
    """Raises ValueError that names the topic, or its terms where it has no name, and the field."""
    try:
        return parse(topic.get(field, default))
    except ValueError as error:
        name = topic.get("name") or topic.get("terms")
        raise ValueError(f"topic {in_short(name)}: {field}: {error}") from None


def _build(base: Subscriber, values: Mapping[str, object]) -> Subscriber:
    def chosen(owner: object, names: Sequence[str]) -> dict[str, object]:
        return {name: values.get(name, getattr(owner, name)) for name in names}

    schedule = Schedule(**chosen(base.schedule, ("timezone", "send_at", "days", "paused_until")))  # type: ignore[arg-type]
    names = ("max_papers", "min_score", "trending_share", "topics", "quiet_week")
    preferences = Preferences(**chosen(base.preferences, names))  # type: ignore[arg-type]
    person = chosen(base, ("email", "name", "status"))
    return replace(base, schedule=schedule, preferences=preferences, **person)  # type: ignore[arg-type]


# ---- one parser a field; each raises ValueError with what is wrong ---------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{in_short(value)} is not a text")
    return " ".join(value.split())


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (_text(value),)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{in_short(value)} is not a list of texts")
    return tuple(_text(item) for item in value)


def _email(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{in_short(value)} is not an address")
    return check_address(value)


def _name(value: object) -> str | None:
    if value is None:
        return None
    name = clean(_text(value))
    if len(name) > MAX_NAME:
        raise ValueError(f"must be at most {MAX_NAME} characters")
    return name or None


def _status(value: object) -> Status:
    try:
        return Status(_text(value))
    except ValueError:
        raise ValueError(f"{in_short(value)} must be one of {', '.join(Status)}") from None


def _send_at(value: object) -> time:
    text = _text(value)
    if not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text):
        raise ValueError(f"{in_short(text)} is not a time of day such as 08:00")
    hour, minute = text.split(":")
    return time(int(hour), int(minute))


def _days(value: object) -> tuple[str, ...]:
    days = [day for text in _texts(value) for day in re.split(r"[,\s]+", text) if day]
    chosen = {day: name[:3] for day in days for name in _DAY_NAMES if name.startswith(day.casefold())}
    unknown = [day for day in days if day not in chosen or len(day) < 3]
    if not days:
        raise ValueError(f"none is given; give one or more of {','.join(WEEKDAYS)}")
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not of {','.join(WEEKDAYS)}")
    return tuple(day for day in WEEKDAYS if day in chosen.values())


def _paused_until(value: object) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(_text(value))
    except ValueError:
        raise ValueError(f"{in_short(value)} is not a date such as 2026-12-24") from None


def _max_papers(value: object) -> int:
    number = _number(value, lowest=1, highest=MAX_PAPERS)
    if number != int(number):
        raise ValueError(f"{value} is not a whole number")
    return int(number)


def _share(value: object) -> float:
    return _number(value, lowest=0, highest=1)


def _switch(value: object) -> bool:
    words = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
    found = value if isinstance(value, bool) else words.get(str(value).casefold())
    if found is None:
        raise ValueError(f"{in_short(value)} is neither on nor off")
    return found


def _number(value: object, *, lowest: float, highest: float) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
    except ValueError:
        raise ValueError(f"{in_short(value)} is not a number") from None
    except OverflowError:
        number = math.inf
    if not lowest <= number <= highest:
        raise ValueError(f"{in_short(value)} must be from {lowest:g} to {highest:g}")
    return number


def _weight(value: object) -> float:
    from digestbot.ranking import MOST_WEIGHT

    return _number(value, lowest=0.01, highest=MOST_WEIGHT)


_PARSERS: dict[str, Callable[[object], object]] = {
    "email": _email,
    "name": _name,
    "status": _status,
    "timezone": _text,
    "send_at": _send_at,
    "days": _days,
    "max_papers": _max_papers,
    "min_score": _share,
    "trending_share": _share,
    "paused_until": _paused_until,
    "topics": parse_topics,
    "quiet_week": _switch,
}

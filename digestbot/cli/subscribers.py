"""`subscribers ...`: who gets digests, of what, and when."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, print_json_lines, say, table
from digestbot.cli.roster import export, import_
from digestbot.errors import UsageError
from digestbot.timestamps import find_timestamp, timestamp
from digestbot.wording import counted

if TYPE_CHECKING:
    from digestbot.model import Subscriber
    from digestbot.storage.bounces import BounceRecord
    from digestbot.subscriptions import Office

F = TypeVar("F", bound=Callable[..., Any])


@click.group("subscribers")
def subscribers_command() -> None:
    """Add, change, list, import and export subscribers."""


def field_options(command: F) -> F:
    """The options that set fields of a subscriber, for `add` and `set`."""
    for option in reversed(
        (
            click.option(
                "--topic", "topics", multiple=True, help="A topic: its name and only term. Repeatable."
            ),
            click.option("--name", help="Stands beside the address in To."),
            click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin. Default UTC."),
            click.option("--send-at", metavar="HH:MM", help="Local time of the digest. Default 08:00."),
            click.option("--days", metavar="DAYS", help="Such as mon,tue. Default all."),
            click.option("--max-papers", metavar="N", help="At most so many papers a digest. Default 10."),
            click.option("--min-score", metavar="X", help="Only papers above this score, 0 to 1. Default 0."),
            click.option(
                "--trending-share", metavar="X", help="Share of trending papers, 0 to 1. Default 0."
            ),
            click.option(
                "--quiet-week", metavar="on/off", help="A note after a week without a digest. Default on."
            ),
        )
    ):
        command = option(command)
    return command


@subscribers_command.command("add")
@click.argument("email")
@field_options
@click.option(
    "--library",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="BibTeX or RIS file of liked papers.",
)
@click.option("--confirmed", is_flag=True, help="You vouch for consent; no confirmation mail.")
@json_option
@pass_app
def add(
    app: App, /, email: str, library: Path | None, confirmed: bool, as_json: bool, **fields: object
) -> None:
    """Add a subscriber. Without --confirmed a confirmation mail is queued."""
    from digestbot.subscriber_form import FormError, to_form
    from digestbot.subscriptions import new_subscriber

    try:
        subscriber = new_subscriber({"email": email, **_given(fields)}, confirmed=confirmed)
    except FormError as error:
        raise UsageError("\n".join(error.problems)) from error
    with app.storage() as storage, storage.transaction():
        added = app.office(storage).subscribe(subscriber, how="command line")
        if library:
            _learn_library(app, storage, added, library)
    if as_json:
        print_json(to_form(added))
    then = "is asked to confirm" if not confirmed else _first_digest(added)
    say(f"{added.email}: added, {then}")


@subscribers_command.command("set")
@click.argument("email")
@field_options
@click.option(
    "--library",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="BibTeX or RIS file of liked papers.",
)
@json_option
@pass_app
def set_(app: App, /, email: str, library: Path | None, as_json: bool, **fields: object) -> None:
    """Change the fields that are named, and no other; --topic replaces all topics."""
    from digestbot.subscriber_form import FormError, to_form
    from digestbot.subscriptions import get_subscriber

    form = _given(fields)
    if not form and library is None:
        raise UsageError("nothing to set; `digestbot subscribers set --help` lists the fields")
    with app.storage() as storage, storage.transaction():
        subscriber = get_subscriber(storage, email)
        try:
            changed = app.office(storage).change(subscriber, form)
        except FormError as error:
            raise UsageError("\n".join(error.problems)) from error
        if library:
            _learn_library(app, storage, changed, library)
    if as_json:
        print_json(to_form(changed))
    say(f"{changed.email}: changed, {_first_digest(changed)}")


@subscribers_command.command("show")
@click.argument("email")
@json_option
@pass_app
def show(app: App, email: str, as_json: bool) -> None:
    """Everything known of one subscriber: fields, consents, votes, evidence of bounces."""
    from digestbot.subscriber_form import to_form
    from digestbot.subscriptions import get_subscriber

    with app.rehearsal() as storage:
        subscriber = get_subscriber(storage, email)
        votes = storage.subscribers.votes([subscriber.id]).get(subscriber.id, ())
        papers = storage.papers.papers([vote.paper_id for vote in votes])
        report = {
            **to_form(subscriber),
            "next_due_at": find_timestamp(subscriber.next_due_at),
            "confirmed_at": find_timestamp(subscriber.confirmed_at),
            "consents": [
                {"at": timestamp(at), "how": how, "detail": detail}
                for at, how, detail in storage.subscribers.consents(subscriber.id)
            ],
            "votes": [
                {"opinion": v.opinion.value, "at": timestamp(v.at), "title": papers[v.paper_id].record.title}
                for v in votes
                if v.paper_id in papers
            ],
            "bounces": [_bounce(record) for record in storage.bounces.of_subscriber(subscriber.id)],
        }
    if as_json:
        print_json(report)
    else:
        click.echo("\n".join(f"{name + ':':16}{_readable(name, value)}" for name, value in report.items()))


@subscribers_command.command("list")
@click.option("--status", help="Only these: unconfirmed, confirmed, unsubscribed or suppressed.")
@json_option
@pass_app
def list_(app: App, status: str | None, as_json: bool) -> None:
    """List subscribers: JSON Lines with --json, else a table."""
    from digestbot.model import Status
    from digestbot.subscriber_form import to_form

    if status and status not in list(Status):
        raise UsageError(f"--status: {status!r} must be one of {', '.join(Status)}")
    with app.rehearsal() as storage:
        found = storage.subscribers.everybody(Status(status) if status else None)
        if as_json:
            print_json_lines(to_form(s) for s in found)
            return
        rows: list[tuple[object, ...]] = [
            (
                s.email,
                _standing(s, app.now()),
                f"{s.schedule.send_at:%H:%M} {s.schedule.timezone}",
                _topics(s),
            )
            for s in found
        ]
    click.echo(table(rows, ("email", "status", "send at", "topics")) if rows else "no subscribers yet")


@subscribers_command.command("invite")
@click.argument("email")
@field_options
@pass_app
def invite(app: App, /, email: str, **fields: object) -> None:
    """Ask somebody to confirm; asks again where they did not answer. Works with closed sign-up, too.

    An address gets at most one such mail a day and three in 30 days, whoever asks.
    """
    from digestbot.model import Status
    from digestbot.subscriber_form import FormError
    from digestbot.subscriptions import new_subscriber

    try:
        given = _given(fields)
        subscriber = new_subscriber({"email": email, **given}, confirmed=False)
    except FormError as error:
        raise UsageError("\n".join(error.problems)) from error
    with app.storage() as storage, storage.transaction():
        office = app.office(storage)
        known = storage.subscribers.find(subscriber.email)
        if known is None:
            office.subscribe(subscriber, how="invitation")
        elif known.status is not Status.UNCONFIRMED:
            back = "; who left signs up again on the pages" if known.status is Status.UNSUBSCRIBED else ""
            raise UsageError(
                f"{known.email} is {known.status}; only who never confirmed can be invited{back}"
            )
        elif not office.ask_to_confirm(office.change(known, given)):
            raise UsageError(
                f"{known.email} was asked already: at most once a day, and three times in 30 days"
            )
    say(f"{subscriber.email}: will be asked to confirm")


@subscribers_command.command("remove")
@click.argument("email")
@pass_app
def remove(app: App, email: str) -> None:
    """Delete a subscriber for good; old unsubscribe links keep working."""
    from digestbot.subscriptions import get_subscriber

    with app.storage() as storage:
        app.office(storage).remove(get_subscriber(storage, email))
    say(f"{email}: removed")


@subscribers_command.command("pause")
@click.argument("email")
@click.option(
    "--until", metavar="DATE", help="The first local date with digests again; default: until `resume`."
)
@pass_app
def pause(app: App, email: str, until: str | None) -> None:
    """Send no digests for a while."""

    def act(office: Office, subscriber: Subscriber) -> str:
        office.pause(subscriber, day)
        return f"paused until {day}" if day else "paused until resumed"

    try:
        day = date.fromisoformat(until) if until else None
    except ValueError:
        raise UsageError(f"--until: {until!r} is not a date such as 2026-12-24") from None
    _change_schedule(app, email, act)


@subscribers_command.command("resume")
@click.argument("email")
@pass_app
def resume(app: App, email: str) -> None:
    """End a pause, or take a skip back."""
    _change_schedule(
        app, email, lambda office, subscriber: f"resumed, {_first_digest(office.resume(subscriber))}"
    )


@subscribers_command.command("skip")
@click.argument("email")
@pass_app
def skip(app: App, email: str) -> None:
    """Leave out the next digest only; `resume` takes it back."""
    _change_schedule(app, email, lambda office, subscriber: f"no digest on {office.skip(subscriber)}")


subscribers_command.add_command(export)
subscribers_command.add_command(import_)


def _change_schedule(app: App, email: str, act: Callable[[Office, Subscriber], str]) -> None:
    """`act` says what it did."""
    from digestbot.subscriptions import get_subscriber

    with app.storage() as storage, storage.transaction():
        subscriber = get_subscriber(storage, email)
        try:
            said = act(app.office(storage), subscriber)
        except UsageError as error:
            raise UsageError(f"{subscriber.email}: {error}") from error
    say(f"{subscriber.email}: {said}")


def _given(fields: dict[str, object]) -> dict[str, object]:
    """The options that were given, as a form."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items() if v not in (None, ())}


def _learn_library(app: App, storage: Any, subscriber: Subscriber, path: Path) -> None:
    from digestbot.subscriptions import learn_library

    report = learn_library(storage, subscriber, path, now=app.now())
    count = report.new + report.known + report.updated
    say(f"{path}: {counted(count, 'paper')} of the library taken as liked")
    for rejected in report.rejected:
        place = f"line {rejected.line}" if rejected.line else f"entry {rejected.entry}"
        print(f"{path}: {place}: {rejected.reason}", file=sys.stderr)


def _first_digest(subscriber: Subscriber) -> str:
    """When the next one comes; a skipped one is past already in `next_due_at`."""
    from digestbot.schedule import next_digest

    due = next_digest(subscriber.schedule, subscriber.next_due_at)
    if due is not None:
        return f"next digest due {due.at:%Y-%m-%d %H:%M} UTC"
    return "paused until resumed" if subscriber.next_due_at else "nothing is due"


def _bounce(record: BounceRecord) -> dict[str, object]:
    return {
        "slot": None if record.slot is None else record.slot.isoformat(),
        "at": timestamp(record.at),
        "kind": record.kind,
        "status": record.status,
        "detail": record.detail,
    }


def _topics(subscriber: Subscriber) -> str:
    return "; ".join(topic.name for topic in subscriber.preferences.topics)


def _standing(subscriber: Subscriber, now: datetime) -> str:
    """The status, and whether the next slot is paused."""
    until = subscriber.schedule.paused_until
    if subscriber.status != "confirmed" or until is None or until <= now.date():
        return subscriber.status
    return f"paused until {_readable('paused_until', until)}"


def _readable(name: str, value: object) -> str:
    """A field's value for people: short lists on the line, longer things below it."""
    if name == "paused_until" and str(value) == date.max.isoformat():
        return "resumed"
    if name == "days" and isinstance(value, list):
        return ", ".join(value)
    if name == "topics" and isinstance(value, list):
        value = [_topic_line(topic) for topic in value]
    if isinstance(value, list):
        lines = [", ".join(str(v) for v in x.values() if v) if isinstance(x, dict) else x for x in value]
        return "".join(f"\n  {line}" for line in lines) or "none"
    return "none" if value is None else str(value)


def _topic_line(topic: Mapping[str, Any]) -> str:
    """Such as: reading; terms reading, literacy; not chess; weight 2"""
    parts = [str(topic["name"])]
    for label, key in (("terms", "terms"), ("not", "exclude"), ("authors", "authors"), ("in", "categories")):
        if topic[key] and topic[key] != [topic["name"]]:
            parts.append(f"{label} {', '.join(topic[key])}")
    if topic["weight"] != 1:
        parts.append(f"weight {topic['weight']:g}")
    return "; ".join(parts)

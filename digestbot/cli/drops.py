"""`drops ...`: what was read, what waits for the operator, and taking a bad drop back."""

from __future__ import annotations

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, print_json_lines, say, table
from digestbot.errors import UsageError
from digestbot.timestamps import timestamp
from digestbot.wording import counted


@click.group("drops")
def drops_command() -> None:
    """List drops; hold, release or withdraw one."""


@drops_command.command("list")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many, the newest first."
)
@json_option
@pass_app
def list_(app: App, limit: int, as_json: bool) -> None:
    """The last drops: when, state, and what came of them."""
    with app.rehearsal() as storage:
        found = storage.drops.last(limit)
    if as_json:
        print_json_lines(
            {
                "id": row.id,
                "name": row.report.path,
                "state": row.state,
                "received_at": timestamp(row.received_at),
                "format": row.report.format,
                "new": row.report.new,
                "known": row.report.known,
                "updated": row.report.updated,
                "rejected": len(row.report.rejected),
                "held": row.report.held,
            }
            for row in found
        )
        return
    rows: list[tuple[object, ...]] = [
        (
            r.id,
            f"{r.received_at:%Y-%m-%d %H:%M}",
            r.state,
            r.report.new,
            r.report.known,
            len(r.report.rejected),
            r.report.path,
        )
        for r in found
    ]
    header = ("id", "received (UTC)", "state", "new", "known", "rejected", "name")
    click.echo(table(rows, header) if rows else "no drop was read yet")


@drops_command.command("show")
@click.argument("drop")
@json_option
@pass_app
def show(app: App, drop: str, as_json: bool) -> None:
    """One drop's report, with every rejected entry. DROP is its name or id."""
    from digestbot.cli.ingest import tell
    from digestbot.ingest import report_json

    with app.rehearsal() as storage:
        row = storage.drops.find(drop)
    if row is None:
        raise UsageError(f"{drop!r} is no drop; `digestbot drops list` shows them")
    if as_json:
        print_json(
            {
                "id": row.id,
                "state": row.state,
                "received_at": timestamp(row.received_at),
                **report_json(row.report),
            }
        )
    else:
        tell(row.report)
        say(f"{row.state}, received {row.received_at:%Y-%m-%d %H:%M} UTC")


@drops_command.command("hold")
@click.argument("name")
@pass_app
def hold(app: App, name: str) -> None:
    """Take a file that waits in `incoming` aside, unread."""
    from digestbot.drops.folder import DropFolder
    from digestbot.ingest import hold_waiting

    with app.storage() as storage:
        path = hold_waiting(storage.papers, DropFolder(app.settings.drops), name, now=app.now())
    say(f"{path}: held; `digestbot drops release` takes it")


@drops_command.command("release")
@click.argument("name")
@json_option
@pass_app
def release(app: App, name: str, as_json: bool) -> None:
    """Read a held drop after all."""
    from digestbot.alarms import HELD
    from digestbot.cli.ingest import tell
    from digestbot.drops.folder import DropFolder
    from digestbot.ingest import release_held, report_json

    with app.storage() as storage:
        folder = DropFolder(app.settings.drops)
        report = release_held(storage.papers, storage.drops, folder, name, now=app.now())
        storage.operation.clear_alarm(HELD + name)
    if as_json:
        print_json(report_json(report))
    tell(report)


@drops_command.command("withdraw")
@click.argument("drop")
@json_option
@pass_app
def withdraw_(app: App, drop: str, as_json: bool) -> None:
    """Take a bad drop back: its papers leave, waiting digests are composed anew; says who got them already."""
    from digestbot.withdrawal import withdraw

    with app.desk() as desk:
        report = withdraw(desk, drop, app.now())
    if as_json:
        print_json(
            {
                "already": report.already,
                "gone": report.gone,
                "kept": report.kept,
                "recomposed": report.recomposed,
                "emptied": report.emptied,
                "recipients": [
                    {"email": email, "slot": slot.isoformat()} for email, slot in report.recipients
                ],
            }
        )
    if report.already:
        say(f"{drop} was taken back before; nothing changed")
        return
    stay = f"; other drops keep {report.kept} more" if report.kept else ""
    say(f"{counted(report.gone, 'paper')} left the catalogue{stay}")
    if report.recomposed or report.emptied:
        said = counted(report.recomposed, "waiting digest")
        say(f"{said} composed anew, {report.emptied} ended empty")
    for email, slot in report.recipients:
        say(f"{email} got one of them on {slot}")

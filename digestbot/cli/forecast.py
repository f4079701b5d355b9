"""`forecast`: the next 48 hours by hour."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, say, table
from digestbot.timestamps import timestamp

if TYPE_CHECKING:
    from digestbot.forecast import Forecast

SHOWN = 20  # who would be late, by name


@click.command("forecast")
@json_option
@pass_app
def forecast_command(app: App, as_json: bool) -> None:
    """Say what is due in the next 48 hours, what rate and daily limit allow, and who would be late.

    Every slot counts as a mail, so these are upper bounds: people without a fitting paper get none.
    """
    from digestbot.forecast import forecast

    with app.rehearsal() as storage:
        found = forecast(app.settings, storage, app.now())
    if as_json:
        print_json(_form(found))
    else:
        _tell(found)


def _tell(found: Forecast) -> None:
    busy = [hour for hour in found.hours if hour.due or hour.sent or hour.waiting or hour.late]
    rows: list[tuple[object, ...]] = [
        (f"{h.begins_at:%Y-%m-%d %H:%M}", h.due, "-" if h.room is None else h.room, h.sent, h.waiting, h.late)
        for h in busy
    ]
    click.echo(
        table(rows, ("hour (UTC)", "due", "room", "sent", "waiting", "late")) if rows else "nothing is due"
    )
    for mail in found.late[:SHOWN]:
        say(f"late: {mail.email}, due {_instant(mail.due_at)}")
    if len(found.late) > SHOWN:
        say(f"... and {len(found.late) - SHOWN} more")
    if found.late:
        say("raise DIGESTBOT_SMTP_RATE or DIGESTBOT_SMTP_DAILY_LIMIT, or spread send_at")


def _form(found: Forecast) -> dict[str, object]:
    hours = [
        {
            "hour": timestamp(h.begins_at),
            "due": h.due,
            "room": h.room,
            "sent": h.sent,
            "waiting": h.waiting,
            "late": h.late,
        }
        for h in found.hours
    ]
    late = [{"email": mail.email, "due_at": _instant(mail.due_at)} for mail in found.late]
    return {"hours": hours, "late": late}


def _instant(at: int) -> str:
    return timestamp(datetime.fromtimestamp(at, UTC))

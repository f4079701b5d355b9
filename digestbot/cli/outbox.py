"""`outbox ...`: the mails on their way out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, json_option, pass_app, print_json_lines, say, table
from digestbot.errors import UsageError
from digestbot.timestamps import find_timestamp

if TYPE_CHECKING:
    from digestbot.model import OutboxEntry

ROWS = 1000  # of the table for people
ENTRY = click.IntRange(1, 2**63 - 1)  # what an id can be


@click.group("outbox")
def outbox_command() -> None:
    """List the mails on their way out; release or drop held ones."""


@outbox_command.command("list")
@click.argument("states", nargs=-1)
@json_option
@pass_app
def list_(app: App, states: tuple[str, ...], as_json: bool) -> None:
    """List entries in STATES (queued, deferred, held, sent, ...); default: all that are not final."""
    from digestbot.model import EntryState

    unknown = [state for state in states if state not in list(EntryState)]
    if unknown:
        raise UsageError(f"{', '.join(unknown)}: must be of {', '.join(EntryState)}")
    with app.rehearsal() as storage:
        entries = storage.entries.each_entry([EntryState(state) for state in states])
        if as_json:
            print_json_lines(map(_as_json, entries))
            return
        rows = [_as_row(entry) for entry in islice(entries, ROWS)]
        more = sum(1 for _ in entries)
    header = ("id", "kind", "state", "to", "tries", "next try (UTC)", "the server said")
    click.echo(table(rows, header) if rows else "none" if states else "nothing waits")
    if more:
        say(f"and {more} more; --json lists all")


def _as_json(entry: OutboxEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "state": entry.state,
        "recipient": entry.recipient,
        "slot": entry.digest.slot.isoformat() if entry.digest else None,
        "attempts": entry.attempts,
        "next_attempt_at": find_timestamp(entry.next_attempt_at),
        "reply": entry.last_reply,
    }


def _as_row(entry: OutboxEntry) -> tuple[object, ...]:
    again = f"{entry.next_attempt_at:%Y-%m-%d %H:%M}" if entry.next_attempt_at else ""
    return entry.id, entry.kind, entry.state, entry.recipient, entry.attempts, again, entry.last_reply


@outbox_command.command("release")
@click.argument("ids", nargs=-1, required=True, type=ENTRY)
@pass_app
def release(app: App, ids: tuple[int, ...]) -> None:
    """Send held entries again in the next run."""
    from digestbot.model import EntryId

    with app.storage() as storage, storage.transaction():
        for number in ids:
            if not storage.entries.release(EntryId(number)):
                raise UsageError(f"entry {number} is not held; `outbox list held` shows which are")
    say(f"{len(ids)} released")


@outbox_command.command("drop")
@click.argument("ids", nargs=-1, required=True, type=ENTRY)
@pass_app
def drop(app: App, ids: tuple[int, ...]) -> None:
    """End waiting or held entries; a digest's papers are candidates again."""
    from digestbot.model import EntryId

    with app.storage() as storage, storage.transaction():
        for number in ids:
            if not storage.entries.drop(EntryId(number), app.now()):
                raise UsageError(f"entry {number} does not wait; `outbox list` shows which do")
    say(f"{len(ids)} dropped")

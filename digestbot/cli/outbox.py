"""`outbox ...`: the mails on their way out."""

from __future__ import annotations

import click

from digestbot.cli.context import App, json_option, pass_app, print_json_lines, say, table
from digestbot.errors import UsageError
from digestbot.timestamps import find_timestamp


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
        entries = storage.entries.list_entries([EntryState(state) for state in states])
    if as_json:
        print_json_lines(
            {
                "id": e.id,
                "kind": e.kind,
                "state": e.state,
                "recipient": e.recipient,
                "slot": e.digest.slot.isoformat() if e.digest else None,
                "attempts": e.attempts,
                "next_attempt_at": find_timestamp(e.next_attempt_at),
                "reply": e.last_reply,
            }
            for e in entries
        )
        return
    rows: list[tuple[object, ...]] = [
        (e.id, e.kind, e.state, e.recipient, e.attempts, e.last_reply) for e in entries
    ]
    click.echo(
        table(rows, ("id", "kind", "state", "to", "tries", "the server said")) if rows else "nothing waits"
    )


@outbox_command.command("release")
@click.argument("ids", nargs=-1, required=True, type=int)
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
@click.argument("ids", nargs=-1, required=True, type=int)
@pass_app
def drop(app: App, ids: tuple[int, ...]) -> None:
    """End waiting or held entries; a digest's papers are candidates again."""
    from digestbot.model import EntryId

    with app.storage() as storage, storage.transaction():
        for number in ids:
            if not storage.entries.drop(EntryId(number), app.now()):
                raise UsageError(f"entry {number} does not wait; `outbox list` shows which do")
    say(f"{len(ids)} dropped")

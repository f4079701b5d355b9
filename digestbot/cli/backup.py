"""`backup` and `restore`: a copy of the database while digestbot runs, and a beginning from one."""

from __future__ import annotations

from pathlib import Path

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, say
from digestbot.timestamps import timestamp
from digestbot.wording import counted


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@pass_app
def backup_command(app: App, file: Path, as_json: bool) -> None:
    """Write a consistent copy of the database to FILE, also while digestbot runs. Overwrites nothing."""
    from digestbot.backup import make_backup

    size = make_backup(app.settings, file, app.now())
    if as_json:
        print_json({"file": str(file), "bytes": size, "made_at": timestamp(app.now())})
    say(f"{file}: {size:,} bytes, all up to {app.now():%Y-%m-%d %H:%M:%S} UTC")
    say("keep .env beside it: without its secret key, links in mails already sent lead nowhere")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@pass_app
def restore_command(app: App, file: Path, as_json: bool) -> None:
    """Make the database from the backup FILE, where there is none yet.

    Slots due up to now count as done and mails that had not ended are held, so that nothing of the past is mailed
    unasked. What happened after the backup is not in it: those papers may be mailed again.
    """
    from digestbot.backup import restore

    done = restore(app.settings, file, app.now())
    since = timestamp(done.since) if done.since else None
    if as_json:
        print_json(
            {
                "database": str(app.settings.sqlite_path),
                "repeats_since": since,
                "slots": done.slots,
                "held": done.held,
            }
        )
    say(f"{app.settings.sqlite_path}: restored; done are {counted(done.slots, 'slot')} up to now")
    if since:
        say(f"papers mailed after {since} may be mailed again")
        say(
            f"who joined, left, changed or voted after {since} is not known: `subscribers` and `suppressions` mend it"
        )
    if done.held:
        say(
            f"{counted(done.held, 'mail')} without an end, now held: `outbox list held`, then release or drop them"
        )

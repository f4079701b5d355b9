"""`bounce`: mails that came back, from files, a Maildir or stdin, as a mail server's pipe delivers them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, say, table
from digestbot.errors import UsageError

STDIN = Path("-")


@click.command("bounce")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, allow_dash=True))
@json_option
@pass_app
def bounce_command(app: App, files: tuple[Path, ...], as_json: bool) -> None:
    """Read bounce, complaint and unsubscribe mails from FILES (a file, a Maildir, a folder; default: stdin).

    Only a mail with a valid tag or token of ours changes anything. Mails stay where they are; reading one twice is
    harmless. A mail that cannot be understood is no failure; a file that cannot be read is, with exit status 1.
    """
    from digestbot.bounce_desk import handle_mail

    app.links()  # without a key no tag is valid
    mails: list[dict[str, object]] = []
    unread = 0
    with app.storage() as storage:
        for path, data in _mails(files):
            if isinstance(data, OSError):
                say(f"digestbot: {path}: cannot be read: {data.strerror}")
                unread += 1
                continue
            handled = handle_mail(app.office(storage), data)
            mails.append(
                {
                    "path": str(path),
                    "class": handled.reading.kind.value,
                    "recipients": list(handled.reading.recipients),
                    "status": handled.reading.status,
                    "acted": handled.acted,
                }
            )
    if as_json:
        print_json({"mails": mails})
    elif mails:
        rows = [(m["path"], m["class"], m["status"], "acted" if m["acted"] else "") for m in mails]
        click.echo(table(rows, ("mail", "class", "status", "")))
    elif not unread:
        say("no mail found")
    if unread:
        sys.exit(1)


def _mails(files: tuple[Path, ...]) -> Iterator[tuple[Path, bytes | OSError]]:
    from digestbot.bounce_desk import mails_in, read_beginning

    for path in files or (STDIN,):
        if path == STDIN:
            if sys.stdin is None:  # as when started with it closed
                raise UsageError("no mail comes in: name files, or pipe one in")
            yield path, read_beginning(sys.stdin.buffer)
        else:
            yield from mails_in(path)

"""`preview`: the digest that somebody would get now."""

from __future__ import annotations

import json
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, count_bar, pass_app, say, whole_file
from digestbot.errors import UsageError
from digestbot.wording import counted

if TYPE_CHECKING:
    from digestbot.desk import Desk
    from digestbot.previews import Preview

FORMATS = ("html", "text", "eml", "json")
_BY_SUFFIX = {".html": "html", ".htm": "html", ".eml": "eml", ".json": "json"}


@click.command("preview")
@click.argument("email", required=False)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Default: as --out is named (.html, ...), else text."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; default stdout.")
@click.option("--open", "open_", is_flag=True, help="Show the mail in the browser.")
@click.option("--send-to", metavar="ADDRESS", help="Mail it to ADDRESS as a test; its links do nothing.")
@click.option(
    "--all", "folder", type=click.Path(path_type=Path, file_okay=False), help="Everybody's, into a folder."
)
@pass_app
def preview_command(
    app: App,
    email: str | None,
    form: str | None,
    out: Path | None,
    open_: bool,
    send_to: str | None,
    folder: Path | None,
) -> None:
    """Show what `run` would send EMAIL if a digest were due now, waiting drops included. Changes nothing."""
    if (email is None) == (folder is None):
        raise UsageError("name one subscriber, or --all DIR for everybody's previews")
    with app.desk(rehearsal=True) as desk:
        if folder is not None:
            _write_all(app, desk, folder)
            return
        assert email is not None
        shown = _preview_one(app, desk, email)
        if shown is None:
            return
        if out or not (open_ or send_to):
            form = form or _BY_SUFFIX.get(out.suffix.lower() if out else "", "text")
            _write(_rendered(desk, shown, form), out)
        if open_:
            _open(desk, shown)
        if send_to:
            _send_test(app, shown, desk, send_to)


def _preview_one(app: App, desk: Desk, email: str) -> Preview | None:
    from digestbot.choosing import gather
    from digestbot.compose import Nothing
    from digestbot.pipeline import ingest_drops
    from digestbot.previews import preview
    from digestbot.subscriptions import get_subscriber

    subscriber = get_subscriber(desk.storage, email)
    ingest_drops(desk, app.now(), rehearsal=True)
    [shown] = preview(desk, gather(desk, app.now()), [subscriber])
    if isinstance(shown.result, Nothing):
        best = shown.result.best_score
        detail = f" (best score {best:.2f})" if best is not None else ""
        say(f"{email}: nothing to send: {shown.result.cause}{detail}")
        return None
    return shown


def _rendered(desk: Desk, shown: Preview, form: str) -> bytes:
    from digestbot.previews import as_json, mail_of, rendered

    if form == "json":
        return (json.dumps(as_json(desk, shown), ensure_ascii=False) + "\n").encode()
    if form == "eml":
        return mail_of(desk, shown).data
    mail = rendered(desk, shown)
    return (mail.html_body() if form == "html" else mail.text_body()).encode()


def _write(content: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.buffer.write(content)
        return
    with whole_file(out) as file:
        file.write(content)
    say(f"{out}: written")


def _open(desk: Desk, shown: Preview) -> None:
    with tempfile.NamedTemporaryFile(prefix="digest-", suffix=".html", delete=False) as file:
        file.write(_rendered(desk, shown, "html"))
    say(file.name)
    if not webbrowser.open(Path(file.name).as_uri()):
        say("no browser found; open the file above")


def _send_test(app: App, shown: Preview, desk: Desk, address: str) -> None:
    from digestbot.addresses import check_address
    from digestbot.previews import send_test

    try:
        recipient = check_address(address)
    except ValueError as error:
        raise UsageError(f"--send-to: {error}") from error
    say(f"{recipient}: {send_test(desk, shown, recipient)}")


def _write_all(app: App, desk: Desk, folder: Path) -> None:
    """A browsable folder: index.html, and a page and a text for each subscriber who would get a digest."""
    from digestbot.pipeline import ingest_drops
    from digestbot.previews import write_folder

    ingest_drops(desk, app.now(), rehearsal=True)
    with count_bar("rendering") as bar:
        composed, nothing = write_folder(desk, app.now(), folder, progress=bar)
    say(
        f"{folder}: {counted(composed, 'digest')}, nothing to send to {counted(nothing, 'subscriber')};"
        f" open {folder / 'index.html'}"
    )

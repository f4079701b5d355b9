"""`init` and `migrate`: the state folder, .env and the schema."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, say

ENV_TEMPLATE = """\
# digestbot's settings; README.md lists them all. The process environment wins over this file.
DIGESTBOT_SECRET_KEY={secret}

# The mail server that takes the digests: smtp://, smtp+starttls:// or smtps://, user:password@ percent-encoded.
#DIGESTBOT_SMTP_URL=smtp+starttls://user:password@smtp.example.org:587
#DIGESTBOT_FROM=Paper Digest <digest@example.org>
#DIGESTBOT_REPLY_TO=you@example.org
#DIGESTBOT_OPERATOR=you@example.org

# Where subscribers reach the pages. https for real use: mailbox providers ask for it.
#DIGESTBOT_BASE_URL=https://papers.example.org
#DIGESTBOT_POSTAL_ADDRESS=Example Lab, 1 Example Street, Example Town
"""


@click.command("init")
@json_option
@pass_app
def init_command(app: App, as_json: bool) -> None:
    """Write .env with a fresh secret, or add one to a file without, and create the state folder. Overwrites nothing."""
    env = Path(".env")
    written = _write_env(env)
    for name in ("incoming", "done", "rejected", "held"):
        (app.settings.drops / name).mkdir(parents=True, exist_ok=True)
    with app.storage():
        pass
    if as_json:
        print_json({"env": str(env), "written": bool(written), "state": str(app.settings.state)})
    say(f"{env}: {written or 'is there already and stays as it is'}")
    say(f"{app.settings.state}: ready; put drops into {app.settings.incoming}")
    say("next: `digestbot subscribers add YOU@EXAMPLE.ORG --topic 'graph neural networks' --confirmed`")


@click.command("migrate")
@click.option(
    "--from",
    "source",
    metavar="URL",
    help="Move everything from this database: sqlite:///... or postgresql://...",
)
@click.option(
    "--to", "target", metavar="URL", help="... to this one, which is empty or has part of an earlier move."
)
@json_option
@pass_app
def migrate_command(app: App, source: str | None, target: str | None, as_json: bool) -> None:
    """Bring the database to this version's schema, or move everything to another. Stop digestbot before a move."""
    from digestbot.storage import check_schema

    if source or target:
        if not source or not target:
            raise click.UsageError("--from and --to go together")
        _move(source, target, as_json)
        return
    with app.storage() as storage:
        version, _ = check_schema(storage)
    if as_json:
        print_json({"schema": version})
    say(f"the database has schema {version}, the newest this digestbot knows")


def _move(source: str, target: str, as_json: bool) -> None:
    from digestbot.backup import move_state

    def tell(table: str, rows: int) -> None:
        say(f"{table}: {rows:,} rows, verified")

    counts = move_state(source, target, tell)
    if as_json:
        print_json({"tables": counts})
    say("everything is moved: put the new URL into DIGESTBOT_DATABASE, and keep the old database unused")


def _write_env(path: Path) -> str:
    """Makes .env, or adds a secret to one that has none; what was done, '' where nothing was."""
    from digestbot.settings import current_values

    secret = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if current_values().get("DIGESTBOT_SECRET_KEY"):
            return ""
        ends = b"" if path.read_bytes()[-1:] in (b"", b"\n") else b"\n"
        with path.open("ab") as file:
            file.write(ends + f"DIGESTBOT_SECRET_KEY={secret}\n".encode())
        return "a fresh secret is added; the rest stays as it is"
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(ENV_TEMPLATE.format(secret=secret))
    return "written, with a fresh secret"

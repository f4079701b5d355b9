"""`suppressions ...`: addresses that are never mailed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from digestbot.cli.context import App, json_lines_option, json_option, pass_app, print_json_lines, say, table
from digestbot.errors import UsageError, line_of
from digestbot.timestamps import timestamp

MOST_TOLD = 20  # wrong lines


@click.group("suppressions")
def suppressions_command() -> None:
    """Show and edit the list of addresses never to be mailed."""


@suppressions_command.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List the addresses, why and since when."""
    with app.rehearsal() as storage:
        found = storage.suppressions.all()
    if as_json:
        print_json_lines({"email": e, "reason": reason, "since": timestamp(at)} for e, reason, at in found)
    else:
        rows = [(e, reason, f"{at:%Y-%m-%d}") for e, reason, at in found]
        click.echo(table(rows, ("email", "reason", "since")) if rows else "nobody is on the list")


@suppressions_command.command("add")
@click.argument("emails", nargs=-1, required=True)
@click.option("--reason", default="operator", show_default=True, help="Kept beside the address.")
@pass_app
def add(app: App, emails: tuple[str, ...], reason: str) -> None:
    """Never mail these addresses."""
    _suppress(app, [(email, email) for email in emails], reason)


@suppressions_command.command("remove")
@click.argument("email")
@pass_app
def remove(app: App, email: str) -> None:
    """Take an address off the list; it gets nothing until it confirms anew."""
    with app.storage() as storage:
        if not storage.suppressions.remove(email):
            raise UsageError(f"{email} is not on the suppression list")
    say(f"{email}: off the list; it may subscribe again")


@suppressions_command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--reason", default="import", show_default=True, help="Kept beside each address.")
@pass_app
def import_(app: App, file: Path, reason: str) -> None:
    """Add every address of FILE, one a line (or as `export` wrote them).

    Of whom nothing is kept but a hash, that says nothing to another database: it is left out.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: line {line_of(error)}: is not UTF-8 text") from error
    found = [(f"{file}: line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    _suppress(app, found, reason)


@suppressions_command.command("export")
@json_lines_option
@pass_app
def export(app: App) -> None:
    """Write the list as JSON Lines."""
    with app.rehearsal() as storage:
        print_json_lines(
            {"email": e, "reason": reason, "since": timestamp(at)}
            for e, reason, at in storage.suppressions.all()
        )


def _address(text: str) -> str:
    """What an argument or a line of a file names. Raises ValueError for an object that names nothing."""
    if not text.lstrip().startswith("{"):
        return text.strip()
    try:
        found = json.loads(text).get("email")
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None
    if not isinstance(found, str):
        raise ValueError('has no text as "email"')
    return found


def _suppress(app: App, named: Sequence[tuple[str, str]], reason: str) -> None:
    """Adds the addresses, each with the place where it stands."""
    from digestbot.addresses import check_address
    from digestbot.storage.suppressions import HASHED

    problems, valid, hashes = [], [], set()
    for place, text in named:
        try:
            email = _address(text)
            if email.startswith(HASHED):
                hashes.add(email)
            else:
                valid.append(check_address(email))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if problems:
        more = [f"... and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise UsageError("\n".join([*problems[:MOST_TOLD], *more, "nothing was added"]))
    with app.storage() as storage, storage.transaction():
        added = sum(storage.suppressions.add(e, reason=reason, at=app.now()) for e in valid)
        strange = hashes - {email for email, _, _ in storage.suppressions.all()} if hashes else set()
    say(f"{added} added, {len(valid) + len(hashes) - added - len(strange)} were on the list already")
    if strange:
        say(
            f"{len(strange)} left out that another database knows by a hash: `migrate` and `backup` carry those"
        )
        sys.exit(1)

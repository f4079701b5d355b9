"""`suppressions ...`: addresses that are never mailed."""

from __future__ import annotations

from pathlib import Path

import click

from digestbot.cli.context import App, json_option, pass_app, print_json_lines, say, table
from digestbot.errors import UsageError
from digestbot.timestamps import timestamp


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
        click.echo(
            table([(e, reason, f"{at:%Y-%m-%d}") for e, reason, at in found], ("email", "reason", "since"))
        )


@suppressions_command.command("add")
@click.argument("emails", nargs=-1, required=True)
@click.option("--reason", default="operator")
@pass_app
def add(app: App, emails: tuple[str, ...], reason: str) -> None:
    """Never mail these addresses."""
    _suppress(app, emails, reason)


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
@click.option("--reason", default="import")
@pass_app
def import_(app: App, file: Path, reason: str) -> None:
    """Add every address of FILE, one a line (or as `export` wrote them)."""
    import json

    emails = []
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        if line.strip():
            emails.append(json.loads(line)["email"] if line.lstrip().startswith("{") else line.strip())
    _suppress(app, tuple(emails), reason)


@suppressions_command.command("export")
@pass_app
def export(app: App) -> None:
    """Write the list as JSON Lines."""
    with app.rehearsal() as storage:
        print_json_lines(
            {"email": e, "reason": reason, "since": timestamp(at)}
            for e, reason, at in storage.suppressions.all()
        )


def _suppress(app: App, emails: tuple[str, ...], reason: str) -> None:
    from digestbot.addresses import check_address

    problems = []
    valid = []
    for email in emails:
        try:
            valid.append(check_address(email))
        except ValueError as error:
            problems.append(f"{email}: {error}")
    if problems:
        raise UsageError("\n".join(problems))
    with app.storage() as storage, storage.transaction():
        added = sum(storage.suppressions.add(e, reason=reason, at=app.now()) for e in valid)
    say(f"{added} added, {len(valid) - added} were on the list already")

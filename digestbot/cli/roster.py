"""`subscribers export` and `import`: all of them as a file, and back."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from digestbot.cli.context import (
    App,
    json_lines_option,
    json_option,
    pass_app,
    print_json,
    print_json_lines,
    say,
)


@click.command("export")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; default stdout.")
@click.option("--full", is_flag=True, help="Votes and ledger, too: on an empty machine nothing repeats.")
@json_lines_option
@pass_app
def export(app: App, out: Path | None, full: bool) -> None:
    """Write all subscribers as JSON Lines, as `import` reads them."""
    from digestbot.backup import new_file
    from digestbot.roster import export_subscribers

    with app.rehearsal() as storage:
        forms = export_subscribers(storage, full=full)
        if out is None:
            print_json_lines(forms)
            return
        with new_file(out) as part, part.open("w", encoding="utf-8") as file:
            for form in forms:
                file.write(json.dumps(form, ensure_ascii=False) + "\n")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--sync", is_flag=True, help="List who is known but not in the file.")
@json_option
@pass_app
def import_(app: App, file: Path, sync: bool, as_json: bool) -> None:
    """Add and change subscribers as FILE says; all or nothing.

    FILE is JSON Lines, a JSON list or CSV, `.gz` of these too; `-` is stdin. Whoever imports vouches for consent. An
    unsubscribed or suppressed address stays so.
    """
    from digestbot.roster import import_subscribers

    with _on_disk(file) as path, app.storage() as storage:
        report = import_subscribers(app.office(storage), path, sync=sync)
    if as_json:
        print_json(asdict(report))
    for kept in report.kept:
        say(f"{kept['email']} stays {kept['status']}")
    for email in report.missing:
        say(f"{email} is not in {file}")
    say(f"{report.added} added, {report.changed} changed, {report.unchanged} unchanged")


@contextmanager
def _on_disk(file: Path) -> Iterator[Path]:
    """The file itself; for `-` a copy of stdin, since an import is read twice."""
    if str(file) != "-":
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="digestbot-") as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield copy

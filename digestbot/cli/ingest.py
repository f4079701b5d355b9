"""`ingest`: drops into the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, file_bar, json_option, pass_app, print_json, say

if TYPE_CHECKING:
    from digestbot.model import DropReport

TOTALS = ("new", "known", "updated", "rejected")


@click.command("ingest")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--backfill", is_flag=True, help="For ranking and search only; these papers are never mailed.")
@json_option
@pass_app
def ingest_command(app: App, paths: tuple[Path, ...], backfill: bool, as_json: bool) -> None:
    """Read the drops PATHS (of a folder, the files in it), which stay where they are, or those that wait in the
    drop folder."""
    from digestbot.alarms import note_drops
    from digestbot.drops.folder import DropFolder
    from digestbot.ingest import IngestPass, ingest_file, ingest_waiting, report_json

    files = _files(paths)
    with app.storage() as storage, file_bar("reading") as bar:
        papers, now = storage.papers, app.now()
        if paths:
            found = IngestPass(
                tuple(ingest_file(papers, path, now=now, backfill=backfill, progress=bar) for path in files)
            )
        else:
            found = ingest_waiting(
                papers, DropFolder(app.settings.drops), now=now, backfill=backfill, progress=bar
            )
    if (found.folders or any(report.held for report in found.reports)) and app.find_links():
        with app.desk() as desk:
            note_drops(desk, found, now)
    reports = found.reports
    drops = [report_json(report) for report in reports]
    totals = {
        "new": sum(r.new for r in reports),
        "known": sum(r.known for r in reports),
        "updated": sum(r.updated for r in reports),
        "rejected": sum(len(r.rejected) for r in reports),
    }
    if as_json:
        print_json({"drops": drops, **totals})
    for report in reports:
        tell(report)
    for name in found.growing:
        say(f"{name}: is still being written; it is read the next time")
    for name in found.folders:
        say(f"{app.settings.incoming / name}: a folder; only files are read, put those in it beside it")
    if not reports and not found.growing and not found.stuck:
        say(f"no drop waits in {app.settings.incoming}")
    for trouble in found.stuck:
        say(trouble)
    if totals["rejected"] or found.stuck:
        sys.exit(1)


def _files(paths: Sequence[Path]) -> list[Path]:
    """The paths, and of folders the files in them by name; raises UsageError for what is neither, each named."""
    from digestbot.drops.folder import is_drop_name
    from digestbot.errors import UsageError

    files: list[Path] = []
    wrong: list[str] = []
    for path in paths:
        if path.is_dir():
            within = sorted(file for file in path.iterdir() if file.is_file() and is_drop_name(file.name))
            files += within
            wrong += [] if within else [f"{path}: a folder without a file to read"]
        elif path.is_file():
            files.append(path)
        else:
            wrong.append(f"{path}: {'no file' if path.exists() else 'there is no such file'}")
    if wrong:
        raise UsageError("\n".join(wrong))
    return files


def tell(report: DropReport) -> None:
    """One drop's report, for people."""
    if report.held:
        say(f"{report.path}: held: {report.held}; `digestbot drops release` takes it")
        return
    if report.format is None:
        say(f"{report.path}: not read: {'; '.join(rejection.reason for rejection in report.rejected)}")
        return
    counts = (
        f"{report.new} new, {report.known} known, {report.updated} updated, {len(report.rejected)} rejected"
    )
    say(f"{report.path}: {report.format}: {counts}")
    for rejection in report.rejected[:20]:
        place = (
            f"line {rejection.line}: "
            if rejection.line
            else f"entry {rejection.entry}: "
            if rejection.entry
            else ""
        )
        say(f"  {place}{rejection.reason}")
    if len(report.rejected) > 20:
        say(f"  ... and {len(report.rejected) - 20} more (--json lists all)")

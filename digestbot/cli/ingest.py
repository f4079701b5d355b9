"""`ingest`: drops into the catalogue."""

from __future__ import annotations

import sys
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
    """Read the drops PATHS, which stay where they are, or those that wait in the drop folder."""
    from digestbot.drops.folder import DropFolder
    from digestbot.errors import UsageError
    from digestbot.ingest import ingest_file, ingest_waiting, report_json

    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UsageError("\n".join(f"{path}: there is no such file" for path in missing))
    growing: tuple[str, ...] = ()
    with app.storage() as storage, file_bar("reading") as bar:
        if paths:
            papers, now = storage.papers, app.now()
            reports = [ingest_file(papers, path, now=now, backfill=backfill, progress=bar) for path in paths]
        else:
            folder = DropFolder(app.settings.drops)
            done = ingest_waiting(storage.papers, folder, now=app.now(), progress=bar)
            reports, growing = list(done.reports), done.growing
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
    for name in growing:
        say(f"{name}: is still being written; it is read the next time")
    if not reports and not growing:
        say(f"no drop waits in {app.settings.incoming}")
    if totals["rejected"]:
        sys.exit(1)


def tell(report: DropReport) -> None:
    """One drop's report, for people."""
    if report.held:
        say(f"{report.path}: held: {report.held}; `digestbot drops release` takes it")
        return
    counts = (
        f"{report.new} new, {report.known} known, {report.updated} updated, {len(report.rejected)} rejected"
    )
    say(f"{report.path}: {report.format or 'no known format'}: {counts}")
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

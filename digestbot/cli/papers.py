"""`papers`: the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, json_option, pass_app, print_json_lines, table
from digestbot.timestamps import find_timestamp

if TYPE_CHECKING:
    from digestbot.model import Paper


@click.command("papers")
@json_option
@pass_app
def papers_command(app: App, as_json: bool) -> None:
    """List the papers of the catalogue: JSON Lines with --json, else a table."""
    with app.rehearsal() as storage:
        if as_json:
            print_json_lines(paper_form(paper) for paper in storage.papers.catalogue())
            return
        rows: list[tuple[object, ...]] = [
            (p.id, f"{p.first_seen:%Y-%m-%d}", p.record.title) for p in storage.papers.catalogue()
        ]
    click.echo(
        table(rows, ("id", "first seen", "title"))
        if rows
        else "no papers yet; `digestbot ingest` reads drops"
    )


def paper_form(paper: Paper) -> dict[str, object]:
    """CONTRACT.md's fields of a paper."""
    from digestbot.excerpts import excerpt

    record = paper.record
    return {
        "id": paper.id,
        "title": record.title,
        "abstract": record.abstract,
        "authors": list(record.authors),
        "author_count": record.author_count,
        "published": record.published.isoformat() if record.published else None,
        "categories": list(record.categories),
        "url": record.url,
        "arxiv_id": record.arxiv_id,
        "doi": record.doi,
        "upvotes": record.upvotes,
        "comments": record.comments,
        "first_seen": find_timestamp(paper.first_seen),
        "excerpt": excerpt(record.abstract),
    }

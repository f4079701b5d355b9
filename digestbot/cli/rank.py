"""`rank`: batch ranking over files, for comparing rankers. No database, no state."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from digestbot.cli.context import App, pass_app, say
from digestbot.errors import UsageError

if TYPE_CHECKING:
    from digestbot.model import Paper, PaperId
    from digestbot.ranking.batch import BatchProfile
    from digestbot.ranking.embedding import Embedder

MOST_TOLD = 20  # lines on what was left out
Key = int | str  # a paper's id as the files have it
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("rank")
@click.option(
    "--papers", required=True, type=FILE, help="JSON Lines of papers: id, title, abstract ... (.gz, too)."
)
@click.option(
    "--profiles", required=True, type=FILE, help='JSON Lines: {"user", "topics", "liked", "disliked"}.'
)
@click.option("--candidates", type=FILE, help="A JSON list of the ids to rank; default all papers.")
@click.option("--top", type=click.IntRange(1), help="Only the best so many.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file (.gz, too); default stdout."
)
@pass_app
def rank_command(
    app: App, papers: Path, profiles: Path, candidates: Path | None, top: int | None, out: Path | None
) -> None:
    """Rank papers for each profile by relevance alone: one JSON line {"user", "ranking", "scores"} per profile.

    Ids that are no paper's and topics that say nothing are named and left out; for such ids the exit status is 1.
    """
    from digestbot.ranking.batch import rank_batch

    known = _Papers(papers)
    wanted = None if candidates is None else known.ids(_read_list(candidates), candidates)
    people = [
        (line.get("user"), _profile(line, known, f"{profiles}: line {n}")) for n, line in _lines(profiles)
    ]
    rankings = rank_batch(
        known.papers, [profile for _, profile in people], candidates=wanted, embedder=_embedder(app)
    )
    with ExitStack() as stack:
        target = _open_out(stack, out)
        for (user, _), ranking in zip(people, rankings, strict=True):
            row = {
                "user": user,
                "ranking": [known.keys[paper] for paper in ranking.papers[:top]],
                "scores": [round(score, 6) for score in ranking.scores[:top]],
            }
            target.write(json.dumps(row, ensure_ascii=False) + "\n")
    _tell(known)
    if known.unknown:
        sys.exit(1)


def _tell(known: _Papers) -> None:
    """What was left out of the ranking."""
    told = [*known.unknown, *known.silent]
    for line in told[:MOST_TOLD]:
        say(line)
    if len(told) > MOST_TOLD:
        say(f"and {len(told) - MOST_TOLD} more left out in the same way")


class _Papers:
    """The papers of a file, numbered in the order of their ids."""

    def __init__(self, path: Path) -> None:
        rows: dict[Key, Mapping[str, Any]] = {}
        for number, row in _lines(path):
            if not isinstance(row.get("id"), int | str) or not isinstance(row.get("title"), str):
                raise UsageError(f"{path}: line {number}: a paper needs an id (number or text) and a title")
            if row["id"] in rows:
                raise UsageError(f"{path}: line {number}: the id {row['id']!r} stands twice")
            rows[row["id"]] = row
        self.keys = sorted(rows, key=lambda key: (isinstance(key, str), key))
        self._number = {key: number for number, key in enumerate(self.keys)}
        self.papers = [_paper(number, rows[key]) for number, key in enumerate(self.keys)]
        self.unknown: list[str] = []  # ids asked for that no paper has
        self.silent: list[str] = []  # topics that say nothing

    def ids(self, keys: list[Any], where: object) -> tuple[PaperId, ...]:
        """The papers' numbers; those that no paper has are noted and left out."""
        from digestbot.model import PaperId

        found = [self._number.get(key) if isinstance(key, int | str) else None for key in keys]
        self.unknown += [
            f"{where}: {str(key)[:60]!r} is no paper's id; left out"
            for key, number in zip(keys, found, strict=True)
            if number is None
        ]
        return tuple(PaperId(number) for number in found if number is not None)


def _paper(number: int, row: Mapping[str, Any]) -> Paper:
    from digestbot.model import Paper, PaperId, PaperRecord

    record = PaperRecord(
        title=row["title"],
        abstract=row.get("abstract") or "",
        authors=tuple(row.get("authors") or ()),
        categories=tuple(row.get("categories") or ()),
    )
    return Paper(PaperId(number), record, first_seen=None)


def _profile(row: Mapping[str, Any], papers: _Papers, where: str) -> BatchProfile:
    from digestbot.ranking import check_topics
    from digestbot.ranking.batch import BatchProfile
    from digestbot.subscriber_form import parse_topic

    try:
        topics = tuple(parse_topic(topic) for topic in row.get("topics") or ())
    except ValueError as error:
        raise UsageError(f"{where}: topics: {error}") from error
    problems = [check_topics([topic]) for topic in topics]
    papers.silent += [f"{where}: {problem}; left out" for found in problems for problem in found]
    usable = tuple(topic for topic, found in zip(topics, problems, strict=True) if not found)
    liked, disliked = (papers.ids(row.get(name) or [], f"{where}: {name}") for name in ("liked", "disliked"))
    return BatchProfile(usable, liked, disliked)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with _open_in(path) as file:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise UsageError(f"{path}: line {number}: is no JSON object")
                yield number, row
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: line {number}: is not valid JSON: {error}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _read_list(path: Path) -> list[Any]:
    try:
        with _open_in(path) as file:
            found = json.load(file)
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path}: is no JSON list: {error}") from error
    if not isinstance(found, list):
        raise UsageError(f"{path}: is no JSON list of ids")
    return found


def _open_in(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _open_out(stack: ExitStack, path: Path | None) -> TextIO:
    if path is None:
        return sys.stdout
    if path.suffix == ".gz":
        return stack.enter_context(gzip.open(path, "wt", encoding="utf-8"))
    return stack.enter_context(path.open("w", encoding="utf-8"))


def _embedder(app: App) -> Embedder | None:
    from digestbot.semantics import find_embedder

    return find_embedder(app.settings)

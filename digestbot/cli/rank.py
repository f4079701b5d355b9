"""`rank`: batch ranking over files, for comparing rankers. No database, no state."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeGuard

import click

from digestbot.cli.context import App, pass_app, say, whole_file
from digestbot.errors import DropError, UsageError

if TYPE_CHECKING:
    from digestbot.drops.source import Source
    from digestbot.model import PaperId, PaperRecord, Topic
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

    Ids that are no paper's and topics beyond the limits are named and left out; then the exit status is 1. A topic
    of words that every paper has is named, too, but changes no ranking.
    """
    from digestbot.ranking.batch import rank_batch

    _keep_inputs(out, {"--papers": papers, "--profiles": profiles, "--candidates": candidates})
    known = _Papers(papers)
    wanted = None if candidates is None else known.ids(_read_list(candidates), str(candidates))
    people = [_profile(line, known, f"{profiles}: line {n}") for n, line in _lines(profiles)]
    if not people:
        raise UsageError(f"{profiles}: holds no profile: give one JSON object a line")
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
            target.write(json.dumps(row) + "\n")
    _tell(known)
    if known.left_out:
        sys.exit(1)


def _tell(known: _Papers) -> None:
    """What was left out of the ranking."""
    told = [*known.left_out, *known.silent]
    for line in told[:MOST_TOLD]:
        say(line)
    if len(told) > MOST_TOLD:
        say(f"and {len(told) - MOST_TOLD} more left out in the same way")


def _keep_inputs(out: Path | None, inputs: Mapping[str, Path | None]) -> None:
    """Raises UsageError where the output would be written over an input."""
    for option, path in inputs.items():
        if path and out and out.exists() and out.samefile(path):
            raise UsageError(f"--out {out}: is the file of {option} and would be lost; name another")


class _Papers:
    """The papers of a file, numbered in the order of their ids."""

    def __init__(self, path: Path) -> None:
        from digestbot.model import Paper, PaperId

        records: dict[Key, PaperRecord] = {}
        for number, row in _lines(path):
            key, where = row.get("id"), f"{path}: line {number}"
            if not _is_key(key) or not isinstance(row.get("title"), str):
                raise UsageError(f"{where}: a paper needs an id (whole number or text) and a title")
            if key in records:
                raise UsageError(f"{where}: the id {key!r} stands twice")
            records[key] = _record(row, where)
        if not records:
            raise UsageError(f"{path}: holds no paper: give one JSON object a line")
        self.keys = sorted(records, key=lambda key: (isinstance(key, str), key))
        self._number = {key: number for number, key in enumerate(self.keys)}
        self.papers = [Paper(PaperId(n), records[key], first_seen=None) for n, key in enumerate(self.keys)]
        self.left_out: list[str] = []  # ids that no paper has, and topics that would count
        self.silent: list[str] = []  # topics that say nothing

    def ids(self, keys: object, where: str) -> tuple[PaperId, ...]:
        """The papers' numbers; those that no paper has are noted and left out."""
        from digestbot.model import PaperId

        if not isinstance(keys, list):
            raise UsageError(f"{where}: {_shown(keys)} is not a list of ids")
        found = [self._number.get(key) if _is_key(key) else None for key in keys]
        self.left_out += [
            f"{where}: {_shown(key)} is no paper's id{self._twin(key)}; left out"
            for key, number in zip(keys, found, strict=True)
            if number is None
        ]
        return tuple(PaperId(number) for number in found if number is not None)

    def _twin(self, key: object) -> str:
        """A hint where a paper has the same id in the other type."""
        if isinstance(key, int) and str(key) in self._number:
            return ", the text " + _shown(str(key)) + " is"
        if isinstance(key, str) and key.isdecimal() and len(key) < 20 and int(key) in self._number:
            return f", the number {int(key)} is"
        return ""


def _is_key(value: object) -> TypeGuard[Key]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """As the file has it, but not at any length."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _record(row: Mapping[str, Any], where: str) -> PaperRecord:
    from digestbot.drops.entry import BadField, read_text
    from digestbot.drops.jsonlines import read_names
    from digestbot.model import PaperRecord

    try:
        return PaperRecord(
            title=row["title"],
            abstract=read_text(row, "abstract") or "",
            authors=read_names(row, "authors"),
            categories=read_names(row, "categories"),
        )
    except BadField as error:
        raise UsageError(f"{where}: {error}") from error


def _profile(row: Mapping[str, Any], papers: _Papers, where: str) -> tuple[Key, BatchProfile]:
    """(user, profile)."""
    from digestbot.ranking.batch import BatchProfile

    user = row.get("user")
    if not _is_key(user):
        raise UsageError(f'{where}: a profile needs a "user" (whole number or text)')
    topics = _topics(row, papers, where)
    liked, disliked = (papers.ids(_given(row, name), f"{where}: {name}") for name in ("liked", "disliked"))
    return user, BatchProfile(topics, liked, disliked)


def _given(row: Mapping[str, Any], name: str) -> object:
    """The field's list; null and nothing are an empty one."""
    value = row.get(name)
    return [] if value is None else value


def _topics(row: Mapping[str, Any], papers: _Papers, where: str) -> tuple[Topic, ...]:
    """Those that can be used; the others are noted."""
    from digestbot.ranking import check_topics
    from digestbot.ranking.words import phrase
    from digestbot.subscriber_form import parse_topics

    try:
        topics = parse_topics(_given(row, "topics"))
    except ValueError as error:
        raise UsageError(f"{where}: topics: {error}") from error
    problems = [check_topics([topic]) for topic in topics]
    for topic, found in zip(topics, problems, strict=True):
        speaks = topic.authors or topic.categories or topic.exclude or any(map(phrase, topic.terms))
        noted = papers.left_out if speaks else papers.silent
        noted += [f"{where}: {problem}; left out" for problem in found]
    usable = tuple(topic for topic, found in zip(topics, problems, strict=True) if not found)
    for problem in check_topics(usable):
        raise UsageError(f"{where}: topics: {problem}")
    return usable


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with _source(path) as source:
        for number, line in enumerate(source.lines(), 1):
            if line.strip():
                yield number, _read_line(line, f"{path}: line {number}")


def _read_line(line: bytes, where: str) -> dict[str, Any]:
    from digestbot.drops.source import MAX_LINE_BYTES

    if len(line) >= MAX_LINE_BYTES:
        raise UsageError(f"{where}: is longer than {MAX_LINE_BYTES // 2**20} MiB")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: is not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: is no JSON object")
    return row


def _read_list(path: Path) -> list[Any]:
    try:
        with _source(path) as source:
            found = json.loads(source.whole())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no JSON list: {error}") from error
    if not isinstance(found, list):
        raise UsageError(f"{path}: is no JSON list of ids")
    return found


@contextmanager
def _source(path: Path) -> Iterator[Source]:
    """The file within the bounds of drops, unpacked where it is packed; raises UsageError for what cannot be read."""
    from digestbot.drops.source import Source

    try:
        with Source(path, path.open("rb", buffering=0)) as source:
            yield source
    except DropError as error:
        raise UsageError(f"{path}: {error}") from error


def _open_out(stack: ExitStack, path: Path | None) -> TextIO:
    if path is None:
        return sys.stdout
    file = stack.enter_context(whole_file(path))
    stream = gzip.GzipFile(path, "wb", fileobj=file) if path.suffix == ".gz" else file
    return stack.enter_context(TextIOWrapper(stream, encoding="utf-8"))


def _embedder(app: App) -> Embedder | None:
    from digestbot.semantics import find_embedder

    return find_embedder(app.settings)

"""JSON Lines with the fields that `digestbot papers --json` prints, or the same objects in one JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date

from digestbot.drops.entry import BadField, Place, make_record, read_count, read_date, read_text
from digestbot.drops.source import Source
from digestbot.errors import DropError
from digestbot.model import PaperRecord, Rejection

NAME = "jsonl"
LIST = "json"


def recognises(head: str) -> bool:
    return head.lstrip().startswith("{")


def recognises_list(head: str) -> bool:
    return head.lstrip().startswith("[")


def read_list(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    items = load_json(source.whole().removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(items, list):
        raise DropError("not a list of papers")
    for number, item in enumerate(items, 1):
        yield read_object(item, Place(entry=number))


def read(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    for number, line in enumerate(source.lines(), 1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line
        if text and not text.isspace():
            yield _read_line(text, Place(line=number))


def _read_line(line: bytes, place: Place) -> PaperRecord | Rejection:
    try:
        fields = load_json(line)
    except DropError as error:
        return place.rejection(str(error))
    return read_object(fields, place)


def load_json(data: bytes) -> object:
    """Any JSON value; raises DropError with a short reason for everything that is none."""
    try:
        value: object = json.loads(data)
    except UnicodeDecodeError as error:
        raise DropError(f"not UTF-8 (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise DropError(f"not JSON: {error.msg} ({where})") from error
    except (RecursionError, ValueError) as error:
        raise DropError("not JSON that can be read: nested too deeply, or a number too long") from error
    return value


def read_object(fields: object, place: Place) -> PaperRecord | Rejection:
    """A paper of one such object, wherever it stood."""
    if not isinstance(fields, dict):
        return place.rejection("not an object with the fields of a paper")
    try:
        return _record(fields)
    except BadField as error:
        return place.rejection(str(error))


def _record(fields: Mapping[str, object]) -> PaperRecord:
    return make_record(
        read_text(fields, "title") or "",
        abstract=read_text(fields, "abstract") or "",
        authors=read_names(fields, "authors"),
        author_count=read_count(fields.get("author_count"), "author_count"),
        published=read_date(read_text(fields, "published")),
        categories=read_names(fields, "categories"),
        url=read_text(fields, "url"),
        code_url=read_text(fields, "code_url"),
        arxiv_id=read_text(fields, "arxiv_id"),
        arxiv_version=read_count(fields.get("arxiv_version"), "arxiv_version"),
        doi=read_text(fields, "doi"),
        upvotes=read_count(fields.get("upvotes"), "upvotes"),
        comments=read_count(fields.get("comments"), "comments"),
    )


def read_names(fields: Mapping[str, object], name: str) -> tuple[str, ...]:
    """A list of texts, or of objects with a name; raises BadField for everything else."""
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadField(f"{name} must be a list of texts")
    items = [item.get("name") if isinstance(item, dict) else item for item in value]
    names = tuple(item for item in items if isinstance(item, str))
    if len(names) != len(items):
        raise BadField(f"{name} must be a list of texts")
    return names

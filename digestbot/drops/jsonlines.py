"""JSON Lines with the fields that `digestbot papers --json` prints, or the same objects in one JSON list."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date

from digestbot.drops.entry import BadField, Place, make_record, read_count, read_date, read_text
from digestbot.drops.source import MAX_LINE_BYTES, Source, decode
from digestbot.errors import DropError
from digestbot.model import PaperRecord, Rejection

NAME = "jsonl"
LIST = "json"
_UNREADABLE = "not JSON that can be read: nested too deeply, or a number too long"
_DECODER = json.JSONDecoder()
_BEGIN = re.compile(r"\s*\[\s*(?P<end>\])?")
_NEXT = re.compile(r"\s*(?:,\s*|(?P<end>\]))")


def recognises(head: str) -> bool:
    return head.lstrip().startswith("{")


def recognises_list(head: str) -> bool:
    return head.lstrip().startswith("[")


def read_list(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    for number, item in enumerate(read_items(source.whole()), 1):
        yield _read_object(item, Place(entry=number))


def read(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    for number, line in enumerate(source.lines(), 1):
        text = line.removeprefix(codecs.BOM_UTF8).strip() if number == 1 else line
        if text and not text.isspace():
            yield _read_line(text, Place(line=number))


def _read_line(line: bytes, place: Place) -> PaperRecord | Rejection:
    if len(line) >= MAX_LINE_BYTES:
        return place.rejection(f"a line of more than {MAX_LINE_BYTES // 2**20} MiB")
    try:
        fields: object = json.loads(line)
    except UnicodeDecodeError as error:
        return place.rejection(f"not UTF-8 (byte {error.start + 1})")
    except json.JSONDecodeError as error:
        return place.rejection(f"not JSON: {error.msg} (column {error.colno})")
    except (RecursionError, ValueError):
        return place.rejection(_UNREADABLE)
    return _read_object(fields, place)


def read_items(data: bytes) -> Iterator[object]:
    """The elements of a JSON list; raises DropError, with the line, where there is none or it breaks off."""
    text = decode(data)

    def broken(why: str, place: int) -> DropError:
        return DropError(why, line=text.count("\n", 0, place) + 1)

    found = _BEGIN.match(text)
    if not found:
        raise broken("not JSON: no list of papers", 0)
    at = found.end()
    while found and not found["end"]:
        try:
            item, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise broken(f"not JSON: {error.msg} (column {error.colno})", error.pos) from error
        except (RecursionError, ValueError) as error:
            raise broken(_UNREADABLE, at) from error
        yield item
        found = _NEXT.match(text, at)
        at = found.end() if found else at
    if not found or text[at:].strip():
        raise broken("not JSON: the list does not go on as one, or does not end", at)


def _read_object(fields: object, place: Place) -> PaperRecord | Rejection:
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

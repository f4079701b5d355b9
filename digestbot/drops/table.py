"""CSV with a header of field names, as spreadsheets and reference managers write it."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping
from datetime import date

from digestbot.drops.entry import BadField, Place, make_record, read_count, read_date
from digestbot.drops.source import MAX_LINE_BYTES, Source, decode
from digestbot.errors import DropError
from digestbot.model import PaperRecord, Rejection

NAME = "csv"
_OTHER_NAMES = {
    "abstract_note": "abstract",
    "summary": "abstract",
    "author": "authors",
    "date": "published",
    "publication_date": "published",
    "link": "url",
    "arxiv": "arxiv_id",
    "category": "categories",
}
_SEPARATORS = (",", ";", "\t")

MAX_ROW_LINES = 50  # an abstract of more lines is a quote that nobody closed
MAX_LOST_LINES = 10_000  # each is read up to MAX_ROW_LINES times

csv.field_size_limit(MAX_LINE_BYTES)


def recognises(head: str) -> bool:
    return _header(re.split(r"[\r\n]", head, maxsplit=1)[0]) is not None


def read(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    """Row by row; a row's number is that of the line it begins in."""
    lines = _text_lines(source)
    first = next(lines, "")
    found = _header(first)
    if found is None:
        raise DropError("no header with the field title")
    names, separator = found
    for number, row in _rows(lines, separator, width=len(names)):
        if isinstance(row, str):
            yield Rejection(row, line=number)
        elif any(map(str.strip, row)):
            yield _read_row(names, row, Place(line=number))


def _rows(lines: Iterator[str], separator: str, *, width: int) -> Iterator[tuple[int, list[str] | str]]:
    """The rows below the header, each with the line it begins in; a text says why one cannot be read.

    A quote that nobody closed would swallow the rows that follow. So a row of several lines must be one to the
    letter of RFC 4180; else it is bad, and reading goes on with the next of its lines that is a row as wide as the
    header.
    """
    number = 2
    lost, lost_lines = False, 0
    ahead: list[str] = []  # lines to be read again, the last one first
    while True:
        taken: list[str] = []
        try:
            row = next(csv.reader(_taken(taken, ahead, lines), delimiter=separator), None)
            if row is None:
                return
            if len(taken) > 1:
                list(csv.reader(taken, delimiter=separator, strict=True))
            if not lost or len(row) == width:
                yield number, row
                lost = False
        except csv.Error:
            if not lost:
                yield number, "broken CSV: a quote in this row is not closed, or not where its field ends"
            lost, lost_lines = True, lost_lines + 1
            if lost_lines > MAX_LOST_LINES:
                raise DropError(
                    "broken CSV: too many quotes are not closed; read no further", line=number
                ) from None
            ahead += reversed(taken[1:])
            del taken[1:]
        number += len(taken)


def _taken(taken: list[str], ahead: list[str], lines: Iterator[str]) -> Iterator[str]:
    """The next lines, at most as many as a row has; notes which were taken."""
    while len(taken) < MAX_ROW_LINES and (line := ahead.pop() if ahead else next(lines, "")):
        taken.append(line)
        yield line


def _text_lines(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines()):
        yield decode(line if number else line.removeprefix(codecs.BOM_UTF8)).replace("\0", "")


def _header(line: str) -> tuple[list[str], str] | None:
    """The fields' names and their separator, None if the line is no header of papers."""
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
        except csv.Error:
            continue
        names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
        names = [_OTHER_NAMES.get(name, name) for name in names]
        if "title" in names and (len(names) > 1 or line.strip().lower() == "title"):
            return names, separator
    return None


def _read_row(names: list[str], row: list[str], place: Place) -> PaperRecord | Rejection:
    if len(row) > len(names):
        return place.rejection(f"{len(row)} fields under a header of {len(names)}")
    fields: dict[str, str] = {}
    for name, value in zip(names, row, strict=False):
        if value.strip():
            fields.setdefault(name, value)
    try:
        return _record(fields)
    except BadField as error:
        return place.rejection(str(error))


def _record(fields: Mapping[str, str]) -> PaperRecord:
    return make_record(
        fields.get("title", ""),
        abstract=fields.get("abstract", ""),
        authors=_list(fields.get("authors", "")),
        author_count=read_count(fields.get("author_count"), "author_count"),
        published=_date(fields.get("published", "")),
        categories=_list(fields.get("categories", "")),
        url=fields.get("url"),
        code_url=fields.get("code_url"),
        arxiv_id=fields.get("arxiv_id"),
        doi=fields.get("doi"),
        upvotes=read_count(fields.get("upvotes"), "upvotes"),
        comments=read_count(fields.get("comments"), "comments"),
    )


def _list(text: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split(";")) if part]


def _date(text: str) -> date | None:
    """A whole date; a year or a month alone is none, as reference managers often know no more."""
    return None if re.fullmatch(r"\s*\d{4}(?:-\d\d)?\s*", text) else read_date(text)

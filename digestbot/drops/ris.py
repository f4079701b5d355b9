"""RIS, as reference managers and publishers export it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date

import rispy

from digestbot.drops.entry import BadField, Place, make_record
from digestbot.drops.identifiers import find_arxiv_id
from digestbot.drops.source import Source, decode
from digestbot.model import PaperRecord, Rejection

NAME = "ris"
_START = re.compile(r"^TY {0,2}-", re.MULTILINE)
_LINE = re.compile(r"^([A-Z][A-Z0-9]) {0,2}- ?", re.MULTILINE)
_CONTINUED = re.compile(r"\n(?![A-Z][A-Z0-9] {0,2}-)")


def recognises(head: str) -> bool:
    """TY stands at the start of a line within the first few; some programs number their entries before it."""
    return _START.search("\n".join(head.lstrip().splitlines()[:5])) is not None


def read(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    text = re.sub(r"\r\n?", "\n", decode(source.whole()))
    starts = [found.start() for found in _START.finditer(text)]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True), 1):
        yield _read_entry(text[start:end], Place(entry=number))


def _read_entry(text: str, place: Place) -> PaperRecord | Rejection:
    """One entry at a time, so that a bad one spoils no other; an end that is missing is added."""
    tidy = _LINE.sub(r"\1  - ", _CONTINUED.sub(" ", text))  # rispy joins lines in quadratic time
    found = rispy.loads(tidy + "\nER  - \n", skip_unknown_tags=True)
    if not found:
        return place.rejection("no RIS entry")
    try:
        return _record(found[0])
    except BadField as error:
        return place.rejection(str(error))


def _record(fields: Mapping[str, object]) -> PaperRecord:
    urls = _texts(fields, "urls")
    arxiv = next(
        filter(None, map(find_arxiv_id, [*urls, *_texts(fields, "journal_name", "secondary_title")])), None
    )
    return make_record(
        next(iter(_texts(fields, "title", "primary_title")), ""),
        abstract=max(_texts(fields, "abstract", "notes_abstract"), key=len, default=""),
        authors=_texts(fields, "authors") or _texts(fields, "first_authors"),
        published=_date(next(iter(_texts(fields, "date", "year", "publication_year")), "")),
        url=next((url for text in urls for url in re.split(r"\s*;\s*", text) if url), None),
        arxiv_id=arxiv[0] if arxiv else None,
        arxiv_version=arxiv[1] if arxiv else None,
        doi=next(iter(_texts(fields, "doi")), None),
    )


def _texts(fields: Mapping[str, object], *names: str) -> list[str]:
    """All texts of the fields of these names, empty ones left out."""
    values = [fields.get(name) for name in names]
    lists = [value if isinstance(value, list) else [value] for value in values]
    return [text for texts in lists for text in texts if isinstance(text, str) and text]


def _date(text: str) -> date | None:
    """RIS writes YYYY/MM/DD/other, and any of it may be missing; only a whole date is one."""
    found = re.match(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})", text)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None

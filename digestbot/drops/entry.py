"""From the raw fields that a format found to a paper, or to the reason why it is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from digestbot.drops.identifiers import arxiv_id_of_doi, read_arxiv_id, read_doi
from digestbot.drops.text import MAX_ABSTRACT, MAX_TITLE, clean, clean_url, strip_markup
from digestbot.errors import in_short
from digestbot.mathtext import decode_latex
from digestbot.model import PaperRecord, Rejection

MAX_AUTHORS = 20_000
MAX_NAME = 300
MAX_COUNT = 10**9
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![\d-])")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its drop an entry stands; one of the two is set."""

    line: int | None = None
    entry: int | None = None

    def rejection(self, reason: str) -> Rejection:
        return Rejection(reason, line=self.line, entry=self.entry)


class BadField(ValueError):
    """A field that cannot be read; the message names it."""


def make_record(
    title: str,
    *,
    abstract: str = "",
    authors: Sequence[str] = (),
    author_count: int | None = None,
    published: date | None = None,
    categories: Sequence[str] = (),
    url: str | None = None,
    code_url: str | None = None,
    arxiv_id: str | None = None,
    arxiv_version: int | None = None,
    doi: str | None = None,
    upvotes: int | None = None,
    comments: int | None = None,
) -> PaperRecord:
    """The record of fields in any form people write them; raises BadField where they make no paper.

    An id that is none, a URL that is not http(s) and an empty name are left out; arXiv's own DOI and a URL of
    arXiv become the arXiv id.
    """
    title = clean(title)
    if not title:
        raise BadField("no title")
    if len(title) > MAX_TITLE:
        raise BadField(f"a title of {len(title):,} characters; {MAX_TITLE:,} are the most")
    abstract = clean(strip_markup(abstract))
    if len(abstract) > MAX_ABSTRACT:
        raise BadField(f"an abstract of {len(abstract):,} characters; {MAX_ABSTRACT:,} are the most")
    names = tuple(_name(name)[:MAX_NAME] for name in map(clean, authors) if name)
    if len(names) > MAX_AUTHORS:
        raise BadField(f"{len(names):,} authors; {MAX_AUTHORS:,} are the most")
    identifier, version = _arxiv(arxiv_id, doi, url)
    known_doi = read_doi(clean(doi)) if doi else None
    return PaperRecord(
        title=title,
        abstract=abstract,
        authors=names,
        author_count=_author_count(author_count, names),
        published=published,
        categories=tuple(dict.fromkeys(name[:100] for name in map(clean, categories) if name))[:100],
        url=clean_url(url),
        code_url=clean_url(code_url),
        arxiv_id=identifier,
        arxiv_version=version if version is not None else arxiv_version if identifier else None,
        doi=known_doi if known_doi and not arxiv_id_of_doi(known_doi) else None,
        upvotes=upvotes,
        comments=comments,
    )


def _name(name: str) -> str:
    """A name with the accents that feeds of arXiv leave in LaTeX; another one as it is."""
    return clean(decode_latex(name[:MAX_NAME])) or name if "\\" in name else name


def _arxiv(arxiv_id: str | None, doi: str | None, url: str | None) -> tuple[str | None, int | None]:
    """The first id among them, with the version that any of them tells."""
    texts = (arxiv_id, doi and read_doi(clean(doi)), url if url and "/" in url else None)
    found = [one for one in (read_arxiv_id(text) for text in texts if text) if one]
    if not found:
        return None, None
    return found[0][0], next((version for one, version in found if one == found[0][0] and version), None)


def _author_count(count: int | None, names: tuple[str, ...]) -> int | None:
    if count is None:
        return len(names) or None
    return max(count, len(names))


def read_count(value: object, name: str) -> int | None:
    """A count of things: None, a number from 0 on, or digits with commas; raises BadField."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9][0-9,]{0,12}", value.strip()):
        value = int(value.replace(",", ""))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise BadField(f"{name} must be a number from 0 on")
    return value


def read_text(fields: Mapping[str, object], name: str) -> str | None:
    """A field of text, None where it is missing; raises BadField for other types."""
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadField(f"{name} must be text")


def read_date(text: str | None, name: str = "published") -> date | None:
    """The day of an ISO date or instant; None for no text; raises BadField."""
    if not text or not text.strip():
        return None
    found = _DATE.match(text.strip())
    try:
        return date.fromisoformat(found[0]) if found else _no_date(name, text)
    except ValueError:
        return _no_date(name, text)


def _no_date(name: str, text: str) -> date:
    raise BadField(f"{name} must be a date such as 2026-11-21, not {in_short(clean(text))}")

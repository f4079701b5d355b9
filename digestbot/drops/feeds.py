"""Feeds: the arXiv API's Atom, arXiv's RSS, and RSS or Atom of anybody.

Before feedparser sees a file, expat walks through it: entities of its own and deep nesting are refused, for the one
is an attack and the other takes feedparser quadratic time.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import TypeVar
from xml.parsers import expat

import feedparser

from digestbot.drops.entry import BadField, make_record
from digestbot.drops.identifiers import find_arxiv_id, read_doi
from digestbot.drops.source import Source, decode
from digestbot.drops.text import from_html
from digestbot.errors import DropError
from digestbot.model import PaperRecord, Rejection, Revision

ARXIV_ATOM = "arxiv-atom"
ARXIV_RSS = "arxiv-rss"
FEED = "feed"

_ENTITIES = "declares XML entities: refused, for they can unpack to any size or read other files"
MAX_DEPTH = 100
MAX_ATTRIBUTES = 200  # of one element; feedparser's time is quadratic in them
MAX_UNCLOSED = 1000  # in files that are no well-formed XML
_ROOT = re.compile(r"<(?:[\w-]+:)?(rss|feed|rdf)\b", re.IGNORECASE)
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>|\s+)*", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|$)|<!--.*?(?:-->|$)", re.DOTALL)
_TAG = re.compile(r"<(/?)(?!(?:br|hr|img|p|li|input|meta|link)\b)[A-Za-z][^<>]*?(/?)>", re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"\s*arXiv:\S+\s+Announce Type:\s*(?P<type>[\w-]+)\s*(?:Abstract:\s*)?", re.IGNORECASE
)

Entry = Mapping[str, object]
_Item = TypeVar("_Item", PaperRecord, PaperRecord | Revision)


# ---- recognition ------------------------------------------------------------------------------------------------


def recognises_arxiv_atom(head: str) -> bool:
    return _root(head) == "feed" and ("http://arxiv.org/schemas/atom" in head or "arxiv.org/api" in head)


def recognises_arxiv_rss(head: str) -> bool:
    return _root(head) == "rss" and ("http://arxiv.org/schemas/atom" in head or "oai:arXiv.org:" in head)


def recognises_feed(head: str) -> bool:
    return _root(head) is not None


def _root(head: str) -> str | None:
    """The first element's name where it is one of a feed."""
    prolog = _PROLOG.match(head)
    found = _ROOT.match(head, prolog.end() if prolog else 0)
    return found[1].lower() if found else None


# ---- reading ----------------------------------------------------------------------------------------------------


def read_arxiv_atom(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    return _read(source, _arxiv_atom_record)


def read_arxiv_rss(source: Source, _received: date) -> Iterator[PaperRecord | Revision | Rejection]:
    return _read(source, _arxiv_rss_record)


def read_feed(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    return _read(source, _feed_record)


def _read(source: Source, convert: Callable[[Entry], _Item]) -> Iterator[_Item | Rejection]:
    whole = source.whole()
    data = whole.lstrip(b"\r\n\t ")  # blanks before the declaration are common, and no XML
    broken = _check(data, above=whole.count(b"\n", 0, len(whole) - len(data)))
    feed = feedparser.parse(io.BytesIO(data), sanitize_html=False, resolve_relative_uris=False)
    if broken and not feed.entries:
        raise DropError(broken.reason, line=broken.line)
    for number, entry in enumerate(feed.entries, 1):
        try:
            yield convert(dict(entry))  # a plain one: feedparser's answers for fields that are not there
        except BadField as error:
            yield Rejection(str(error), entry=number)
    if broken:
        yield broken


def _check(data: bytes, *, above: int = 0) -> Rejection | None:
    """Where and why the XML is not well-formed, None if it is; raises DropError for what must not be parsed.

    above: lines of the file before the data.
    """
    parser = expat.ParserCreate(namespace_separator=None)
    depth = 0

    def refused(why: str) -> DropError:
        return DropError(why, line=above + parser.CurrentLineNumber)

    def start(_name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if len(attributes) > MAX_ATTRIBUTES:
            raise refused(f"an element of more than {MAX_ATTRIBUTES} attributes: refused")
        if depth > MAX_DEPTH:
            raise refused(f"nested more than {MAX_DEPTH} elements deep: refused")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def entity(*_: object) -> None:
        raise refused(_ENTITIES)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        _check_unclosed(data)
        return Rejection(f"broken XML: {expat.ErrorString(error.code)}", line=above + error.lineno)
    except (ValueError, LookupError):  # an encoding that expat does not know
        _check_unclosed(data)
    return None


def _check_unclosed(data: bytes) -> None:
    text = decode(data)
    if re.search(r"<!ENTITY", text, re.IGNORECASE):
        raise DropError(_ENTITIES)
    depth = 0
    for tag in _TAG.finditer(_CDATA.sub("", text)):
        depth += -1 if tag[1] else 0 if tag[2] else 1
        if depth > MAX_UNCLOSED:
            raise DropError(f"more than {MAX_UNCLOSED} elements are not closed: refused")


# ---- entries ----------------------------------------------------------------------------------------------------


def _arxiv_atom_record(entry: Entry) -> PaperRecord:
    if "/api/errors" in _text(entry, "id"):
        raise BadField(f"arXiv answers: {_text(entry, 'summary')}")
    return make_record(
        _text(entry, "title"),
        abstract=_text(entry, "summary"),
        authors=_names(entry),
        published=_day(entry, "published_parsed"),
        categories=_terms(entry),
        url=_text(entry, "link"),
        arxiv_id=_text(entry, "id"),
        doi=_text(entry, "arxiv_doi"),
    )


def _arxiv_rss_record(entry: Entry) -> PaperRecord | Revision:
    """The announcement's date is the paper's where it is new; of a replacement the paper's is not told."""
    description = _text(entry, "summary")
    announced = _ANNOUNCED.match(description)
    kind = (_text(entry, "arxiv_announce_type") or (announced["type"] if announced else "")).lower()
    replaced = kind.startswith("replace")
    record = make_record(
        _text(entry, "title"),
        abstract=description[announced.end() :] if announced else description,
        authors=[name for names in _names(entry) for name in re.split(r",\s+(?![^()]*\))", names)],
        published=None if replaced else _day(entry, "published_parsed"),
        categories=_terms(entry),
        url=_text(entry, "link"),
        arxiv_id=_text(entry, "id").split("?")[0] or _text(entry, "link"),
        doi=_text(entry, "arxiv_doi"),
    )
    return Revision(record) if replaced else record


def _feed_record(entry: Entry) -> PaperRecord:
    link, identifier = _text(entry, "link"), _text(entry, "id")
    dois = (_text(entry, name) for name in ("prism_doi", "dc_identifier", "id", "link"))
    arxiv = find_arxiv_id(identifier) or find_arxiv_id(link)
    return make_record(
        from_html(_text(entry, "title")),
        abstract=from_html(max((_text(entry, "summary"), *_contents(entry)), key=len)),
        authors=_names(entry),
        published=_day(entry, "published_parsed") or _day(entry, "updated_parsed"),
        categories=_terms(entry),
        url=link or identifier,
        arxiv_id=arxiv[0] if arxiv else None,
        arxiv_version=arxiv[1] if arxiv else None,
        doi=next((doi for doi in dois if read_doi(doi)), None),
    )


def _text(entry: Entry, name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _parts(entry: Entry, name: str, part: str) -> list[str]:
    """The texts of one part of a list of things, e.g. the names of the authors."""
    things = entry.get(name)
    values = (
        [thing.get(part) for thing in things if isinstance(thing, Mapping)]
        if isinstance(things, list)
        else []
    )
    return [value for value in values if isinstance(value, str)]


def _names(entry: Entry) -> list[str]:
    return _parts(entry, "authors", "name")


def _terms(entry: Entry) -> list[str]:
    return _parts(entry, "tags", "term")


def _contents(entry: Entry) -> list[str]:
    return _parts(entry, "content", "value")


def _day(entry: Entry, name: str) -> date | None:
    value = entry.get(name)
    try:
        return date(*value[:3]) if isinstance(value, time.struct_time) else None
    except ValueError:
        return None

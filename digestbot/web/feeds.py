"""Atom feeds (RFC 4287): the papers for everybody, and a reader's digests."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree  # writes only

from digestbot.cards import shown_title
from digestbot.excerpts import excerpt
from digestbot.links import Links
from digestbot.mathtext import readable
from digestbot.model import Digest, Paper, PaperId
from digestbot.timestamps import timestamp
from digestbot.wording import byline, clean, long_date, sections, summary, why

ATOM = "http://www.w3.org/2005/Atom"
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


def papers_feed(papers: Sequence[Paper], links: Links) -> str:
    updated = max((p.first_seen for p in papers if p.first_seen), default=_NEVER)
    root = _feed("New papers", links.base_url + "/feed.xml", links.home(), updated)
    for paper in papers:
        record = paper.record
        url = links.paper(paper.id)
        entry = _entry(root, shown_title(paper.record.title), url, paper.first_seen or _NEVER)
        for name in record.authors:
            _text(ElementTree.SubElement(entry, "author"), "name", clean(name))
        if not record.authors:
            _text(ElementTree.SubElement(entry, "author"), "name", byline(record) or "unknown")
        _text(entry, "summary", readable(clean(excerpt(record.abstract))))
    return _written(root)


def digests_feed(
    digests: Iterable[Digest], papers: Mapping[PaperId, Paper], own_url: str, links: Links
) -> str:
    """One entry a digest, the papers with their reasons as its content."""
    listed = list(digests)
    updated = max((d.composed_at for d in listed), default=_NEVER)
    root = _feed("Your digests", own_url, links.home(), updated)
    _text(ElementTree.SubElement(root, "author"), "name", "digestbot")
    for digest in listed:
        counts = [(name, len(found)) for name, found in sections(digest.papers).items()]
        url = links.digest(digest.subscriber_id, digest.slot)
        entry = _entry(root, f"{long_date(digest.slot)}: {summary(counts)}", url, digest.composed_at)
        body = "".join(
            f'<p><a href="{html.escape(links.paper(p.paper_id))}">'
            f"{html.escape(shown_title(papers[p.paper_id].record.title))}</a><br/>{html.escape(why(p.reasons))}</p>"
            for p in digest.papers
            if p.paper_id in papers
        )
        _text(entry, "content", body).set("type", "html")
    return _written(root)


def _feed(title: str, own_url: str, page: str, updated: datetime) -> ElementTree.Element:
    root = ElementTree.Element("feed", {"xmlns": ATOM})
    _text(root, "id", own_url)
    _text(root, "title", title)
    _text(root, "updated", timestamp(updated))
    ElementTree.SubElement(root, "link", {"rel": "self", "href": own_url})
    ElementTree.SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": page})
    return root


def _entry(root: ElementTree.Element, title: str, url: str, updated: datetime) -> ElementTree.Element:
    entry = ElementTree.SubElement(root, "entry")
    _text(entry, "id", url)
    _text(entry, "title", title)
    _text(entry, "updated", timestamp(updated))
    ElementTree.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": url})
    return entry


def _text(parent: ElementTree.Element, name: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name)
    element.text = "".join(c for c in text if c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff")
    return element


def _written(root: ElementTree.Element) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")

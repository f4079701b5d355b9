"""Papers for reference managers: BibTeX, RIS, and the citation metadata of a page. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from digestbot.cards import paper_url
from digestbot.links import Links
from digestbot.model import Paper, PaperRecord
from digestbot.wording import clean

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_SMALL = frozenset(
    (
        "a",
        "an",
        "the",
        "on",
        "in",
        "of",
        "for",
        "and",
        "to",
        "from",
        "with",
        "by",
        "is",
        "are",
        "how",
        "why",
        "what",
    )
)


def bibtex(papers: Iterable[Paper], links: Links) -> str:
    """One entry a paper, keys unique within the text. UTF-8; what TeX would take for a command is escaped."""
    taken: set[str] = set()
    return "\n".join(_entry(paper, _unique(_key(paper.record), taken), links) for paper in papers)


def ris(papers: Iterable[Paper], links: Links) -> str:
    """One record a paper, lines ended by CRLF as the format asks."""
    return "".join(_ris_record(paper, links) for paper in papers)


def citation_meta(paper: Paper, links: Links) -> list[tuple[str, str]]:
    """(name, content) of the meta elements that reference managers read, in the names of Highwire Press."""
    record = paper.record
    meta = [("citation_title", clean(record.title))]
    meta += [("citation_author", clean(name)) for name in record.authors]
    if record.published:
        meta.append(("citation_publication_date", f"{record.published:%Y/%m/%d}"))
    if record.doi:
        meta.append(("citation_doi", record.doi))
    if record.arxiv_id:
        meta.append(("citation_arxiv_id", record.arxiv_id))
        meta.append(("citation_pdf_url", f"https://arxiv.org/pdf/{record.arxiv_id}"))
    if record.abstract:
        meta.append(("citation_abstract", clean(record.abstract)))
    meta.append(("citation_abstract_html_url", links.paper(paper.id)))
    return meta


def _entry(paper: Paper, key: str, links: Links) -> str:
    record = paper.record
    fields = {
        "title": "{" + _tex(record.title) + "}",  # braces keep its capitals
        "author": " and ".join(_tex(name) for name in record.authors) + _others(record),
        "year": str(record.published.year) if record.published else "",
        "month": f"{record.published.month:02d}" if record.published else "",
        "doi": _tex(record.doi or ""),
        "eprint": _tex(record.arxiv_id or ""),
        "archiveprefix": "arXiv" if record.arxiv_id else "",
        "url": re.sub(r"[{}\\]", "", paper_url(paper, links)),
        "abstract": _tex(record.abstract),
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}\n"


def _others(record: PaperRecord) -> str:
    return " and others" if record.authors and (record.author_count or 0) > len(record.authors) else ""


def _ris_record(paper: Paper, links: Links) -> str:
    record = paper.record
    lines = [("TY", "GEN"), ("TI", clean(record.title))]
    lines += [("AU", _family_first(name)) for name in record.authors]
    if record.published:
        lines += [("PY", str(record.published.year)), ("DA", f"{record.published:%Y/%m/%d}")]
    lines += [("DO", record.doi or ""), ("AN", f"arXiv:{record.arxiv_id}" if record.arxiv_id else "")]
    lines += [("UR", paper_url(paper, links)), ("AB", clean(record.abstract)), ("ER", "")]
    return "".join(f"{tag}  - {value}\r\n" for tag, value in lines if value or tag == "ER")


def _family_first(name: str) -> str:
    """`Lovelace, Ada` of `Ada Lovelace`; a name with a comma, or of one word, as it is."""
    name = clean(name)
    given, _, family = name.rpartition(" ")
    return name if "," in name or not given else f"{family}, {given}"


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in clean(text))


def _key(record: PaperRecord) -> str:
    """`lovelace2026moss`: first author's family name, year, first telling word of the title."""
    family = clean(record.authors[0]).split(",")[0].split()[-1:] if record.authors else []
    words = [w for w in re.findall(r"[A-Za-z0-9]+", record.title) if w.lower() not in _SMALL]
    year = str(record.published.year) if record.published else ""
    name = unicodedata.normalize("NFKD", "".join(family).lower())  # Erdős is erdos
    key = re.sub(r"[^a-z0-9]", "", name) + year + "".join(words[:1]).lower()
    return key or "paper"


def _unique(key: str, taken: set[str]) -> str:
    number, found = 1, key
    while found in taken:
        number += 1
        found = f"{key}-{number}"
    taken.add(found)
    return found

"""BibTeX and BibLaTeX, as people keep their libraries."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from datetime import date

from bibtexparser.entrypoint import parse_string
from bibtexparser.model import (
    Block,
    DuplicateBlockKeyBlock,
    DuplicateFieldKeyBlock,
    Entry,
    ParsingFailedBlock,
)

from digestbot.drops.entry import BadField, Place, make_record
from digestbot.drops.identifiers import find_arxiv_id
from digestbot.drops.source import Source, decode
from digestbot.drops.text import MAX_ABSTRACT, clean
from digestbot.mathtext import decode_latex
from digestbot.model import PaperRecord, Rejection

NAME = "bibtex"
_ENTRY = re.compile(r"^\s*@\s*[A-Za-z]+\s*[{(]", re.MULTILINE)
_PIECE = re.compile(r'[\s#]*(?:[{"]|(?P<name>[^\s#{"]+))')
_SIGN = re.compile(r'(?<!\\)[{}"]')

logging.getLogger("bibtexparser").setLevel(logging.CRITICAL + 1)  # its complaints stand in our report


def recognises(head: str) -> bool:
    return _ENTRY.search(head) is not None


def read(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    library = parse_string(decode(source.whole()), parse_stack=[])
    strings: dict[str, str] = {}
    for string in library.strings:
        strings[string.key.lower()] = _value(string.value, strings)
    for block in library.blocks:
        line = (block.start_line or 0) + 1
        entry = block if isinstance(block, Entry) else _twin(block)
        if entry is not None:
            yield _read_entry(entry, strings, Place(line=line))
        elif isinstance(block, ParsingFailedBlock):
            yield Rejection(f"broken BibTeX: {_why(block)}", line=line)


def _twin(block: Block) -> Entry | None:
    """The entry of a block whose key or field names occurred before: an entry all the same."""
    if isinstance(block, DuplicateBlockKeyBlock | DuplicateFieldKeyBlock):
        inner = block.ignore_error_block
        return inner if isinstance(inner, Entry) else None
    return None


def _value(raw: str, strings: Mapping[str, str]) -> str:
    """The text of a value: one in braces or quotes, a number or the name of a string, or several joined by `#`.

    Strings of strings can grow without end, so no value grows longer than an abstract may be.
    """
    texts: list[str] = []
    at = length = 0
    while length <= MAX_ABSTRACT and (found := _PIECE.match(raw, at)):
        if found["name"]:
            text = strings.get(found["name"].lower(), found["name"])
            at = found.end()
        else:
            end = _closing(raw, found.end())
            text = raw[found.end() : end]
            at = end + 1
        texts.append(text)
        length += len(text)
    return "".join(texts)


def _closing(raw: str, start: int) -> int:
    """Where what was opened right before `start` is closed; the end of the value where it is not."""
    quoted = raw[start - 1] == '"'
    depth = 0 if quoted else 1
    for sign in _SIGN.finditer(raw, start):
        depth += {"{": 1, "}": -1}.get(sign[0], 0)
        if depth <= 0 and sign[0] == ('"' if quoted else "}"):
            return sign.start()
    return len(raw)


def _why(block: ParsingFailedBlock) -> str:
    return clean(getattr(block.error, "abort_reason", None) or str(block.error) or "cannot be read")[:200]


def _read_entry(entry: Entry, strings: Mapping[str, str], place: Place) -> PaperRecord | Rejection:
    fields: dict[str, str] = {}
    for field in entry.fields:
        fields.setdefault(field.key.lower(), _value(str(field.value), strings))
    try:
        return _record(fields)
    except BadField as error:
        return place.rejection(str(error))


def _record(fields: Mapping[str, str]) -> PaperRecord:
    arxiv = _arxiv(fields)
    return make_record(
        _plain(fields.get("title", "")),
        abstract=_plain(fields.get("abstract", "")),
        authors=_authors(fields.get("author", "")),
        published=_date(fields.get("date", "")),
        categories=(fields.get("primaryclass", ""),),
        url=fields.get("url", "").replace("\\", ""),
        arxiv_id=arxiv[0] if arxiv else None,
        arxiv_version=arxiv[1] if arxiv else None,
        doi=fields.get("doi", "").replace("\\", ""),
    )


def _arxiv(fields: Mapping[str, str]) -> tuple[str, int | None] | None:
    kind = fields.get("archiveprefix", fields.get("eprinttype", "")).lower()
    if "eprint" in fields and kind in ("arxiv", ""):
        return find_arxiv_id(f"arxiv:{fields['eprint'].lower().removeprefix('arxiv:')}")
    texts = (fields.get(name, "") for name in ("url", "journal", "journaltitle", "note", "howpublished"))
    return next(filter(None, map(find_arxiv_id, texts)), None)


def _plain(text: str) -> str:
    return decode_latex(text) if any(sign in text for sign in "\\{}~") else text


def _authors(text: str) -> list[str]:
    """`A and B`, where an `and` within braces belongs to a name; `others` is nobody."""
    names, depth, name = [], 0, ""
    for part in re.split(r"(\s+and\s+|[{}])", text):
        depth += {"{": 1, "}": -1}.get(part, 0)
        if depth <= 0 and part.strip().lower() == "and":
            names.append(name)
            name = ""
        else:
            name += part
    return [_plain(name) for name in (*names, name) if name.strip().lower() != "others"]


def _date(text: str) -> date | None:
    """BibLaTeX's date where it is a whole one."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)(?:[T/].*)?", text.strip())
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None

"""Reads a drop; `read_drop` finds the format from the content.

A format is a module with `recognises(head) -> bool` and `read(source, received) -> Iterator[PaperRecord | Rejection]`;
docs/formats.md says how to add one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from digestbot.drops import bibtex, feeds, huggingface, jsonlines, pages, ris, table
from digestbot.drops.source import Source, decode_head
from digestbot.errors import DropError
from digestbot.model import PaperRecord, Rejection, Revision


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is called in reports, told from others, and read."""

    name: str
    recognises: Callable[[str], bool]
    read: Callable[[Source, date], Iterator[PaperRecord | Revision | Rejection]]


FORMATS = (  # in the order of asking: the surest signs first
    Format(huggingface.NAME, huggingface.recognises, huggingface.read),
    Format(jsonlines.LIST, jsonlines.recognises_list, jsonlines.read_list),
    Format(jsonlines.NAME, jsonlines.recognises, jsonlines.read),
    Format(feeds.ARXIV_ATOM, feeds.recognises_arxiv_atom, feeds.read_arxiv_atom),
    Format(feeds.ARXIV_RSS, feeds.recognises_arxiv_rss, feeds.read_arxiv_rss),
    Format(feeds.FEED, feeds.recognises_feed, feeds.read_feed),
    Format(pages.DENSE, pages.recognises_dense, pages.read),
    Format(ris.NAME, ris.recognises, ris.read),
    Format(table.NAME, table.recognises, table.read),
    Format(pages.SPACED, pages.recognises_spaced, pages.read),
    Format(bibtex.NAME, bibtex.recognises, bibtex.read),
)

DEFECT = "cannot be read for a defect of digestbot; please report it with the file"
PACKED = {b"\x1f\x8b": "packed with gzip twice", b"PK\x03\x04": "a ZIP archive", b"BZh": "packed with bzip2"}

log = logging.getLogger(__name__)

PAGES = frozenset({pages.DENSE, pages.SPACED})
# What lists the papers of a day; the others are collections of any size.
DAILY = PAGES | {huggingface.NAME, feeds.ARXIV_ATOM, feeds.ARXIV_RSS, feeds.FEED}


class DropReading:
    """One drop being read. Iterate once: papers and rejections in the order of the file, streaming where the
    format allows it. Raises DropError if nothing came before the trouble, else reports it as the last rejection."""

    def __init__(self, source: Source, form: Format, received: date) -> None:
        self._source = source
        self._form = form
        self._received = received
        self.sha256 = ""  # of the file's bytes, once the iteration has ended

    @property
    def format(self) -> str:
        return self._form.name

    @property
    def size(self) -> int:
        """Of the file in bytes."""
        return self._source.size

    @property
    def position(self) -> int:
        """Bytes of the file read so far."""
        return self._source.position

    def __iter__(self) -> Iterator[PaperRecord | Revision | Rejection]:
        found = False
        with self._source:
            try:
                for item in self._form.read(self._source, self._received):
                    found = found or not isinstance(item, Rejection)
                    yield item
            except DropError as error:
                if not found:
                    raise
                yield Rejection(str(error), error.line, error.entry)
            except Exception as error:  # a defect, ours or a library's: one drop must not stop those after it
                log.exception("the reader of %s", self.format)
                raise DropError(f"{DEFECT} ({type(error).__name__} in {self.format})") from error
            self.sha256 = self._source.sha256()


def read_drop(path: Path, *, received: date) -> DropReading:
    """Opens a drop and recognises its format; `received` is the day that dates without a year are seen from.

    Raises DropError for what cannot be opened, is empty, is binary or is of no known format.
    """
    source = Source(path)
    try:
        return DropReading(source, recognise(source.head), received)
    except DropError:
        with source:
            source.refuse_bomb()
        raise


def recognise(head: bytes) -> Format:
    """The format of a file that begins so (its first 64 KiB); raises DropError."""
    for sign, kind in PACKED.items():
        if head.startswith(sign):
            raise DropError(f"{kind}; unpack it")
    text = decode_head(head)
    if not text.strip("\ufeff\x00 \t\r\n\v\f\x1a"):
        raise DropError("the file holds nothing but zeros" if b"\0" in head else "the file is empty")
    odd = sum(text.count(character) for character in map(chr, (*range(9), *range(14, 27), *range(28, 32))))
    if odd > len(text) / 200:
        raise DropError("a binary file, no text")
    for form in FORMATS:
        if form.recognises(text):
            return form
    if re.match(r"\s*(?:<!doctype html|<html|<head)", text, re.IGNORECASE):
        raise DropError("an HTML page; save it as text, or its feed")
    raise DropError("no format that digestbot knows")

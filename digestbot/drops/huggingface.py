"""What https://huggingface.co/api/daily_papers answers: a JSON list of `{"paper": {...}, "numComments": n, ...}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date

from digestbot.drops.entry import BadField, Place, make_record, read_count, read_date, read_text
from digestbot.drops.jsonlines import read_items, read_names
from digestbot.drops.source import Source
from digestbot.model import PaperRecord, Rejection

NAME = "huggingface"


def recognises(head: str) -> bool:
    return head.lstrip().startswith("[") and re.search(r'"paper"\s*:\s*\{', head) is not None


def read(source: Source, _received: date) -> Iterator[PaperRecord | Rejection]:
    for number, item in enumerate(read_items(source.whole()), 1):
        try:
            yield _record(item)
        except BadField as error:
            yield Place(entry=number).rejection(str(error))


def _record(item: object) -> PaperRecord:
    paper = item.get("paper") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(paper, dict):
        raise BadField("no object with a paper")
    fields: Mapping[str, object] = paper
    return make_record(
        read_text(fields, "title") or read_text(item, "title") or "",
        abstract=read_text(fields, "summary") or read_text(item, "summary") or "",
        authors=read_names(fields, "authors"),
        published=read_date(read_text(fields, "publishedAt"), "publishedAt"),
        code_url=read_text(fields, "githubRepo"),
        arxiv_id=read_text(fields, "id"),
        upvotes=read_count(fields.get("upvotes"), "upvotes"),
        comments=read_count(item.get("numComments"), "numComments"),
    )

"""How papers and their versions lie in the database: a row of columns, a JSON object of differences."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from datetime import date
from json.encoder import encode_basestring
from typing import cast

from digestbot.model import Paper, PaperId, PaperRecord
from digestbot.storage.database import Row, Value, from_epoch

FIELDS = tuple(field.name for field in fields(PaperRecord))
PAPER_COLUMNS = ", ".join(("id", *FIELDS, "first_seen", "mailable", "sightings"))
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def record_values(record: PaperRecord) -> list[Value]:
    """The columns of FIELDS."""
    return [
        record.title,
        record.abstract,
        _json_list(record.authors),
        record.author_count,
        record.published.isoformat() if record.published else None,
        _json_list(record.categories),
        record.url,
        record.code_url,
        record.arxiv_id,
        record.arxiv_version,
        record.doi,
        record.upvotes,
        record.comments,
    ]


def read_paper(row: Row) -> Paper:
    """A paper of a row of PAPER_COLUMNS."""
    identifier, *values, first_seen, mailable, sightings = row
    return Paper(
        id=PaperId(cast(int, identifier)),
        record=_record(values),
        first_seen=None if first_seen is None else from_epoch(first_seen),
        mailable=bool(mailable),
        sightings=cast(int, sightings),
    )


def _record(values: Iterable[Value]) -> PaperRecord:
    """What `record_values` made columns of."""
    title, abstract, authors, count, published, categories, *rest = values
    return PaperRecord(
        cast(str, title),
        cast(str, abstract),
        tuple(json.loads(cast(str, authors))),
        cast("int | None", count),
        date.fromisoformat(published) if isinstance(published, str) else None,
        tuple(json.loads(cast(str, categories))),
        *rest,  # type: ignore[arg-type]
    )


def pack_version(version: PaperRecord, base: PaperRecord) -> str:
    """What a bare record says otherwise than its paper does, as JSON; '{}' where they say the same."""
    if version == base:
        return "{}"
    pairs = zip(FIELDS, record_values(version), record_values(base), strict=True)
    return to_json({name: value for name, value, other in pairs if value != other})


def unpack_version(packed: str, base: PaperRecord) -> PaperRecord:
    if packed == "{}":
        return base
    said = dict(zip(FIELDS, record_values(base), strict=True)) | json.loads(packed)
    return _record(said.values())


def _json_list(texts: Iterable[str]) -> str:
    """As to_json, which takes eight times as long to begin."""
    return f"[{','.join(map(encode_basestring, texts))}]"


def to_json(value: object) -> str:
    return _ENCODER.encode(value)

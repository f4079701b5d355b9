"""How a digest's papers lie in one column: JSON text, readable with json_each, 250 bytes for ten papers.

[[paper ids, in the order shown],
 [their scores, in thousandths],
 [what speaks for each: indexes into the next list],
 [[card length, topic or -1, kind, detail, kind, detail ...], ...],      topic and details: indexes into the words
 [words],
 papers that did not fit]
"""

from __future__ import annotations

import json
from datetime import date

from digestbot.model import CardLength, Digest, DigestPaper, PaperId, Reason, ReasonKind, SubscriberId
from digestbot.storage.database import Value, from_epoch

KINDS = tuple(ReasonKind)  # stored by position: new ones are added at the end


def pack_papers(digest: Digest) -> str:
    """The papers as text. Most share topic and reasons with another, so each of these is written once."""
    words: dict[str, int] = {}
    whys: dict[tuple[int, ...], int] = {}
    chosen = [whys.setdefault(_why(paper, words), len(whys)) for paper in digest.papers]
    scores = [round(paper.score * 1000) for paper in digest.papers]
    ids = [paper.paper_id for paper in digest.papers]
    return to_json([ids, scores, chosen, list(whys), list(words), digest.more])


def unpack_digest(subscriber_id: SubscriberId, slot: date, composed_at: Value, text: str) -> Digest:
    ids, scores, chosen, whys, words, more = json.loads(text)
    read = [_read_why(why, words) for why in whys]
    papers = tuple(
        DigestPaper(PaperId(paper_id), score / 1000, *read[why])
        for paper_id, score, why in zip(ids, scores, chosen, strict=True)
    )
    return Digest(subscriber_id, slot, from_epoch(composed_at), papers, more)


def packed_paper_ids(text: str) -> list[PaperId]:
    return [PaperId(paper_id) for paper_id in json.loads(text)[0]]


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _why(paper: DigestPaper, words: dict[str, int]) -> tuple[int, ...]:
    why = [int(paper.length), -1 if paper.topic is None else words.setdefault(paper.topic, len(words))]
    for reason in paper.reasons:
        why += (KINDS.index(reason.kind), words.setdefault(reason.detail, len(words)))
    return tuple(why)


def _read_why(why: list[int], words: list[str]) -> tuple[str | None, tuple[Reason, ...], CardLength]:
    """Topic, reasons and length, in the order of DigestPaper's fields."""
    length, topic, *reasons = why
    read = tuple(
        Reason(KINDS[kind], words[detail]) for kind, detail in zip(reasons[::2], reasons[1::2], strict=True)
    )
    return None if topic < 0 else words[topic], read, CardLength(length)

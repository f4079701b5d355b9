"""How a digest's papers lie in one column: JSON text, readable with json_each, 300 bytes for ten papers.

{"papers": [[id, score in thousandths, index into "why"], ...],                       in the order shown
 "why": [[card length, topic or -1, kind, detail, kind, detail ...], ...],   topics and details: indexes into "words"
 "words": [...], "more": papers that did not fit, left out for 0}

After a season only the ids are kept: {"papers": [[id], ...]}, with "more".
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
    papers = [
        [paper.paper_id, round(paper.score * 1000), whys.setdefault(_why(paper, words), len(whys))]
        for paper in digest.papers
    ]
    packed: dict[str, object] = {"papers": papers, "why": list(whys), "words": list(words)}
    return to_json(packed | {"more": digest.more} if digest.more else packed)


def unpack_digest(subscriber_id: SubscriberId, slot: date, composed_at: Value, text: str) -> Digest:
    packed = json.loads(text)
    if "why" not in packed:
        papers = tuple(DigestPaper(PaperId(paper_id), 0.0, None, ()) for (paper_id,) in packed["papers"])
        return Digest(subscriber_id, slot, from_epoch(composed_at), papers, packed.get("more", 0))
    whys = [_read_why(why, packed["words"]) for why in packed["why"]]
    papers = tuple(
        DigestPaper(PaperId(paper_id), score / 1000, *whys[why]) for paper_id, score, why in packed["papers"]
    )
    return Digest(subscriber_id, slot, from_epoch(composed_at), papers, packed.get("more", 0))


def packed_paper_ids(text: str) -> list[PaperId]:
    return [PaperId(paper_id) for paper_id, *_ in json.loads(text)["papers"]]


def folded(text: str) -> str:
    """The packed papers without scores, topics and reasons; the same of what is folded already."""
    packed = json.loads(text)
    kept: dict[str, object] = {"papers": [[paper_id] for paper_id, *_ in packed["papers"]]}
    return to_json(kept | {"more": packed["more"]} if "more" in packed else kept)


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

"""How a digest's papers lie in one column: JSON text, readable with json_each, 300 bytes for ten papers."""

from __future__ import annotations

import json
from datetime import date

from digestbot.model import CardLength, Digest, DigestPaper, PaperId, Reason, ReasonKind, SubscriberId
from digestbot.storage.database import Value, from_epoch


def pack_papers(digest: Digest) -> str:
    """A digest's papers as JSON: `{"papers": [[id, score, length, topic, reason, ...]], "words": [...], "more": n}`.

    Topic and reasons are indexes into `words`, topic null for none; a reason reads `kind:detail`. `more` stands
    only where not 0.
    """
    words: dict[str, int] = {}

    def index(word: str) -> int:
        return words.setdefault(word, len(words))

    papers = [
        [
            paper.paper_id,
            round(paper.score, 3),
            int(paper.length),
            None if paper.topic is None else index(paper.topic),
            *(index(f"{reason.kind}:{reason.detail}") for reason in paper.reasons),
        ]
        for paper in digest.papers
    ]
    packed: dict[str, object] = {"papers": papers, "words": list(words)}
    if digest.more:
        packed["more"] = digest.more
    return to_json(packed)


def unpack_digest(subscriber_id: SubscriberId, slot: date, composed_at: Value, text: str) -> Digest:
    packed = json.loads(text)
    words: list[str] = packed["words"]
    papers = tuple(
        DigestPaper(
            PaperId(paper_id),
            float(score),
            None if topic is None else words[topic],
            tuple(_reason(words[index]) for index in reasons),
            CardLength(length),
        )
        for paper_id, score, length, topic, *reasons in packed["papers"]
    )
    return Digest(subscriber_id, slot, from_epoch(composed_at), papers, packed.get("more", 0))


def _reason(word: str) -> Reason:
    kind, _, detail = word.partition(":")
    return Reason(ReasonKind(kind), detail)


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

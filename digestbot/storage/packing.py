"""How a digest lies in its entry: 220 bytes for ten papers, 60 when a season is over.

papers: the ids in the order shown, JSON, for queries with json_each.
more: papers that did not fit; NULL for 0.
why: scores, lengths, topics and reasons, which leave after a season (NULL); numbers as characters, then the words:
    counts of papers, of whys and of words; of each paper its score in thousandths; of each paper its why;
    of each why the count of what follows, then card length, topic + 1 or 0, kind, detail, kind, detail ...;
    of each word its length; the words, to which topics and details are indexes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date

from digestbot.model import CardLength, Digest, DigestPaper, PaperId, Reason, ReasonKind, SubscriberId
from digestbot.storage.database import Value, as_int, as_text, from_epoch

KINDS = tuple(ReasonKind)  # stored by position: new ones are added at the end
_ZERO = 32  # the character of 0: a space, for PostgreSQL cannot hold NUL


def pack_digest(digest: Digest) -> tuple[str, str, int | None]:
    """The values of `papers, why, more`. Most papers share topic and reasons with another, so each of these is written
    once."""
    words: dict[str, int] = {}
    whys: dict[tuple[int, ...], int] = {}
    scores = [round(paper.score * 1000) for paper in digest.papers]
    chosen = [whys.setdefault(_why(paper, words), len(whys)) for paper in digest.papers]
    numbers = [len(scores), len(whys), len(words), *scores, *chosen]
    for why in whys:
        numbers += (len(why), *why)
    numbers += map(len, words)
    written = "".join([chr(number + _ZERO) for number in numbers])
    return pack_ids(paper.paper_id for paper in digest.papers), written + "".join(words), digest.more or None


def pack_ids(papers: Iterable[PaperId]) -> str:
    return to_json(list(papers))


def unpack_digest(
    subscriber_id: SubscriberId, slot: date, composed_at: Value, *, papers: Value, why: Value, more: Value
) -> Digest:
    ids = unpack_ids(papers)
    if why is None:
        shown = tuple(DigestPaper(paper_id, 0.0, None, ()) for paper_id in ids)
    else:
        scores, chosen, whys = _read(as_text(why))
        shown = tuple(
            DigestPaper(paper_id, score / 1000, *whys[number])
            for paper_id, score, number in zip(ids, scores, chosen, strict=True)
        )
    return Digest(subscriber_id, slot, from_epoch(composed_at), shown, 0 if more is None else as_int(more))


def unpack_ids(papers: Value) -> list[PaperId]:
    found: list[PaperId] = json.loads(as_text(papers))
    return found


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _why(paper: DigestPaper, words: dict[str, int]) -> tuple[int, ...]:
    topic = 0 if paper.topic is None else words.setdefault(paper.topic, len(words)) + 1
    why = [int(paper.length), topic]
    for reason in paper.reasons:
        why += (KINDS.index(reason.kind), words.setdefault(reason.detail, len(words)))
    return tuple(why)


Why = tuple[str | None, tuple[Reason, ...], CardLength]  # topic, reasons and length, as in DigestPaper


def _read(text: str) -> tuple[list[int], list[int], list[Why]]:
    """Of each paper its score and its why; the whys."""
    papers, whys, words = _numbers(text[:3])
    at = 3 + 2 * papers
    scores, chosen = _numbers(text[3 : 3 + papers]), _numbers(text[3 + papers : at])
    found = []
    for _ in range(whys):
        [count] = _numbers(text[at])
        found.append(_numbers(text[at + 1 : at + 1 + count]))
        at += 1 + count
    start, spelt = at + words, []
    for length in _numbers(text[at:start]):
        spelt.append(text[start : start + length])
        start += length
    return scores, chosen, [_read_why(why, spelt) for why in found]


def _numbers(text: str) -> list[int]:
    return [ord(character) - _ZERO for character in text]


def _read_why(why: list[int], words: list[str]) -> Why:
    length, topic, *reasons = why
    read = tuple(
        Reason(KINDS[kind], words[detail]) for kind, detail in zip(reasons[::2], reasons[1::2], strict=True)
    )
    return words[topic - 1] if topic else None, read, CardLength(length)

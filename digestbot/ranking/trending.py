"""What everybody talks about: upvotes, comments, sightings in several drops and readers' votes, decaying with age."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

from digestbot.model import Paper, PaperId, Reason, ReasonKind

HALF_LIFE_DAYS = 3.0
COMMENT = 2.0  # upvotes that a comment is worth
SIGHTING = 5.0  # that each further drop with the paper is worth
READER = 3.0  # that the net vote of one of our own readers is worth
HALF_WAY = 30.0  # upvotes of a fresh paper with score 0.5


def trending(
    papers: Iterable[Paper], now: datetime, votes: Mapping[PaperId, int] | None = None
) -> list[tuple[PaperId, float, Reason]]:
    """(paper, score in (0, 1), reason), best first, ties by id; papers nobody noticed are left out.

    `votes`: likes less dislikes of our readers by paper.
    """
    found = []
    for paper in papers:
        liked = max(0, (votes or {}).get(paper.id, 0))
        interest = _interest(paper, liked)
        if interest > 0 and paper.first_seen is not None:
            days = max(0.0, (now - paper.first_seen).total_seconds() / 86_400)
            fresh = interest * math.exp2(-days / HALF_LIFE_DAYS)
            score = round(fresh / (fresh + HALF_WAY), 6)
            found.append((paper.id, score, Reason(ReasonKind.TRENDING, _noticed(paper, liked))))
    return sorted((entry for entry in found if entry[1] > 0), key=lambda entry: (-entry[1], entry[0]))


def _interest(paper: Paper, liked: int) -> float:
    record = paper.record
    return (
        max(0, record.upvotes or 0)
        + COMMENT * max(0, record.comments or 0)
        + SIGHTING * max(0, paper.sightings - 1)
        + READER * liked
    )


def _noticed(paper: Paper, liked: int) -> str:
    """The largest sign of interest, in words."""
    record = paper.record
    signs = [
        (max(0, record.upvotes or 0), "upvote"),
        (COMMENT * max(0, record.comments or 0), "comment"),
        (READER * liked, "reader"),
        (SIGHTING * max(0, paper.sightings - 1), "sighting"),
    ]
    worth, sign = max(signs, key=lambda pair: pair[0])
    if sign == "sighting":
        return f"seen in {paper.sightings} drops"
    count = round(worth / {"upvote": 1.0, "comment": COMMENT, "reader": READER}[sign])
    if sign == "reader":
        return f"liked by {count} {'reader' if count == 1 else 'readers'} here"
    return f"{count} {sign}{'' if count == 1 else 's'}"

"""Which of the ranked papers make a digest: no near-copies, and every topic gets its turn.

Maximal marginal relevance (Carbonell and Goldstein 1998) with a share for topics: a paper's worth is its score, less
for each likeness to a chosen one and less for each paper its topic already has. Followed authors come first, always.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from digestbot.model import Scored
from digestbot.ranking.candidates import Index
from digestbot.ranking.scoring import AUTHOR_FLOOR
from digestbot.ranking.statistics import normalise

LIKENESS = 0.5  # share of its score that a full copy of a chosen paper keeps back
COPY = 0.9  # cosine from which two papers are one to a reader: the second waits until nothing else is left
CROWD = 0.8  # what each further paper of the same topic counts of the one before


def diversify(index: Index, ranked: Sequence[Scored], *, most: int) -> list[Scored]:
    """At most `most` of `ranked` in the order to show them; the choice for fewer begins the choice for more."""
    if most <= 0 or not ranked:
        return []
    vectors = normalise(index.vectors[[index.row_of[paper.paper_id] for paper in ranked]])
    likeness = np.zeros(len(ranked))
    chosen: list[int] = []
    taken: dict[str | None, int] = {}
    left = list(range(len(ranked)))
    while left and len(chosen) < most:
        best = max(left, key=lambda at: (*_worth(ranked[at], float(likeness[at]), taken), -at))
        left.remove(best)
        chosen.append(best)
        taken[ranked[best].topic] = taken.get(ranked[best].topic, 0) + 1
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return [ranked[at] for at in chosen]


def _worth(paper: Scored, likeness: float, taken: dict[str | None, int]) -> tuple[bool, bool, float]:
    fresh = paper.score * (1.0 - LIKENESS * max(0.0, likeness))
    crowd = CROWD ** taken.get(paper.topic, 0) if paper.topic is not None else 1.0
    return paper.score >= AUTHOR_FLOOR, likeness < COPY, round(fresh * crowd, 9)

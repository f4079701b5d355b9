"""Which of the ranked papers make a digest: no near-copies, and every topic gets its turn.

Maximal marginal relevance (Carbonell and Goldstein 1998) with a share for topics: a paper's worth is its score, less
for each likeness to a chosen one and less for each paper its topic already has. Followed authors come first, always.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace

from digestbot.model import Scored
from digestbot.ranking.candidates import Index
from digestbot.ranking.weighing import AUTHOR_FLOOR

LIKENESS = 0.5  # share of its score that a full copy of a chosen paper keeps back
COPY = 0.9  # cosine from which two papers are one to a reader: the second waits until nothing else is left
CROWD = 0.8  # what each further paper of the same topic counts of the one before

# The least comes first: (not by a followed author, a copy of a chosen one, less the score that likeness leaves, its place
# in the ranking, how many of the chosen it was compared with).
Standing = tuple[bool, bool, float, int, int]


def diversify(index: Index, ranked: Sequence[Scored], *, most: int) -> list[Scored]:
    """At most `most` of `ranked` in the order to show them; the choice for fewer begins the choice for more.

    Choosing a paper lowers what others stand for and never raises it, so only the leader of each topic is compared with
    what was chosen meanwhile (lazy greedy: Minoux 1978).
    """
    rows = [index.row_of[paper.paper_id] for paper in ranked]
    likeness = [0.0] * len(ranked)  # to the nearest of the chosen that it was compared with
    topics: dict[str | None, list[Standing]] = {}
    for at, paper in enumerate(ranked):
        topics.setdefault(paper.topic, []).append((paper.score < AUTHOR_FLOOR, False, -paper.score, at, 0))
    for queue in topics.values():
        heapify(queue)
    chosen: list[int] = []
    likenesses: list[array[float]] = []  # of each chosen one to all
    crowd = dict.fromkeys(topics, 1.0)
    while topics and len(chosen) < most:
        leaders = []
        for topic, queue in topics.items():
            while (compared := queue[0][4]) < len(chosen):
                at = queue[0][3]
                row = rows[at]
                likeness[at] = max(likeness[at], max([of[row] for of in likenesses[compared:]]))
                fresh = ranked[at].score * (1.0 - LIKENESS * likeness[at])
                heapreplace(queue, (queue[0][0], likeness[at] >= COPY, -fresh, at, len(chosen)))
            stranger, copy, less, at, _ = queue[0]
            leaders.append((stranger, copy, round(less * crowd[topic], 9), at, topic))
        *_, at, topic = min(leaders, key=lambda leader: leader[:4])
        chosen.append(at)
        likenesses.append(index.likeness(rows[at]))
        heappop(topics[topic])
        if not topics[topic]:
            del topics[topic]
        if topic is not None:
            crowd[topic] *= CROWD
    return [ranked[at] for at in chosen]

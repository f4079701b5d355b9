"""Profiles to rankings: evidence of topics and votes added up for a block of subscribers at once.

score = 1 - exp(-evidence): two independent reasons at 0.5 make 0.75. Nothing but the profile, the candidate and the
catalogue's statistics enters a score, so it means the same on a slow day and on a busy one.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from digestbot.model import PaperId, Reason, ReasonKind, Scored, Topic, TopicProfile, Vote
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import Floats
from digestbot.ranking.topics import TopicEvidence, topic_evidence
from digestbot.ranking.votes import VoteEvidence, VoteLearner, latest_opinions

AUTHOR_FLOOR = 0.95  # a followed author's papers score at least this, all others less
KEPT_BY_TERM = 0.1  # what dislikes leave at least of a topic's evidence
DECIMALS = 6  # of a score: rounding in the last digits never turns an order


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one subscriber's profile says of the candidates."""

    scored: tuple[Scored, ...]  # best first, at most `depth`
    scores: tuple[float, ...]  # all above 0, best first
    candidates: int  # left after those sent or voted on
    excluded: int  # of these, barred by an excluded term

    @property
    def best(self) -> float:
        return self.scores[0] if self.scores else 0.0

    def above(self, minimum: float) -> int:
        """How many papers score more than `minimum`."""
        return sum(score > minimum for score in self.scores)


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that speaks for and against the candidates, for one subscriber. Arrays have one value per candidate."""

    topics: tuple[tuple[Topic, TopicEvidence], ...]
    votes: VoteEvidence | None
    barred: frozenset[int]  # sent before, or voted on
    excluded: frozenset[int]  # by an excluded term
    scores: Floats  # 0 where barred or excluded


class Ranker:
    """Remembers, for one index, what equal topics of different subscribers say."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._learner = VoteLearner(index)
        self._topics: dict[Topic, TopicEvidence] = {}

    def weigh(self, profile: TopicProfile, sent: AbstractSet[PaperId], now: datetime) -> Evidence:
        """Everything the profile says of every candidate."""
        index = self.index
        opinions: dict[PaperId, Vote] = latest_opinions(profile.votes) if profile.votes else {}
        row_of = index.row_of
        barred = {row_of[paper] for paper in sent if paper in row_of}
        barred.update(row_of[paper] for paper in opinions if paper in row_of)
        topics = tuple((topic, self._evidence(topic)) for topic in profile.topics)
        votes = self._learner.learn(opinions, now) if opinions else None
        excluded = {row for topic in profile.topics for term in topic.exclude for row in index.matches(term)}
        scores = self._scores(topics, votes)
        out = [row for row in barred | excluded if row < index.size]
        scores[out] = 0.0
        return Evidence(
            topics,
            votes,
            frozenset(row for row in barred if row < index.size),
            frozenset(excluded - barred),
            scores,
        )

    def _evidence(self, topic: Topic) -> TopicEvidence:
        found = self._topics.get(topic)
        if found is None:
            found = self._topics[topic] = topic_evidence(self.index, topic)
        return found

    def _scores(self, topics: Sequence[tuple[Topic, TopicEvidence]], votes: VoteEvidence | None) -> Floats:
        total = np.zeros(self.index.size)
        for topic, said in topics:
            if said.terms and topic.weight > 0:
                total[list(said.terms)] += topic.weight * np.fromiter(said.terms.values(), float)
        if votes is not None:
            total = np.maximum(total + votes.evidence, KEPT_BY_TERM * total)
        scores = AUTHOR_FLOOR * (1.0 - np.exp(-total))
        written = list({row for topic, said in topics if topic.weight > 0 for row in said.authors})
        if written:
            scores[written] = AUTHOR_FLOOR + (1.0 - AUTHOR_FLOOR) * (1.0 - np.exp(-total[written]))
        return np.round(scores, DECIMALS)


def rank(
    index: Index,
    profiles: Sequence[TopicProfile],
    barred: Sequence[AbstractSet[PaperId]],
    *,
    now: datetime,
    depth: int,
) -> list[Ranking]:
    """One ranking per profile; `barred[i]` was already sent to subscriber i, `now` ages the votes.

    Papers voted on and papers with an excluded term never appear. Equal scores are in the order of ids.
    """
    ranker = Ranker(index)
    return [
        _ranking(index, ranker.weigh(profile, sent, now), depth)
        for profile, sent in zip(profiles, barred, strict=True)
    ]


def _ranking(index: Index, evidence: Evidence, depth: int) -> Ranking:
    rows = np.flatnonzero(evidence.scores)
    ordered = sorted(rows.tolist(), key=lambda row: (-evidence.scores[row], index.papers[row].id))
    return Ranking(
        scored=tuple(_scored(index, evidence, row) for row in ordered[:depth]),
        scores=tuple(evidence.scores[ordered].tolist()),
        candidates=index.size - len(evidence.barred),
        excluded=len(evidence.excluded),
    )


def _scored(index: Index, evidence: Evidence, row: int) -> Scored:
    speaking = [(topic, said) for topic, said in evidence.topics if row in said.terms or row in said.authors]
    loudest = max(speaking, key=lambda pair: loudness(pair[0], pair[1], row), default=None)
    return Scored(
        paper_id=index.papers[row].id,
        score=float(evidence.scores[row]),
        topic=loudest[0].name if loudest else None,
        reasons=reasons(index, evidence, row, loudest),
    )


def loudness(topic: Topic, said: TopicEvidence, row: int) -> float:
    """How much a topic says of the paper in `row`; an author's paper outdoes all terms."""
    return topic.weight * said.terms.get(row, 0.0) + (100.0 if row in said.authors else 0.0)


def reasons(
    index: Index, evidence: Evidence, row: int, loudest: tuple[Topic, TopicEvidence] | None
) -> tuple[Reason, ...]:
    """Why the paper was chosen, the strongest reason first; only what a reader can check."""
    found = []
    if loudest:
        topic, said = loudest
        if row in said.authors:
            found.append(Reason(ReasonKind.AUTHOR, said.authors[row]))
        if row in said.matched:
            found.append(Reason(ReasonKind.TERM, ", ".join(said.matched[row][:3])))
        elif row in said.categories:
            found.append(
                Reason(ReasonKind.CATEGORY, next(c for c in topic.categories if row in index.in_category(c)))
            )
    if evidence.votes and row in evidence.votes.nearest:
        found.append(Reason(ReasonKind.LIKED, index.papers[evidence.votes.nearest[row]].record.title))
    return tuple(found)

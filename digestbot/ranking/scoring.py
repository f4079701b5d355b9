"""Profiles to rankings: evidence of topics and votes added up for a block of subscribers at once.

score = 1 - exp(-evidence): two independent reasons at 0.5 make 0.75. Nothing but the profile, the candidate and the
catalogue's statistics enters a score, so it means the same on a slow day and on a busy one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from digestbot.model import PaperId, Reason, ReasonKind, Scored, Topic, TopicProfile, Vote
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import Floats
from digestbot.ranking.topics import CLEAR, MEANING, WHOLE, TopicEvidence, gather_evidence, whole_meaning
from digestbot.ranking.votes import VoteEvidence, VoteLearner, latest_opinions

AUTHOR_FLOOR = 0.95  # a followed author's papers score at least this, all others less
KEPT = 0.1  # what dislikes leave at least of the evidence of terms
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

    topics: tuple[tuple[Topic, TopicEvidence], ...]  # of weight above 0
    meaning: Floats  # of all topics together, in standard deviations
    votes: VoteEvidence | None
    barred: frozenset[int]  # sent before, or voted on
    excluded: frozenset[int]  # by an excluded term
    relevance: Floats  # in nats, also of papers without evidence
    scores: Floats  # 0 where there is no evidence, or the paper is barred or excluded


class Ranker:
    """Remembers, for one index, what equal topics of different subscribers say."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._learner: VoteLearner | None = None
        self._topics: dict[Topic, TopicEvidence] = {}

    def prepare(self, profiles: Iterable[TopicProfile]) -> None:
        """Weighs the topics and votes of a block at once."""
        block = list(profiles)
        new = {topic for profile in block for topic in profile.topics if topic not in self._topics}
        self._topics.update(gather_evidence(self.index, sorted(new, key=repr)))
        voted = {vote.paper_id for profile in block for vote in profile.votes}
        if voted:
            self._learner = self._learner or VoteLearner(self.index)
            self._learner.prepare(voted)

    def weigh(self, profile: TopicProfile, sent: AbstractSet[PaperId], now: datetime) -> Evidence:
        """Everything the profile says of every candidate."""
        if any(topic not in self._topics for topic in profile.topics):
            self.prepare([profile])
        index = self.index
        topics = tuple((topic, self._topics[topic]) for topic in profile.topics if topic.weight > 0)
        opinions = latest_opinions(profile.votes) if profile.votes else {}
        votes = self._learn(opinions, now) if opinions else None
        barred = {index.row_of[paper] for paper in (*sent, *opinions) if paper in index.row_of}
        barred = {row for row in barred if row < index.size}
        excluded = {
            row for topic in profile.topics for term in topic.exclude for row in index.matches(term)
        } - barred
        meaning = self._meaning(topics)
        relevance, scores = _add_up(index.size, topics, meaning, votes)
        scores[[*barred, *excluded]] = 0.0
        return Evidence(topics, meaning, votes, frozenset(barred), frozenset(excluded), relevance, scores)

    def _learn(self, opinions: Mapping[PaperId, Vote], now: datetime) -> VoteEvidence | None:
        if self._learner is None:
            self._learner = VoteLearner(self.index)
        return self._learner.learn(opinions, now)

    def _meaning(self, topics: Sequence[tuple[Topic, TopicEvidence]]) -> Floats:
        """Of all topics together: their sum by weight, and their words read as one text."""
        if not topics:
            return np.zeros(self.index.size)
        total = sum((topic.weight * said.meaning for topic, said in topics), np.zeros(self.index.size))
        total = total / math.sqrt(sum(topic.weight**2 for topic, _ in topics))
        whole = whole_meaning(self.index, [topic for topic, _ in topics])
        if whole is None:
            return total
        share = WHOLE * math.sqrt(len(topics))
        return (total + share * whole) / math.sqrt(1.0 + share**2)


def _add_up(
    size: int, topics: Sequence[tuple[Topic, TopicEvidence]], meaning: Floats, votes: VoteEvidence | None
) -> tuple[Floats, Floats]:
    """Relevance and scores from all parts. What speaks without a term begins to count above its threshold only."""
    terms, loudest = np.zeros(size), np.zeros(size)
    written: list[int] = []
    for topic, said in topics:
        rows = list(said.terms)
        terms[rows] += topic.weight * np.fromiter(said.terms.values(), float, len(rows))
        rows = list(said.clear)
        loudest[rows] = np.maximum(loudest[rows], said.meaning[rows])
        written += said.authors
    if len(topics) > 1 and any(said.known for _, said in topics):
        loudest = np.maximum(loudest, np.where(meaning >= CLEAR, meaning, 0.0))
    relevance = terms + MEANING * meaning
    threshold = np.where(loudest > 0, MEANING * CLEAR / 2, np.inf)
    if votes is not None:
        relevance += votes.relevance
        threshold = np.where(votes.evidence > 0, np.minimum(threshold, votes.threshold), threshold)
    least = KEPT * np.where(loudest > 0, np.maximum(terms, MEANING * loudest), terms)
    evidence = np.maximum(relevance - np.where(terms > 0, 0.0, threshold), least)
    scores = AUTHOR_FLOOR * (1.0 - np.exp(-evidence))
    scores[written] = AUTHOR_FLOOR + (1.0 - AUTHOR_FLOOR) * (
        1.0 - np.exp(-np.maximum(relevance[written], 0.0))
    )
    return relevance, np.round(scores, DECIMALS)


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
    ranker.prepare(profiles)
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
    speaking = [pair for pair in evidence.topics if row in pair[1].rows]
    if not speaking and evidence.meaning[row] >= CLEAR:
        speaking = list(evidence.topics)
    loudest = max(speaking, key=lambda pair: loudness(pair[0], pair[1], row), default=None)
    return Scored(
        paper_id=index.papers[row].id,
        score=float(evidence.scores[row]),
        topic=loudest[0].name if loudest else None,
        reasons=reasons(index, evidence, row, loudest),
    )


def loudness(topic: Topic, said: TopicEvidence, row: int) -> float:
    """How much a topic says of the paper in `row`; an author's paper outdoes all terms."""
    by_author = 100.0 if row in said.authors else 0.0
    return by_author + topic.weight * (said.terms.get(row, 0.0) + MEANING * float(said.meaning[row]))


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
        elif row in said.categories and row in said.terms:
            found.append(
                Reason(ReasonKind.CATEGORY, next(c for c in topic.categories if row in index.in_category(c)))
            )
    if evidence.votes and row in evidence.votes.nearest:
        found.append(Reason(ReasonKind.LIKED, index.papers[evidence.votes.nearest[row]].record.title))
    return tuple(found)

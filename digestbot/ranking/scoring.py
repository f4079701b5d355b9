"""Profiles to rankings: evidence of topics and votes added up for a block of subscribers at once.

score = 1 - exp(-evidence): two independent reasons at 0.5 make 0.75. Nothing but the profile, the candidate and the
catalogue's statistics enters a score, so it means the same on a slow day and on a busy one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from scipy import sparse

from digestbot.model import Paper, PaperId, Reason, ReasonKind, Scored, Topic, TopicProfile
from digestbot.ranking.candidates import Index, with_others
from digestbot.ranking.statistics import Embeddings, Floats, Rows
from digestbot.ranking.terms import ENOUGH, LARGE, SURE
from digestbot.ranking.topics import (
    MEANING,
    WHOLE,
    TopicEvidence,
    TopicReader,
    clear_from,
    whole_meaning,
)
from digestbot.ranking.votes import VoteEvidence, VoteLearner, latest_opinions

AUTHOR_FLOOR = 0.95  # a followed author's papers score at least this, all others less
TASTE = 5  # likes from where they tell what a reader means by a word
KEPT = 0.1  # what dislikes leave at least of the evidence of terms
_NONE: Rows = np.zeros(0, dtype=np.int64)
DECIMALS = 6  # of a score: rounding in the last digits never turns an order


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one subscriber's profile says of the candidates."""

    scored: tuple[Scored, ...]  # best first, at most `depth`
    scores: tuple[float, ...]  # all above 0, best first
    candidates: int  # left after those sent or voted on
    excluded: int  # of these, barred by an excluded term
    describe: Callable[[Scored], Scored] = field(
        compare=False, repr=False
    )  # adds the reasons, where they were left out

    @property
    def best(self) -> float:
        return self.scores[0] if self.scores else 0.0

    def above(self, minimum: float) -> int:
        """How many papers score more than `minimum`."""
        return sum(score > minimum for score in self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that speaks for and against the candidates, for one subscriber. Arrays have one value per candidate."""

    topics: Sequence[tuple[Topic, TopicEvidence]]  # of weight above 0
    votes: VoteEvidence | None
    barred: AbstractSet[int]  # sent before, or voted on
    excluded: AbstractSet[int]  # by an excluded term
    terms: Floats  # in nats, of all topics together
    meaning: Floats  # of all topics together, in standard deviations
    relevance: Floats  # in nats, also of papers without evidence
    scores: Floats  # 0 where there is no evidence, or the paper is barred or excluded


class Ranker:
    """Weighs blocks of profiles against one index."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._reader = TopicReader(index)
        self._learner: VoteLearner | None = None

    def with_others(self, papers: Sequence[Paper], embeddings: Embeddings | None = None) -> Ranker:
        """One that knows these papers, too, for votes on them; what both read of topics is remembered by both."""
        index = with_others(self.index, papers, embeddings)
        if index is self.index:
            return self
        self._learner = self._learner or VoteLearner(self.index)
        found = copy(self)
        found.index, found._learner = index, self._learner.on(index)
        return found

    def weigh(
        self, profiles: Sequence[TopicProfile], sent: Sequence[AbstractSet[PaperId]], now: datetime
    ) -> list[Evidence]:
        """Everything each profile says of every candidate."""
        said = self._reader.read(topic for profile in profiles for topic in profile.topics)
        speaking = [
            [(topic, said[topic]) for topic in profile.topics if topic.weight > 0] for profile in profiles
        ]
        votes = self._learn(profiles, now)
        terms, mentions, meaning = self._sum(speaking)
        relevance, scores = self._add_up(speaking, terms, mentions, meaning, votes)
        found = []
        for at, profile in enumerate(profiles):
            barred, excluded = self._out(profile, sent[at])
            scores[at, [*barred, *excluded]] = 0.0
            parts = terms[at], meaning[at], relevance[at], scores[at]
            found.append(Evidence(speaking[at], votes[at], barred, excluded, *parts))
        return found

    def _learn(self, profiles: Sequence[TopicProfile], now: datetime) -> list[VoteEvidence | None]:
        opinions = [latest_opinions(profile.votes) if profile.votes else {} for profile in profiles]
        voted = {paper for opinion in opinions for paper in opinion}
        if not voted:
            return [None] * len(profiles)
        self._learner = self._learner or VoteLearner(self.index)
        learner = self._learner.on(self.index)  # what is prepared is this block's own
        learner.prepare(voted)
        return [learner.learn(opinion, now) if opinion else None for opinion in opinions]

    def _out(self, profile: TopicProfile, sent: AbstractSet[PaperId]) -> tuple[set[int], set[int]]:
        """Rows sent before or voted on, and rows that an excluded term bars."""
        row_of, size = self.index.row_of, self.index.size
        papers = {*sent, *(vote.paper_id for vote in profile.votes)}
        barred = {row for paper in papers if (row := row_of.get(paper, size)) < size}
        terms = [term for topic in profile.topics for term in topic.exclude]
        return barred, {row for term in terms for row in self.index.matches(term)} - barred

    def _sum(
        self, speaking: Sequence[Sequence[tuple[Topic, TopicEvidence]]]
    ) -> tuple[Floats, Floats, Floats]:
        """Profiles x candidates: evidence of terms, their mentions, and meaning in standard deviations, of all topics
        together: tables of profiles x topics times those of topics x candidates."""
        said = list({id(said): said for topics in speaking for _, said in topics}.values())
        number = {id(said): at for at, said in enumerate(said)}
        columns = [number[id(said)] for topics in speaking for _, said in topics]
        weights = [topic.weight for topics in speaking for topic, _ in topics]
        ends = np.cumsum([0, *map(len, speaking)])
        shape = len(speaking), len(said)
        by_weight = sparse.csr_array((weights, columns, ends), shape=shape)
        once = sparse.csr_array((np.ones(len(columns)), columns, ends), shape=shape)
        rows = np.concatenate([_NONE, *(one.term_rows for one in said)])
        row_ends = np.cumsum([0, *(len(one.term_rows) for one in said)])

        def table(values: Sequence[Floats]) -> sparse.csr_array:
            whole = np.concatenate([np.zeros(0), *values])
            return sparse.csr_array((whole, rows, row_ends), shape=(len(said), self.index.size))

        terms = (by_weight @ table([one.term_values for one in said])).toarray()
        mentions = (once @ table([one.mentions for one in said])).toarray()
        if self.index.model.papers < LARGE or not said:
            return terms, mentions, np.zeros_like(terms)
        lengths = np.sqrt(by_weight.multiply(by_weight).sum(axis=1))
        shares = sparse.csr_array(sparse.diags_array(1.0 / np.where(lengths > 0, lengths, 1.0)) @ by_weight)
        meaning = np.asarray(shares @ np.stack([one.meaning for one in said]))
        self._add_whole(speaking, meaning)
        return terms, mentions, meaning

    def _add_whole(self, speaking: Sequence[Sequence[tuple[Topic, TopicEvidence]]], meaning: Floats) -> None:
        """Adds to the sums of several topics what their words say as one text; again of spread 1."""
        if self.index.embedder is None:
            return
        for at, topics in enumerate(speaking):
            whole = whole_meaning(self.index, [topic for topic, _ in topics])
            if whole is not None:
                share = WHOLE * math.sqrt(len(topics))
                meaning[at] = (meaning[at] + share * whole) / math.sqrt(1.0 + share**2)

    def _add_up(
        self,
        speaking: Sequence[Sequence[tuple[Topic, TopicEvidence]]],
        terms: Floats,
        mentions: Floats,
        meaning: Floats,
        votes: Sequence[VoteEvidence | None],
    ) -> tuple[Floats, Floats]:
        """Relevance and scores. What speaks without a term begins to count above its threshold only."""
        relevance = terms + MEANING * meaning
        several = np.array([len(topics) > 1 and any(said.known for _, said in topics) for topics in speaking])
        clear = clear_from(self.index.model)
        loudest = np.where((meaning >= clear) & several[:, None], meaning, 0.0)
        threshold = np.full_like(terms, np.inf)
        written: list[tuple[int, int]] = []
        for at, topics in enumerate(speaking):
            for _, said in topics:
                if len(said.clear):
                    loudest[at, said.clear] = np.maximum(loudest[at, said.clear], said.meaning[said.clear])
                if said.authors:
                    written += ((at, row) for row in said.authors)
        threshold[loudest > 0] = MEANING * clear / 2
        enough = np.full_like(terms, ENOUGH)
        for at, voted in enumerate(votes):
            if voted is not None:
                relevance[at] += voted.relevance
                begins = np.where(voted.evidence > 0, voted.threshold, np.inf)
                threshold[at] = np.minimum(threshold[at], begins)
                if voted.likes >= TASTE:
                    unlike = voted.relevance < 0
                    enough[at, unlike], threshold[at, unlike] = SURE, np.inf
        spoken = np.where(mentions >= enough, terms, 0.0)
        return relevance, _scores(relevance, threshold, spoken, written)

    def rank(
        self,
        profiles: Sequence[TopicProfile],
        barred: Sequence[AbstractSet[PaperId]],
        *,
        now: datetime,
        depth: int,
        reasons: bool = True,
    ) -> list[Ranking]:
        """One ranking per profile; `barred[i]` was already sent to subscriber i, `now` ages the votes.

        Naming reasons takes a third of the time: without `reasons`, `Ranking.describe` names them for those chosen.

        Papers voted on and papers with an excluded term never appear. Equal scores are in the order of ids. Give
        blocks of about 1,000 profiles: memory is some arrays of profiles x candidates.
        """
        weighed = self.weigh(profiles, barred, now)
        return [_ranking(self.index, evidence, depth, reasons=reasons) for evidence in weighed]


def _scores(
    relevance: Floats, threshold: Floats, terms: Floats, written: Sequence[tuple[int, int]]
) -> Floats:
    """`terms`: 0 where they are named in passing only. `written`: where a followed author's papers stand."""
    evidence = np.maximum(np.where(terms > 0, relevance, relevance - threshold), KEPT * terms)
    scores = np.zeros_like(evidence)
    positive = evidence > 0
    scores[positive] = AUTHOR_FLOOR * (1.0 - np.exp(-evidence[positive]))
    for at, row in written:
        scores[at, row] = AUTHOR_FLOOR + (1.0 - AUTHOR_FLOOR) * (
            1.0 - math.exp(-max(relevance[at, row], 0.0))
        )
    return np.asarray(np.round(scores, DECIMALS), dtype=np.float64)


def rank(
    index: Index,
    profiles: Sequence[TopicProfile],
    barred: Sequence[AbstractSet[PaperId]],
    *,
    now: datetime,
    depth: int,
) -> list[Ranking]:
    """One ranking per profile, of one block; see `Ranker.rank`."""
    return Ranker(index).rank(profiles, barred, now=now, depth=depth)


def _ranking(index: Index, evidence: Evidence, depth: int, *, reasons: bool) -> Ranking:
    rows = np.flatnonzero(evidence.scores)
    rows = rows[np.lexsort((index.ids[rows], -evidence.scores[rows]))]
    scores = evidence.scores[rows].tolist()
    return Ranking(
        scored=tuple(describe(index, evidence, rows[:depth].tolist(), scores, reasons=reasons)),
        scores=tuple(scores),
        candidates=index.size - len(evidence.barred),
        excluded=len(evidence.excluded),
        describe=lambda one: next(describe(index, evidence, [index.row_of[one.paper_id]], [one.score])),
    )


def describe(
    index: Index, evidence: Evidence, rows: Sequence[int], scores: Sequence[float], *, reasons: bool = True
) -> Iterator[Scored]:
    """The candidates in `rows`, each with the topic that speaks loudest and the reasons, the strongest first."""
    topics = [(topic.weight, topic.name, said, said.loudness) for topic, said in evidence.topics]
    nearest = evidence.votes.nearest if evidence.votes else {}
    for row, score in zip(rows, scores, strict=False):
        loudest = -math.inf
        name: str | None = None
        speaker: TopicEvidence | None = None
        for weight, of, said, loudness in topics:  # 20 rows a subscriber: this loop is a third of all ranking
            loud = loudness.get(row)
            if loud is not None and weight * loud > loudest:
                loudest, name, speaker = weight * loud, of, said
        if name is None and topics and evidence.meaning[row] >= clear_from(index.model):
            _, name, speaker, _ = max(topics, key=lambda topic: topic[0] * float(topic[2].meaning[row]))
        why = speaker.reasons(row) if reasons and speaker else ()
        if reasons and row in nearest:
            why = (*why, Reason(ReasonKind.LIKED, index.papers[nearest[row]].record.title))
        yield Scored(index.papers[row].id, score, name, why)

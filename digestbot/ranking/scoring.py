"""Profiles to rankings, for a block of subscribers at once: weighed, ordered, and the topic that speaks loudest named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from digestbot.model import Paper, PaperId, Reason, ReasonKind, Scored, Topic, TopicProfile
from digestbot.ranking.candidates import Index, with_others
from digestbot.ranking.directions import topic_text
from digestbot.ranking.diversity import Likeness, diversify
from digestbot.ranking.statistics import Bools, Embeddings, Floats
from digestbot.ranking.topics import MEANING, Numbers, TopicReader, clear_from, speaking
from digestbot.ranking.votes import VoteEvidence, VoteLearner, latest_opinions
from digestbot.ranking.weighing import Block, Entries, is_clear, weigh

AUTHORED = 100.0  # loudness of a followed author: outdoes all terms
DEPTH = 5  # ranked papers per paper that a digest shows: what diversity chooses from, unless copies fill it

Out = tuple[AbstractSet[int], AbstractSet[int]]  # rows that are barred, and those that are excluded
_NONE_OUT: Out = frozenset(), frozenset()


class Ranking(NamedTuple):
    """What one subscriber's profile says of the candidates."""

    scored: tuple[Scored, ...]  # best first, or in the order to show them
    best: float  # of all scores; 0: there is none
    above: int  # papers that score more than the minimum, also beyond `scored`
    candidates: int  # left after those sent or voted on
    excluded: int  # of these, barred by an excluded term
    withheld: int  # of these, score more than the minimum but for that


class Limits(NamedTuple):
    """Of a subscriber's digest."""

    min_score: float = 0.0
    max_papers: int = 10


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that speaks for and against the candidates, for one subscriber. Arrays have one value per candidate."""

    topics: Sequence[Topic]  # that speak
    votes: VoteEvidence | None
    barred: AbstractSet[int]  # sent before, or voted on
    excluded: AbstractSet[int]  # by an excluded term
    meaning: Floats  # of all topics together, in standard deviations
    relevance: Floats  # in nats, also of papers without evidence
    scores: Floats  # 0 where there is no evidence, or the paper is barred or excluded


class Ranker:
    """Weighs blocks of profiles against one index."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.reader = TopicReader(index)
        self._likeness = Likeness(index.vectors[: index.size], index.word_counts)
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
        block = self._block(profiles, now)
        entries = weigh(block)
        scores, relevance = np.zeros((len(profiles), self.index.size)), block.relevance()
        scores[entries.profiles, entries.rows] = entries.scores
        found = []
        for at, profile in enumerate(profiles):
            barred, excluded = self._out(profile, sent[at])
            scores[at, [*barred, *excluded]] = 0.0
            topics = speaking(profile.topics)
            parts = block.meaning[at], relevance[at], scores[at]
            found.append(Evidence(topics, block.votes[at], barred, excluded, *parts))
        return found

    def _block(self, profiles: Sequence[TopicProfile], now: datetime) -> Block:
        topics = [speaking(profile.topics) for profile in profiles]
        flat = list(chain.from_iterable(topics))
        numbers = self.reader.read(flat)
        return Block(
            reader=self.reader,
            known=self.reader.known,
            size=self.index.size,
            first=np.cumsum([0, *map(len, topics)]),
            numbers=numbers,
            weights=np.array([topic.weight for topic in flat], dtype=float),
            votes=self._learn(profiles, now),
            clear_from=clear_from(self.index.model),
            wholes=self._wholes(topics),
        )

    def _wholes(self, topics: Sequence[Sequence[Topic]]) -> Floats | None:
        """Per profile and candidate, in standard deviations, how near it is to all topics' words read as one text;
        0 where there are less than two, None without an embedding model."""
        if self.index.embedder is None or not self.reader.knows_meaning:
            return None
        texts = [whole_text(spoken) for spoken in topics]
        number = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        told = self.reader.whole_meanings(list(number))
        return told[[number[text] for text in texts]]

    def _learn(self, profiles: Sequence[TopicProfile], now: datetime) -> list[VoteEvidence | None]:
        opinions = [latest_opinions(profile.votes) if profile.votes else {} for profile in profiles]
        voted = {paper for opinion in opinions for paper in opinion}
        if not voted:
            return [None] * len(profiles)
        self._learner = self._learner or VoteLearner(self.index)
        learner = self._learner.on(self.index)  # what is prepared is this block's own
        learner.prepare(voted)
        return [learner.learn(opinion, now) if opinion else None for opinion in opinions]

    def _out(self, profile: TopicProfile, sent: AbstractSet[PaperId]) -> Out:
        """Rows sent before or voted on, and rows that an excluded term bars."""
        terms = [term for topic in profile.topics for term in topic.exclude]
        if not (sent or profile.votes or terms):
            return _NONE_OUT
        row_of, size = self.index.row_of, self.index.size
        papers = {*sent, *(vote.paper_id for vote in profile.votes)}
        barred = {row for paper in papers if (row := row_of.get(paper, size)) < size}
        return barred, {row for term in terms for row in self.index.matches(term)} - barred

    def rank(
        self,
        profiles: Sequence[TopicProfile],
        barred: Sequence[AbstractSet[PaperId]],
        *,
        now: datetime,
        depth: int,
    ) -> list[Ranking]:
        """One ranking per profile, the best `depth` papers first; `barred[i]` was already sent to subscriber i, `now`
        ages the votes.

        Papers voted on and papers with an excluded term never appear. Equal scores are in the order of ids. Give
        blocks of about 1,000 profiles: memory is some arrays of profiles x candidates.
        """
        found = self._find(profiles, barred, np.zeros(len(profiles)), now)
        best = found.first(np.full(len(profiles), depth))
        return _rankings(found, best.scored(), np.diff(best.starts))

    def choose(
        self,
        profiles: Sequence[TopicProfile],
        barred: Sequence[AbstractSet[PaperId]],
        limits: Sequence[Limits],
        *,
        now: datetime,
    ) -> list[Ranking]:
        """As rank(), but with the papers that a digest within its limits shows, in the order to show them."""
        found = self._find(profiles, barred, np.array([one.min_score for one in limits]), now)
        most = np.array([one.max_papers for one in limits], dtype=np.int64)
        deep = np.minimum(found.above, DEPTH * most)
        rankings, copied = self._choose(found, deep, most)
        wider = copied & (found.above > deep)
        if wider.any():
            anew, _ = self._choose(found, np.where(wider, found.above, 0), most)
            rankings = [
                new if at else old for old, new, at in zip(rankings, anew, wider.tolist(), strict=True)
            ]
        return rankings

    def _choose(self, found: _Found, depth: Numbers, most: Numbers) -> tuple[list[Ranking], Bools]:
        """From the best `depth` of each; and who has near-copies."""
        best = found.first(depth)
        shown, copied = diversify(
            self._likeness,
            best.entries.rows,
            best.entries.scores,
            best.headings(),
            starts=best.starts,
            most=most,
        )
        return _rankings(found, best.scored(shown[shown >= 0]), np.sum(shown >= 0, axis=1)), copied

    def _find(
        self,
        profiles: Sequence[TopicProfile],
        barred: Sequence[AbstractSet[PaperId]],
        least: Floats,
        now: datetime,
    ) -> _Found:
        block = self._block(profiles, now)
        out = [self._out(profile, sent) for profile, sent in zip(profiles, barred, strict=True)]
        weighed = weigh(block)
        return _Found(
            self.index, block, weighed, _ordered(self.index, _without(block, weighed, out)), out, least
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """The entries of a block that have a score, each profile's best first."""

    index: Index
    block: Block
    weighed: Entries  # also those barred, excluded or without a score
    entries: Entries
    out: Sequence[Out]
    least: Floats  # each profile's minimum

    @cached_property
    def starts(self) -> Numbers:
        """Where each profile's entries begin, and where the last one's end."""
        return np.searchsorted(self.entries.profiles, np.arange(len(self.block) + 1))

    @cached_property
    def topics(self) -> Numbers:
        """For each entry the number of the topic that speaks loudest; -1 where none does."""
        return loudest(self.block, self.entries)

    def headings(self) -> Numbers:
        """As topics(), but topics of one name have one number."""
        numbers, places = np.unique(self.topics, return_inverse=True)
        known, named = self.block.known.topics, dict[str, int]()
        said = [named.setdefault(known[at].name, len(named)) if at >= 0 else -1 for at in numbers.tolist()]
        return np.array(said, dtype=np.int64)[places]

    @cached_property
    def above(self) -> Numbers:
        """How many entries of each profile score more than its minimum."""
        return self._count_above(self.entries)

    @cached_property
    def withheld(self) -> Numbers:
        """How many would but for an excluded term."""
        excluded = _among(self.block, self.weighed, [rows for _, rows in self.out])
        return self._count_above(self.weighed.of(np.flatnonzero(excluded)))

    def _count_above(self, entries: Entries) -> Numbers:
        profiles = entries.profiles
        return np.bincount(profiles[entries.scores > self.least[profiles]], minlength=len(self.block))

    def first(self, counts: Numbers) -> _Found:
        """With the first so many of each profile's entries."""
        profiles = self.entries.profiles
        at = np.arange(len(profiles)) - self.starts[profiles]
        return replace(self, entries=self.entries.of(np.flatnonzero(at < counts[profiles])))

    def scored(self, places: Numbers | slice = slice(None)) -> list[Scored]:
        """The entries at these places, with their topics and reasons."""
        entries, known = self.entries, self.block.known.topics
        parts = entries.profiles, entries.rows, self.topics, self.index.ids[entries.rows], entries.scores
        return [
            Scored(paper, score, None if topic < 0 else known[topic].name, self._why(profile, row, topic))
            for profile, row, topic, paper, score in zip(
                *(part[places].tolist() for part in parts), strict=True
            )
        ]

    def _why(self, profile: int, row: int, topic: int) -> tuple[Reason, ...]:
        """The strongest reason first."""
        block = self.block
        why = block.reader.reasons(block.known, topic, row) if topic >= 0 else ()
        votes = block.votes[profile]
        if votes and row in votes.nearest:
            why = (*why, Reason(ReasonKind.LIKED, self.index.papers[votes.nearest[row]].record.title))
        return why


def _rankings(found: _Found, scored: Sequence[Scored], counts: Numbers) -> list[Ranking]:
    """One for each profile; `scored` has so many of each, one profile's after another's."""
    best = np.zeros(len(counts))
    some = np.flatnonzero(np.diff(found.starts))
    best[some] = found.entries.scores[found.starts[some]]
    ends, size = np.cumsum([0, *counts]).tolist(), found.index.size
    return [
        Ranking(tuple(scored[start:end]), first, above, size - len(barred), len(excluded), withheld)
        for (start, end), first, above, withheld, (barred, excluded) in zip(
            pairwise(ends),
            best.tolist(),
            found.above.tolist(),
            found.withheld.tolist(),
            found.out,
            strict=True,
        )
    ]


def embedded_texts(profiles: Sequence[TopicProfile]) -> set[str]:
    """What of the profiles is embedded: each topic's words, and all of a profile's together."""
    found = {topic_text(topic) for profile in profiles for topic in profile.topics if topic.weight > 0}
    found |= {whole_text(speaking(profile.topics)) for profile in profiles}
    return found - {""}


def whole_text(topics: Sequence[Topic]) -> str:
    """All topics' words as one text; empty where there are less than two topics with terms."""
    texts = [topic_text(topic) for topic in topics if topic.terms]
    return ", ".join(texts) if len(texts) > 1 else ""


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


def _without(block: Block, entries: Entries, out: Sequence[Out]) -> Entries:
    """The entries with a score, without those barred or excluded."""
    gone = _among(block, entries, [[*barred, *excluded] for barred, excluded in out])
    return entries.of(np.flatnonzero((entries.scores > 0) & ~gone))


def _among(block: Block, entries: Entries, rows: Sequence[Collection[int]]) -> Bools:
    """Which entries are of the rows given for their profile."""
    places = [(at, row) for at, some in enumerate(rows) for row in some]
    if not places:
        return np.zeros(len(entries.rows), dtype=bool)
    table = np.zeros((len(block), block.size), dtype=bool)
    table[tuple(np.array(places).T)] = True
    return np.asarray(table[entries.profiles, entries.rows])


def _ordered(index: Index, entries: Entries) -> Entries:
    return entries.of(np.lexsort((index.ids[entries.rows], -entries.scores, entries.profiles)))


def loudest(block: Block, entries: Entries) -> Numbers:
    """For each entry the number of the topic that speaks loudest; -1 where none does."""
    said, rows = block.said, entries.rows
    found, most = np.full(len(rows), -1), np.full(len(rows), -np.inf)
    nearest, near = np.full(len(rows), -1), np.full(len(rows), -np.inf)
    for places, numbers, weights in block.turns(entries.profiles):
        at = rows[places]
        meaning = weights * said.meaning[numbers, at]
        loud = weights * said.terms[numbers, at] + MEANING * meaning
        speaks = (said.mentions[numbers, at] > 0) & entries.spoken[places]
        speaks |= is_clear(said, numbers, at) & entries.near[places]
        by_author = _by_author(block, numbers, at)
        speaks |= by_author
        loud += AUTHORED * weights * by_author
        loud[~speaks] = -np.inf
        _keep_larger(most, found, places, loud, numbers)
        _keep_larger(near, nearest, places, meaning, numbers)
    together = (found < 0) & (block.meaning[entries.profiles, rows] >= block.clear_from)
    found[together] = nearest[together]
    return found


def _keep_larger(most: Floats, found: Numbers, places: Numbers, values: Floats, numbers: Numbers) -> None:
    larger = values > most[places]
    most[places[larger]], found[places[larger]] = values[larger], numbers[larger]


def _by_author(block: Block, numbers: Numbers, rows: Numbers) -> Bools:
    """Which of the rows somebody wrote whom the topic follows."""
    found = block.said.written[numbers]
    for place in np.flatnonzero(found):
        found[place] = rows[place] in block.reader.authored(block.known.topics[numbers[place]])
    return found

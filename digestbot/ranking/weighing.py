"""Evidence of topics and votes added up for a block of profiles at once: tables of profiles x candidates to find where
anything speaks, and from there on only those entries, few of hundreds.

score = 1 - exp(-evidence): two independent reasons at 0.5 make 0.75. Nothing but the profile, the candidate and the
catalogue's statistics enters a score, so it means the same on a slow day and on a busy one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from digestbot.ranking.agreement import NEAR, agreement, asked
from digestbot.ranking.statistics import Bools, Floats
from digestbot.ranking.topics import MEANING, Known, Numbers, TopicReader, Topics
from digestbot.ranking.votes import VoteEvidence

AUTHOR_FLOOR = 0.95  # a followed author's papers score at least this, all others less
TASTE = 5  # likes from where they tell where meaning alone says nothing
KEPT = 0.1  # what votes leave at least of the evidence of terms
WHOLE = 0.6  # share of the meaning of all topics' words as one text
DECIMALS = 6  # of a score: rounding in the last digits never turns an order


@dataclass(frozen=True, eq=False)
class Block:
    """Profiles in rows 0..n-1; topics without weight are left out."""

    reader: TopicReader
    known: Known  # what the reader knew then
    size: int  # candidates
    first: Numbers  # where each profile's topics begin in the next two, and where the last one's end
    numbers: Numbers  # of `known` topics
    weights: Floats
    votes: Sequence[VoteEvidence | None]
    clear_from: float  # standard deviations
    wholes: Floats | None  # profiles x candidates: meaning of all topics' words as one text; None: not told

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def said(self) -> Topics:
        return self.known.said

    @cached_property
    def counts(self) -> Numbers:
        return np.diff(self.first)

    @cached_property
    def owners(self) -> Numbers:
        """The profile of each topic."""
        return np.repeat(np.arange(len(self)), self.counts)

    def turns(self, profiles: Numbers) -> Iterator[tuple[Numbers, Numbers, Floats]]:
        """Everybody's first topic, everybody's second, ...: places in `profiles` that have one, its number and weight."""
        counts = self.counts[profiles]
        for turn in range(counts.max(initial=0)):
            places = np.flatnonzero(counts > turn)
            at = self.first[profiles[places]] + turn
            yield places, self.numbers[at], self.weights[at]

    @cached_property
    def everybody(self) -> Numbers:
        return np.arange(len(self))

    @cached_property
    def meant(self) -> Floats:
        """How many topics of each profile have a meaning."""
        return np.bincount(self.owners, self.said.meant[self.numbers], len(self)).astype(float)

    @cached_property
    def meaning(self) -> Floats:
        """Of all of a profile's topics together, per candidate in standard deviations."""
        found = np.zeros((len(self), self.size))
        for places, numbers, weights in self.turns(self.everybody):
            found[places] += weights[:, None] * self.said.meaning[numbers]
        meant = self.said.meant[self.numbers]
        lengths = np.sqrt(np.bincount(self.owners, meant * self.weights**2, len(self)))
        found /= np.where(lengths > 0, lengths, 1.0)[:, None]
        if self.wholes is not None:
            told = self.wholes.any(axis=1)
            share = WHOLE * np.sqrt(self.meant[told])[:, None]
            found[told] = (found[told] + share * self.wholes[told]) / np.sqrt(1.0 + share**2)
        return found

    @cached_property
    def several(self) -> Bools:
        """Profiles of more than one topic whose meaning, or part of it, is known."""
        known = np.bincount(self.owners, self.said.clear[self.numbers] < np.inf, len(self))
        return (self.counts > 1) & (known > 0)

    @cached_property
    def voters(self) -> Numbers:
        return np.array([at for at, said in enumerate(self.votes) if said is not None], dtype=np.int64)

    def relevance(self) -> Floats:
        """In nats, also of papers without evidence."""
        found = MEANING * self.meaning
        for places, numbers, weights in self.turns(self.everybody):
            found[places] += weights[:, None] * self.said.terms[numbers]
        for at in self.voters.tolist():
            found[at] += self.vote(at).relevance
        return found

    def spoken_for(self) -> tuple[Numbers, Numbers]:
        """Entries (profile, candidate) for which there may be evidence, in this order."""
        found = (self.meaning >= self.clear_from) & self.several[:, None]
        said = self.said
        for places, numbers, _ in self.turns(self.everybody):
            found[places] |= said.mentions[numbers] > 0
            found[places] |= said.meaning[numbers] >= said.clear[numbers, None]
        for at, row in self.written():
            found[at, row] = True
        for at in self.voters.tolist():
            found[at] |= self.vote(at).evidence > 0
        profiles, rows = np.nonzero(found)
        return profiles, rows

    def written(self) -> list[tuple[int, int]]:
        """Entries by followed authors."""
        written = np.flatnonzero(self.said.written[self.numbers])
        return [
            (int(self.owners[at]), row)
            for at in written
            for row in self.reader.authored(self.known.topics[self.numbers[at]])
        ]

    def vote(self, profile: int) -> VoteEvidence:
        found = self.votes[profile]
        assert found is not None
        return found


@dataclass(frozen=True, eq=False)
class Entries:
    """Those candidates for which something speaks, one after the other; arrays of one length."""

    profiles: Numbers
    rows: Numbers
    scores: Floats  # 0 where it does not suffice
    spoken: Bools  # terms suffice
    near: Bools  # the profile agrees enough for meaning to speak without a term

    def of(self, chosen: Numbers) -> Entries:
        return Entries(
            self.profiles[chosen],
            self.rows[chosen],
            self.scores[chosen],
            self.spoken[chosen],
            self.near[chosen],
        )


def weigh(block: Block) -> Entries:
    """Scores of all entries with evidence, in the order of profiles and rows."""
    profiles, rows = block.spoken_for()
    terms, mentions = np.zeros(len(rows)), np.zeros(len(rows))
    said, meaning = block.said, block.meaning[profiles, rows]
    for places, numbers, weights in block.turns(profiles):
        at = rows[places]
        terms[places] += weights * said.terms[numbers, at]
        mentions[places] += said.mentions[numbers, at]
    voted = _Voted.of(block, profiles, rows)
    agreed = agreement(meaning, block.meant[profiles], voted.surprise, voted.votes)
    spoken = agreed >= asked(mentions)
    relevance = terms + MEANING * meaning + voted.relevance
    near = agreed >= NEAR
    threshold = np.where(near, _threshold(block, profiles, rows), np.inf)
    threshold[voted.unlike] = np.inf
    threshold = np.minimum(threshold, voted.threshold)
    terms[~spoken] = 0.0
    kept = _kept(voted.votes, small=not block.reader.knows_meaning) * terms
    evidence = np.maximum(np.where(terms > 0, relevance, relevance - threshold), kept)
    scores = AUTHOR_FLOOR * (1.0 - np.exp(-np.maximum(evidence, 0.0)))
    if written := block.written():
        by_author = np.zeros((len(block), block.size), dtype=bool)
        by_author[tuple(np.array(written).T)] = True
        known = by_author[profiles, rows]
        closer = 1.0 - np.exp(-np.maximum(relevance[known], 0.0))
        scores[known] = AUTHOR_FLOOR + (1.0 - AUTHOR_FLOOR) * closer
    return Entries(profiles, rows, np.round(scores, DECIMALS), spoken, near)


def _kept(votes: Floats, *, small: bool) -> Floats:
    """What so many votes leave at least of the evidence of terms, as a share. In a small catalogue all that is near
    lies far out, and no meaning of topics speaks against it: a few votes leave more."""
    return np.maximum(KEPT, 1.0 / (1.0 + votes) if small else 0.0)


def _threshold(block: Block, profiles: Numbers, rows: Numbers) -> Floats:
    """In nats, from where relevance speaks without a term; infinite where meaning does not."""
    speaks = (block.meaning[profiles, rows] >= block.clear_from) & block.several[profiles]
    for places, numbers, _ in block.turns(profiles):
        speaks[places] |= is_clear(block.said, numbers, rows[places])
    return np.where(speaks, MEANING * block.clear_from / 2.0, np.inf)


def is_clear(said: Topics, numbers: Numbers, rows: Numbers) -> Bools:
    """Where what a topic means is evidence without a term, as far as the profile agrees."""
    return np.asarray(said.meaning[numbers, rows] >= said.clear[numbers])


@dataclass(frozen=True, eq=False)
class _Voted:
    """What votes say of the entries."""

    relevance: Floats
    threshold: Floats  # infinite where likes do not begin to speak
    surprise: Floats
    votes: Floats  # how many
    unlike: Bools  # all that the reader likes, who likes enough to tell

    @classmethod
    def of(cls, block: Block, profiles: Numbers, rows: Numbers) -> _Voted:
        relevance, surprise, votes = (np.zeros(len(rows)) for _ in range(3))
        threshold, unlike = np.full(len(rows), np.inf), np.zeros(len(rows), dtype=bool)
        starts = np.searchsorted(profiles, np.arange(len(block) + 1))
        for profile in block.voters.tolist():
            here = slice(starts[profile], starts[profile + 1])
            at, said = rows[here], block.vote(profile)
            relevance[here], surprise[here], votes[here] = said.relevance[at], said.surprise[at], said.votes
            unlike[here] = (said.relevance[at] < 0) & (said.likes >= TASTE)
            threshold[here] = np.where((said.evidence[at] > 0) & ~unlike[here], said.threshold, np.inf)
        return cls(relevance, threshold, surprise, votes, unlike)

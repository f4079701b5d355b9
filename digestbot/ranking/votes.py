"""What a subscriber's votes say of the candidates, learned in closed form.

Two views are added. Balanced ridge regression: a direction that is 1 on liked papers, -1 on disliked ones and 0 on
the catalogue at large, whose regularised covariance is inverted once, so each subscriber is a solve of the size of
the votes (Woodbury identity). And the mean likeness to the nearest liked papers, which keeps small interests alive
beside large ones. Both are told in standard deviations of a sample of the catalogue. Where papers are short (titles
alone) and there is no embedding model, the same two views of the plain words take over: see `Model.latent_share`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import scipy

from digestbot.model import Opinion, PaperId, Vote
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import Bools, Floats, Rows, normalise
from digestbot.ranking.terms import LARGE

HALF_LIFE_DAYS = 365.0
LEAST_WEIGHT = 0.25  # of the oldest vote
DISLIKE = 0.5  # a dislike's weight beside a like's
RIDGE = 30.0  # x the catalogue's mean variance; chosen by hold-out, see docs/ranking.md
AGREEMENT = 0.7  # correlation of the two views on a catalogue
QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution
NEAREST = 3  # liked papers that a candidate is held against
WORD_RIDGE = 10.0  # the same in the space of words, x the mean variance of its latent dimensions
CLEAR, FEW = 2.4, 1.8  # evidence begins at CLEAR + FEW / sqrt(votes) standard deviations
VOTES = 0.2  # evidence per standard deviation from there, of many votes; of n votes n / (n + 1) of it


@dataclass(frozen=True, eq=False)
class VoteEvidence:
    """Per candidate what the votes say."""

    relevance: Floats  # in nats, how far above the catalogue
    threshold: float  # in nats; from so much a like speaks, from as much below 0 a dislike
    evidence: Floats  # in nats; 0 where likes do not begin to speak, negative near disliked papers
    nearest: Mapping[
        int, int
    ]  # candidate row -> row of the liked paper it resembles most, where evidence is positive
    likes: int
    votes: int
    surprise: Floats  # the relevance in standard deviations of the catalogue


def latest_opinions(votes: Collection[Vote]) -> dict[PaperId, Vote]:
    """The last vote on each paper; the order of `votes` does not matter."""
    found = {vote.paper_id: vote for vote in votes}
    if len(found) == len(votes):
        return found
    return {vote.paper_id: vote for vote in sorted(votes, key=lambda vote: (vote.at, vote.opinion))}


class VoteLearner:
    """Learns from any number of subscribers' votes on one index. The papers that a block voted on are compared with
    the candidates and the background at once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        inverse = _regularised_inverse(index.model.covariance, large=index.model.papers >= LARGE)
        others = np.vstack(
            [index.vectors[: index.size], index.model.background]
        )  # candidates, then the background
        self._inverse = inverse
        self._others = others
        self._other_units = normalise(others)
        words = index.model.encoder is None and index.model.latent_share < 1.0 and len(index.model.variance)
        self._words = WordView(index) if words else None
        self._place: dict[int, int] = {}  # row of the index -> row of the tables below
        self._solved = self._pull = self._likeness = np.zeros((0, 0))

    def on(self, index: Index) -> VoteLearner:
        """The same for an index with the same candidates and model, and other voted papers."""
        found = copy(self)
        found._index = index
        found._words = self._words.on(index) if self._words else None
        found._place = {}
        return found

    def prepare(self, papers: Iterable[PaperId]) -> None:
        """Compares these papers, those of a block, and forgets the block before."""
        rows = sorted({self._index.row_of[paper] for paper in papers if paper in self._index.row_of})
        vectors = self._index.vectors[rows]
        self._place = {row: place for place, row in enumerate(rows)}
        self._solved = vectors @ self._inverse
        self._pull = self._solved @ self._others.T
        self._likeness = normalise(vectors) @ self._other_units.T
        if self._words:
            self._words.prepare(rows)

    def learn(self, votes: Mapping[PaperId, Vote], now: datetime) -> VoteEvidence | None:
        """None where no vote is on a paper of the index."""
        index = self._index
        known = [vote for vote in votes.values() if vote.paper_id in index.row_of]
        if not known or not len(index.model.background):
            return None
        rows = np.array([index.row_of[vote.paper_id] for vote in known])
        if any(row not in self._place for row in rows.tolist()):
            self.prepare(votes)
        places = np.array([self._place[row] for row in rows.tolist()])
        likes = np.array([vote.opinion is not Opinion.LESS for vote in known])
        weights = _weights(known, likes, now)
        gram = index.vectors.take(rows, axis=0) @ self._solved.take(places, axis=0).T
        pulls = np.linalg.solve(gram + np.diag(1.0 / weights), np.where(likes, 1.0, -1.0))
        views = self._above(pulls @ self._pull.take(places, axis=0)) + self._above(
            _near(self._likeness, places, likes)
        )
        if self._words:
            share = index.model.latent_share
            pull = (weights * np.where(likes, 1.0, -1.0)) @ self._words.pull[places]
            words = self._above(pull) + self._above(_near(self._words.likeness, places, likes))
            views = share * views + (1.0 - share) * words
        surprise = views / math.sqrt(2.0 * (1.0 + AGREEMENT))
        clear = CLEAR + FEW / math.sqrt(len(known))
        scale = VOTES * len(known) / (len(known) + 1.0)
        evidence = scale * (
            np.maximum(surprise - clear, 0.0) * likes.any() + np.minimum(surprise + clear, 0.0)
        )
        nearest = self._nearest(rows[likes], places[likes], np.flatnonzero(evidence > 0))
        return VoteEvidence(
            scale * surprise, scale * clear, evidence, nearest, int(likes.sum()), len(known), surprise
        )

    def _above(self, values: Floats) -> Floats:
        """Candidates' values above the background's median, in its standard deviations; told from its middle half
        unless most of it is alike."""
        size = self._index.size
        ordered = np.sort(values[size:])
        low, middle, high = ordered[
            [round(share * (len(ordered) - 1)) for share in (0.25, 0.5, 0.75)]
        ].tolist()
        count = len(ordered)
        variance = float(ordered @ ordered) / count - (float(ordered.sum()) / count) ** 2
        spread = max((high - low) / QUARTILES, math.sqrt(max(variance, 0.0)) / 2.0, 1e-9)
        return np.asarray((values[:size] - middle) / spread)

    def _nearest(self, liked: Rows, places: Rows, candidates: Rows) -> dict[int, int]:
        if not len(liked) or not len(candidates):
            return {}
        likeness = self._likeness[np.ix_(places, candidates)]
        return dict(zip(candidates.tolist(), liked[likeness.argmax(axis=0)].tolist(), strict=True))


class WordView:
    """Voted papers against candidates and background in the space of all words. The covariance of the catalogue is
    that of its latent dimensions, so its regularised inverse takes off their common part only."""

    def __init__(self, index: Index) -> None:
        model = index.model
        self._rows = index.words
        self._others = scipy.sparse.vstack([index.words[: index.size], model.background_words], format="csr")
        level = WORD_RIDGE * float(model.variance.mean())
        self._latent = index.words @ model.projection
        self._common = (self._others @ model.projection) * (model.variance / (model.variance + level))
        self.pull = self.likeness = np.zeros((0, 0))  # voted papers x (candidates, then background)

    def on(self, index: Index) -> WordView:
        found = copy(self)
        if self._rows is not index.words:
            found._rows, found._latent = index.words, index.words @ index.model.projection
        return found

    def prepare(self, rows: Sequence[int]) -> None:
        self.likeness = (self._rows[rows] @ self._others.T).toarray()
        self.pull = self.likeness - self._latent[rows] @ self._common.T


def _near(likeness: Floats, places: Rows, likes: Bools) -> Floats:
    """Mean likeness to the nearest liked papers, less that to the nearest disliked ones."""
    near = _mean_of_largest(likeness.take(places[likes], axis=0), NEAREST)
    return near - DISLIKE * _mean_of_largest(likeness.take(places[~likes], axis=0), NEAREST)


def _weights(votes: Sequence[Vote], likes: Bools, now: datetime) -> Floats:
    """How much each vote counts, together 1: recent ones more, dislikes less."""
    days = (now.timestamp() - np.array([vote.at.timestamp() for vote in votes])) / 86_400
    weights = np.maximum(LEAST_WEIGHT, 0.5 ** (np.maximum(days, 0.0) / HALF_LIFE_DAYS))
    weights[~likes] *= DISLIKE
    return np.asarray(weights / weights.sum())


def _mean_of_largest(values: Floats, count: int) -> Floats:
    """Per column the mean of its `count` largest values, or of all; 0 without any. Sorts the table it is given: faster
    than partitioning it."""
    if len(values) <= count:
        return np.asarray(values.mean(axis=0)) if len(values) else np.zeros(values.shape[1])
    values.sort(axis=0)
    return np.asarray(values[-count:].mean(axis=0))


def _regularised_inverse(covariance: Floats, *, large: bool) -> Floats:
    """A small catalogue has no covariance worth inverting: the identity."""
    size = len(covariance)
    level = float(np.trace(covariance)) / max(1, size) or 1.0
    if not large:
        return np.eye(size) / ((RIDGE + 1.0) * level)
    return np.asarray(np.linalg.inv(covariance + RIDGE * level * np.eye(size)))

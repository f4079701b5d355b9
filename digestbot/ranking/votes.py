"""What a subscriber's votes say of the candidates, learned in closed form.

Balanced ridge regression: a direction w that is 1 on liked papers, -1 on disliked ones and 0 on the catalogue at
large, (C + S + lambda I) w = mean of liked, where C is the catalogue's covariance, inverted once, and S the voted
papers' (Woodbury identity: one solve of the size of the votes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from digestbot.model import Opinion, PaperId, Vote
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import Floats, Rows

HALF_LIFE_DAYS = 365.0
LEAST_WEIGHT = 0.25  # of the oldest vote
DISLIKE = 0.5  # a dislike's weight beside a like's
RIDGE = 10.0  # x the catalogue's mean variance
SURPRISE = 1.5  # standard deviations above the catalogue's mean from where similarity is evidence
VOTES = 0.25  # evidence per further standard deviation


@dataclass(frozen=True, eq=False)
class VoteEvidence:
    """Per candidate what the votes say, in nats; negative near disliked papers."""

    evidence: Floats
    nearest: dict[int, int]  # candidate row -> row of the liked paper it resembles most


def latest_opinions(votes: Iterable[Vote]) -> dict[PaperId, Vote]:
    """The last vote on each paper; the order of `votes` does not matter."""
    return {vote.paper_id: vote for vote in sorted(votes, key=lambda vote: (vote.at, vote.opinion))}


class VoteLearner:
    """Learns from any number of subscribers' votes on one index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        covariance = index.model.covariance
        size = max(1, len(covariance))
        level = float(np.trace(covariance)) / size or 1.0
        self._covariance = covariance
        inverse = (
            np.linalg.inv(covariance + RIDGE * level * np.eye(len(covariance)))
            if len(covariance)
            else covariance
        )
        self._solved = index.vectors @ inverse

    def learn(self, votes: Mapping[PaperId, Vote], now: datetime) -> VoteEvidence | None:
        """None where no vote is on a paper of the index."""
        index = self._index
        known = [vote for vote in votes.values() if vote.paper_id in index.row_of]
        if not known or not index.vectors.shape[1]:
            return None
        rows = np.array([index.row_of[vote.paper_id] for vote in known])
        weights, targets = self._weights(known, now)
        solved = self._solved[rows]
        gram = index.vectors[rows] @ solved.T
        direction = np.linalg.solve(gram + np.diag(1.0 / weights), targets) @ solved
        spread = float(np.sqrt(direction @ self._covariance @ direction)) or 1.0
        surprise = index.vectors[: index.size] @ direction / spread
        evidence = VOTES * (np.maximum(surprise - SURPRISE, 0.0) + np.minimum(surprise + SURPRISE, 0.0))
        return VoteEvidence(evidence, self._nearest(rows[targets > 0], np.flatnonzero(evidence > 0)))

    def _weights(self, votes: list[Vote], now: datetime) -> tuple[Floats, Floats]:
        ages = np.array([max(0.0, (now - vote.at).total_seconds() / 86_400) for vote in votes])
        targets = np.array([-1.0 if vote.opinion is Opinion.LESS else 1.0 for vote in votes])
        weights = np.maximum(LEAST_WEIGHT, 0.5 ** (ages / HALF_LIFE_DAYS))
        weights[targets < 0] *= DISLIKE
        return weights / weights.sum(), targets

    def _nearest(self, liked: Rows, candidates: Rows) -> dict[int, int]:
        if not len(liked) or not len(candidates):
            return {}
        likeness = self._index.vectors[candidates] @ self._index.vectors[liked].T
        return dict(zip(candidates.tolist(), liked[likeness.argmax(axis=1)].tolist(), strict=True))

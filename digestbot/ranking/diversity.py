"""Which of the ranked papers make a digest: no near-copies, and every topic gets its turn.

Maximal marginal relevance (Carbonell and Goldstein 1998) with a share for topics: a paper's worth is its score, less
for each likeness to a chosen one and less for each paper its topic already has. Followed authors come first, always.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy

from digestbot.ranking.statistics import Bools, Floats, Rows, normalise
from digestbot.ranking.weighing import AUTHOR_FLOOR

LIKENESS = 0.5  # share of its score that a full copy of a chosen paper keeps back
COPY = 0.9  # cosine from which two papers are one to a reader: the second waits until nothing else is left
SAME_WORDS = 0.8  # cosine of plain word counts from which they are, too: a catalogue full of copies tells none by rarity
CROWD = 0.8  # what each further paper of the same topic counts of the one before
REMEMBERED_BYTES = 32 << 20  # of cosines
_DECIMALS = 1e9  # worth is compared as a whole number of these: rounding in the last digits turns no order
_NO_COPY, _FOLLOWED = 2 * _DECIMALS, 4 * _DECIMALS  # above any worth, and above both


class Likeness:
    """The cosines between candidates, remembered for those that were chosen; room for all of some thousand."""

    def __init__(
        self, vectors: Floats, words: scipy.sparse.csr_array, *, remembered_bytes: int = REMEMBERED_BYTES
    ) -> None:
        """`words`: how often each candidate has each word, rows of length 1."""
        count = len(vectors)
        self.most = max(1, min(count, remembered_bytes // (4 * count or 1)))  # rows at once
        self._vectors, self._words = vectors, words
        self._cosines = np.empty((self.most, count), dtype=np.float32)
        self._place = np.full(count, -1)  # of each candidate in the table
        self._used = 0

    @cached_property
    def _directions(self) -> Floats:
        return normalise(self._vectors)

    def between(self, rows: Rows, others: Rows) -> npt.NDArray[np.float32]:
        """Between each of at most `most` candidates and those in its row of `others`; 1 where the words are the same."""
        fresh = np.unique(rows[self._place[rows] < 0])
        if self._used + len(fresh) > self.most:
            self._place[:], self._used = -1, 0
            fresh = np.unique(rows)
        end = self._used + len(fresh)
        found = self._cosines[self._used : end]
        found[:] = self._directions[fresh] @ self._directions.T
        found[(self._words[fresh] @ self._words.T).toarray() >= SAME_WORDS] = 1.0
        self._place[fresh], self._used = np.arange(self._used, end), end
        return np.asarray(self._cosines[self._place[rows][:, None], others])


def diversify(
    likeness: Likeness, rows: Rows, scores: Floats, topics: Rows, *, starts: Rows, most: Rows
) -> tuple[Rows, Bools]:
    """For each of a block of people where the papers of a digest stand, in the order to show them, and then -1; and
    who has near-copies among them.

    rows, scores, topics: of all people's papers, each one's best first: the candidate, its score, and a number of the
    topic that speaks for it, one and the same where only votes do. starts: where each person's papers begin, and where
    the last one's end. most: papers each one wants; the choice for fewer begins the choice for more.
    """
    counts = np.diff(starts)
    shown, copied = np.full((len(most), most.max(initial=0)), -1), np.zeros(len(most), dtype=bool)
    for wanted in np.unique(most[counts > 0]):
        people = np.flatnonzero((most == wanted) & (counts > 0))
        for at in range(0, len(people), likeness.most):
            part = people[at : at + likeness.most]
            turns = np.arange(counts[part].max())
            there = turns < counts[part, None]
            places = np.where(there, starts[part, None] + turns, 0)
            table = rows[places], np.where(there, scores[places], 0.0), topics[places]
            columns, copied[part] = _take_turns(likeness, *table, most=wanted)
            found = np.take_along_axis(places, np.maximum(columns, 0), axis=1)
            shown[part, : columns.shape[1]] = np.where(columns < 0, -1, found)
    return shown, copied


def _take_turns(
    likeness: Likeness, rows: Rows, scores: Floats, topics: Rows, *, most: int
) -> tuple[Rows, Bools]:
    """The columns chosen from tables of people x papers, and then -1, and who has near-copies; a score of 0 is no
    paper."""
    people = np.arange(len(rows))
    chosen = np.full((len(rows), min(most, rows.shape[1])), -1)
    taken, copied = scores <= 0, np.zeros(len(rows), dtype=bool)
    followed = np.where(scores >= AUTHOR_FLOOR, _FOLLOWED, 0.0)
    near = np.zeros(scores.shape)  # to the nearest of the chosen
    crowd = np.ones(scores.shape)  # what a paper counts beside those that its topic already has
    for turn in range(chosen.shape[1]):
        standing = np.rint(scores * (1.0 - LIKENESS * near) * crowd * _DECIMALS) + followed
        standing[near < COPY] += _NO_COPY
        standing[taken] = -1.0
        best = standing.argmax(axis=1)  # the first of equals
        chosen[:, turn] = np.where(taken[people, best], -1, best)
        copied |= (near[people, best] >= COPY) & ~taken[people, best]
        taken[people, best] = True
        np.maximum(near, likeness.between(rows[people, best], rows), out=near)
        crowd[topics == topics[people, best][:, None]] *= CROWD
    return chosen, copied

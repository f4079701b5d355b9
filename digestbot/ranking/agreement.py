"""Whether a paper that has a common word of a profile is about what the reader means by it.

*Policy*, *feedback* and *language* mean one thing to a scholar and another to an engineer. What a reader means is told
by all topics together and by the votes: agreement is how near the paper lies to them, in standard deviations above the
catalogue, a mean in which each counts the more the more there is of it. The more often a paper names the word, the less
agreement it needs. The weights are those that told liked papers from others in hold-out, see docs/benchmarks-ranking.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from digestbot.ranking.statistics import Floats

NEAR = 3.0  # agreement from which meaning is evidence without a term
ONCE = 3.8  # agreement that one mention needs
STEP = 0.5  # so much less for each doubling
VOTES = 0.8  # weight of many votes beside 1 of many topics
HALF = 3.0  # topics, votes that weigh half as much


def agreement(meaning: Floats, topics: Floats, surprise: Floats, votes: Floats) -> Floats:
    """Per paper. `meaning`: of all the `topics` (how many) together; `surprise`: what `votes` (how many) say of it;
    both in standard deviations. 0 where there are neither."""
    by_topics = topics / (topics + HALF)
    by_votes = VOTES * votes / (votes + HALF)
    told = by_topics * meaning + by_votes * surprise
    return np.asarray(told / np.maximum(by_topics + by_votes, 1e-9))


def asked(mentions: npt.NDArray[np.floating]) -> Floats:
    """The agreement that so many mentions need; infinite where there is none, none at all where they leave no doubt."""
    return np.where(mentions > 0, ONCE - STEP * np.log2(np.maximum(mentions, 1e-9)), np.inf)

"""Whether the rest of a profile agrees that a paper is on a topic of which it has a common word.

*Policy*, *feedback* and *language* mean one thing to a scholar and another to an engineer. What a reader means is told
by the votes and by the other topics: agreement is their mean, in standard deviations above the catalogue, with what is
believed of a reader of whom nothing else is known. The more often a paper names the word, the less agreement it needs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from digestbot.ranking.statistics import Bools, Floats

BELIEVED = 2.6  # of who has one topic and no votes: a title or two mentions are enough
ONCE = 3.0  # agreement that one mention needs
STEP = 0.75  # so much less for each doubling
TOPICS, VOTES = 1.5, 2.0  # weight of many other topics, of many votes, beside 1 of what is believed
HALF = 2.0  # other topics, votes that weigh half as much


def agreement(others: Floats, topics: Floats, surprise: Floats, votes: Floats) -> Floats:
    """Per paper. `others`: the sum of its meaning for the `topics` (how many) that do not name it; `surprise`: what
    `votes` (how many) say of it; all in standard deviations."""
    by_topics = TOPICS * topics / (topics + HALF)
    by_votes = VOTES * votes / (votes + HALF)
    told = by_topics * others / np.sqrt(np.maximum(topics, 1.0)) + by_votes * surprise
    return np.asarray((BELIEVED + told) / (1.0 + by_topics + by_votes))


def enough(mentions: npt.NDArray[np.floating], agreed: Floats) -> Bools:
    """Where so many mentions make a paper one on the topic. No mention is never enough."""
    asked = np.where(mentions > 0, ONCE - STEP * np.log2(np.maximum(mentions, 1e-9)), np.inf)
    return np.asarray(agreed >= asked)

"""What a topic says of the candidates: evidence in nats, so that independent pieces add (score = 1 - exp(-evidence)).

A term counts as BM25 counts it (Robertson and Zaragoza 2009, eq. 3.15), with the rarity of the whole phrase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from digestbot.model import Topic
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import Model
from digestbot.ranking.words import features, phrase

TERM = 0.5  # evidence of a rare term named once in an abstract of average length: score 0.39
RARE = 1 / 200  # a term in this share of the catalogue, or rarer, counts in full
K1, B = 1.2, 0.4
CATEGORY = 0.3  # evidence of its category, for a topic of categories alone: score 0.26
CATEGORY_BOOST = 1.2  # a topic's matches inside its categories


@dataclass(frozen=True, eq=False)
class TopicEvidence:
    """Per row of the index what one topic says, before its weight."""

    terms: Mapping[int, float]  # from phrases, authors' papers not included
    authors: Mapping[int, str]  # rows by a followed author -> the name as printed
    categories: frozenset[int]
    matched: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # row -> terms, strongest first


def rarity(model: Model, term: str) -> float:
    """1 for a term in RARE of the catalogue's papers or fewer, down to 0 for one in all of them."""
    frequency = phrase_frequency(model, term)
    return (
        min(1.0, math.log((model.papers + 1) / (frequency + 0.5)) / -math.log(RARE)) if model.papers else 1.0
    )


def phrase_frequency(model: Model, term: str) -> float:
    """Papers of the catalogue with `term`; for long phrases, those with its rarest pair of words."""
    names = features(phrase(term))
    pairs = [name for name in names if " " in name] or names
    known = [model.position.get(name) for name in pairs]
    return min((float(model.frequency[at]) if at is not None else 1.0 for at in known), default=1.0)


def topic_evidence(index: Index, topic: Topic) -> TopicEvidence:
    found: dict[int, float] = {}
    named: dict[int, list[tuple[float, str]]] = {}
    for term in dict.fromkeys(topic.terms):
        matches = index.matches(term)
        rare = rarity(index.model, term) if matches else 0.0
        for row, often in matches.items():
            evidence = TERM * rare * often * (K1 + 1) / (often + K1 * (1 - B + B * index.lengths[row]))
            found[row] = found.get(row, 0.0) + float(evidence)
            named.setdefault(row, []).append((-evidence, term))
    inside = frozenset(row for category in topic.categories for row in index.in_category(category))
    authors = {row: name for author in topic.authors for row, name in index.authored(author).items()}
    if not topic.terms and not topic.authors:
        found = dict.fromkeys(inside, CATEGORY)
    else:
        found = {row: value * (CATEGORY_BOOST if row in inside else 1.0) for row, value in found.items()}
    matched = {row: tuple(term for _, term in sorted(terms)) for row, terms in named.items()}
    return TopicEvidence(found, authors, inside, matched)

"""What a term says of the candidates: evidence as BM25 counts it, with the rarity of the whole phrase, and mentions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import Model
from digestbot.ranking.words import features, phrase

TERM = 0.3  # evidence of a rare term named once in an abstract of average length: score 0.25
RARE = 1 / 1_000  # a term in this share of the catalogue, or rarer, counts in full
K1, B = 1.2, 0.4
LARGE = 500  # papers of a catalogue from which its spread tells what is far
COMMON = 0.7  # rarity below which a term is common: in more than 8 of 1,000 papers of a large catalogue
ENOUGH = 2.0  # mentions of common terms, a title's counted twice, that make a paper one on the topic
SURE = 4.0  # mentions that do so though the paper is unlike all that the reader liked: words have several meanings


@dataclass(frozen=True, slots=True, eq=False)
class TermEvidence:
    """By row of the index; what stands in no row was not said."""

    values: Mapping[int, float]  # in nats, before the topic's weight
    mentions: Mapping[int, float]  # SURE where there is no doubt that the paper is on it
    frequency: float  # papers of the catalogue with the term
    whole: Mapping[
        int, float
    ]  # weights of the features that stand for it, if the catalogue knows all of them


class TermReader:
    """Reads terms against one index, each once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._read: dict[str, TermEvidence] = {}

    def read(self, term: str) -> TermEvidence:
        found = self._read.get(term)
        if found is None:
            found = self._read[term] = self._evidence(term)
        return found

    def _evidence(self, term: str) -> TermEvidence:
        index, model = self._index, self._index.model
        matches = index.matches(term)
        rarely = rarity(model, term) if matches else 0.0
        rare = TERM * rarely * (K1 + 1)
        beyond_doubt = _beyond_doubt(model, term, rarely)
        columns = [model.position.get(name) for name in _parts(term)]
        return TermEvidence(
            values={
                row: rare * often / (often + K1 * (1 - B + B * float(index.lengths[row])))
                for row, often in matches.items()
            },
            mentions={row: SURE if often >= beyond_doubt else often for row, often in matches.items()},
            frequency=phrase_frequency(model, term),
            whole={}
            if None in columns
            else {column: model.rarities[column] for column in columns if column is not None},
        )


def rarity(model: Model, term: str) -> float:
    """1 for a term in RARE of the catalogue's papers or fewer, down to 0 for one in all of them.

    A term counts as rare until the catalogue is large enough to show otherwise.
    """
    share = (phrase_frequency(model, term) + 0.5) / (model.papers + LARGE)
    return min(1.0, math.log(share) / math.log(RARE))


def phrase_frequency(model: Model, term: str) -> float:
    """Papers of the catalogue with `term`; for long phrases, with its rarest pair; 0: none known."""
    known = [model.position.get(name) for name in _parts(term)]
    return min((float(model.frequency[at]) if at is not None else 0.0 for at in known), default=0.0)


def _beyond_doubt(model: Model, term: str, rarely: float) -> float:
    """Mentions from where a paper is on the term whatever else is known; infinite for a common word."""
    if rarely >= COMMON or model.papers < LARGE:
        return 0.0
    return ENOUGH if len(phrase(term)) > 1 else math.inf


def _parts(term: str) -> list[str]:
    """The features that stand for the whole of a term: its pairs of neighbours, or its only word."""
    names = features(phrase(term))
    return [name for name in names if " " in name] or names

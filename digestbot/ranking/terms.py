"""What a term says of the candidates: evidence as BM25 counts it, with the rarity of the whole phrase, and mentions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from digestbot.model import Reason, ReasonKind
from digestbot.ranking.candidates import Index
from digestbot.ranking.memory import Memory
from digestbot.ranking.statistics import TITLE_WEIGHT, Floats, Model, sparse_rows
from digestbot.ranking.words import features, phrase

TERM = 0.3  # evidence of a rare term named once in an abstract of average length: score 0.25
RARE = 1 / 1_000  # a term in this share of the catalogue, or rarer, counts in full
K1, B = 1.2, 0.4
LARGE = 500  # papers of a catalogue from which its spread tells what is far
COMMON = 0.7  # rarity below which a term is common: in more than 8 of 1,000 papers of a large catalogue
PHRASE = 2  # what a mention of a common phrase counts beside one of a common word
TITLED = 4  # what a mention in the title counts beside one in the abstract
CERTAIN = math.inf  # mentions of a term that leaves no doubt: a rare one, any in the topic's categories


@dataclass(frozen=True, slots=True, eq=False)
class TermEvidence:
    """By row of the index; what stands in no row was not said."""

    values: Mapping[int, float]  # in nats, before the topic's weight
    mentions: Mapping[int, float]  # CERTAIN where there is no doubt that the paper is on it
    frequency: float  # papers of the catalogue with the term
    reasons: tuple[Reason, ...]  # what a reader is told where no other term stands
    whole: Mapping[
        int, float
    ]  # weights of the features that stand for it, if the catalogue knows all of them

    def __len__(self) -> int:
        return 2 * len(self.values) + len(self.whole)


class TermReader:
    """Reads terms against one index, each once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.read = Memory(self._evidence).get

    def _evidence(self, term: str) -> TermEvidence:
        index, model = self._index, self._index.model
        matches = index.matches(term)
        rarely = rarity(model, term)
        rare = TERM * rarely * (K1 + 1)
        common = rarely < COMMON and model.papers >= LARGE
        one_word = len(phrase(term)) == 1
        columns = [model.position.get(name) for name in _parts(term)]
        often = {row: TITLE_WEIGHT * title + abstract for row, (title, abstract) in matches.items()}
        return TermEvidence(
            values={
                row: rare * count / (count + K1 * (1 - B + B * float(index.lengths[row])))
                for row, count in often.items()
            },
            mentions={
                row: _mentions(title, abstract, common=common, one_word=one_word)
                for row, (title, abstract) in matches.items()
            },
            frequency=phrase_frequency(model, term),
            reasons=(Reason(ReasonKind.TERM, term),),
            whole={}
            if None in columns
            else {column: model.rarities[column] for column in columns if column is not None},
        )


def latents(model: Model, terms: Sequence[TermEvidence]) -> Floats:
    """Where papers with each term lie in the latent dimensions: they lie further out along the strong ones."""
    return np.asarray(sparse_rows(model, [said.whole for said in terms]) @ model.projection) * model.strength


def by_row(said: Sequence[Mapping[int, float]], size: int) -> scipy.sparse.csr_array:
    """A table of terms x candidates."""
    ends = np.cumsum([0, *map(len, said)])
    rows = np.fromiter((row for one in said for row in one), np.int64, ends[-1])
    values = np.fromiter((value for one in said for value in one.values()), np.float32, ends[-1])
    return scipy.sparse.csr_array((values, rows, ends), shape=(len(said), size))


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


def _mentions(title: int, abstract: int, *, common: bool, one_word: bool) -> float:
    if not common:
        return CERTAIN
    return (TITLED * title + abstract) * (1 if one_word else PHRASE)


def _parts(term: str) -> list[str]:
    """The features that stand for the whole of a term: its pairs of neighbours, or its only word."""
    names = features(phrase(term))
    return [name for name in names if " " in name] or names

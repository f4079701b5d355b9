"""What a topic says of the candidates: evidence in nats, so that independent pieces add (score = 1 - exp(-evidence)).

A term counts as BM25 counts it (Robertson and Zaragoza 2009, eq. 3.15), with the rarity of the whole phrase. What a
topic means is a direction in the papers' space: where the catalogue's papers with its terms lie, and with an embedding
model where its words lie. How far a paper lies in that direction is told in standard deviations of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
import scipy

from digestbot.model import Reason, ReasonKind, Topic
from digestbot.ranking.candidates import Index
from digestbot.ranking.directions import Directions
from digestbot.ranking.statistics import Bools, Floats, Model
from digestbot.ranking.terms import CERTAIN, LARGE, TermReader, by_row, latents
from digestbot.ranking.words import phrase

CATEGORY = 0.2  # evidence of its category, for a topic of categories alone: score 0.17
CATEGORY_BOOST = 1.2  # a topic's matches inside its categories
MEANING = 0.25  # evidence per standard deviation of meaning
CLEAR = 4.0  # standard deviations from where meaning alone, without a term, is evidence
CLEAR_WORDS = 5.0  # the same without an embedding model
KNOWN = 3  # papers of the catalogue with a term from which we know what it means
REMEMBERED_BYTES = 128 << 20  # of topics read: 30,000 with 300 candidates
_CHUNK = 1024  # topics read at once: what is made meanwhile stays small

Table = npt.NDArray[np.float32]  # topics x candidates
Column = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Topics:
    """What topics say, before their weights: a row each."""

    terms: Table  # in nats, from phrases or, for a topic of categories alone, from those
    mentions: (
        Table  # 0: none of its terms, CERTAIN: no doubt; whether others are enough, `ranking.agreement` says
    )
    meaning: Table  # in standard deviations; all 0 where nothing is known of it
    clear: Column  # standard deviations from where meaning alone is evidence; infinite where it is unknown
    meant: Bools  # something is known of what it means
    written: Bools  # a followed author has written a candidate

    @classmethod
    def nothing(cls, topics: int, size: int) -> Topics:
        return cls(
            terms=np.zeros((topics, size), dtype=np.float32),
            mentions=np.zeros((topics, size), dtype=np.float32),
            meaning=np.zeros((topics, size), dtype=np.float32),
            clear=np.full(topics, np.inf, dtype=np.float32),
            meant=np.zeros(topics, dtype=bool),
            written=np.zeros(topics, dtype=bool),
        )

    def part(self, start: int, end: int) -> Topics:
        """These rows; what is written into them stands in the whole."""
        return Topics(
            self.terms[start:end],
            self.mentions[start:end],
            self.meaning[start:end],
            self.clear[start:end],
            self.meant[start:end],
            self.written[start:end],
        )


@dataclass(eq=False)
class Known:
    """The topics read so far, each with its number: its row in `said`. It grows, and numbers never change."""

    said: Topics
    topics: list[Topic] = field(default_factory=list)
    numbers: dict[Topic, int] = field(default_factory=dict)


class TopicReader:
    """Reads topics against one index, and remembers them: many subscribers share terms and topics."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._most = max(_CHUNK, REMEMBERED_BYTES // (12 * index.size + 1024))
        self._directions = Directions(index)
        self.knows_meaning = index.model.papers >= LARGE
        self._forget()

    def _forget(self) -> None:
        """Room for all is taken at once: what is never written to costs no memory."""
        self.terms = TermReader(self._index)
        self.known = Known(Topics.nothing(self._most, self._index.size))

    def read(self, topics: Sequence[Topic]) -> Numbers:
        """The numbers of `topics` among those that are `known` now; at the next reading they may be others."""
        first, numbers = len(self.known.topics), self.known.numbers
        found = [numbers.setdefault(topic, len(numbers)) for topic in topics]
        if len(numbers) > first:
            if len(numbers) > self._most:
                self._most = max(self._most, len(set(topics)))
                self._forget()
                return self.read(topics)
            self._learn(list(islice(numbers, first, None)))
        return np.array(found, dtype=np.int64)

    def _learn(self, fresh: Sequence[Topic]) -> None:
        known = self.known
        first = len(known.topics)
        try:
            for at in range(0, len(fresh), _CHUNK):
                chunk = fresh[at : at + _CHUNK]
                self._read(chunk, known.said.part(first + at, first + at + len(chunk)))
        except BaseException:
            self._forget()  # some are numbered and not read
            raise
        known.topics += fresh

    def _read(self, topics: Sequence[Topic], said: Topics) -> None:
        number: dict[str, int] = {}
        columns = [
            [number.setdefault(term, len(number)) for term in dict.fromkeys(topic.terms)] for topic in topics
        ]
        terms = [self.terms.read(term) for term in number]
        ends = np.cumsum([0, *map(len, columns)])
        flat = np.fromiter(chain.from_iterable(columns), np.int64, ends[-1])
        ones = np.ones(ends[-1], dtype=np.float32)
        has = scipy.sparse.csr_array((ones, flat, ends), shape=(len(topics), len(terms)))
        size = self._index.size
        (has @ by_row([term.values for term in terms], size)).toarray(out=said.terms)
        (has @ by_row([term.mentions for term in terms], size)).toarray(out=said.mentions)
        for at, topic in enumerate(topics):
            if topic.categories:
                self._add_categories(said, at, topic)
            if topic.authors:
                said.written[at] = bool(self.authored(topic))
        if self.knows_meaning:
            known = has @ np.array([term.frequency >= KNOWN for term in terms], dtype=float) > 0
            said.clear[known] = clear_from(self._index.model)
            latent = has @ latents(self._index.model, terms)
            said.meaning[:] = self._directions.of_topics(latent, topics)
            said.meant[:] = said.meaning.any(axis=1)

    def _add_categories(self, said: Topics, at: int, topic: Topic) -> None:
        inside = list(self.categories(topic))
        if topic.terms or topic.authors:
            said.terms[at, inside] *= CATEGORY_BOOST
            said.mentions[at, inside] = np.where(said.mentions[at, inside] > 0, CERTAIN, 0.0)
        else:
            said.terms[at, inside], said.mentions[at, inside] = CATEGORY, CERTAIN

    def categories(self, topic: Topic) -> Mapping[int, str]:
        """Rows in one of the topic's categories -> that category."""
        index = self._index
        return {row: name for name in reversed(topic.categories) for row in index.in_category(name)}

    def authored(self, topic: Topic) -> Mapping[int, str]:
        """Rows by an author whom the topic follows -> the name as printed."""
        return {row: name for author in topic.authors for row, name in self._index.authored(author).items()}

    def whole_meanings(self, texts: Sequence[str]) -> Floats:
        """Per text and candidate, in standard deviations, how near it is to the text; for an embedding model."""
        return self._directions.of_texts(texts)

    def matched(self, topic: Topic, row: int) -> list[str]:
        """The topic's terms that the paper has, strongest first."""
        read = self.terms.read
        found = {(-read(term).values[row], term) for term in topic.terms if row in read(term).values}
        return [term for _, term in sorted(found)]

    def reasons(self, known: Known, number: int, row: int) -> tuple[Reason, ...]:
        """Why the topic of this number speaks for the paper: only what a reader can check."""
        topic, why = known.topics[number], self._reasons(known, number, row)
        if topic.authors and (author := self.authored(topic).get(row)):
            return Reason(ReasonKind.AUTHOR, author), *why
        return why

    def _reasons(self, known: Known, number: int, row: int) -> tuple[Reason, ...]:
        """Those that are no author."""
        topic, read = known.topics[number], self.terms.read
        found = [said for said in map(read, topic.terms) if row in said.values]
        if len(found) == 1:
            return found[0].reasons
        if found:
            return (Reason(ReasonKind.TERM, ", ".join(self.matched(topic, row)[:3])),)
        if known.said.mentions[number, row] > 0:
            return (Reason(ReasonKind.CATEGORY, self.categories(topic)[row]),)
        if known.said.meaning[number, row] > 0:
            return (Reason(ReasonKind.SIMILAR_TOPIC, topic.name),)
        return ()


def speaking(topics: Sequence[Topic]) -> list[Topic]:
    """Those of weight above 0; of several that look for the same, only the heaviest."""
    found: dict[object, Topic] = {}
    for topic in topics:
        wanted = _patterns(topic.terms), topic.authors, topic.categories
        if topic.weight > (found[wanted].weight if wanted in found else 0.0):
            found[wanted] = topic
    return list(found.values())


@lru_cache(maxsize=1 << 16)
def _patterns(terms: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset(map(phrase, terms))


def clear_from(model: Model) -> float:
    """Standard deviations of meaning from where it is evidence without a term."""
    return CLEAR if model.encoder else CLEAR_WORDS

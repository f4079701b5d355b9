"""What a topic says of the candidates: evidence in nats, so that independent pieces add (score = 1 - exp(-evidence)).

A term counts as BM25 counts it (Robertson and Zaragoza 2009, eq. 3.15), with the rarity of the whole phrase. What a
topic means is a direction in the papers' space: where the catalogue's papers with its terms lie, and with an embedding
model where its words lie. How far a paper lies in that direction is told in standard deviations of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from digestbot.model import Reason, ReasonKind, Topic
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import COARSE, Floats, Model, Rows, normalise, sparse_rows
from digestbot.ranking.terms import ENOUGH, LARGE, SURE, TermEvidence, TermReader
from digestbot.ranking.words import phrase

CATEGORY = 0.2  # evidence of its category, for a topic of categories alone: score 0.17
CATEGORY_BOOST = 1.2  # a topic's matches inside its categories
MEANING = 0.25  # evidence per standard deviation of meaning
CLEAR = 4.0  # standard deviations from where meaning alone, without a term, is evidence
CLEAR_WORDS = 5.0  # the same without an embedding model
NEAR = 2.5  # standard deviations of meaning from where one mention is enough
KNOWN = 3  # papers of the catalogue with a term from which we know what it means
LEXICAL, EMBEDDED, WHOLE = (
    0.8,
    0.5,
    0.6,
)  # shares of a topic's meaning: words, embedding; all topics' words in one
REMEMBERED_BYTES = 192 << 20  # of topics read: 30,000 with 300 candidates
_NONE: Rows = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TopicEvidence:
    """Per row of the index what one topic says, before its weight."""

    topic: Topic
    terms: Mapping[int, float]  # from phrases or, for a topic of categories alone, from those
    authors: Mapping[int, str]  # rows by a followed author -> the name as printed
    categories: Mapping[int, str]  # rows in one of the categories -> that category
    mentions: Floats  # for each of term_rows; with those of other topics, below ENOUGH is said in passing
    spoken: Sequence[tuple[str, TermEvidence]]  # the terms that some candidate has
    meaning: Floats  # per candidate, in standard deviations; all 0 where the topic's meaning is unknown
    known: bool  # the catalogue is large and has papers with a term of the topic: its meaning can be trusted
    clear: Rows  # that meaning alone speaks for
    term_rows: Rows
    term_values: Floats  # of `terms`, in the order of term_rows
    loudness: Mapping[int, float]  # see `_loudness`
    _reasons: dict[int, tuple[Reason, ...]] = field(default_factory=dict)

    def reasons(self, row: int) -> tuple[Reason, ...]:
        """Why the topic speaks for the paper: only what a reader can check."""
        found = self._reasons.get(row)
        if found is None:
            found = self._reasons[row] = tuple(self._name_reasons(row))
        return found

    def matched(self, row: int) -> list[str]:
        """The terms that the paper has, strongest first."""
        found = sorted((-said.values[row], term) for term, said in self.spoken if row in said.values)
        return [term for _, term in found]

    def _name_reasons(self, row: int) -> Iterator[Reason]:
        if row in self.authors:
            yield Reason(ReasonKind.AUTHOR, self.authors[row])
        matched = self.matched(row)
        if matched:
            yield Reason(ReasonKind.TERM, ", ".join(matched[:3]))
        elif row in self.terms:
            yield Reason(ReasonKind.CATEGORY, self.categories[row])
        elif self.meaning[row] > 0:
            yield Reason(ReasonKind.SIMILAR_TOPIC, self.topic.name)


class TopicReader:
    """Reads topics against one index, and remembers them: many subscribers share terms and topics."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._terms = TermReader(index)
        self._read: dict[Topic, TopicEvidence] = {}
        self._most = REMEMBERED_BYTES // (8 * index.size + 4096)

    def read(self, topics: Iterable[Topic]) -> Mapping[Topic, TopicEvidence]:
        """What each of the topics says; equal topics once."""
        distinct = dict.fromkeys(topics)
        fresh = [topic for topic in distinct if topic not in self._read]
        if len(self._read) + len(fresh) > self._most:
            self._read, self._terms = {}, TermReader(self._index)
            fresh = list(distinct)
        known = self._read
        for topic, meaning in zip(fresh, self._meanings(fresh), strict=True):
            known[topic] = self._evidence(topic, meaning)
        return known

    def _evidence(self, topic: Topic, meaning: Floats) -> TopicEvidence:
        terms = [(term, self._terms.read(term)) for term in dict.fromkeys(topic.terms)]
        spoken = [(term, said) for term, said in terms if said.values]
        found: Mapping[int, float] = _added([said.values for _, said in spoken])
        mentions = _added([said.mentions for _, said in spoken])
        index = self._index
        inside = {
            row: category for category in reversed(topic.categories) for row in index.in_category(category)
        }
        if not topic.terms and not topic.authors:
            found = dict.fromkeys(inside, CATEGORY)
        elif inside:
            found = {row: value * (CATEGORY_BOOST if row in inside else 1.0) for row, value in found.items()}
        if inside:
            mentions = {row: SURE if row in inside else mentions[row] for row in found}
        authors = {row: name for author in topic.authors for row, name in index.authored(author).items()}
        known = index.model.papers >= LARGE and any(said.frequency >= KNOWN for _, said in terms)
        clear = np.flatnonzero(meaning >= clear_from(index.model)) if known else _NONE
        rows = np.fromiter(found, np.int64, len(found))
        values = np.fromiter(found.values(), float, len(found))
        near = meaning[rows]
        return TopicEvidence(
            topic=topic,
            terms=found,
            authors=authors,
            categories=inside,
            spoken=spoken,
            meaning=meaning,
            known=known,
            clear=clear,
            mentions=np.maximum(
                np.fromiter(mentions.values(), float, len(found)), np.where(near >= NEAR, ENOUGH, 0.0)
            ),
            term_rows=rows,
            term_values=values,
            loudness=_loudness(rows, values + MEANING * near, authors, clear, meaning),
        )

    def _meanings(self, topics: Sequence[Topic]) -> Floats:
        """Topics x candidates, in standard deviations of the catalogue along each topic's direction."""
        index = self._index
        if not topics or index.model.papers < LARGE:
            return np.zeros((len(topics), index.size))
        lexical = _unit(index, self._lexical_directions(topics)) * LEXICAL
        embedded = _embedded_directions(index, [topic_text(topic) for topic in topics])
        if embedded is not None:
            lexical = lexical + embedded * EMBEDDED
        return _standardise(index, lexical)

    def _lexical_directions(self, topics: Sequence[Topic]) -> Floats:
        """Where papers with the topics' terms lie: rows of the term space, leaning to its strong dimensions."""
        model = self._index.model
        rows = [
            _added([self._terms.read(term).whole for term in dict.fromkeys(topic.terms)]) for topic in topics
        ]
        latent = normalise(sparse_rows(model, rows) @ model.projection)
        latent = latent * model.strength  # papers with a word lie further out along the strong dimensions
        lexical = np.hstack([normalise(latent[:, :COARSE]), normalise(latent)])
        return np.hstack([np.zeros((len(topics), model.embedded)), lexical])


def _added(parts: Sequence[Mapping[int, float]]) -> Mapping[int, float]:
    if len(parts) == 1:
        return parts[0]
    found: dict[int, float] = {}
    for part in parts:
        for key, value in part.items():
            found[key] = found.get(key, 0.0) + value
    return found


def _loudness(
    rows: Rows, loud: Floats, authors: Mapping[int, str], clear: Rows, meaning: Floats
) -> dict[int, float]:
    """How much is said of each row spoken for; a followed author outdoes all terms."""
    found = dict(zip(rows.tolist(), loud.tolist(), strict=True))
    for row in {*authors, *clear.tolist()} - found.keys():
        found[row] = MEANING * float(meaning[row])
    for row in authors:
        found[row] += 100.0
    return found


def whole_meaning(index: Index, topics: Sequence[Topic]) -> Floats | None:
    """Per candidate, in standard deviations, how near it is to all topics' words read as one text; None: not told."""
    texts = [topic_text(topic) for topic in topics if topic.terms and topic.weight > 0]
    if index.embedder is None or len(texts) < 2:
        return None
    directions = _embedded_directions(index, [", ".join(texts)])
    return _standardise(index, directions)[0] if directions is not None else None


def topic_text(topic: Topic) -> str:
    """What of a topic is embedded."""
    return ", ".join(term for term in topic.terms if phrase(term))


def clear_from(model: Model) -> float:
    """Standard deviations of meaning from where it is evidence without a term."""
    return CLEAR if model.encoder else CLEAR_WORDS


def _embedded_directions(index: Index, texts: Sequence[str]) -> Floats | None:
    """Where the embedding model puts the texts, each one standard deviation of the catalogue long; None without one."""
    if index.embedder is None:
        return None
    directions = np.zeros((len(texts), len(index.model.mean)))
    size = index.model.embedded
    for row, text in enumerate(texts):
        if text:
            directions[row, :size] = index.embedded_text(text) - index.model.mean[:size]
    return _unit(index, directions)


def _unit(index: Index, directions: Floats) -> Floats:
    """Directions scaled so that the catalogue's standard deviation along each is 1."""
    spread = np.sqrt(np.maximum(np.sum((directions @ index.model.covariance) * directions, axis=1), 0.0))
    return np.asarray(directions / np.where(spread > 1e-9, spread, np.inf)[:, None])


def _standardise(index: Index, directions: Floats) -> Floats:
    return np.asarray(_unit(index, directions) @ index.vectors[: index.size].T)

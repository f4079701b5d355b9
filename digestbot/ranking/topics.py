"""What a topic says of the candidates: evidence in nats, so that independent pieces add (score = 1 - exp(-evidence)).

A term counts as BM25 counts it (Robertson and Zaragoza 2009, eq. 3.15), with the rarity of the whole phrase. What a
topic means is a direction in the papers' space: where the catalogue's papers with its terms lie, and with an embedding
model where its words lie. How far a paper lies in that direction is told in standard deviations of the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from digestbot.model import Reason, ReasonKind, Topic
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import COARSE, Floats, Model, Rows, normalise, sparse_rows
from digestbot.ranking.words import features, phrase

TERM = 0.3  # evidence of a rare term named once in an abstract of average length: score 0.25
RARE = 1 / 1_000  # a term in this share of the catalogue, or rarer, counts in full
K1, B = 1.2, 0.4
CATEGORY = 0.2  # evidence of its category, for a topic of categories alone: score 0.17
CATEGORY_BOOST = 1.2  # a topic's matches inside its categories
MEANING = 0.25  # evidence per standard deviation of meaning
CLEAR = 4.0  # standard deviations from where meaning alone, without a term, is evidence
CLEAR_WORDS = 5.0  # the same without an embedding model
COMMON = 0.7  # rarity below which a term is common: in more than 8 of 1,000 papers of a large catalogue
ENOUGH = 2.0  # mentions of common terms, a title's counted twice, that make a paper one on the topic
SURE = 4.0  # mentions that do so though the paper is unlike all that the reader liked: words have several meanings
NEAR = 2.5  # standard deviations of meaning from where one mention is enough
LARGE = 500  # papers of a catalogue from which its spread tells what is far
KNOWN = 3  # papers of the catalogue with a term from which we know what it means
LEXICAL, EMBEDDED, WHOLE = (
    0.8,
    0.5,
    0.6,
)  # shares of a topic's meaning: words, embedding; all topics' words in one


@dataclass(frozen=True, eq=False)
class TopicEvidence:
    """Per row of the index what one topic says, before its weight."""

    topic: Topic
    terms: Mapping[int, float]  # from phrases or, for a topic of categories alone, from those
    authors: Mapping[int, str]  # rows by a followed author -> the name as printed
    categories: Mapping[int, str]  # rows in one of the categories -> that category
    mentions: Floats  # for each of term_rows; with those of other topics, below ENOUGH is said in passing
    matched: Mapping[int, tuple[str, ...]]  # row -> terms, strongest first
    meaning: Floats  # per candidate, in standard deviations; all 0 where the topic's meaning is unknown
    known: bool  # the catalogue is large and has papers with a term of the topic: its meaning can be trusted
    clear: Rows  # that meaning alone speaks for
    term_rows: Rows
    term_values: Floats  # of `terms`, in the order of term_rows
    loudness: Mapping[
        int, float
    ]  # how much is said of each row spoken for; a followed author outdoes all terms
    _reasons: dict[int, tuple[Reason, ...]] = field(default_factory=dict)

    def reasons(self, row: int) -> tuple[Reason, ...]:
        """Why the topic speaks for the paper: only what a reader can check."""
        found = self._reasons.get(row)
        if found is None:
            found = self._reasons[row] = tuple(self._name_reasons(row))
        return found

    def _name_reasons(self, row: int) -> Iterator[Reason]:
        if row in self.authors:
            yield Reason(ReasonKind.AUTHOR, self.authors[row])
        if row in self.matched:
            yield Reason(ReasonKind.TERM, ", ".join(self.matched[row][:3]))
        elif row in self.terms:
            yield Reason(ReasonKind.CATEGORY, self.categories[row])
        elif self.meaning[row] > 0:
            yield Reason(ReasonKind.SIMILAR_TOPIC, self.topic.name)


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


def gather_evidence(index: Index, topics: Iterable[Topic]) -> dict[Topic, TopicEvidence]:
    """What each of the topics says; equal topics once."""
    distinct = list(dict.fromkeys(topics))
    meanings = _meanings(index, distinct)
    return {
        topic: _evidence(index, topic, meaning) for topic, meaning in zip(distinct, meanings, strict=True)
    }


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


def _evidence(index: Index, topic: Topic, meaning: Floats) -> TopicEvidence:
    found: dict[int, float] = {}
    mentions: dict[int, float] = {}
    named: dict[int, list[tuple[float, str]]] = {}
    for term in dict.fromkeys(topic.terms):
        matches = index.matches(term)
        rarely = rarity(index.model, term) if matches else 0.0
        rare = TERM * rarely * (K1 + 1)
        beyond_doubt = _beyond_doubt(index.model, term, rarely)
        for row, often in matches.items():
            mentions[row] = mentions.get(row, 0.0) + (SURE if often >= beyond_doubt else often)
            evidence = rare * often / (often + K1 * (1 - B + B * index.lengths[row]))
            found[row] = found.get(row, 0.0) + evidence
            named.setdefault(row, []).append((-evidence, term))
    inside = {row: category for category in reversed(topic.categories) for row in index.in_category(category)}
    if not topic.terms and not topic.authors:
        found = dict.fromkeys(inside, CATEGORY)
    elif inside:
        found = {row: value * (CATEGORY_BOOST if row in inside else 1.0) for row, value in found.items()}
    authors = {row: name for author in topic.authors for row, name in index.authored(author).items()}
    known = _is_known(index.model, topic)
    rows = np.fromiter(found, np.int64, len(found))
    said = np.array([SURE if row in inside else mentions[row] for row in found])
    clear = np.flatnonzero(meaning >= clear_from(index.model)) if known else np.zeros(0, dtype=np.int64)
    spoken = {*found, *authors, *clear.tolist()}
    means = meaning.tolist() if spoken else []
    return TopicEvidence(
        topic=topic,
        terms=found,
        authors=authors,
        categories=inside,
        matched={row: tuple(term for _, term in sorted(terms)) for row, terms in named.items()},
        meaning=meaning,
        known=known,
        clear=clear,
        mentions=np.maximum(said, np.where(meaning[rows] >= NEAR, ENOUGH, 0.0)),
        term_rows=rows,
        term_values=np.fromiter(found.values(), float, len(found)),
        loudness={
            row: found.get(row, 0.0) + MEANING * means[row] + 100.0 * (row in authors) for row in spoken
        },
    )


def clear_from(model: Model) -> float:
    """Standard deviations of meaning from where it is evidence without a term."""
    return CLEAR if model.encoder else CLEAR_WORDS


def _beyond_doubt(model: Model, term: str, rarely: float) -> float:
    """Mentions from where a paper is on the term whatever else is known; infinite for a common word."""
    if rarely >= COMMON or model.papers < LARGE:
        return 0.0
    return ENOUGH if len(phrase(term)) > 1 else math.inf


def _is_known(model: Model, topic: Topic) -> bool:
    return model.papers >= LARGE and any(phrase_frequency(model, term) >= KNOWN for term in topic.terms)


def _meanings(index: Index, topics: Sequence[Topic]) -> Floats:
    """Topics x candidates, in standard deviations of the catalogue along each topic's direction."""
    if not topics or index.model.papers < LARGE:
        return np.zeros((len(topics), index.size))
    lexical = _unit(index, _lexical_directions(index.model, topics)) * LEXICAL
    embedded = _embedded_directions(index, [topic_text(topic) for topic in topics])
    if embedded is not None:
        lexical = lexical + embedded * EMBEDDED
    return _standardise(index, lexical)


def _lexical_directions(model: Model, topics: Sequence[Topic]) -> Floats:
    """Where papers with the topics' terms lie: rows of the term space, leaning to its strong dimensions."""
    latent = normalise(
        sparse_rows(model, [_whole_terms(model, topic) for topic in topics]) @ model.projection
    )
    latent = latent * model.strength  # papers with a word lie further out along the strong dimensions
    lexical = np.hstack([normalise(latent[:, :COARSE]), normalise(latent)])
    return np.hstack([np.zeros((len(topics), model.embedded)), lexical])


def _whole_terms(model: Model, topic: Topic) -> dict[int, float]:
    """The weights of the features of all terms that the catalogue knows wholly."""
    found: dict[int, float] = {}
    for term in dict.fromkeys(topic.terms):
        columns = [model.position.get(name) for name in _parts(term)]
        if None not in columns:
            for column in columns:
                if column is not None:
                    found[column] = found.get(column, 0.0) + model.rarities[column]
    return found


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


def _parts(term: str) -> list[str]:
    """The features that stand for the whole of a term: its pairs of neighbours, or its only word."""
    names = features(phrase(term))
    return [name for name in names if " " in name] or names

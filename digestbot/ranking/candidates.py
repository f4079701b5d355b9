"""The candidates of one tick, prepared once for all subscribers: where each word stands, who wrote what, the vectors."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import scipy

from digestbot.model import Paper, PaperId
from digestbot.ranking.embedding import Embedder
from digestbot.ranking.memory import Memory
from digestbot.ranking.people import Name, parse_name, same_person
from digestbot.ranking.statistics import (
    TITLE_WEIGHT,
    Embeddings,
    Floats,
    Model,
    Rows,
    around_mean,
    counts,
    of_length_one,
    raw_vectors,
    weigh,
)
from digestbot.ranking.words import STOP_WORDS, phrase, words

Words = tuple[list[str], list[str]]  # of a title, and of an abstract
TEXTS_KEPT = 50_000  # embedded: 40 MB


@dataclass(frozen=True, eq=False)
class Index:
    """Candidates in rows 0..n-1 and, behind them, other papers that somebody voted on. Lookups are remembered."""

    model: Model
    papers: tuple[Paper, ...]
    row_of: Mapping[PaperId, int]  # of candidates and voted papers alike
    size: int  # candidates
    ids: Rows  # of the candidates
    vectors: Floats  # candidates and voted papers x dimensions, around the catalogue's mean
    words: scipy.sparse.csr_array  # their TF-IDF rows
    word_counts: scipy.sparse.csr_array  # of candidates: candidates x words but stop words, rows of length 1
    lengths: Floats  # of candidates, in average papers
    embedder: Embedder | None
    categories: Mapping[str, tuple[int, ...]]  # folded category and its archive ("cs.lg", "cs") -> rows
    phrases: Memory[tuple[str, ...], Mapping[int, tuple[int, int]]]
    people: Memory[str, Mapping[int, str]]
    known_texts: dict[str, npt.NDArray[np.floating]] = field(default_factory=dict)  # embedded topics

    def matches(self, term: str) -> Mapping[int, tuple[int, int]]:
        """Row -> how often it has `term` as a phrase in the title, and in the abstract."""
        return self.phrases.get(phrase(term))

    def authored(self, followed: str) -> Mapping[int, str]:
        """Row -> the name as printed, of the candidates that `followed` wrote."""
        return self.people.get(followed)

    def in_category(self, category: str) -> Sequence[int]:
        """Rows in `category` ("cs.LG") or, for an archive ("cs"), in any of its categories."""
        return self.categories.get(category.strip().casefold(), ())

    def embedded_texts(self, texts: Sequence[str]) -> Floats:
        """Where the embedding model puts the texts; only for a semantic model."""
        known = self.known_texts
        if len(known) > TEXTS_KEPT:
            kept = {text: known[text] for text in texts if text in known}
            known.clear()
            known.update(kept)
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if fresh and self.embedder is None:
            raise ValueError("a lexical index embeds nothing")
        if fresh and self.embedder:
            as_stored = self.embedder.embed(fresh).astype(np.float16)
            known.update(zip(fresh, as_stored, strict=True))
        return np.array([known[text] for text in texts], dtype=np.float64)


def index(
    model: Model,
    papers: Sequence[Paper],
    liked: Sequence[Paper] = (),
    *,
    embedder: Embedder | None = None,
    embeddings: Embeddings | None = None,
) -> Index:
    """Prepares `papers` as candidates; `liked`: what the subscribers voted on, as far as it is known.

    A paper in both is a candidate; a vote on a paper in neither says nothing. A semantic model needs the
    `embedder` it was fitted with, for papers that are not in `embeddings` and for topics; else ValueError.
    """
    if model.encoder is None:
        embedder = None
    elif embedder is None or embedder.fingerprint != model.encoder:
        raise ValueError("the ranking model was fitted with another embedding model: fit it anew")
    candidates = _distinct(papers)
    known = _distinct([*candidates, *liked])
    texts = [(words(paper.record.title), words(paper.record.abstract)) for paper in known]
    table = weigh(model, (counts(title, abstract) for title, abstract in texts))
    raw = raw_vectors(model, table)
    if embedder:
        raw = np.hstack([_embedded(embedder, known, embeddings or {}, model.embedded), raw])
    lengths = [TITLE_WEIGHT * len(title) + len(abstract) for title, abstract in texts[: len(candidates)]]
    return Index(
        model=model,
        papers=tuple(known),
        row_of={paper.id: row for row, paper in enumerate(known)},
        size=len(candidates),
        ids=np.array([paper.id for paper in candidates], dtype=np.int64),
        vectors=around_mean(model, raw),
        words=table,
        word_counts=_word_counts(texts[: len(candidates)]),
        embedder=embedder,
        phrases=Memory(_phrase_finder(texts[: len(candidates)])),
        lengths=np.array(lengths, dtype=float) / model.average_length,
        people=Memory(_author_finder(candidates)),
        categories=_categories(candidates),
    )


def with_others(index: Index, others: Sequence[Paper], embeddings: Embeddings | None = None) -> Index:
    """The index with more papers behind its candidates that somebody voted on; what is there already stays as it is."""
    fresh = [paper for paper in _distinct(others) if paper.id not in index.row_of]
    if not fresh:
        return index
    model = index.model
    table = weigh(model, (counts(words(p.record.title), words(p.record.abstract)) for p in fresh))
    raw = raw_vectors(model, table)
    if index.embedder:
        raw = np.hstack([_embedded(index.embedder, fresh, embeddings or {}, model.embedded), raw])
    papers = (*index.papers, *fresh)
    return replace(
        index,
        papers=papers,
        row_of={paper.id: row for row, paper in enumerate(papers)},
        vectors=np.vstack([index.vectors, around_mean(model, raw)]),
        words=scipy.sparse.vstack([index.words, table], format="csr"),
    )


def paper_text(paper: Paper) -> str:
    """What of a paper is embedded."""
    record = paper.record
    return f"{record.title}. {record.abstract}" if record.abstract else record.title


def embed_papers(embedder: Embedder, papers: Sequence[Paper]) -> dict[PaperId, npt.NDArray[np.float32]]:
    """The vectors of `papers`, to be stored under the embedder's fingerprint and given to `fit` and `index`."""
    return dict(
        zip(
            [paper.id for paper in papers],
            embedder.embed([paper_text(paper) for paper in papers]),
            strict=True,
        )
    )


def _embedded(embedder: Embedder, papers: Sequence[Paper], known: Embeddings, size: int) -> Floats:
    fresh = embed_papers(embedder, [paper for paper in papers if paper.id not in known])
    rows = [known[paper.id] if paper.id in known else fresh[paper.id] for paper in papers]
    return np.array(rows, dtype=np.float64).reshape(len(papers), size)


def _distinct(papers: Sequence[Paper]) -> list[Paper]:
    first: dict[PaperId, Paper] = {}
    for paper in papers:
        first.setdefault(paper.id, paper)
    return list(first.values())


def _phrase_finder(texts: Sequence[Words]) -> Callable[[tuple[str, ...]], dict[int, tuple[int, int]]]:
    """Where a phrase stands: row -> how often in the title, and in the abstract."""
    having: dict[str, list[int]] = {}
    for row, (title, abstract) in enumerate(texts):
        for word in {*title, *abstract}:
            having.setdefault(word, []).append(row)
    spelled = [(_spell(title), _spell(abstract)) for title, abstract in texts]

    def find(wanted: tuple[str, ...]) -> dict[int, tuple[int, int]]:
        rows = min((having.get(word, []) for word in wanted), key=len, default=[])
        term, found = _spell(wanted), {}
        for row in rows:
            title, abstract = spelled[row]
            often = title.count(term), abstract.count(term)
            if any(often):
                found[row] = often
        return found

    return find


def _word_counts(texts: Sequence[Words]) -> scipy.sparse.csr_array:
    number: dict[str, int] = {}
    found, ends = array("i"), array("i", [0])
    for title, abstract in texts:
        found.extend(
            number.setdefault(word, len(number)) for word in chain(title, abstract) if word not in STOP_WORDS
        )
        ends.append(len(found))
    table = scipy.sparse.csr_array(
        (np.ones(len(found), dtype=np.float32), found, ends), shape=(len(texts), len(number))
    )
    table.sum_duplicates()
    return of_length_one(table).astype(np.float32)


def _spell(words: Sequence[str]) -> str:
    """Each word between spaces of its own: a phrase is part of a text where its words stand in it in a row."""
    return f" {'  '.join(words)} "


def _author_finder(papers: Sequence[Paper]) -> Callable[[str], dict[int, str]]:
    """What somebody wrote: row -> the name as printed."""
    families: dict[str, list[tuple[int, Name, str]]] = {}
    for row, paper in enumerate(papers):
        for printed in paper.record.authors:
            name = parse_name(printed)
            families.setdefault("".join(name.family[-1:]), []).append((row, name, printed))

    def find(followed: str) -> dict[int, str]:
        wanted = parse_name(followed)
        near = families.get(wanted.family[-1], []) if wanted.family else []
        return {row: printed for row, name, printed in near if same_person(wanted, name)}

    return find


def _categories(papers: Sequence[Paper]) -> dict[str, tuple[int, ...]]:
    found: dict[str, dict[int, None]] = {}
    for row, paper in enumerate(papers):
        for category in paper.record.categories:
            name = category.strip().casefold()
            found.setdefault(name, {})[row] = None
            found.setdefault(name.split(".")[0], {})[row] = None
    return {name: tuple(rows) for name, rows in found.items()}

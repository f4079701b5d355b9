"""From all papers to a Model: housekeeping's part of ranking.

The result is the same on every machine (no hashing of Python objects, a fixed seed), but for rounding in the last
digits. Latent semantics: Deerwester et al., "Indexing by latent semantic analysis" (1990); the decomposition is the
randomised one of Halko, Martinsson, Tropp (2011), algorithm 4.4.
"""

from __future__ import annotations

import heapq
import itertools
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy

from digestbot.model import Paper
from digestbot.ranking.statistics import (
    COARSE,
    FINE,
    TITLE_WEIGHT,
    Counts,
    Embeddings,
    Floats,
    Model,
    around_mean,
    at_both_resolutions,
    counts,
    of_length_one,
)
from digestbot.ranking.words import words

MOST_PAPERS = 20_000  # the newest; more change no statistic that matters
MOST_FEATURES = 30_000  # the commonest; 30,000 x 256 float16 are 15 MB
BACKGROUND = 256  # papers kept as a sample of the catalogue


def fit(
    papers: Iterable[Paper],
    *,
    encoder: str | None = None,
    embeddings: Embeddings | None = None,
    most: int = MOST_PAPERS,
) -> Model:
    """The statistics of the newest of `papers`, in any order, `most` of them; works from no paper to any number.

    With `encoder`, the fingerprint of an embedding model, and its `embeddings` the model is semantic; papers without
    an embedding then count for the words only. Without any embedding it is lexical.
    """
    numbers = itertools.count()
    everything = (paper for paper, _ in zip(papers, numbers, strict=False))
    newest = heapq.nlargest(most, everything, key=lambda paper: paper.id)[::-1]
    count = _count(newest)
    names, frequency, table = _tabulate(count)
    projection = _singular_vectors(table, min(FINE, len(newest) - 1, len(names) - 1))
    latent = table @ projection
    known = embeddings if encoder is not None and embeddings else {}
    having = np.array([row for row, paper in enumerate(newest) if paper.id in known], dtype=np.int64)
    model = Model(
        papers=len(newest),
        catalogue=next(numbers),
        average_length=sum(count.lengths) / max(1, len(newest)) or 1.0,
        average_features=table.nnz / max(1, len(newest)),
        encoder=encoder if len(having) else None,
        features=names,
        frequency=frequency,
        projection=projection,
        variance=np.mean(latent**2, axis=0) if len(newest) else np.zeros(projection.shape[1]),
        mean=np.zeros(min(COARSE, projection.shape[1]) + projection.shape[1]),
        length=1.0,
        covariance=np.zeros((0, 0)),
        background=np.zeros((0, 0)),
        background_words=table[:0],
    )
    raw = at_both_resolutions(latent)
    if len(having):
        embedded = np.stack([known[newest[row].id].astype(np.float64) for row in having])
        raw, table = np.hstack([embedded, raw[having]]), table[having]
    return _with_space(model, raw, table)


@dataclass
class _Count:
    """How often each feature occurs in each paper: flat, since 20,000 papers have 4 million of them."""

    numbers: dict[str, int] = field(
        default_factory=dict
    )  # feature -> its number, in the order of first sight
    found: array[int] = field(default_factory=lambda: array("i"))  # numbers of features, paper by paper
    often: array[int] = field(default_factory=lambda: array("i"))
    ends: list[int] = field(default_factory=lambda: [0])
    lengths: list[int] = field(default_factory=list)  # words of each paper, the title's TITLE_WEIGHT times

    def add(self, counted: Counter[str], length: int) -> None:
        numbers = self.numbers
        self.found.extend([numbers.setdefault(feature, len(numbers)) for feature in counted])
        self.often.extend(counted.values())
        self.ends.append(len(self.found))
        self.lengths.append(length)


def _count(papers: Sequence[Paper]) -> _Count:
    count = _Count()
    for paper in papers:
        title, abstract = words(paper.record.title), words(paper.record.abstract)
        count.add(counts(title, abstract), TITLE_WEIGHT * len(title) + len(abstract))
    return count


def _tabulate(count: _Count) -> tuple[tuple[str, ...], Counts, scipy.sparse.csr_array]:
    """The kept features in the order of the alphabet, their papers, and the TF-IDF rows over them."""
    found, often = np.array(count.found, dtype=np.int32), np.array(count.often, dtype=np.float64)
    papers = len(count.lengths)
    frequency = np.bincount(found, minlength=len(count.numbers)).astype(np.int32)
    kept = _kept_features(count.numbers, frequency, papers)
    column_of = np.full(len(count.numbers), -1, dtype=np.int32)
    numbers = np.array([count.numbers[name] for name in kept], dtype=np.int64)
    column_of[numbers] = np.arange(len(kept), dtype=np.int32)
    rarity = np.log((papers + 1) / (frequency + 0.5))
    here = column_of[found] >= 0
    ends = np.concatenate([[0], np.cumsum(here)])[count.ends]
    weights = (1.0 + np.log(often[here])) * rarity[found[here]]
    table = scipy.sparse.csr_array((weights, column_of[found[here]], ends), shape=(papers, len(kept)))
    return tuple(kept), frequency[numbers], of_length_one(table)


def _kept_features(numbers: dict[str, int], frequency: Counts, papers: int) -> list[str]:
    """The commonest features that at least two papers have, without those in most papers."""
    least = 2 if papers >= 100 else 1
    most = max(2, papers // 2) if papers >= 10 else papers
    enough = [(-int(frequency[at]), name) for name, at in numbers.items() if least <= frequency[at] <= most]
    return sorted(name for _, name in heapq.nsmallest(MOST_FEATURES, enough))


def _singular_vectors(table: scipy.sparse.csr_array, rank: int) -> Floats:
    """The first `rank` right singular vectors of `table` as columns, rounded as they are stored."""
    if rank < 1:
        return np.zeros((table.shape[1], 0))
    width = min(rank + 16, *table.shape)
    start = np.random.default_rng(0).standard_normal((table.shape[0], width))
    basis = np.linalg.qr(table.T @ start)[0]
    for _ in range(3):
        basis = np.linalg.qr(table.T @ (table @ basis))[0]
    right = np.linalg.svd(table @ basis, full_matrices=False)[2]
    return np.asarray(basis @ right[:rank].T).astype(np.float16).astype(np.float64)


def _with_space(model: Model, raw: Floats, table: scipy.sparse.csr_array) -> Model:
    """The model with mean, covariance and background of its papers' vectors, rounded as they are stored."""
    if not len(raw):
        return model
    model = replace(model, mean=raw.mean(axis=0))
    embedded = raw[:, : model.embedded] - model.mean[: model.embedded]
    length = math.sqrt(float(np.mean(np.sum(embedded**2, axis=1)))) if model.embedded else 1.0
    model = replace(model, length=length or 1.0)
    vectors = around_mean(model, raw)
    sample = np.sort(np.random.default_rng(0).permutation(len(vectors))[:BACKGROUND])
    return replace(
        model,
        covariance=(vectors.T @ vectors / len(vectors)).astype(np.float32).astype(np.float64),
        background=vectors[sample].astype(np.float16).astype(np.float64),
        background_words=table[sample].astype(np.float32).astype(np.float64),
    )

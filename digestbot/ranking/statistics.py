"""What ranking knows of the catalogue: how rare words are, and the latent dimensions its papers span.

`fit` is housekeeping's: it reads all papers once. Its result is a value that is stored as bytes and is the same on
every machine (no hashing of Python objects, a fixed seed), but for rounding in the last digits.

Latent semantics: Deerwester et al., "Indexing by latent semantic analysis" (1990); the decomposition is the
randomised one of Halko, Martinsson, Tropp (2011), algorithm 4.4 with two power iterations.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from digestbot.model import Paper
from digestbot.ranking.words import features, words

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

FORMAT = 1  # of dumped models; a model of another format is fitted anew
DIMENSIONS = 256
MOST_FEATURES = 60_000  # the commonest; 60,000 x 256 float16 are 30 MB
TITLE_WEIGHT = 2  # a word of the title counts as so many of the abstract


class StaleModel(ValueError):
    """The bytes are not a model of this version: fit a new one."""


@dataclass(frozen=True, eq=False)
class Model:
    """Statistics of one state of the catalogue."""

    papers: int
    average_length: float  # words per paper, title counted TITLE_WEIGHT times
    features: tuple[str, ...]
    frequency: Counts  # papers with each feature
    projection: Floats  # features x dimensions; TF-IDF rows times it are latent vectors
    mean: Floats  # of the papers' latent vectors
    covariance: Floats  # of the papers' latent vectors around the mean

    @cached_property
    def position(self) -> dict[str, int]:
        return {feature: column for column, feature in enumerate(self.features)}

    @cached_property
    def rarity(self) -> Floats:
        """Inverse document frequency of each feature."""
        return np.log((self.papers + 1) / (self.frequency + 0.5))

    def dump(self) -> bytes:
        """The model as bytes for `load`."""
        head = json.dumps({"format": FORMAT, "papers": self.papers, "average_length": self.average_length})
        file = io.BytesIO()
        np.savez_compressed(
            file,
            head=_bytes(head),
            features=_bytes("\n".join(self.features)),
            frequency=self.frequency,
            projection=self.projection.astype(np.float16),
            mean=self.mean,
            covariance=self.covariance.astype(np.float32),
        )
        return file.getvalue()


def load(data: bytes) -> Model:
    """The model that `Model.dump` wrote; raises StaleModel where the bytes are none of this version."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as parts:
            head = json.loads(parts["head"].tobytes())
            if head["format"] != FORMAT:
                raise StaleModel(f"a ranking model of format {head['format']}, not {FORMAT}")
            names = parts["features"].tobytes().decode()
            return Model(
                papers=head["papers"],
                average_length=head["average_length"],
                features=tuple(names.split("\n")) if names else (),
                frequency=parts["frequency"],
                projection=parts["projection"].astype(np.float64),
                mean=parts["mean"],
                covariance=parts["covariance"].astype(np.float64),
            )
    except (OSError, KeyError, ValueError) as error:
        raise (
            error if isinstance(error, StaleModel) else StaleModel(f"not a ranking model: {error}")
        ) from error


def fit(papers: Iterable[Paper]) -> Model:
    """The statistics of `papers`, in any order; works from no paper at all to a few hundred thousand."""
    rows, lengths = [], []
    for paper in sorted(papers, key=lambda paper: paper.id):
        title, abstract = words(paper.record.title), words(paper.record.abstract)
        rows.append(counts(title, abstract))
        lengths.append(TITLE_WEIGHT * len(title) + len(abstract))
    names, frequency = _vocabulary(rows)
    blank = Model(
        papers=len(rows),
        average_length=sum(lengths) / max(1, len(lengths)) or 1.0,
        features=names,
        frequency=frequency,
        projection=np.zeros((len(names), 0)),
        mean=np.zeros(0),
        covariance=np.zeros((0, 0)),
    )
    table = weigh(blank, rows)
    projection = _singular_vectors(table, min(DIMENSIONS, len(rows) - 1, len(names) - 1))
    projection = projection.astype(np.float16).astype(np.float64)  # as `load` gives it back
    latent = normalise(table @ projection)
    mean = latent.mean(axis=0) if len(rows) else np.zeros(projection.shape[1])
    spread = ((latent - mean).T @ (latent - mean) / max(1, len(rows))).astype(np.float32).astype(np.float64)
    return replace(blank, projection=projection, mean=mean, covariance=spread)


def counts(title: Sequence[str], abstract: Sequence[str]) -> Counter[str]:
    """How often each feature occurs, the title's counted TITLE_WEIGHT times."""
    found = Counter(features(abstract))
    for feature in features(title):
        found[feature] += TITLE_WEIGHT
    return found


def weigh(model: Model, rows: Sequence[Counter[str]]) -> sparse.csr_array:
    """TF-IDF of the rows, each of length 1: (1 + log tf) x rarity."""
    indices: list[int] = []
    values: list[float] = []
    ends = [0]
    position = model.position
    for row in rows:
        for feature, count in row.items():
            column = position.get(feature)
            if column is not None:
                indices.append(column)
                values.append(1.0 + math.log(count))
        ends.append(len(indices))
    weights = np.array(values) * model.rarity[indices] if values else np.zeros(0)
    table = sparse.csr_array(
        (weights, np.array(indices, dtype=np.int32), np.array(ends)), shape=(len(rows), len(position))
    )
    norms = np.sqrt(table.multiply(table).sum(axis=1))
    return sparse.csr_array(sparse.diags_array(1.0 / np.where(norms > 0, norms, 1.0)) @ table)


def latent_vectors(model: Model, rows: Sequence[Counter[str]]) -> Floats:
    """One row of length 1 per paper in the latent space; zeros where it shares no feature with the catalogue."""
    return normalise(weigh(model, rows) @ model.projection)


def normalise(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 1e-12, norms, 1.0))


def _vocabulary(rows: Sequence[Counter[str]]) -> tuple[tuple[str, ...], Counts]:
    """The commonest features that at least two papers have (pairs: three), without those in most papers."""
    frequency: Counter[str] = Counter()
    for row in rows:
        frequency.update(row.keys())
    least = 2 if len(rows) >= 100 else 1
    most = max(2, len(rows) // 2)
    kept = [(-n, name) for name, n in frequency.items() if least <= n <= most or len(rows) < 10]
    kept = sorted(kept)[:MOST_FEATURES]
    names = sorted(name for _, name in kept)
    return tuple(names), np.array([frequency[name] for name in names], dtype=np.int32)


def _singular_vectors(table: sparse.csr_array, rank: int) -> Floats:
    """The first `rank` right singular vectors of `table` as columns."""
    if rank < 1:
        return np.zeros((table.shape[1], 0))
    width = min(rank + 16, *table.shape)
    start = np.random.default_rng(0).standard_normal((table.shape[0], width))
    basis = np.linalg.qr(table.T @ start)[0]
    for _ in range(3):
        basis = np.linalg.qr(table.T @ (table @ basis))[0]
    right = np.linalg.svd(table @ basis, full_matrices=False)[2]
    return np.asarray(basis @ right[:rank].T)


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)

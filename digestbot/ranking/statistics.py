"""What ranking knows of the catalogue: how rare words are, and the latent dimensions its papers span.

`fit` is housekeeping's: it reads all papers once. Its result is a value that is stored as bytes and is the same on
every machine (no hashing of Python objects, a fixed seed), but for rounding in the last digits.

Latent semantics: Deerwester et al., "Indexing by latent semantic analysis" (1990); the decomposition is the
randomised one of Halko, Martinsson, Tropp (2011), algorithm 4.4. A paper's vector holds its latent position twice, at
two resolutions, and with an embedding model that model's vector before them; all around the catalogue's mean.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
from scipy import sparse

from digestbot.model import Paper, PaperId
from digestbot.ranking.words import features, words

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Embeddings = Mapping[PaperId, npt.NDArray[np.floating]]  # an embedding model's vectors, of length 1

FORMAT = 3  # of dumped models; a model of another format is fitted anew
COARSE, FINE = 64, 256  # latent dimensions; chosen by hold-out, see docs/ranking.md
LEXICAL_SHARE = 0.7  # length of the lexical part of a vector beside an embedding of length 1
LONG = 40  # features a paper has, on average, from where its latent position says all that its words say
MOST_FEATURES = 60_000  # the commonest; 60,000 x 256 float16 are 30 MB
TITLE_WEIGHT = 2  # a word of the title counts as so many of the abstract
BACKGROUND = 256  # papers kept as a sample of the catalogue


class StaleModel(ValueError):
    """The bytes are not a model of this version: fit a new one."""


@dataclass(frozen=True, eq=False)
class Model:
    """Statistics of one state of the catalogue."""

    papers: int
    average_length: float  # words per paper, title counted TITLE_WEIGHT times
    average_features: float  # known features per paper
    encoder: str | None  # fingerprint of the embedding model; None: lexical
    features: tuple[str, ...]
    frequency: Counts  # papers with each feature
    projection: Floats  # features x FINE; TF-IDF rows times it are latent positions
    variance: Floats  # mean square of the papers' latent positions in each dimension
    mean: Floats  # of the papers' raw vectors
    length: float  # root mean square length of the papers' embeddings around their mean
    covariance: Floats  # of the papers' vectors
    background: Floats  # vectors of a sample of the papers
    background_words: sparse.csr_array  # TF-IDF rows of the same sample

    @cached_property
    def position(self) -> dict[str, int]:
        return {feature: column for column, feature in enumerate(self.features)}

    @cached_property
    def rarity(self) -> Floats:
        """Inverse document frequency of each feature."""
        return np.log((self.papers + 1) / (self.frequency + 0.5))

    @cached_property
    def rarities(self) -> list[float]:
        return [float(value) for value in self.rarity]

    @property
    def latent_share(self) -> float:
        """How far latent positions can be trusted: 1 for papers with abstracts, little where there are only titles."""
        return min(1.0, self.average_features / LONG)

    @property
    def strength(self) -> Floats:
        """Singular values, the first 1."""
        return np.sqrt(self.variance / self.variance[:1])

    @property
    def embedded(self) -> int:
        """Dimensions of the embedding in front of the lexical ones."""
        return len(self.mean) - _lexical_size(self.projection)

    def dump(self) -> bytes:
        """The model as bytes for `load`."""
        head = {
            "format": FORMAT,
            "papers": self.papers,
            "average_length": self.average_length,
            "average_features": self.average_features,
            "encoder": self.encoder,
            "length": self.length,
        }
        file = io.BytesIO()
        np.savez_compressed(
            file,
            head=_bytes(json.dumps(head)),
            features=_bytes("\n".join(self.features)),
            frequency=self.frequency,
            projection=self.projection.astype(np.float16),
            variance=self.variance,
            mean=self.mean,
            covariance=self.covariance.astype(np.float32),
            background=self.background.astype(np.float16),
            word_values=self.background_words.data.astype(np.float32),
            word_columns=self.background_words.indices,
            word_ends=self.background_words.indptr,
        )
        return file.getvalue()


def load(data: bytes) -> Model:
    """The model that `Model.dump` wrote; raises StaleModel where the bytes are none of this version."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as parts:
            head = json.loads(parts["head"].tobytes())
            if head.pop("format") != FORMAT:
                raise StaleModel("a ranking model of another version")
            names = parts["features"].tobytes().decode()
            arrays = {name: parts[name] for name in ("frequency", "variance", "mean")}
            wide = {
                name: parts[name].astype(np.float64) for name in ("projection", "covariance", "background")
            }
            known = tuple(names.split("\n")) if names else ()
            ends = parts["word_ends"]
            stored = parts["word_values"].astype(np.float64), parts["word_columns"], ends
            rows = sparse.csr_array(stored, shape=(len(ends) - 1, len(known)))
            return Model(features=known, background_words=rows, **head, **arrays, **wide)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise (
            error if isinstance(error, StaleModel) else StaleModel(f"not a ranking model: {error}")
        ) from error


def fit(
    papers: Iterable[Paper], *, encoder: str | None = None, embeddings: Embeddings | None = None
) -> Model:
    """The statistics of `papers`, in any order; works from no paper at all to a few hundred thousand.

    With `encoder`, the fingerprint of an embedding model, and its `embeddings` the model is semantic; papers without
    an embedding then count for the words only.
    """
    ordered = sorted(papers, key=lambda paper: paper.id)
    rows, lengths = [], []
    for paper in ordered:
        title, abstract = words(paper.record.title), words(paper.record.abstract)
        rows.append(counts(title, abstract))
        lengths.append(TITLE_WEIGHT * len(title) + len(abstract))
    blank = _blank(rows, sum(lengths) / max(1, len(lengths)) or 1.0)
    table = weigh(blank, rows)
    projection = _singular_vectors(table, min(FINE, len(rows) - 1, len(blank.features) - 1))
    latent = table @ projection
    model = replace(
        blank,
        average_features=table.nnz / max(1, len(rows)),
        projection=projection,
        variance=np.mean(latent**2, axis=0) if len(rows) else np.zeros(0),
        encoder=encoder,
    )
    if encoder is None:
        return _with_space(model, _lexical(latent), table)
    known = embeddings or {}
    having = np.array([row for row, paper in enumerate(ordered) if paper.id in known], dtype=np.int64)
    if not len(having):
        return _with_space(replace(model, encoder=None), _lexical(latent), table)
    embedded = np.stack([known[ordered[row].id].astype(np.float64) for row in having])
    return _with_space(model, np.hstack([embedded, _lexical(latent[having])]), table[having])


def raw_vectors(model: Model, table: sparse.csr_array) -> Floats:
    """Lexical part of raw vectors from TF-IDF rows; zeros where a row shares no feature with the catalogue."""
    return _lexical(table @ model.projection)


def around_mean(model: Model, raw: Floats) -> Floats:
    """Raw vectors (papers x dimensions, embedding first) as vectors of the model's space."""
    scale = np.ones(raw.shape[1])
    if model.embedded:
        scale[: model.embedded] = 1.0 / model.length
        scale[model.embedded :] = LEXICAL_SHARE * model.latent_share / math.sqrt(2.0)
    return np.asarray((raw - model.mean) * scale)


def _blank(rows: Sequence[Counter[str]], average_length: float) -> Model:
    names, frequency = _vocabulary(rows)
    none, square = np.zeros(0), np.zeros((0, 0))
    return Model(
        papers=len(rows),
        average_length=average_length,
        average_features=0.0,
        encoder=None,
        features=names,
        frequency=frequency,
        projection=np.zeros((len(names), 0)),
        variance=none,
        mean=none,
        length=1.0,
        covariance=square,
        background=square,
        background_words=sparse.csr_array((0, len(names))),
    )


def _with_space(model: Model, raw: Floats, table: sparse.csr_array) -> Model:
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
        covariance=(vectors.T @ vectors / len(vectors))
        .astype(np.float32)
        .astype(np.float64),  # as `load` gives it
        background=vectors[sample].astype(np.float16).astype(np.float64),
        background_words=table[sample].astype(np.float32).astype(np.float64),
    )


def _lexical(latent: Floats) -> Floats:
    """Latent positions at both resolutions, each of length 1."""
    return np.hstack([normalise(latent[:, :COARSE]), normalise(latent)])


def _lexical_size(projection: Floats) -> int:
    return min(COARSE, int(projection.shape[1])) + int(projection.shape[1])


def counts(title: Sequence[str], abstract: Sequence[str]) -> Counter[str]:
    """How often each feature occurs, the title's counted TITLE_WEIGHT times."""
    found = Counter(features(abstract))
    for feature in features(title):
        found[feature] += TITLE_WEIGHT
    return found


def weigh(model: Model, rows: Sequence[Counter[str]]) -> sparse.csr_array:
    """TF-IDF of the rows, each of length 1: (1 + log tf) x rarity."""
    rarity, position = model.rarities, model.position
    weights = [
        {
            column: (1.0 + math.log(count)) * rarity[column]
            for feature, count in row.items()
            if (column := position.get(feature)) is not None
        }
        for row in rows
    ]
    table = sparse_rows(model, weights)
    norms = np.sqrt(table.multiply(table).sum(axis=1))
    return sparse.csr_array(sparse.diags_array(1.0 / np.where(norms > 0, norms, 1.0)) @ table)


def sparse_rows(model: Model, rows: Sequence[Mapping[int, float]]) -> sparse.csr_array:
    """One row of the table for each mapping of a feature's column to its weight."""
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter(chain.from_iterable(rows), np.int32, ends[-1])
    weights = np.fromiter(chain.from_iterable(row.values() for row in rows), float, ends[-1])
    return sparse.csr_array((weights, columns, ends), shape=(len(rows), len(model.features)))


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


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)

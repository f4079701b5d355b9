"""What ranking knows of the catalogue: how rare words are, and the space in which its papers and topics lie.

A paper's vector holds its position in the latent dimensions of the catalogue's words twice, at two resolutions, and
with an embedding model that model's vector before them; all around the catalogue's mean. `fitting.fit` makes a Model.
"""

from __future__ import annotations

import io
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import scipy

from digestbot.model import PaperId
from digestbot.ranking.words import features

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Embeddings = Mapping[PaperId, npt.NDArray[np.floating]]  # an embedding model's vectors, of length 1

FORMAT = 5  # of dumped models; a model of another format is fitted anew
COARSE, FINE = 64, 256  # latent dimensions; chosen by hold-out, see docs/ranking.md
LEXICAL_SHARE = 0.7  # length of the lexical part of a vector beside an embedding of length 1
LONG = 40  # features a paper has, on average, from where its latent position says all that its words say
GROWTH = 0.1  # share of new papers from which a model is fitted anew
TITLE_WEIGHT = 2  # a word of the title counts as so many of the abstract


class StaleModel(ValueError):
    """The bytes are not a model of this version: fit a new one."""


@dataclass(frozen=True, eq=False)
class Model:
    """Statistics of one state of the catalogue."""

    papers: int  # that are counted: the newest
    catalogue: int  # all there were
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
    background_words: scipy.sparse.csr_array  # TF-IDF rows of the same sample

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

    def is_current(self, catalogue: int) -> bool:
        """Whether a catalogue of so many papers has grown by no more than a tenth of those that are counted."""
        return 0 <= catalogue - self.catalogue <= GROWTH * self.papers

    def dump(self) -> bytes:
        """The model as bytes for `load`."""
        head = {
            "format": FORMAT,
            "papers": self.papers,
            "catalogue": self.catalogue,
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
            rows = scipy.sparse.csr_array(stored, shape=(len(ends) - 1, len(known)))
            return Model(features=known, background_words=rows, **head, **arrays, **wide)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise (
            error if isinstance(error, StaleModel) else StaleModel(f"not a ranking model: {error}")
        ) from error


def raw_vectors(model: Model, table: scipy.sparse.csr_array) -> Floats:
    """Lexical part of raw vectors from TF-IDF rows; zeros where a row shares no feature with the catalogue."""
    return at_both_resolutions(table @ model.projection)


def around_mean(model: Model, raw: Floats) -> Floats:
    """Raw vectors (papers x dimensions, embedding first) as vectors of the model's space."""
    scale = np.ones(raw.shape[1])
    if model.embedded:
        scale[: model.embedded] = 1.0 / model.length
        scale[model.embedded :] = LEXICAL_SHARE * model.latent_share / math.sqrt(2.0)
    return np.asarray((raw - model.mean) * scale)


def at_both_resolutions(latent: Floats) -> Floats:
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


def weigh(model: Model, rows: Iterable[Counter[str]]) -> scipy.sparse.csr_array:
    """TF-IDF of the rows, each of length 1: (1 + log tf) x rarity."""
    position = model.position
    found, often, ends = array("i"), array("i"), [0]
    for row in rows:
        found.extend([position.get(feature, -1) for feature in row])
        often.extend(row.values())
        ends.append(len(found))
    columns = np.array(found, dtype=np.int32)
    known = columns >= 0
    columns = columns[known]
    weights = (1.0 + np.log(np.array(often)[known])) * model.rarity[columns]
    starts = np.concatenate([[0], np.cumsum(known)])[ends]
    shape = len(ends) - 1, len(model.features)
    return of_length_one(scipy.sparse.csr_array((weights, columns, starts), shape=shape))


def of_length_one(table: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    norms = np.sqrt(table.multiply(table).sum(axis=1))
    return scipy.sparse.csr_array(scipy.sparse.diags_array(1.0 / np.where(norms > 0, norms, 1.0)) @ table)


def sparse_rows(model: Model, rows: Sequence[Mapping[int, float]]) -> scipy.sparse.csr_array:
    """One row of the table for each mapping of a feature's column to its weight."""
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter(chain.from_iterable(rows), np.int32, ends[-1])
    weights = np.fromiter(chain.from_iterable(row.values() for row in rows), float, ends[-1])
    return scipy.sparse.csr_array((weights, columns, ends), shape=(len(rows), len(model.features)))


def normalise(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 1e-12, norms, 1.0))


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)

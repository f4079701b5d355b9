"""Topics as directions in the papers' space, and how far the candidates lie along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from digestbot.model import Topic
from digestbot.ranking.candidates import Index
from digestbot.ranking.statistics import COARSE, Floats, normalise
from digestbot.ranking.words import phrase

LEXICAL, EMBEDDED = (
    0.8,
    0.5,
)  # shares of a topic's meaning: where papers with its terms lie, where its words lie


class Directions:
    """Tells distances in standard deviations of the catalogue along each direction."""

    def __init__(self, index: Index) -> None:
        self._index = index
        size = index.model.embedded
        covariance = index.model.covariance
        self._of_words = covariance[size:, size:]
        self._of_texts = covariance[:size, :size]
        self._of_both = covariance[size:, :size]
        self._papers = np.ascontiguousarray(index.vectors[: index.size].T)

    def of_topics(self, latent: Floats, topics: Sequence[Topic]) -> Floats:
        """Topics x candidates. `latent`: where papers with the topics' terms lie."""
        words = _unit(np.hstack([normalise(latent[:, :COARSE]), normalise(latent)]), self._of_words)
        if self._index.embedder is None:
            return np.asarray(words @ self._papers)
        size = self._index.model.embedded
        texts_at = _unit(self._texts([topic_text(topic) for topic in topics]), self._of_texts)
        words, texts_at = words * LEXICAL, texts_at * EMBEDDED
        together = 2.0 * np.sum((words @ self._of_both) * texts_at, axis=1)
        variance = _square(words, self._of_words) + _square(texts_at, self._of_texts) + together
        far = words @ self._papers[size:] + texts_at @ self._papers[:size]
        return np.asarray(far * _inverse_root(variance)[:, None])

    def of_texts(self, texts: Sequence[str]) -> Floats:
        """Texts x candidates, by the embedding model alone."""
        directions = _unit(self._texts(texts), self._of_texts)
        return np.asarray(directions @ self._papers[: self._index.model.embedded])

    def _texts(self, texts: Sequence[str]) -> Floats:
        size = self._index.model.embedded
        found = np.zeros((len(texts), size))
        said = [row for row, text in enumerate(texts) if text]
        if said:
            found[said] = (
                self._index.embedded_texts([texts[row] for row in said]) - self._index.model.mean[:size]
            )
        return found


def topic_text(topic: Topic) -> str:
    """What of a topic is embedded."""
    return ", ".join(term for term in topic.terms if phrase(term))


def _unit(directions: Floats, covariance: Floats) -> Floats:
    """Directions scaled so that the catalogue's standard deviation along each is 1; 0 where it has none."""
    return np.asarray(directions * _inverse_root(_square(directions, covariance))[:, None])


def _square(directions: Floats, covariance: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", directions @ covariance, directions))


def _inverse_root(variance: Floats) -> Floats:
    spread = np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(1.0 / np.where(spread > 1e-9, spread, np.inf))

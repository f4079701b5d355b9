"""The methods that ranking is held against, written anew from their descriptions; needs scikit-learn."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.svm import LinearSVC

from digestbot.model import Paper
from digestbot.ranking.statistics import Floats, Rows

Ranked = Callable[[Rows, Sequence[str]], Floats]  # rows of liked papers, keywords -> a score for each paper


def texts(papers: Sequence[Paper]) -> list[str]:
    return [f"{paper.record.title} {paper.record.abstract}" for paper in papers]


def sanity_features(papers: Sequence[Paper]) -> Any:
    """arxiv-sanity-lite's features: 20,000 words and pairs, sublinear TF-IDF."""
    return TfidfVectorizer(
        strip_accents="unicode",
        stop_words="english",
        token_pattern=r"(?u)\b[a-zA-Z_][a-zA-Z0-9_]+\b",
        ngram_range=(1, 2),
        max_features=20_000,
        sublinear_tf=True,
    ).fit_transform(texts(papers))


def sanity_svm(papers: Sequence[Paper]) -> Ranked:
    """karpathy/arxiv-sanity-lite, `svm_rank` with its own settings: one LinearSVC per user on every paper."""
    table = sanity_features(papers)

    def score(liked: Rows, _: Sequence[str]) -> Floats:
        labels = np.zeros(table.shape[0])
        labels[liked] = 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            machine = LinearSVC(class_weight="balanced", max_iter=10_000, tol=1e-6, C=0.01).fit(table, labels)
        return np.asarray(machine.decision_function(table))

    return score


def sanity_search(papers: Sequence[Paper]) -> Ranked:
    """karpathy/arxiv-sanity-lite, `search_rank`: substrings, 20 a word in the title, up to 3 a word in the abstract."""
    titles = [paper.record.title.lower() for paper in papers]
    abstracts = [paper.record.abstract.lower() for paper in papers]

    def score(_: Rows, keywords: Sequence[str]) -> Floats:
        asked = " ".join(keywords).lower().split()
        found = [
            20.0 * sum(word in title for word in asked) + sum(min(3, abstract.count(word)) for word in asked)
            for title, abstract in zip(titles, abstracts, strict=True)
        ]
        return np.array(found)

    return score


def centroid(papers: Sequence[Paper]) -> Ranked:
    """Cosine to the mean TF-IDF row of the liked papers."""
    table = sparse.csr_array(sanity_features(papers))
    return lambda liked, _: np.asarray(table @ np.asarray(table[liked].mean(axis=0)).ravel())


def bm25(papers: Sequence[Paper]) -> Ranked:
    """BM25 (k1 = 1.2, b = 0.75) for the keywords or, without, for the liked papers' 30 best terms by TF-IDF."""
    counter = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b[a-zA-Z_][a-zA-Z0-9_]+\b")
    counts = sparse.csr_array(counter.fit_transform(texts(papers)), dtype=float)
    vocabulary, words = counter.vocabulary_, counter.build_analyzer()
    frequency = np.asarray((counts > 0).sum(axis=0)).ravel()
    rarity = np.log(1.0 + (counts.shape[0] - frequency + 0.5) / (frequency + 0.5))
    length = np.asarray(counts.sum(axis=1)).ravel()
    norm = 1.2 * (0.25 + 0.75 * length / length.mean())
    weights = counts.tocoo()
    weights.data = rarity[weights.col] * weights.data * 2.2 / (weights.data + norm[weights.row])
    columns = sparse.csc_array(weights)

    def score(liked: Rows, keywords: Sequence[str]) -> Floats:
        if keywords:
            chosen = [vocabulary[word] for word in words(" ".join(keywords)) if word in vocabulary]
        else:
            profile = np.asarray(counts[liked].sum(axis=0)).ravel() * rarity
            chosen = np.argsort(-profile, kind="stable")[:30].tolist()
        return np.asarray(columns[:, chosen].sum(axis=1)).ravel() if chosen else np.zeros(counts.shape[0])

    return score


def lsa(papers: Sequence[Paper]) -> Ranked:
    """256 latent dimensions: balanced ridge for likes (lambda 3 x mean variance), cosine for keywords."""
    maker = TfidfVectorizer(
        stop_words="english", sublinear_tf=True, min_df=2, token_pattern=r"(?u)\b[a-zA-Z]\w+\b"
    )
    table = maker.fit_transform(texts(papers))
    machine = TruncatedSVD(min(256, table.shape[0] - 1), random_state=0)
    vectors = _unit(machine.fit_transform(table))
    centred = vectors - vectors.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    inverse = np.linalg.inv(
        covariance + 3.0 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    )
    solved = centred @ inverse

    def score(liked: Rows, keywords: Sequence[str]) -> Floats:
        if keywords:
            asked = machine.transform(maker.transform([re.sub(r"[^\w\s]", " ", " ".join(keywords))]))
            return np.asarray(vectors @ _unit(asked)[0])
        gram = centred[liked] @ solved[liked].T
        pull = np.linalg.solve(gram + len(liked) * np.eye(len(liked)), np.ones(len(liked)))
        return np.asarray(centred @ (pull @ solved[liked]))

    return score


def embedding_ridge(vectors: Floats, ridge: float) -> Ranked:
    """Balanced ridge on an embedding model's vectors alone, `ridge` x mean variance."""
    centred = vectors - vectors.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    level = float(np.trace(covariance)) / len(covariance)
    solved = centred @ np.linalg.inv(covariance + ridge * level * np.eye(len(covariance)))

    def score(liked: Rows, _: Sequence[str]) -> Floats:
        gram = centred[liked] @ solved[liked].T
        pull = np.linalg.solve(gram + len(liked) * np.eye(len(liked)), np.ones(len(liked)))
        return np.asarray(centred @ (pull @ solved[liked]))

    return score


def embedding_query(vectors: Floats, embed: Callable[[str], Floats]) -> Ranked:
    """Cosine to the embedding of all keywords as one text."""
    return lambda _, keywords: np.asarray(vectors @ embed(", ".join(keywords)))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), math.ulp(1.0)))

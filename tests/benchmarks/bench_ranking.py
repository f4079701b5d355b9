"""All ranking methods on the same users in one run: writes docs/benchmarks-ranking.md.

usage: python -m tests.benchmarks.bench_ranking [--data ../shared/ranking] [--model FOLDER] [--notes FILE] [--out FILE]

Without --model or DIGESTBOT_EMBEDDING_MODEL the semantic methods are left out. `--cache` keeps embeddings between runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digestbot.model import PaperId, Topic
from digestbot.ranking import BatchProfile, rank_batch
from digestbot.ranking.embedding import OnnxEmbedder
from digestbot.ranking.statistics import Embeddings
from tests.benchmarks import ranking_references as references
from tests.benchmarks.ranking_data import Evaluation, Metrics, User, embed_set, read_set

Rankings = dict[str | int, list[int]]


@dataclass(frozen=True)
class Row:
    """One method on one task."""

    task: str
    method: str
    users: int
    metrics: Metrics
    once_s: float  # before the first user: features, decomposition
    per_user_s: float


@dataclass(frozen=True)
class Task:
    """Users of one set, asked by their likes or by their topics."""

    evaluation: Evaluation
    by_topics: bool
    users: tuple[User, ...]

    @property
    def name(self) -> str:
        return f"{'topics' if self.by_topics else 'likes'}, {self.evaluation.name}"


def tasks(data: Path, most_titles: int) -> Iterator[Task]:
    abstracts, titles, pages = (read_set(data / name) for name in ("cula_abs", "cula_title", "hfpages"))
    yield Task(abstracts, False, abstracts.users)
    yield Task(titles, False, titles.users[:most_titles])
    yield Task(pages, False, pages.users)
    yield Task(abstracts, True, tuple(user for user in abstracts.users if len(user.topics) >= 3))


def run_reference(task: Task, name: str, make: Callable[[], references.Ranked]) -> Row:
    start = time.perf_counter()
    method = make()
    prepared = time.perf_counter()
    ids = np.array([paper.id for paper in task.evaluation.papers])
    row_of = {paper: row for row, paper in enumerate(ids.tolist())}
    rankings: Rankings = {}
    for user in task.users:
        liked = np.array([row_of[paper] for paper in user.train], dtype=np.int64)
        scores = method(liked, user.topics if task.by_topics else ())
        rankings[user.name] = ids[np.lexsort((ids, -scores))].tolist()
    return _row(task, name, rankings, prepared - start, time.perf_counter() - prepared)


def run_ours(task: Task, name: str, embedder: OnnxEmbedder | None, embeddings: Embeddings | None) -> Row:
    """`digestbot rank` as it is: the catalogue is all papers of the set, the candidates its cold ones."""
    profiles = [_profile(user, task.by_topics) for user in task.users]
    cold = task.evaluation.cold
    start = time.perf_counter()
    found = rank_batch(
        task.evaluation.papers,
        profiles,
        candidates=None if cold is None else {PaperId(paper) for paper in cold},
        embedder=embedder,
        embeddings=embeddings,
    )
    first = next(found)  # fits the model, ranks the first block
    prepared = time.perf_counter()
    rankings: Rankings = {task.users[0].name: list(first.papers)}
    for user, ranking in zip(task.users[1:], found, strict=True):
        rankings[user.name] = list(ranking.papers)
    return _row(task, name, rankings, prepared - start, time.perf_counter() - prepared)


def _profile(user: User, by_topics: bool) -> BatchProfile:
    if by_topics:
        return BatchProfile(topics=tuple(Topic(term, (term,)) for term in user.topics))
    return BatchProfile(liked=tuple(PaperId(paper) for paper in user.train))


def _row(task: Task, name: str, rankings: Rankings, once_s: float, users_s: float) -> Row:
    metrics = task.evaluation.score(rankings, task.users)
    row = Row(task.name, name, len(task.users), metrics, once_s, users_s / len(task.users))
    print(
        row.task,
        row.method,
        {key: round(value, 4) for key, value in metrics.items()},
        file=sys.stderr,
        flush=True,
    )
    return row


def run_task(task: Task, embedder: OnnxEmbedder | None, cache: Path) -> Iterator[Row]:
    papers = task.evaluation.papers
    if task.by_topics:
        yield run_reference(task, "arxiv-sanity-lite search", lambda: references.sanity_search(papers))
    else:
        yield run_reference(task, "arxiv-sanity-lite SVM", lambda: references.sanity_svm(papers))
        yield run_reference(task, "TF-IDF centroid", lambda: references.centroid(papers))
    yield run_reference(task, "BM25", lambda: references.bm25(papers))
    yield run_reference(task, "LSA-256", lambda: references.lsa(papers))
    yield run_ours(task, "**digestbot, lexical**", None, None)
    if embedder is None:
        return
    embeddings = embed_set(task.evaluation, embedder, cache)
    vectors = np.stack([embeddings[paper.id] for paper in papers]).astype(np.float64)
    if task.by_topics:
        yield run_reference(
            task,
            "embedding, one query",
            lambda: references.embedding_query(
                vectors, lambda text: embedder.embed([text])[0].astype(np.float64)
            ),
        )
    else:
        yield run_reference(task, "embedding, ridge", lambda: references.embedding_ridge(vectors, 10.0))
    yield run_ours(task, "**digestbot, semantic**", embedder, embeddings)


def table(rows: Sequence[Row]) -> str:
    head = (
        "| task | users | method | NDCG@20 | NDCG@10 | R@20 | R@100 | MRR | s once | ms a user |\n"
        + "|---" * 10
        + "|\n"
    )
    return head + "".join(
        f"| {row.task} | {row.users} | {row.method} | {row.metrics['N@20']:.3f} | {row.metrics['N@10']:.3f} "
        f"| {row.metrics['R@20']:.3f} | {row.metrics['R@100']:.3f} | {row.metrics['MRR']:.3f} "
        f"| {row.once_s:.1f} | {1e3 * row.per_user_s:.2f} |\n"
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=beside.parent / "shared" / "ranking")
    model = os.environ.get("DIGESTBOT_EMBEDDING_MODEL")
    parser.add_argument(
        "--model", type=Path, default=model, help="folder of a sentence-embedding model in ONNX"
    )
    parser.add_argument("--cache", type=Path, default=beside / "build" / "bench-ranking")
    parser.add_argument("--title-users", type=int, default=1_000)
    parser.add_argument("--notes", type=Path, default=Path(__file__).with_name("ranking_notes.md"))
    parser.add_argument("--out", type=Path, default=beside / "docs" / "benchmarks-ranking.md")
    given = parser.parse_args()
    embedder = OnnxEmbedder(given.model, threads=1) if given.model else None
    rows = [
        row for task in tasks(given.data, given.title_users) for row in run_task(task, embedder, given.cache)
    ]
    weights = (
        f"Embedding model: {given.model.name}, fingerprint {embedder.fingerprint}.\n" if embedder else ""
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        f"# Ranking, measured\n\n{weights}\n{table(rows)}\n{given.notes.read_text()}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()

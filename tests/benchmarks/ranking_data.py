"""The evaluation sets beside the project, and their own scorer. Nothing of them is part of the project."""

from __future__ import annotations

import gzip
import json
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from digestbot.model import Paper, PaperId, PaperRecord
from digestbot.ranking import embed_papers
from digestbot.ranking.embedding import OnnxEmbedder

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class User:
    name: str | int
    train: tuple[int, ...]
    test: tuple[int, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """One set: papers, users and the candidates (None: every paper outside a user's train)."""

    name: str
    folder: Path
    papers: tuple[Paper, ...]
    users: tuple[User, ...]
    cold: frozenset[int] | None

    def score(self, rankings: Mapping[str | int, Sequence[int]], users: Sequence[User]) -> Metrics:
        """Means over `users` by the set's own scorer."""
        scorer = runpy.run_path(str(self.folder.parent / "score.py"))
        found = []
        for user in users:
            train = set(user.train)
            known = dict.fromkeys(rankings[user.name])
            kept = [
                paper
                for paper in known
                if (paper in self.cold if self.cold is not None else paper not in train)
            ]
            found.append(scorer["metrics"](kept, user.test))
        return cast("Metrics", scorer["mean"](found))


def read_set(folder: Path) -> Evaluation:
    """Raises FileNotFoundError where the set is not beside the project."""
    cold = json.loads((folder / "meta.json").read_text())["cold"]
    return Evaluation(
        name=folder.name,
        folder=folder,
        papers=tuple(
            Paper(PaperId(row["id"]), PaperRecord(row["title"], row["abstract"]), None)
            for row in _read_lines(folder / "papers.jsonl.gz")
        ),
        users=tuple(
            User(row["user"], tuple(row["train"]), tuple(row["test"]), tuple(dict.fromkeys(row["topics"])))
            for row in _read_lines(folder / "users.jsonl.gz")
        ),
        cold=frozenset(cold) if cold is not None else None,
    )


def embed_set(
    evaluation: Evaluation, embedder: OnnxEmbedder, cache: Path
) -> dict[PaperId, npt.NDArray[np.float32]]:
    """The papers' embeddings; made once per model and kept in `cache`."""
    path = cache / f"{evaluation.name}-{embedder.fingerprint}.npy"
    if path.exists():
        rows = np.load(path)
        return {paper.id: rows[at] for at, paper in enumerate(evaluation.papers)}
    found = embed_papers(embedder, evaluation.papers)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, np.stack([found[paper.id] for paper in evaluation.papers]))
    return found


def _read_lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]

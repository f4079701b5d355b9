"""How much of what readers marked in abstracts our excerpts show, and how the weights are learned.

    python -m tests.benchmarks.bench_excerpts           five-fold cross-validation, and the shipped weights
    python -m tests.benchmarks.bench_excerpts --write   learns from all labels and writes digestbot/excerpt_weights.py

Trained by maximum conditional likelihood with an L2 penalty; where readers marked several sentences, or a role is not
marked, the chain is summed over all that fit.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from digestbot import excerpts
from digestbot.excerpt_model import FARTHEST, NEAREST, ROLES, Floats, Weights, describe, distances, marginals

LABELS = Path(__file__).resolve().parents[3] / "shared" / "excerpts" / "labels.jsonl.gz"
WEIGHTS_FILE = Path(excerpts.__file__).with_name("excerpt_weights.py")
PENALTY, STEP_PENALTY = 15.0, 0.3
LEAST_ABSTRACTS = 3  # a feature of fewer is not learned
LEAST_WEIGHT = 0.06  # a feature that nowhere weighs as much is left out
NEVER, ABSENT = -30.0, -1e6
STEPS = FARTHEST - NEAREST + 1


@dataclass(frozen=True)
class Example:
    """One labelled abstract. `marked`: for each sentence and role whether readers marked (part of) it."""

    abstract: str
    spans: list[tuple[int, int]]
    labels: dict[str, list[tuple[int, int]]]
    features: list[dict[str, float]]
    marked: Floats


def read_examples(path: Path = LABELS) -> list[Example]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [_example(json.loads(line)) for line in lines]


def _example(row: dict[str, object]) -> Example:
    abstract, marks = str(row["abstract"]), row["spans"]
    assert isinstance(marks, list)
    spans = excerpts.sentences(abstract)
    labels: dict[str, list[tuple[int, int]]] = {}
    marked = np.zeros((len(spans), len(ROLES)))
    for mark in marks:
        start, end, label = mark["start"], mark["end"], mark["label"]
        labels.setdefault(label, []).append((start, end))
        if label in ROLES:
            shares = np.array([_overlap((start, end), span) / (end - start) for span in spans])
            if shares.max() >= 0.3:
                column = ROLES.index(label)
                marked[:, column] = np.maximum(marked[:, column], shares >= 0.3)
    return Example(abstract, spans, labels, describe([abstract[a:b] for a, b in spans]), marked)


def learn(examples: Sequence[Example]) -> Weights:
    """The weights that make what readers marked most probable."""
    counts = Counter(name for example in examples for name in {n for f in example.features for n in f})
    names = sorted(name for name, count in counts.items() if count >= LEAST_ABSTRACTS)
    longest = max(len(example.spans) for example in examples)
    matrix, real = _matrix(examples, {name: index for index, name in enumerate(names)}, longest)
    barred = np.stack([_barred(example, longest) for example in examples])
    at = distances(longest).ravel()
    size = len(names) * len(ROLES)

    def loss(weights: Floats) -> tuple[float, Floats]:
        words, near, far = weights[:size].reshape(-1, len(ROLES)), weights[size:-STEPS], weights[-STEPS:]
        scores = np.where(real[..., None], (matrix @ words).reshape(-1, longest, len(ROLES)), ABSENT)
        free, said = marginals(scores, near, far), marginals(scores + barred, near, far)
        slope = (free[1] - said[1]).reshape(-1, len(ROLES))
        near_slope = np.bincount(at, (free[2] - said[2]).sum(0).ravel(), STEPS) + STEP_PENALTY * near
        far_slope = np.bincount(at, (free[3] - said[3]).sum(0).ravel(), STEPS) + STEP_PENALTY * far
        penalty = PENALTY / 2 * np.sum(words**2) + STEP_PENALTY / 2 * (near @ near + far @ far)
        gradient = matrix.T @ slope + PENALTY * words
        total = float(np.sum(free[0] - said[0]) + penalty)
        return total, np.concatenate([gradient.ravel(), near_slope, far_slope])

    start = np.zeros(size + 2 * STEPS)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    words = found[:size].reshape(-1, len(ROLES))
    kept = {
        name: tuple(round(float(x), 2) for x in row)
        for name, row in zip(names, words, strict=True)
        if np.abs(row).max() >= LEAST_WEIGHT
    }
    return Weights(kept, found[size:-STEPS].round(2), found[-STEPS:].round(2))


def _matrix(
    examples: Sequence[Example], index: dict[str, int], longest: int
) -> tuple[csr_matrix, NDArray[np.bool_]]:
    """The features, `longest` rows for each abstract, and which of the rows are sentences."""
    rows, columns, values = [], [], []
    for number, example in enumerate(examples):
        for place, features in enumerate(example.features):
            known = [(index[name], value) for name, value in features.items() if name in index]
            rows += [number * longest + place] * len(known)
            columns += [column for column, _ in known]
            values += [value for _, value in known]
    real = np.array([[place < len(example.spans) for place in range(longest)] for example in examples])
    return csr_matrix((values, (rows, columns)), shape=(real.size, len(index))), real


def _barred(example: Example, longest: int) -> Floats:
    """What a sentence's score loses for a role that readers marked elsewhere."""
    barred = np.where((example.marked > 0) | (example.marked.sum(0) == 0), 0.0, NEVER)
    return np.pad(barred, ((0, longest - len(example.spans)), (0, 0)))


def shown(example: Example, weights: Weights | None) -> dict[str, float]:
    """For each marked label whether at least half of a span lies in the excerpt, as the labels' own measure has it."""
    told = excerpts.tell(example.abstract, example.spans, weights)
    room = len(example.abstract) // 2
    chosen = excerpts.choose(told, example.spans, excerpts.MOST_SENTENCES, room=room)
    pieces: list[list[int]] = []
    for before, i in zip([-2, *chosen], chosen, strict=False):
        if i == before + 1:
            pieces[-1][1] = example.spans[i][1]
        else:
            pieces.append(list(example.spans[i]))
    return {
        label: float(
            any(2 * _overlap((a, b), (piece[0], piece[1])) >= b - a for a, b in spans for piece in pieces)
        )
        for label, spans in example.labels.items()
    }


def cross_validate(examples: Sequence[Example], *, folds: int = 5, seed: int = 0) -> dict[str, float]:
    """Share of abstracts whose span of each label is shown, with weights that never saw the abstract."""
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    results = []
    for fold in range(folds):
        held_out = set(order[fold::folds])
        weights = learn([examples[i] for i in order if i not in held_out])
        results += [shown(examples[i], weights) for i in held_out]
    return _mean(results)


def _mean(results: Sequence[dict[str, float]]) -> dict[str, float]:
    labels = sorted({label for result in results for label in result})
    means = {label: float(np.mean([r[label] for r in results if label in r])) for label in labels}
    return means | {"mean of task, idea, result": float(np.mean([means[role] for role in ROLES]))}


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> int:
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def write(weights: Weights, path: Path = WEIGHTS_FILE) -> None:
    """The weights as a module, one line a feature."""
    lines = [
        "\t".join([name, *(f"{x:g}" for x in numbers)])
        for name, numbers in [
            ("near", weights.task_to_idea),
            ("far", weights.idea_to_result),
            *sorted(weights.features.items()),
        ]
    ]
    head = '"""Weights of excerpt_model.py for task, idea and result. Made by bench_excerpts.py --write."""'
    path.write_text(head + '\n\nTABLE = """\\\n' + "\n".join(lines) + '\n"""\n', encoding="utf-8")


def main() -> None:
    if not LABELS.exists():
        print("bench_excerpts: ../shared/excerpts is not here; nothing measured")
        return
    examples = read_examples()
    if "--write" in sys.argv:
        write(learn(examples))
        return
    started = time.perf_counter()
    for _ in range(3):
        for example in examples:
            excerpts.excerpt(example.abstract)
    per = (time.perf_counter() - started) / 3 / len(examples)
    print(f"an excerpt takes {1000 * per:.2f} ms")
    print("shipped weights:", {k: round(v, 3) for k, v in _mean([shown(e, None) for e in examples]).items()})
    for seed in (0, 1):
        found = cross_validate(examples, seed=seed)
        print(f"five folds, seed {seed}:", {k: round(v, 3) for k, v in found.items()})


if __name__ == "__main__":
    main()

"""Which sentence of an abstract says the task, which the idea, which the result. Pure.

A linear-chain model (Lafferty, McCallum and Pereira 2001) over three places in the text: the sentence of the task, of the
idea, of the result. Each sentence has a score for each role, from its words, its place and a few cues of its own and its
neighbours'; a term for the distance from task to idea and from idea to result joins them. The weights stand in
excerpt_weights.py; tests/benchmarks/bench_excerpts.py learns and measures them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from digestbot.excerpt_weights import TABLE

Floats = NDArray[np.float64]
ROLES = ("task", "idea", "result")
NEAREST, FARTHEST = -3, 7  # distances between two roles, beyond which they count as these

_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*|\d[\d.,]*%?|%", re.IGNORECASE)
_OURS = re.compile(r"\b(?:we|our|this (?:paper|work|article|study|thesis|report)|here)\b", re.IGNORECASE)
PROPOSES = re.compile(
    r"\b(?:we|this (?:paper|work|article|study)|here)\b.{0,60}?"
    r"\b(?:propos|present|introduc|develop|design|describ|devis|suggest)\w*",
    re.IGNORECASE,
)
_CUES = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "key": r"\b(?:key|core|main|central) (?:idea|insight|contribution|observation|intuition)|insight",
        "how": r"\b(?:consist|compris|leverag|utiliz|employ|exploit|combin|incorporat|integrat|jointly|module"
        r"|decompos|encod|learns? to|trained|by \w+ing)",
        "detail": r"\b(?:specifically|in particular|concretely|first|second|then|to this end|instead|inspired"
        r"|based on|builds? (?:on|upon)|via|through)\b",
        "propose": PROPOSES.pattern,
        "result": r"\b(?:experiment|outperform|achiev|demonstrat|show that|results|state-of-the-art|improv|evaluat"
        r"|find that)",
        "test": r"\b(?:experiment|empirical|evaluat|benchmark|datasets?|qualitative|quantitative)",
        "better": r"\b(?:outperform|surpass|state-of-the-art|sota|superior|better than|significant|improv|reduc|faster"
        r"|higher|competitive|comparable)",
        "show": r"\b(?:show|demonstrat|find|prove|reveal|observe|achiev|enabl|allow)",
        "code": r"\b(?:code|github|website|project page|available at|video)\b|http",
        "trouble": r"\b(?:however|unfortunately|challeng|difficult|limit|fail|suffer|lack|remain|costly|expensive"
        r"|problem)",
        "before": r"\b(?:recent|recently|have been|has been|are widely|is a|popular|important|crucial|existing|previous"
        r"|prior|traditional)",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Weights:
    """The model: a feature's weight for each role, and one for each distance between neighbouring roles."""

    features: Mapping[str, Sequence[float]]
    task_to_idea: Floats  # FARTHEST - NEAREST + 1 of them
    idea_to_result: Floats


def roles(sentences: Sequence[str], weights: Weights | None = None) -> Floats:
    """For each sentence (row) the probability that it is the one of each role (column, as ROLES). Columns sum to 1."""
    weights = weights or shipped()
    known = weights.features
    rows = [[(v, known[name]) for name, v in found.items() if name in known] for found in describe(sentences)]
    scores = [[math.fsum(v * w[role] for v, w in row) for role in range(len(ROLES))] for row in rows]
    return marginals(np.array(scores), weights.task_to_idea, weights.idea_to_result)[1]


def describe(sentences: Sequence[str]) -> list[dict[str, float]]:
    """The features of each sentence, named; most are 1 where they are there."""
    count, total = len(sentences), sum(map(len, sentences)) or 1
    ours = _first(sentences, _OURS, 0, count)
    proposes = _first(sentences, PROPOSES, 0, ours)
    result = _first(sentences, _CUES["result"], proposes + 1, count)
    cues = [[name for name, cue in _CUES.items() if cue.search(sentence)] for sentence in sentences]
    found = []
    for i, sentence in enumerate(sentences):
        names = [
            *_places(i, count, ours, proposes, result),
            *_words(sentence),
            *(f"c:{name}" for name in cues[i]),
        ]
        if i:
            names += (f"cp:{name}" for name in cues[i - 1])
        if i + 1 < count:
            names += (f"cn:{name}" for name in cues[i + 1])
        length = len(sentence)
        found.append(
            dict.fromkeys(names, 1.0)
            | {"long": math.log(length / 150), "share": min(1.0, 3 * length / total)}
        )
    return found


def marginals(scores: Floats, near: Floats, far: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Of the chain task - idea - result: log of the partition function, the probabilities of each sentence for each
    role, and those of the pairs (task, idea) and (idea, result). Leading axes, if any, are abstracts."""
    at = distances(scores.shape[-2])
    to_idea = near[at] + scores[..., :, None, 0]
    to_result = far[at] + scores[..., None, :, 2]
    before, after = _log_sum(to_idea, -2), _log_sum(to_result, -1)
    whole = scores[..., 1] + before + after
    log_z = _log_sum(whole, -1)
    idea = np.exp(whole - log_z[..., None])
    first = np.exp(to_idea - before[..., None, :]) * idea[..., None, :]
    last = np.exp(to_result - after[..., :, None]) * idea[..., :, None]
    return log_z, np.stack([first.sum(-1), idea, last.sum(-2)], -1), first, last


def distances(count: int) -> NDArray[np.int64]:
    """For sentences i and j the index of the weight for their distance j - i."""
    places = np.arange(count)
    return np.asarray(np.clip(places[None, :] - places[:, None], NEAREST, FARTHEST) - NEAREST)


@cache
def shipped() -> Weights:
    """The weights that come with digestbot."""
    return parse(TABLE)


def parse(table: str) -> Weights:
    """Weights from lines of a name and three numbers; `near N` and `far N` hold one for the distance N."""
    features: dict[str, tuple[float, ...]] = {}
    steps = {"near": np.zeros(FARTHEST - NEAREST + 1), "far": np.zeros(FARTHEST - NEAREST + 1)}
    for line in table.strip().splitlines():
        name, *numbers = line.split("\t")
        if name in steps:
            steps[name][:] = [float(number) for number in numbers]
        else:
            features[name] = tuple(float(number) for number in numbers)
    return Weights(features, steps["near"], steps["far"])


def _log_sum(values: Floats, axis: int) -> Floats:
    top = values.max(axis=axis, keepdims=True)
    return np.asarray((np.log(np.exp(values - top).sum(axis=axis, keepdims=True)) + top).squeeze(axis))


def _first(sentences: Sequence[str], pattern: re.Pattern[str], start: int, otherwise: int) -> int:
    return next((i for i in range(start, len(sentences)) if pattern.search(sentences[i])), otherwise)


def _places(i: int, count: int, ours: int, proposes: int, result: int) -> Iterator[str]:
    """Where the sentence stands: from the start, from the end, and from the sentences that say *we* or *propose*."""
    yield f"start:{min(i, 5)}"
    yield f"end:{min(count - 1 - i, 5)}"
    yield f"fifth:{5 * i // count}"
    yield f"propose:{max(-4, min(4, i - proposes))}"
    yield f"ours:{max(-4, min(4, i - ours))}"
    yield f"result:{max(-3, min(3, i - result))}"


def _words(sentence: str) -> Iterator[str]:
    words = [_shape(word) for word in _WORD.findall(sentence)]
    yield from (f"w:{word}" for word in set(words))
    if words:
        yield f"1:{words[0]}"
        yield f"2:{' '.join(words[:2])}"


def _shape(word: str) -> str:
    """The word in small letters; numbers and names only as such."""
    if word[0].isdigit():
        return "#%" if word.endswith("%") else "#"
    if word.islower():
        return word
    if word == "%":
        return "#%"
    return "<name>" if sum(letter.isupper() for letter in word) > 1 else word.lower()

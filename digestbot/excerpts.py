"""What of an abstract a mail shows: at most three of its sentences, word for word, cuts marked by `…`. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from digestbot.excerpt_model import Weights, roles
from digestbot.mathtext import is_readable

MOST_SENTENCES = 3
_SHOWN_WHOLE = 200  # characters; cutting a shorter abstract saves nothing
_CUT = "…"
_WANTED = np.array([0.9, 1.1, 1.0])  # of task, idea and result: the idea is the hardest to find
_WANTED_ALONE = np.array([0.1, 1.2, 0.7])  # where one sentence stands for all
_UNREADABLE = 2.0  # what a sentence with pieces of LaTeX counts less: more than any says
_CONSIDERED = 16  # sentences; more than abstracts have, so that a book cannot stop the mail

_END = re.compile(
    r"""[.!?…]["'”’)\]]*      # the mark, and what closes with it
        (?:\s+(?=["'“‘(\[]*[^\sa-z])  # then space, and not a small letter
        |\s*\Z)
      |[。！？]["'”’)\]]*\s*|[؟۔]\s+""",
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"""(?:\b(?:e\.g|i\.e|cf|vs|w\.r\.t|resp|approx|etc|et\ al|al|Fig|Figs|Eq|Eqs|Sec|Secs|Tab|Ref|Refs|No|Nos|Dr|Prof|Mr
        |Ms|St|Jr|dept|ca|viz|a\.k\.a|i\.i\.d|U\.S|Thm|Prop|Def|Alg|App|Vol|pp|Inc|Ltd|Corp)|\b[A-Z])\.\Z""",
    re.VERBOSE,
)
# What publishers print before an abstract's first sentence.
_LABEL = re.compile(
    r"\s*(?:\[[^\]]{0,20}abstract\]\s*|abstract(?:\s*[.:—–]\s*|\s{2,}|(?:&nbsp;)+\s*|\s(?=(?:In|We|This|The)\b))"
    r"|doi:\s?10\.\S+\s+)",
    re.IGNORECASE,
)
_ENDS_SENTENCES = re.compile(r"(?:et\ al|etc|i\.i\.d|a\.k\.a|U\.S)\.\Z")


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, without the space between them; everything but space belongs to one."""
    spans: list[tuple[int, int]] = []
    start = len(text) - len(text.lstrip())
    for match in _END.finditer(text):
        end = match.start() + len(match[0].rstrip())
        if match.end() < len(text) and _is_abbreviation(text[start : match.start() + 1], text[match.end() :]):
            continue
        if end > start:
            spans.append((start, end))
        start = match.end()
    end = len(text.rstrip())
    return [*spans, (start, end)] if end > start else spans


def _is_abbreviation(before: str, after: str) -> bool:
    if not _ABBREVIATION.search(before):
        return False
    return not (_ENDS_SENTENCES.search(before) and re.match(r"(?:We|In|This|Our|The|It|To|However)\b", after))


def excerpt(abstract: str, *, most: int = MOST_SENTENCES) -> str:
    """At most `most` sentences under half of the abstract, chosen to show task, idea and result; '' of ''.

    Always at least one sentence; an abstract of a few words is shown whole.
    """
    label = _LABEL.match(abstract)
    abstract = abstract[label.end() :] if label else abstract
    spans = sentences(abstract)
    if len(spans) <= 1 or (len(abstract) <= _SHOWN_WHOLE and len(spans) <= most):
        return abstract.strip()
    return _join(abstract, spans, choose(abstract, spans, most))


def choose(
    abstract: str, spans: Sequence[tuple[int, int]], most: int, weights: Weights | None = None
) -> list[int]:
    """Indices of the sentences shown, in order: those that most probably say task, idea and result, in half the room.

    `weights`: None for those that come with digestbot.
    """
    wanted = _WANTED_ALONE if most == 1 else _WANTED
    texts = [abstract[a:b] for a, b in spans]
    broken = np.array([not is_readable(text) for text in texts])
    values = roles(texts, weights) @ wanted - _UNREADABLE * broken
    lengths = [b - a + 1 for a, b in spans]
    room = len(abstract) // 2
    best = sorted(range(len(spans)), key=lambda i: -values[i])[:_CONSIDERED]
    choices = [
        choice
        for count in range(1, most + 1)
        for choice in itertools.combinations(sorted(best), count)
        if sum(lengths[i] for i in choice) <= room
    ]
    if not choices:
        return [min(range(len(spans)), key=lambda i: lengths[i])]
    return list(
        max(choices, key=lambda choice: (sum(values[i] for i in choice), -sum(lengths[i] for i in choice)))
    )


def _join(abstract: str, spans: list[tuple[int, int]], chosen: list[int]) -> str:
    """The chosen sentences with the space between neighbours as it was, and a mark where something is left out."""
    parts = [f"{_CUT} "] if chosen[0] > 0 else []
    for before, index in zip([None, *chosen], chosen, strict=False):
        if before is not None and index == before + 1:
            parts.append(abstract[spans[before][1] : spans[index][0]])
        elif before is not None:
            parts.append(f" {_CUT} ")
        parts.append(abstract[spans[index][0] : spans[index][1]])
    return "".join([*parts, f" {_CUT}" if chosen[-1] < len(spans) - 1 else ""])

"""What of an abstract a mail shows: at most three of its sentences, word for word, cuts marked by `…`. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from digestbot.excerpt_model import Floats, Weights, roles
from digestbot.mathtext import is_readable

MOST_SENTENCES = 3
_SHOWN_WHOLE = 200  # characters; cutting a shorter abstract saves nothing
_CUT = "…"
_UNREADABLE = 2.0  # what a sentence with pieces of LaTeX counts less: more than any says
_WANTED = np.array([0.9, 1.1, 1.0, -_UNREADABLE])  # of task, idea and result: the idea is the hardest to find
_WANTED_ALONE = np.array([0.1, 1.2, 0.7, -_UNREADABLE])  # where one sentence stands for all
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

    Always at least one sentence, but where `most` is 0; an abstract of a few words is shown whole.
    """
    return excerpts(abstract, [most])[0]


def excerpts(abstract: str, most: Sequence[int]) -> list[str]:
    """The same for several numbers of sentences."""
    label = _LABEL.match(abstract)
    abstract = abstract[label.end() :] if label else abstract
    spans = sentences(abstract)
    if len(spans) <= 1:
        return [abstract.strip() if count else "" for count in most]
    told = tell(abstract, spans)
    return [_cut(abstract, spans, told, count) for count in most]


def _cut(abstract: str, spans: Sequence[tuple[int, int]], told: Floats, most: int) -> str:
    if most == 0:
        return ""
    if len(abstract) <= _SHOWN_WHOLE and len(spans) <= most:
        return abstract.strip()
    return _join(abstract, spans, choose(told, spans, most, room=len(abstract) // 2))


def tell(abstract: str, spans: Sequence[tuple[int, int]], weights: Weights | None = None) -> Floats:
    """Of each sentence (row) what it probably tells: task, idea, result, and 1 where it has pieces of LaTeX.

    `weights`: None for those that come with digestbot.
    """
    texts = [abstract[start:end] for start, end in spans]
    broken = [float(not is_readable(text)) for text in texts]
    return np.column_stack([roles(texts, weights), broken])


def choose(told: Floats, spans: Sequence[tuple[int, int]], most: int, *, room: int) -> list[int]:
    """Indices of the sentences shown, in order: those that most probably say task, idea and result, in so many
    characters."""
    values = (told @ (_WANTED_ALONE if most == 1 else _WANTED)).tolist()
    lengths = [end - start + 1 for start, end in spans]
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


def _join(abstract: str, spans: Sequence[tuple[int, int]], chosen: list[int]) -> str:
    """The chosen sentences with the space between neighbours as it was, and a mark where something is left out."""
    parts = [f"{_CUT} "] if chosen[0] > 0 else []
    for before, index in zip([None, *chosen], chosen, strict=False):
        if before is not None and index == before + 1:
            parts.append(abstract[spans[before][1] : spans[index][0]])
        elif before is not None:
            parts.append(f" {_CUT} ")
        parts.append(abstract[spans[index][0] : spans[index][1]])
    return "".join([*parts, f" {_CUT}" if chosen[-1] < len(spans) - 1 else ""])

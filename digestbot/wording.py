"""The phrases of a digest: bylines, reasons, what today is about, the preheader. Pure, English, plain text."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from operator import attrgetter

from digestbot.model import DigestPaper, PaperRecord, Reason, ReasonKind

CUT = "…"
REASON_BYTES = 240  # of HTML, as the next ones: they make a mail's size known before it is made
TOPIC_BYTES = 120
SUMMARY_BYTES = 300
PREHEADER_BYTES = 300
TRENDING = "Trending"
LIKED = "Like what you liked"
_NAMES_SHOWN = 4
_TITLES_AHEAD = 6
_UNSHOWABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+"
)
# Marks above and below a letter; no language stacks five of one of these kinds.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
_STACK = re.compile(rf"([{_MARKS}]{{4}})[{_MARKS}]+")
_DOTS = 5


def clean(text: str) -> str:
    """One line without control characters, direction overrides and lone surrogates; runs of space become one.

    Of marks piled upon a letter four stay: hundreds would be drawn over what stands above.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    return " ".join(_STACK.sub(r"\1", _UNSHOWABLE.sub(" ", text)).split())


def clip(text: str, *, size: int) -> str:
    """The text if it takes at most `size` bytes in HTML, else its first words that do, and `…`."""
    if len(text) * 6 <= size or weight(text) <= size:
        return text
    head, room = text[:size], size - len(CUT.encode())
    while (over := weight(head) - room) > 0:
        head = head[: -max(1, over // 6)]
    return _whole_words(head, text) + CUT


def weight(text: str) -> int:
    """How many bytes of HTML the text takes: UTF-8, `& < > " '` escaped."""
    return len(html.escape(text).encode())


def clip_letters(text: str, *, count: int) -> str:
    """The same, counted in characters."""
    if len(text) <= count:
        return text
    return _whole_words(text[: count - 1], text) + CUT


def counted(number: int, noun: str) -> str:
    """`1 paper`, `2 papers`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _whole_words(head: str, text: str) -> str:
    """`head` without the word it ends in the middle of, unless that is most of it (or a script without spaces)."""
    if not text[len(head)].isspace():
        start = head.rfind(" ")
        if start >= len(head) // 2:
            head = head[:start]
    return head.rstrip(" ,;:.–—-([{")


def direction(text: str) -> str:
    """`rtl` or `ltr`, by the first letter with a direction (as HTML's dir=auto does, which not all mail readers know)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"


def long_date(day: date) -> str:
    """`Wednesday, 16 December 2026`."""
    return f"{day:%A}, {day.day} {day:%B %Y}"


def short_date(day: date) -> str:
    """`16 Dec 2026`."""
    return f"{day.day} {day:%b %Y}"


def byline(record: PaperRecord) -> str:
    """Authors or their count: `A. Lovelace, C. Babbage and 5 others`, `7 authors`, '' where nothing is known."""
    names = [clean(name) for name in record.authors]
    total = max(record.author_count or 0, len(names))
    if not names:
        return f"{total} author{'s' if total > 1 else ''}" if total else ""
    if total <= _NAMES_SHOWN and len(names) == total:
        return join_words(names)
    shown = names[: _NAMES_SHOWN - 1]
    others = total - len(shown)
    return f"{', '.join(shown)} and {others} {'others' if others > 1 else 'other'}"


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def why(reasons: Iterable[Reason]) -> str:
    """Why the paper was chosen, as a phrase without a full stop; '' for no reason."""
    return clip(
        " · ".join(clean(_REASONS[reason.kind].format(reason.detail)) for reason in reasons),
        size=REASON_BYTES,
    )


_REASONS = {
    ReasonKind.TERM: "mentions {}",
    ReasonKind.AUTHOR: "by {}, whom you follow",
    ReasonKind.SIMILAR_TOPIC: "close to your topic {}",
    ReasonKind.LIKED: "like “{}”, which you liked",
    ReasonKind.CATEGORY: "in {}",
    ReasonKind.TRENDING: "trending: {}",
}


def dots(score: float) -> str:
    """The score in [0, 1] as a mark of five dots; the least score that counts shows one."""
    full = max(1, min(_DOTS, round(score * _DOTS)))
    return "●" * full + "○" * (_DOTS - full)


def percent(score: float) -> str:
    """`78 %`, never `0 %` for what has a score."""
    return f"{max(1, round(score * 100))} %"


def is_trending(paper: DigestPaper) -> bool:
    """Whether it came in as a trending paper alone."""
    return bool(paper.reasons) and paper.reasons[0].kind is ReasonKind.TRENDING


def strongest(papers: Sequence[DigestPaper]) -> DigestPaper:
    """The paper that stands for the digest: the best of the reader's own, a trending one where there is no other."""
    own = [paper for paper in papers if not is_trending(paper)]
    return max(own or papers, key=attrgetter("score"))


@lru_cache(10_000)
def _topic_heading(topic: str) -> str:
    heading = clip(clean(topic), size=TOPIC_BYTES) or "Your topics"
    if heading in (TRENDING, LIKED):  # a topic of this name, and not what these stand for
        return f"“{heading}”"
    return heading


def sections(papers: Iterable[DigestPaper]) -> dict[str, list[DigestPaper]]:
    """The papers under their headings; headings in order of their first paper, trending ones last."""
    found: dict[str, list[DigestPaper]] = {}
    trending = []
    for paper in papers:
        if is_trending(paper):
            trending.append(paper)
        else:
            found.setdefault(LIKED if paper.topic is None else _topic_heading(paper.topic), []).append(paper)
    if trending:
        found.setdefault(TRENDING, []).extend(trending)
    return found


def summary(counts: Iterable[tuple[str, int]]) -> str:
    """What today is about: `Four papers on diffusion models, one on symbolic regression and two trending`."""
    parts = [_share(name, count, first=index == 0) for index, (name, count) in enumerate(counts)]
    whole = join_words(parts)
    if weight(whole) > SUMMARY_BYTES:
        whole = join_words([*parts[:2], f"{len(parts) - 2} more topics"])
    return clip(whole[:1].upper() + whole[1:], size=SUMMARY_BYTES)


def _share(name: str, count: int, *, first: bool) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    noun = f" paper{'s' if count > 1 else ''}" if first else ""
    if name == TRENDING:
        return f"{number}{noun} trending"
    if name == LIKED:
        return f"{number}{noun} like what you liked"
    return f"{number}{noun} on {name}"


_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def preheader(titles: Sequence[str], first_sentence: str) -> str:
    """What the inbox shows behind the subject, which names the strongest paper: the others, else what it says."""
    if not titles:
        return clip(first_sentence, size=PREHEADER_BYTES)
    return clip("Also: " + "; ".join(titles[:_TITLES_AHEAD]), size=PREHEADER_BYTES)


def wrap(text: str, *, indent: int = 0, width: int = 72) -> str:
    """The text in indented lines of at most `width` columns. Words are never cut, but for scripts written without
    spaces."""
    margin = " " * indent
    lines, line, used = [], margin, indent
    for word in text.split() if text.isascii() else _breakable(text, width - indent):
        glue = "" if used == indent or word[0] == "\0" else " "
        word = word.lstrip("\0")
        size = columns(word)
        if used > indent and used + len(glue) + size > width:
            lines.append(line)
            line, used, glue = margin, indent, ""
        line += glue + word
        used += len(glue) + size
    return "\n".join([*lines, line]).rstrip()


def _breakable(text: str, room: int) -> Iterable[str]:
    """Words; of one that is wider than a line and holds wide characters, its characters, each but the first marked
    by a NUL: it is glued to the one before."""
    for word in text.replace("\0", " ").split():
        if columns(word) <= room or columns(word) == len(word):
            yield word
        else:
            yield word[0]
            yield from ("\0" + character for character in word[1:])


def columns(text: str) -> int:
    """How wide the text is on a terminal: East Asian wide characters count twice."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

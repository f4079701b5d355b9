"""Names of authors: the same person by family name and given names, as far as both sides give them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from digestbot.ranking.words import fold

_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv", "phd"})  # not "md": so Mohammed is abbreviated, too
_TITLES = frozenset({"prof", "professor", "dr", "sir", "mr", "mrs"})
_PARTICLES = frozenset(
    """af al av da de dei del della den der di do dos du el la las le los ten ter van vom von zu zum zur""".split()  # noqa: SIM905
)
_SPLIT = re.compile(r"[\s.]+")
_HYPHENS = re.compile(r"[‐‑–]")
_NOT_NAME = re.compile(r"[^\w\s.,-]+")


class Name(NamedTuple):
    """Words folded as they are compared; nothing of `family`: no name."""

    family: tuple[str, ...]  # "García-López": ("garcia", "lopez"); of "van Beethoven" ("beethoven",)
    given: tuple[str, ...]  # full names and initials in order: "jean-pierre", "k"


@lru_cache(maxsize=1 << 16)
def parse_name(name: str) -> Name:
    """Reads "Given Family", "Family, Given" or "Family G"; a single word is a family name.

    Without a comma the family name is the last word, so that "Laurens van der Maaten" and "van der Maaten, L." meet.
    """
    plain = _NOT_NAME.sub("", _HYPHENS.sub("-", unicodedata.normalize("NFKC", name)))
    before, _, after = plain.partition(",")
    family, given = _words(before), _words(after.replace(",", " "))
    if family and not given:
        family, given = _without_comma(family)
    else:  # "Maaten, Laurens van der"
        given = given[:1] + [word for word in given[1:] if word not in _PARTICLES]
    return Name(_family(family), _given(given, shouted=any(word.isupper() for word in family)))


def same_person(one: Name, other: Name) -> bool:
    """True where the family names are equal, and the given names as far as both have them.

    Initials agree with full names, full names with equal ones only: "Wei Wang" is "W. Wang", not "Wenjun Wang".
    """
    if len(one.family) < len(other.family):
        one, other = other, one
    more = len(one.family) - len(other.family)
    ends = len(other.given) - more  # "José García López" may be "García-López"
    if not one.family or ends < 0 or other.given[ends:] + other.family != one.family:
        return False
    return _agree(one.given, other.given[:ends])


def _agree(given: Sequence[str], others: Sequence[str]) -> bool:
    initials, other_initials = _initials(given), _initials(others)
    if not (initials.startswith(other_initials) or other_initials.startswith(initials)):
        return False
    pairs = zip(given, others, strict=False)
    if all(a == b or len(a) == 1 or len(b) == 1 for a, b in pairs):
        return True
    return "".join(given).replace("-", "") == "".join(others).replace(
        "-", ""
    )  # Xiao-Ming, Xiao Ming, Xiaoming


def _initials(given: Sequence[str]) -> str:
    return "".join(part[0] for name in given for part in name.split("-"))


def _without_comma(words: list[str]) -> tuple[list[str], list[str]]:
    """(family name, given names). A particle is told by its small letter: "van Beethoven", but "Van Nguyen"."""
    if not words[-1].islower():
        words = [word for word in words[:-1] if word not in _PARTICLES] + words[-1:]
    if len(words) > 1 and len(words[-1]) == 1 and words[-1].isascii() and len(words[0]) > 1:
        return words[:1], words[1:]  # "LeCun Y"
    return words[-1:], words[:-1]


def _words(text: str) -> list[str]:
    """The words as written, without titles, suffixes and empty hyphens; "J.-P." and "J-P" are two."""
    found: list[str] = []
    for word in _SPLIT.split(text):
        parts = [part for part in word.split("-") if part]
        low = word.lower()
        if low in _SUFFIXES or (low in _TITLES and not word.isupper()):  # "DR Cox" has initials
            continue
        found += parts if all(len(part) == 1 for part in parts) else ["-".join(parts)]
    return found


def _family(words: Sequence[str]) -> tuple[str, ...]:
    parts = [part for word in words for part in _folded(word).split("-") if part]
    return tuple([part for part in parts[:-1] if part not in _PARTICLES] + parts[-1:])


def _given(words: Sequence[str], *, shouted: bool) -> tuple[str, ...]:
    """shouted: the family name is in capitals, so that capitals make no initials of "AN"."""
    found: list[str] = []
    for word in words:
        together = word.isupper() and 1 < len(word) <= 3 and word.isascii() and not shouted
        found += word.lower() if together else [_folded(word).strip("-")]
    return tuple(word for word in found if word)


def _folded(word: str) -> str:
    """As it is compared: without case and marks."""
    if word.isascii():
        return word.lower()
    marks = unicodedata.normalize("NFD", fold(word))
    return "".join(mark for mark in marks if not unicodedata.combining(mark))

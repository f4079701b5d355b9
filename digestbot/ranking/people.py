"""Names of authors: the same person by family name and initials."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from digestbot.ranking.words import fold

_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv", "phd", "md"})
_SPLIT = re.compile(r"[\s.\-‐‑]+")
_NOT_NAME = re.compile(r"[^\w\s.,\-‐‑]+")


@lru_cache(maxsize=1 << 16)
def parse_name(name: str) -> tuple[str, str]:
    """(family name, initials of the given names) of "Given Family", "Family, Given" or "Family G".

    The family name is its last word, so that "Laurens van der Maaten" and "van der Maaten, L." meet. Initials are
    empty where only a family name is given.
    """
    plain = _NOT_NAME.sub("", _without_marks(fold(name)))
    family_part, comma, given_part = plain.partition(",")
    if comma:
        family_words = _name_words(family_part)
        return (family_words[-1] if family_words else ""), _initials(_name_words(given_part))
    found = [word for word in _name_words(plain) if word not in _SUFFIXES]
    if not found:
        return "", ""
    if len(found) > 1 and len(found[-1]) == 1 and found[-1].isascii() and len(found[0]) > 1:
        return found[0], _initials(found[1:])  # "LeCun Y"
    return found[-1], _initials(found[:-1])


def same_person(followed: str, author: str) -> bool:
    """True where the family names are equal and the initials agree as far as both are given."""
    family, initials = parse_name(followed)
    other_family, other_initials = parse_name(author)
    return bool(family) and family == other_family and agree(initials, other_initials)


def agree(initials: str, others: str) -> bool:
    return initials.startswith(others) or others.startswith(initials)


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    return "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))


def _name_words(text: str) -> list[str]:
    return [word for word in _SPLIT.split(text) if word]


def _initials(given: list[str]) -> str:
    return "".join(word[0] for word in given)

"""Keys by which titles, abstracts and author names are compared: without case, punctuation, markup, accents."""

from __future__ import annotations

import html
import re
import string
import unicodedata
from functools import lru_cache

_TAGS = re.compile(
    r"</?(?:i|b|em|strong|sub|sup|tt|span|scp|small|(?:jats|mml):[\w-]+)(?:\s[^<>]*)?/?>", re.IGNORECASE
)
# Commands that only choose a letter's shape; web pages leave their names behind without the backslash.
_SHAPES = re.compile(
    r"\\?\b(?:mathcal|mathbb|mathbf|mathrm|mathsf|mathit|mathfrak|mathscr|mathtt|boldsymbol|operatorname"
    r"|ensuremath)\b|\\(?:text\w*|emph|rm|bf|it|bm|em|tt|sc)\b"
)
_ACCENTS = re.compile("[\u0300-\u036f]+")
_GREEK = {
    code: unicodedata.name(chr(code)).rsplit(" ", 1)[1].lower()
    for code in (*range(0x3B1, 0x3C2), *range(0x3C3, 0x3CA))
}
_NO_WORD = re.compile(r"[^\w\s]|_")
_ASCII_NO_WORD = str.maketrans("", "", string.punctuation)

ABSTRACT_KEY_LENGTH = 200


@lru_cache(maxsize=8192)
def title_words(title: str) -> tuple[str, ...]:
    """The words between blanks, each without all that is no letter or digit; one odd word for `???`."""
    return _words(title) or ("".join(title.split()),)


def title_key(title: str) -> str:
    """Equal for titles that differ in case, punctuation and markup only."""
    return "".join(title_words(title))


@lru_cache(maxsize=8192)
def abstract_key(abstract: str) -> str:
    """Equal for abstracts that begin the same; '' where too little is there to tell."""
    key = "".join(_words(abstract[: 2 * ABSTRACT_KEY_LENGTH]))[:ABSTRACT_KEY_LENGTH]
    return key if len(key) >= 60 else ""


def _words(text: str) -> tuple[str, ...]:
    text = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAGS.sub("", text)
    if "\\" in text or "math" in text or "boldsymbol" in text or "operatorname" in text:  # 1 us, the rest 20
        text = _SHAPES.sub("", text)
    if text.isascii():
        return tuple(text.translate(_ASCII_NO_WORD).split())
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).translate(_GREEK)
    return tuple(_NO_WORD.sub("", text).split())


@lru_cache(maxsize=32768)
def author_key(name: str) -> str:
    """Family name and first initial, `lecun y`, of `Yann LeCun`, `Y. LeCun` and `LeCun, Yann` alike."""
    family, comma, given = name.partition(",")
    words = _words(name.replace(".", " ").replace("-", " ") if not comma else family.replace("-", " "))
    words = tuple(word for word in words if word not in ("jr", "sr", "ii", "iii")) or words
    if not words:
        return ""
    if not comma:
        return f"{words[-1]} {words[0][0]}" if len(words) > 1 else words[0]
    initials = _words(given)
    return f"{words[-1]} {initials[0][0]}" if initials else words[-1]

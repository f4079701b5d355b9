"""Text to words, and terms to patterns over words: the one reading that matching, statistics and limits share.

Words are NFKC and case-folded, a hyphen is a space, a plural s and the accents of Latin letters are ignored. Scripts
written without spaces (Chinese, Japanese, Korean particles, Thai, ...) give one word per character, so a term in them
matches as a run of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Han, kana, Hangul, Thai, Lao, Myanmar, Khmer: no spaces between words, or particles glued to them.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+(?:\+\+|#)?")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:\+\+|#)?")  # the same for plain ASCII, 3 times as fast
_UNWRITTEN = dict.fromkeys(
    [0x640, 0x670, 0xAD, *range(0x64B, 0x660), *range(0x610, 0x61B), *range(0x300, 0x370)]
)  # Arabic vowels, soft hyphen, accents that stand alone
_BARE = {
    code: letter
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
    if (letter := unicodedata.normalize("NFD", chr(code))[0]).isascii()
} | str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "æ": "ae", "œ": "oe"})
_AS_COMPARED = {**_UNWRITTEN, **_BARE}

LONGEST_TERM = 200  # characters

# The commonest English words: no evidence of anything, wherever they stand alone.
_COMMONEST = frozenset(
    """a about above across after again against all almost also although always am among an and another any are as at
    be because been before being below between both but by can cannot could did do doe does doing done down due during
    each either et al etc even ever every few for from further had ha has have having he her here hers him his how
    however i if in into is it its itself just less like many may me might more most much must my near neither no nor
    not of off often on once one only onto or other our ours out over own per rather s same she should since so some
    such t than that the their theirs them then there these they this those through thus to together too toward under
    until up upon us use used using very via was we well were what when where whether which while who whom whose why
    will with within without would yet you your""".split()  # noqa: SIM905
)

# Words with an s of their own, where another word, or no plural, would be left without it.
_SINGULAR = frozenset(
    """aids alias apparatus atlas bias bonus bus campus canvas census chorus circus consensus corps corpus focus gas
    genus goods lens locus mars minus news nexus plus radius sars status stimulus surplus thesaurus virus""".split()  # noqa: SIM905
)
# Words in -ics that are several of one in -ic; the others (dynamics, genetics) are a field, the word in -ic a quality.
_SEVERAL = frozenset(
    """academics antibiotics arithmetics basics ceramics characteristics classics clinics comics conics critics cubics
    epidemics fabrics generics harmonics heuristics logics medics metrics mimics mosaics pandemics plastics quadrics
    relics rubrics skeptics specifics tactics topics""".split()  # noqa: SIM905
)


def fold(text: str) -> str:
    """`text` as it is compared: NFKC, case-folded, without accents and marks that are not written everywhere."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.translate(_AS_COMPARED)


def words(text: str) -> list[str]:
    """The words of `text` in order, each without its plural s."""
    found = _ASCII_WORD.findall(text.lower()) if text.isascii() else _WORD.findall(fold(text))
    return [singular(word) for word in found]


@lru_cache(maxsize=1 << 17)
def singular(word: str) -> str:
    """One form for a word and its plural: models, classes, matches, caches, studies, movies, viruses all meet their
    singular; news, lens, dynamics and genetics stay what they are.

    The form need not be a word ("studie" for study and studies); it only has to be the same for both.
    """
    if len(word) <= 3 or not word.isalpha():
        return word
    if word in _SINGULAR or (len(word) > 5 and word.endswith("ics") and word not in _SEVERAL):
        return word
    if word.endswith("es") and word[:-2] in _SINGULAR:
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith(("che", "she", "sse", "xe", "ze")):
        return word[:-1]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ie"
    return word


STOP_WORDS = _COMMONEST | frozenset(
    map(singular, _COMMONEST)
)  # as they are written, and as words() gives them


def phrase(term: str) -> tuple[str, ...]:
    """The words of a term in order; empty where the term says nothing: no word, only stop words, or no end to it."""
    return _phrase(term) if len(term) <= LONGEST_TERM else ()


@lru_cache(maxsize=1 << 16)
def _phrase(term: str) -> tuple[str, ...]:
    found = tuple(words(term))
    return () if all(word in STOP_WORDS for word in found) else found


def features(tokens: Iterable[str]) -> list[str]:
    """Single words and pairs of neighbours, without stop words: what the catalogue's statistics count."""
    found: list[str] = []
    before = ""
    for token in tokens:
        if token in STOP_WORDS:
            before = ""
            continue
        if not token.isdigit():
            found.append(token)
        if before:
            found.append(f"{before} {token}")
        before = token
    return found

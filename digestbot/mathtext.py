"""Mathematics in running text: LaTeX and what web pages leave of it, made readable."""

from __future__ import annotations

import re

from pylatexenc.latex2text import LatexNodes2Text

_DECODER = LatexNodes2Text(math_mode="verbatim", keep_comments=True)
_MAX_DECODED = 20_000  # characters; pylatexenc's time grows faster than its text


def decode_latex(text: str) -> str:
    """Text of LaTeX text: accents and commands become letters, braces go, mathematics stays as it is."""
    if len(text) > _MAX_DECODED:
        return text
    try:
        decoded: str = _DECODER.latex_to_text(text.replace("%", "\\%") if "\\%" not in text else text)
    except (ValueError, TypeError, IndexError, KeyError, RecursionError):
        return re.sub(r"[{}]", "", text)
    return decoded

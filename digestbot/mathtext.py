"""Mathematics in running text: LaTeX, and what web pages leave of it, made readable (pure).

`$\\mathcal{O}(d^k)$` and the remains `mathcal{O}(d^k)` both read O(dᵏ). Ordinary words are never touched: a bare word is
taken for a command only where it is no English word (`varepsilon`) or where it stands in a formula (`sigma_{max}^2`).
"""

from __future__ import annotations

import html
import logging
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from pylatexenc.latex2text import LatexNodes2Text

_DECODER = LatexNodes2Text(math_mode="verbatim", keep_comments=True)
logging.getLogger("pylatexenc").setLevel(logging.CRITICAL + 1)  # it complains of every unknown command
_MAX_DECODED = 20_000  # characters; pylatexenc's time grows faster than its text

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
    " omega"
)  # fmt: skip
_GREEK = {
    spelled: unicodedata.lookup(f"GREEK {case} LETTER {'LAMDA' if name == 'lambda' else name.upper()}")
    for name in _GREEK_NAMES.split()
    for case, spelled in (("SMALL", name), ("CAPITAL", name.capitalize()))
} | {"varepsilon": "ε", "varphi": "φ", "vartheta": "ϑ", "varrho": "ρ", "varsigma": "ς"}

# No English words: symbols wherever they stand.
_SYMBOLS = {
    "rightarrow": "→", "leftarrow": "←", "leftrightarrow": "↔", "Rightarrow": "⇒", "mapsto": "↦", "infty": "∞",
    "leq": "≤", "geq": "≥", "neq": "≠", "circ": "∘", "cdot": "·", "ldots": "…", "cdots": "…", "nabla": "∇",
    "forall": "∀", "otimes": "⊗", "oplus": "⊕", "subseteq": "⊆", "setminus": "∖", "emptyset": "∅", "ell": "ℓ",
    "lesssim": "≲", "gtrsim": "≳", "langle": "⟨", "rangle": "⟩", "lVert": "‖", "rVert": "‖",
}  # fmt: skip
# English or usual words: symbols only in LaTeX, or between two letters or numbers.
_BETWEEN = {
    "times": "×",
    "gg": "≫",
    "ll": "≪",
    "le": "≤",
    "ge": "≥",
    "sim": "∼",
    "approx": "≈",
    "ne": "≠",
    "pm": "±",
}
_IN_LATEX = _BETWEEN | {
    "in": "∈",
    "to": "→",
    "dots": "…",
    "mid": "|",
    "cup": "∪",
    "cap": "∩",
    "sum": "∑",
    "prod": "∏",
}
_FUNCTIONS = "log|ln|exp|min|max|sup|inf|lim|sin|cos|tan|arg|det|dim"

_DOUBLE = {"R": "ℝ", "N": "ℕ", "Z": "ℤ", "Q": "ℚ", "C": "ℂ", "P": "ℙ", "H": "ℍ"}
_MARKS = {"widetilde": "\u0303", "tilde": "\u0303", "widehat": "\u0302", "hat": "\u0302", "bar": "\u0304",
          "overline": "\u0304", "vec": "\u20d7", "dot": "\u0307"}  # fmt: skip

_SUPERSCRIPTS = dict(
    zip("0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ", strict=True)
)  # fmt: skip
_SUBSCRIPTS = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))

# What metadata in LaTeX say around their words, in order.
_ADDRESS = re.compile(
    r"\\(?:url|href|path|nolinkurl|texttt)\{\s*((?:https?://)?[^\s{}]+\.[^\s{}]+)\s*\}(?:\{[^{}]*\})?"
)
_DISPLAYS = "equation|align|displaymath|math|eqnarray|gather|multline"
_LAYOUT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s?\\footnote\{([^{}]*)\}"), r" (\1)"),
    (re.compile(r"\\[mh]box\{([^{}]*)\}"), r"\1"),
    (re.compile(rf"\\begin\{{(?:{_DISPLAYS})\*?\}}\s*|\\\[\s*"), r"\\("),
    (re.compile(rf"\s*\\end\{{(?:{_DISPLAYS})\*?\}}|\s*\\\]"), r"\\)"),
    (re.compile(r"\\(?:begin|end)\{[A-Za-z]+\*?\}\s?"), ""),
    (re.compile(r"(?<!\$)\$\$\s*([^\s$](?:[^$]{0,300}[^\s$])?)\s*\$\$(?!\$)"), r"\\(\1\\)"),
    (re.compile(r"(?<!`)``([^`'\s](?:[^`']|'(?!'))*)''"), r"“\1”"),
    (re.compile(r"(?<=\w)---(?=\w)"), "—"),
)
# A formula of one sign may stand before a number, as no price does.
_SIGN = re.compile(r"\$\s?(\\[A-Za-z]+|[<>=≤≥~±×])\s?\$(?=\d)")
_DEGREES = re.compile(r"\^\s?(?:\{\s?\\circ\s?\}|\\circ(?![A-Za-z]))")
_SCRIPT_ALONE = re.compile(r"([_^])\s?(?:\{([^{}]+)\}|(\w))")
_FUNCTION = re.compile(rf"(?:(?<=[\w)])\s?)?\\({_FUNCTIONS})(?![A-Za-z])(?:\s?\{{([^{{}}]*)\}})?")

_SPAN = re.compile(r"(?<![\\$])\$(?![\s$])((?:[^$\\]|\\.){1,300}?)(?<![\s\\])\$(?![\d$])|\\\((.{1,300}?)\\\)")
_FORMULA = re.compile(r"[\\^_{}=<>+/|]|^\W*\w{1,2}\W*$")
_URL = re.compile(r"(https?://[^\s{}]+)(?:\{[^{}]*\})?")

_ENTITY = re.compile(r"&(?!amp|lt|gt|quot)[A-Za-z]{3,8};")  # those four may be meant as they stand
_BROKEN = re.compile(r"[{}]|\bbig[\[(|]|\\[A-Za-z]{2,}")
_ANY_GREEK = "|".join(sorted(_GREEK, key=len, reverse=True))
_SIGNS = re.compile(
    rf"[\\$^_{{}}~]|``|---|{'|'.join(_SYMBOLS)}|var|math|widetilde|widehat|sqrt"
    rf"|/(?:{_ANY_GREEK})\b|\b(?:{_ANY_GREEK})\(|[\d\w)] (?:times|gg|ll) \w\b"
)
_GROUP = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def readable(text: str) -> str:
    """The text with its mathematics in Unicode, and signs that pages name (`&mdash;`); other text comes back as it is."""
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]).replace("\xa0", " "), text)
    if not _SIGNS.search(text):
        return text
    text = _ADDRESS.sub(lambda found: re.sub(r"\\([_%#&~])", r"\1", found[1]), text)
    for pattern, replacement in _LAYOUT:
        text = pattern.sub(replacement, text)
    pieces, end = [], 0
    for url in _URL.finditer(text):  # a web address is no formula; \href leaves its words behind it
        pieces += [_prose(text[end : url.start()]), url[1]]
        end = url.end()
    return "".join([*pieces, _prose(text[end:])])


def is_readable(text: str) -> bool:
    """Whether `readable` leaves no pieces of LaTeX in the text."""
    return not _BROKEN.search(readable(text))


@lru_cache(maxsize=4096)
def _prose(text: str) -> str:
    text = _SPAN.sub(_span, _SIGN.sub(lambda found: _latex(found[1]), text))
    text = re.sub(r"\{\\(?:em|it|bf|sc|tt|sf|rm)\s+([^{}]*)\}", r"\1", text)
    if "\\" in text:
        text = _FUNCTION.sub(_function, re.sub(r"\\([%&#$_])", r"\1", text))
        text = re.sub(r"\s?\\cite[a-z]*\{[^{}]*\}", "", text)
        text = re.sub(
            r"\\[\"'`^~=.](?:\{\\?[A-Za-z]\}|\\?[A-Za-z])|\\(?:[A-Za-z]+|.)\s?(?:\{[^{}]*\})?", _command, text
        )
        text = re.sub(r"\{([À-ɏ])\}", r"\1", text)
    text = re.sub(r"(?<=[\w.,])~(?=\w)", " ", text)
    return _remains(text)


def _span(found: re.Match[str]) -> str:
    inner: str = found[1] or found[2]
    if alone := _SCRIPT_ALONE.fullmatch(inner):
        return (
            _DEGREES.sub("°", inner)
            if _DEGREES.fullmatch(inner)
            else _shifted(alone[1], _latex(alone[2] or alone[3]))
        )
    return _remains(_latex(inner)) if found[2] or _FORMULA.search(inner) else found[0]


def _latex(text: str) -> str:
    """A formula in LaTeX: every command is one."""
    text = _FUNCTION.sub(_function, _DEGREES.sub("°", text))
    text = re.sub(r"\\(?:left|right|big|Big|bigl|bigr|,|;|!|:|quad|displaystyle)(?![A-Za-z])", "", text)
    text = re.sub(
        r"\\([{}%&#$_|])", lambda found: {"{": "❴", "}": "❵", "|": "‖"}.get(found[1], found[1]), text
    )
    text = re.sub(
        rf"\\frac{_GROUP}{_GROUP}", lambda found: f"{_operand(found[1])}/{_operand(found[2])}", text
    )
    words = _GREEK | _SYMBOLS | _IN_LATEX
    text = re.sub(
        r"\\([A-Za-z]+)(?=\s?)",
        lambda found: words.get(found[1], found[1] if _is_style(found[1]) else found[0]),
        text,
    )
    text = re.sub(r"\\[A-Za-z]+\s?(?:\{[^{}]*\})?", _command, text)
    return re.sub(r"(?<=[\w)\]])'", "′", text).replace("❴", "{").replace("❵", "}").replace("~", " ")


def _function(found: re.Match[str]) -> str:
    """Its name, apart from letters, numbers and brackets beside it."""
    before = found.string[max(0, found.start() - 1) : found.start()]
    after = found[2] or ""
    return (
        (" " if before.isalnum() or before == ")" else "")
        + found[1]
        + (" " if after[:1].isalnum() else "")
        + after
    )


def _is_style(word: str) -> bool:
    """Whether `_remains` reads this word without its backslash."""
    return word in _MARKS or word == "sqrt" or word.startswith(("math", "text", "bold", "operatorname"))


def _operand(text: str) -> str:
    return text if re.fullmatch(r"\\?\w+", text) else f"({text})"


def _command(found: re.Match[str]) -> str:
    return decode_latex(found[0])


# ---- what pages leave -------------------------------------------------------------------------------------------


def _remains(text: str) -> str:
    """Formulas without backslashes: symbols, then letters in other shapes, then scripts, inner ones first."""
    for pattern, replacement in _WORDS:
        text = pattern.sub(replacement, text)
    for pattern, replacement in (*_SHAPES, *_SCRIPTS, *_SCRIPTS):
        text = pattern.sub(replacement, text)
    return text


def _word(found: re.Match[str]) -> str:
    return (_GREEK | _SYMBOLS | _BETWEEN)[found[1]]


def _inner(found: re.Match[str]) -> str:
    return found["letter"] if found["group"] is None else str(found["group"])


def _font(found: re.Match[str]) -> str:
    inner = _inner(found)
    return _DOUBLE.get(inner, inner) if found["font"] == "mathbb" else inner


def _mark(found: re.Match[str]) -> str:
    inner = _inner(found)
    return unicodedata.normalize("NFC", inner + _MARKS[found["mark"]]) if len(inner) == 1 else inner


def _root(found: re.Match[str]) -> str:
    inner = _inner(found)
    return "√" + (inner if len(inner) == 1 else f"({inner})")


def _script(found: re.Match[str]) -> str:
    base, sign = found["base"], found["sign"]
    inner = _inner(found).strip()
    return base + (inner if inner in ("*", "†", "′") else _shifted(sign, inner))


def _shifted(sign: str, inner: str) -> str:
    """Letters above or below the line, where all of them exist; else the sign and what it shifts."""
    letters = _SUPERSCRIPTS if sign == "^" else _SUBSCRIPTS
    if all(letter in letters for letter in inner):
        return "".join(letters[letter] for letter in inner)
    return sign + (inner if inner.isalnum() else f"({inner})")


_FONTS = "math(?:cal|bb|bf|rm|sf|it|frak|scr|tt)|boldsymbol|operatorname"
_GROUP_OR_LETTER = r"(?:\s?\{(?P<group>(?:[^{}]|\{[^{}]*\})*)\}|\s?(?P<letter>[A-Za-zͰ-Ͽ])(?![A-Za-z]))"
# What can carry a script: a letter that stands alone, a number, a function, the end of a formula.
_BASE = r"(?P<base>(?<![^\W_])(?<!_)(?:[A-Za-zÀ-žḀ-ỹ]|\d+|sin|cos|tan|log|exp)|[Ͱ-Ͽℂℍℕℙℚℝℤℓ∇ℵ‖₀-ₜ)\]}⟩|\u0300-\u036f])"
_Rules = tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]

_WORDS: _Rules = (
    (re.compile(r"\bwide(tilde|hat)(?=[A-Z])"), r"wide\1 "),
    (re.compile(r"\b([A-Za-z])([nlg]eq)(?= ?[\dA-Za-z]\b)"), r"\1 \2"),
    (re.compile(rf"\b({_ANY_GREEK})circ\b"), r"\1 circ"),
    (re.compile(r"(?<![A-Za-z-])(var(?:epsilon|phi|theta|rho|sigma))(?![A-Za-z-])"), _word),
    # the name of a Greek letter is an English word, too: it is a letter where a formula goes on or comes before
    (re.compile(rf"(?<![A-Za-z-])({_ANY_GREEK})(?=[_^}}]|\((?!s\))| circ |/[a-z\d]\b)"), _word),
    (re.compile(rf"(?<=[_^{{=+*])({_ANY_GREEK})(?![A-Za-z-])"), _word),
    (re.compile(rf"(?<=\b[A-Za-z\d]/)({_ANY_GREEK})(?![A-Za-z-])"), _word),
    (re.compile(rf"(?<=\()({_ANY_GREEK})(?=;)"), _word),
    (re.compile(rf"(?<=tilde )({_ANY_GREEK})(?![A-Za-z])"), _word),
    (re.compile(rf"(?<=hat )({_ANY_GREEK})(?![A-Za-z])"), _word),
    (re.compile(rf"(?<=circ )({_ANY_GREEK})(?![A-Za-z])"), _word),
    (re.compile(rf"(?<![A-Za-z-])({'|'.join(_SYMBOLS)})(?![A-Za-z-])"), _word),
    (re.compile(rf"(?<=[\d)\]}}] )({'|'.join(_BETWEEN)})(?= \d)"), _word),
    (re.compile(rf"(?<=\b[B-HJ-Zb-z] )({'|'.join(_BETWEEN)})(?= [A-Za-z\d]\b)"), _word),
    (re.compile(r", ?dots ?,"), ", …, "),
)  # fmt: skip
_SHAPES: _Rules = (
    (re.compile(rf"(?<![A-Za-z])(?P<font>{_FONTS}){_GROUP_OR_LETTER}"), _font),
    (re.compile(r"(?<![A-Za-z])text(?:bf|it|rm|tt|sc)?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"(?<![A-Za-z])cal([A-Z])(?![A-Za-z])"), r"\1"),
    (re.compile(rf"(?<![A-Za-z])(?P<mark>wide(?:tilde|hat)){_GROUP_OR_LETTER}"), _mark),
    (re.compile(rf"(?<![A-Za-z])(?P<mark>tilde|hat|bar|overline|vec|dot)(?=\{{){_GROUP_OR_LETTER}"), _mark),
    (re.compile(rf"(?<![A-Za-z])sqrt{_GROUP_OR_LETTER}"), _root),
    (re.compile(r"(?<![A-Za-z])sqrt ?(?=[\d(])"), "√"),
    (re.compile(r"(?<![\w}^_])\{([A-Z])\}(?=\()"), r"\1"),
)  # fmt: skip
_SCRIPTS: _Rules = (
    (re.compile(r"(?<=[A-Za-z])\^(?=\*)"), ""),
    (re.compile(_BASE + r"(?P<sign>[\^])(?:\{(?P<group>[^{}]*)\}|(?P<letter>\d+|[A-Za-z*Ͱ-Ͽ])(?![a-z]))"), _script),
    (re.compile(_BASE + r"(?P<sign>_)(?:\{(?P<group>[^{}]*)\}|(?P<letter>\d+|[A-Za-zͰ-Ͽ])(?![A-Za-z\d_]))"), _script),
)  # fmt: skip


@lru_cache(maxsize=4096)
def decode_latex(text: str) -> str:
    """Text of LaTeX text: accents and commands become letters, braces go, mathematics stays as it is."""
    if len(text) > _MAX_DECODED:
        return text
    try:
        decoded: str = _DECODER.latex_to_text(text.replace("%", "\\%") if "\\%" not in text else text)
    except (ValueError, TypeError, IndexError, KeyError, RecursionError):
        return re.sub(r"[{}]", "", text)
    return decoded

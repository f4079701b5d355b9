"""Text as it came, without the characters that no reader can show or that deceive one."""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

# Control characters and line ends become one space together with the blanks around them; the others vanish:
# lone surrogates, bidi embeddings, overrides and isolates, zero-width space, byte order mark, noncharacters, tags.
_BREAKS = re.compile(r"[ \t]*[\x00-\x1f\x7f-\x9f\u2028\u2029]+\s*")
_UNSHOWABLE = re.compile(
    "[\ud800-\udfff\u200b\ufeff\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)

_ELEMENTS = (
    "a|abbr|article|b|blockquote|body|br|center|cite|code|dd|div|dl|dt|em|figure|font|h[1-6]|head|hr|html|i|img"
    "|li|math|ol|p|pre|q|s|section|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul"
    r"|(?:jats|mml):[\w-]+"
)
_MARKUP = re.compile(
    rf"<!--.*?(?:-->|$)|</?(?:{_ELEMENTS})(?:\s[^<>]*)?/?>", re.IGNORECASE | re.DOTALL
)  # what is not closed goes to the end: else quadratic
_BLOCKS = re.compile(r"</?(?:p|br|div|li|h[1-6]|tr|jats:p|jats:title|jats:sec)\b", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style|iframe|object|svg)\b.*?(?:</\1\s*>|$)", re.IGNORECASE | re.DOTALL)

MAX_TITLE = 5_000
MAX_ABSTRACT = 100_000
MAX_URL = 2_000


def clean(text: str) -> str:
    """One line of showable text; what it shows is otherwise untouched."""
    if not text.isprintable():  # 1 us for an abstract; the expressions below take 50
        text = _UNSHOWABLE.sub("", _BREAKS.sub(" ", text))
    return text.strip()


def strip_markup(text: str) -> str:
    """Plain text of text that may hold HTML or JATS: scripts go with their content, known elements go,
    anything else between < and > stays, for it may be mathematics."""
    if "<" not in text:
        return text
    text = _HIDDEN.sub(" ", text)
    return _MARKUP.sub(lambda tag: " " if _BLOCKS.match(tag[0]) else "", text)


def from_html(text: str) -> str:
    """Plain text of what is known to be HTML, where a run of blanks is one."""
    return " ".join(html.unescape(strip_markup(text)).split())


def clean_url(text: str | None) -> str | None:
    """An absolute http(s) URL with a host, without blanks; None for everything else."""
    url = clean(text) if text else ""
    if not url or len(url) > MAX_URL or re.search(r"[\s<>\"\\^`{|}]", url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return None
    return url if parts.scheme.lower() in ("http", "https") and host and "@" not in parts.netloc else None

"""arXiv ids and DOIs in all the forms people write them."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

# https://info.arxiv.org/help/arxiv_identifier.html: YYMM.NNNN(N) since 2007-04, archive(.SC)/YYMMNNN before.
_ARXIV = r"(?P<id>\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z]+(?:-[a-z]+)?(?:\.[A-Z]{2})?/\d{7})(?:v(?P<version>[1-9]\d{0,2}))?"
_ARXIV_PREFIX = (
    r"(?:https?://)?(?:[\w-]+\.)*(?:arxiv\.org|alphaxiv\.org|huggingface\.co|ar5iv\.labs\.arxiv\.org)"
    r"/(?:abs|pdf|html|format|papers|e-print|overview)/"
    r"|(?:https?://)?(?:dx\.)?doi\.org/10\.48550/arxiv\."
    r"|(?:doi:\s*)?10\.48550/arxiv\."
    r"|oai:arxiv\.org:|arxiv:\s*|arxiv\s+"
)
_ARXIV_ALONE = re.compile(
    rf"(?:{_ARXIV_PREFIX})?{_ARXIV}(?:\.pdf)?(?:[?#].*)?/?(?:\s*\[[\w.-]+\])?", re.IGNORECASE
)
_ARXIV_WITHIN = re.compile(rf"(?:{_ARXIV_PREFIX}){_ARXIV}(?![\d.]*\d)", re.IGNORECASE)

_DOI_PREFIX = re.compile(
    r"^(?:https?://(?:dx\.|www\.)?doi\.org/|(?:dx\.)?doi\.org/|doi:\s*|doi\s+|info:doi/)", re.IGNORECASE
)
# Old ones name the article between angle brackets, first its page and a colon (ANSI/NISO Z39.56); markup does not.
_DOI = re.compile(r"10\.\d{4,9}/(?:<[a-z]?\d[^\s\"<>{}:]*:[^\s\"<>{}]+>|[^\s\"<>{}])+")
_ARXIV_DOI = "10.48550/arxiv."


def read_arxiv_id(text: str) -> tuple[str, int | None] | None:
    """(id without version, version or None) where the text is an arXiv id or a URL of one; else None."""
    found = _ARXIV_ALONE.fullmatch(text.strip())
    return _arxiv(found) if found else None


def find_arxiv_id(text: str) -> tuple[str, int | None] | None:
    """The first arXiv id that is marked as one (`arXiv:...`, a URL) within running text."""
    found = _ARXIV_WITHIN.search(text)
    return _arxiv(found) if found else None


def _arxiv(found: re.Match[str]) -> tuple[str, int | None]:
    # The subject class of an old id (math.GT/0309136) is decoration: math/0309136 is the same paper.
    identifier = re.sub(r"\.[A-Z]{2}/", "/", found["id"], flags=re.IGNORECASE).lower()
    return identifier, int(found["version"]) if found["version"] else None


def read_doi(text: str) -> str | None:
    """The DOI in lower case without resolver; None where the text is none. arXiv's own DOIs are DOIs, too."""
    doi = html.unescape(_DOI_PREFIX.sub("", text.strip())).lower()
    doi = re.sub("%2f|%3[ce]|%28|%29|%3[ab]", lambda found: unquote(found[0]), doi)
    found = _DOI.match(doi)
    return found[0].rstrip(".,;)]") if found and len(found[0]) <= 300 else None


def arxiv_id_of_doi(doi: str) -> tuple[str, int | None] | None:
    """The arXiv id that a DOI of arXiv's own stands for, None for other DOIs."""
    return read_arxiv_id(doi) if doi.startswith(_ARXIV_DOI) else None

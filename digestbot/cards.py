"""A paper's card: what it shows to everybody, in three lengths of known size, and which lengths fit into a mail. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from digestbot.forms import Form
from digestbot.links import Links
from digestbot.mathtext import readable
from digestbot.model import CardLength, Paper, PaperRecord
from digestbot.wording import byline, clean, direction, short_date

MAIL_BYTES = 80 * 1024  # of decoded HTML; clients cut what is over 102 KB (Gmail)

_URL = re.compile(r"https?://[^\s<>\"'{}|\\^`\x00-\x20\u2026]+", re.IGNORECASE)
_CODE_HOSTS = ("github.com", "gitlab.com", "huggingface.co", "codeberg.org", "bitbucket.org")
_KEY = (
    r"\b[Ww]e (?:also |further |then |thus |therefore |instead )?"
    r"(?:propose|introduce|present|develop|design|show|find|demonstrate|prove|establish|study|investigate)\b"
    r"|\boutperform(?:s|ing|ed)?\b|(?<![\w.])\d+(?:[.,]\d+)*(?:\s?[–-]\s?\d+(?:\.\d+)?)?\s?(?:[%×]|x\b|times\b|-?fold\b)"
)
_NAME = re.compile(
    r"([A-Z0-9][\w.+-]*[A-Z0-9][\w.+-]*)\s*[:–—]"
)  # a title that starts so names what it presents
_MOST_KEYS = 5
_TRAILING = ".,;:!?)]}>'\"*_~"
_SENTENCES = {CardLength.FULL: 3, CardLength.SHORT: 1, CardLength.TITLE: 0}


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text shown in one way."""

    text: str
    url: str | None = None  # set: a link
    key: bool = False  # a deciding word: what is done, by how much, its name


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a card's template is given of a paper."""

    id: int
    title: str
    title_direction: str  # ltr or rtl
    url: str  # where the title leads
    byline: str  # '' where neither authors nor date are known
    excerpt: str  # '' in the shortest length
    runs: tuple[Run, ...]  # the same, with its links
    direction: str  # of the excerpt
    links: tuple[Link, ...]  # paper, PDF, code, project


@dataclass(frozen=True, slots=True)
class Card:
    """A paper's card, rendered: for each CardLength the HTML and the text with holes for what is personal."""

    title: str
    opening: str  # the first sentence shown of the abstract
    html: tuple[Form, ...]
    text: tuple[Form, ...]
    sizes: tuple[int, ...]  # decoded bytes of HTML, for each CardLength, with room for what is personal
    kept_bytes: int  # of all pieces


def shown_title(title: str) -> str:
    """A title as mails, pages and feeds show it."""
    return readable(clean(title)) or "Untitled"


def contents(
    paper: Paper, links: Links, lengths: Sequence[CardLength] = tuple(CardLength)
) -> tuple[Content, ...]:
    """What the card shows in each of these lengths."""
    from digestbot.excerpts import excerpts  # with numpy and its weights, which take a tenth of a second

    record = paper.record
    title = shown_title(record.title)
    date = short_date(record.published) if record.published else ""
    whole = Content(
        id=paper.id,
        title=title,
        title_direction=direction(title),
        url=paper_url(paper, links),
        byline=" · ".join(filter(None, [byline(record), date])),
        excerpt="",
        runs=(),
        direction=direction(title),
        links=tuple(_links(paper, links)),
    )
    return tuple(
        replace(
            whole,
            excerpt=shown,
            runs=tuple(mark_keys(find_links(shown), title)),
            direction=direction(shown or title),
        )
        for cut in excerpts(record.abstract, [_SENTENCES[length] for length in lengths])
        for shown in [readable(clean(cut))]
    )


def paper_url(paper: Paper, links: Links) -> str:
    """Where the title leads: its URL, else arXiv's or the DOI's page of it, else our own."""
    record = paper.record
    return public_url(record.url) or _identifier_url(record) or links.paper(paper.id)


def public_url(url: str | None) -> str | None:
    """The URL if it is http(s), has a host that the public can reach by name and no character a URL cannot have."""
    if url is None or not _URL.fullmatch(url):
        return None
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return None
    if (
        "." not in host.strip(".")
        or host.endswith((".localhost", ".local", ".internal"))
        or _is_address(host)
    ):
        return None
    return url


def find_links(text: str) -> list[Run]:
    """The text cut into runs, those that are web addresses as links."""
    runs, start = [], 0
    for match in _URL.finditer(text):
        address = match[0].rstrip(_TRAILING)
        if public_url(address):
            runs.append(Run(text[start : match.start()]))
            runs.append(Run(address, url=address))
            start = match.start() + len(address)
    runs.append(Run(text[start:]))
    return [run for run in runs if run.text]


def mark_keys(runs: Sequence[Run], title: str) -> list[Run]:
    """The runs with the first few deciding words set apart: the name of what is new, what is done, by how much."""
    name = _NAME.match(title)
    key = re.compile(_KEY + (rf"|(?<!\w){re.escape(name[1])}(?!\w)" if name else ""))
    marked: list[Run] = []
    for run in runs:
        start = 0
        for match in key.finditer(run.text) if run.url is None else ():
            if sum(done.key for done in marked) == _MOST_KEYS:
                break
            marked += [Run(run.text[start : match.start()]), Run(match[0], key=True)]
            start = match.end()
        marked.append(Run(run.text[start:], run.url))
    return [run for run in marked if run.text]


def fit(sizes: Sequence[Sequence[int]], room: int) -> tuple[CardLength, ...]:
    """The lengths in which the first of the papers fit into `room` bytes; `sizes` in the order shown, by CardLength.

    Shorter excerpts before fewer papers, the last shown first. Fewer lengths than sizes: the others do not fit.
    """
    lengths = [CardLength.FULL] * len(sizes)
    total = sum(size[CardLength.FULL] for size in sizes)
    for shorter in (CardLength.SHORT, CardLength.TITLE):
        for index in reversed(range(len(sizes))):
            if total <= room:
                return tuple(lengths)
            total += sizes[index][shorter] - sizes[index][lengths[index]]
            lengths[index] = shorter
    while total > room and lengths:
        total -= sizes[len(lengths) - 1][lengths.pop()]
    return tuple(lengths)


def _links(paper: Paper, links: Links) -> list[Link]:
    """The links beside the title's: the PDF, the code, the project's page; each address once."""
    record = paper.record
    main = paper_url(paper, links)
    found = [Link("Paper", main)]
    if record.arxiv_id:
        found.append(Link("PDF", f"https://arxiv.org/pdf/{record.arxiv_id}"))
    addresses = [record.code_url, *(run.url for run in find_links(readable(clean(record.abstract))))]
    for address in filter(None, map(public_url, addresses)):
        code = (
            address == record.code_url
            or (urlsplit(address).hostname or "").removeprefix("www.") in _CODE_HOSTS
        )
        label = "Code" if code else "Project"
        if label not in {link.label for link in found} and address not in {link.url for link in found}:
            found.append(Link(label, address))
    return found


def _identifier_url(record: PaperRecord) -> str | None:
    if record.arxiv_id:
        return public_url(f"https://arxiv.org/abs/{record.arxiv_id}")
    return public_url("https://doi.org/" + quote(record.doi, safe="/:;().-_")) if record.doi else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return host.replace(".", "").isdigit()
    return True

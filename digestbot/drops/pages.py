"""Daily Papers pages saved as text: a title and an abstract in turn, now and then with authors, date, comments.

Spaced: the page's furniture and its heading date first, a blank line between all lines. Dense: no blank lines, and
`Subscribe` glued to the first title. What follows the furniture is read the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

from digestbot.drops.entry import BadField, Place, make_record
from digestbot.drops.source import Source, decode
from digestbot.model import PaperRecord, Rejection

SPACED = "page-spaced"
DENSE = "page-dense"

_COUNT = r"\d{1,3}(?:,?\d{3}){0,2}"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = (
    rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.? (?P<day>\d{{1,2}})(?:, ?(?P<year>\d{{4}}))?"
    rf"(?: (?P<comments>{_COUNT}))?"
)
_HEADING = re.compile(_DATE, re.IGNORECASE)
_META = re.compile(rf"(?:• ?(?P<authors>{_COUNT}) authors?)? ?·? ?(?:{_DATE})?", re.IGNORECASE)
_FURNITURE = re.compile(
    r"new|get trending papers in your email inbox.*|subscribe|daily papers|by ?AK and the research community",
    re.IGNORECASE,
)
_GLUED = re.compile(r"Subscribe(?=[^\s\w]|[A-Z0-9])")
_FURNITURE_LINES = 12  # it stands within the first so many lines
_SHORT, _LONG = 200, 300  # characters: a title at most, an abstract at least; between them is either


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


@dataclass(slots=True)
class _Entry:
    title: _Line
    abstract: _Line
    meta: dict[str, str] = field(default_factory=dict)


def recognises_spaced(head: str) -> bool:
    lines = _lines(head)[:_FURNITURE_LINES]
    furniture = sum(bool(_FURNITURE.fullmatch(line.text)) for line in lines)
    return furniture >= 2 or any(_HEADING.fullmatch(line.text) for line in lines[: furniture + 1])


def recognises_dense(head: str) -> bool:
    return any(_GLUED.match(line.text) for line in _lines(head)[:_FURNITURE_LINES])


def read(source: Source, received: date) -> Iterator[PaperRecord | Rejection]:
    """The papers of either page, each with its abstract exactly as it stands there."""
    heading, lines = _skip_furniture(_lines(decode(source.whole())))
    parts = list(_pair(lines))
    entries = [part for part in parts if isinstance(part, _Entry)]
    year = _page_year(heading, [entry.meta for entry in entries], received)
    for part in parts:
        yield part if isinstance(part, Rejection) else _record(part, year, received)


def _lines(text: str) -> list[_Line]:
    lines = (_Line(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1))
    return [line for line in lines if line.text]


def _skip_furniture(lines: list[_Line]) -> tuple[dict[str, str], list[_Line]]:
    """The parts of the heading date (empty: there is none), and the lines of the papers."""
    heading: dict[str, str] = {}
    for index, line in enumerate(lines[:_FURNITURE_LINES]):
        if glued := _GLUED.match(line.text):
            return heading, [_Line(line.number, line.text[glued.end() :]), *lines[index + 1 :]]
        if found := _HEADING.fullmatch(line.text):
            heading = _parts(found)
        elif not _FURNITURE.fullmatch(line.text):
            return heading, lines[index:]
    return heading, lines[_FURNITURE_LINES:]


def _pair(lines: list[_Line]) -> Iterator[_Entry | Rejection]:
    """Entries in the order of the page. A line of authors or date ends an entry, and so brings a reader that is
    out of step back into it."""
    block: list[_Line] = []
    last: _Entry | None = None
    for line in lines:
        found = _META.fullmatch(line.text)
        if not found:
            block.append(line)
            continue
        for part in _pair_block(block):
            if last:
                yield last
                last = None
            if isinstance(part, _Entry):
                last = part
            else:
                yield part
        block = []
        if last:
            last.meta.update(_parts(found))
    if last:
        yield last
    yield from _pair_block(block)


def _pair_block(lines: list[_Line]) -> Iterator[_Entry | Rejection]:
    upside_down = (
        bool(lines) and len(lines[0].text) >= _LONG
    )  # then pairing is left to whoever looks at the page
    index = 0
    while index < len(lines):
        here, following = lines[index], lines[index + 1 : index + 3]
        if not following:
            yield Rejection(
                "a title without an abstract: the page ends here, or one is missing", line=here.number
            )
            return
        if not upside_down and _out_of_step(here.text, *(line.text for line in following)):
            what = "an abstract without a title" if len(here.text) >= _LONG else "a title without an abstract"
            yield Rejection(what, line=here.number)
            index += 1
            continue
        yield _Entry(here, following[0])
        index += 2


def _out_of_step(here: str, following: str, then: str = "") -> bool:
    """Whether a title and its abstract begin one line later."""
    return (
        (len(here) <= _SHORT or len(here) >= _LONG)
        and len(following) <= _SHORT
        and not following.endswith((".", "!"))
        and len(then) >= _LONG
    )


def _record(entry: _Entry, year: int, received: date) -> PaperRecord | Rejection:
    meta = entry.meta
    try:
        return make_record(
            entry.title.text,
            abstract=entry.abstract.text,
            author_count=_number(meta.get("authors")),
            published=_date(meta, year, received),
            comments=_number(meta.get("comments")),
        )
    except BadField as error:
        return Place(line=entry.title.number).rejection(str(error))


def _parts(found: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in found.groupdict().items() if value}


def _number(text: str | None) -> int | None:
    return int(text.replace(",", "")) if text else None


def _page_year(heading: dict[str, str], metas: Iterable[dict[str, str]], received: date) -> int:
    """The year that the page leaves out: the smallest later than every year written on it; where none is written
    or the page's date would then lie after the day received, the latest that does not."""
    dates = [meta for meta in metas if meta.get("month")]
    written = [int(meta["year"]) for meta in [heading, *dates] if meta.get("year")]
    unwritten = [heading] if heading else [meta for meta in dates if not meta.get("year")]
    ends = [_month_and_day(meta) for meta in unwritten] or [(1, 1)]
    if written and _fits(max(written) + 1, max(ends), received):
        return max(written) + 1
    return next(
        (year for year in range(received.year, 0, -1) if _fits(year, max(ends), received)), received.year
    )


def _month_and_day(meta: dict[str, str]) -> tuple[int, int]:
    return _MONTHS.index(meta["month"].lower()) + 1, int(meta["day"])


def _fits(year: int, day: tuple[int, int], received: date) -> bool:
    try:
        return date(year, *day) <= received
    except ValueError:
        return False


def _date(meta: dict[str, str], year: int, received: date) -> date | None:
    """None where no date is written or it is none (Feb 30)."""
    if not meta.get("month"):
        return None
    day = _month_and_day(meta)
    if meta.get("year"):
        try:
            return date(int(meta["year"]), *day)
        except ValueError:
            return None
    return next((date(y, *day) for y in range(year, year - 8, -1) if y > 0 and _fits(y, day, received)), None)

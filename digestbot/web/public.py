"""The pages for everybody: papers of a day, week or month, one paper, search, the public feed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from starlette.responses import RedirectResponse, Response

from digestbot import bibliography, ranking
from digestbot.desk import Desk
from digestbot.model import Paper, PaperId
from digestbot.web.feeds import papers_feed
from digestbot.web.limits import PREVIEWS, SEARCHES
from digestbot.web.shown import show
from digestbot.web.site import Site, not_found
from digestbot.web.visit import Visit, text_reply
from digestbot.wording import long_date, short_date

PER_PAGE = 50
KEPT_S = 300
FOUND = 200  # papers that a search looks at
IN_FEED = 50
LONGEST_QUERY = 200
_FIRST, _LAST = date(1971, 1, 1), date(2998, 12, 31)


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of days with a page of its own."""

    kind: str  # day, week or month
    first: date
    after: date

    @property
    def title(self) -> str:
        if self.kind == "day":
            return long_date(self.first)
        if self.kind == "week":
            return f"{short_date(self.first)} to {short_date(self.after - timedelta(days=1))}"
        return f"{self.first:%B %Y}"

    @property
    def short(self) -> str:
        return short_date(self.first) if self.kind == "day" else self.title

    @property
    def path(self) -> str:
        if self.kind == "day":
            return f"/day/{self.first}"
        if self.kind == "week":
            year, week, _ = self.first.isocalendar()
            return f"/week/{year}-W{week:02d}"
        return f"/month/{self.first:%Y-%m}"


def kept(room: Callable[[Site, Visit], Response]) -> Callable[[Site, Visit], Response]:
    """The room, whose answer is made anew after each drop and every few minutes only. A search is always new."""

    def answer(site: Site, visit: Visit) -> Response:
        if visit.query.get("q"):
            return room(site, visit)
        with site.reading() as desk:
            mark = desk.storage.browsing.mark()
        asked = (*visit.params.values(), visit.query.get("sort"), visit.query.get("page"))
        minutes = int(visit.now.timestamp()) // KEPT_S
        return site.kept((room.__name__, asked, mark, minutes), lambda: room(site, visit))

    return answer


def day_of(day: date) -> Period:
    return Period("day", day, day + timedelta(days=1))


def week_of(day: date) -> Period:
    monday = day - timedelta(days=day.weekday())
    return Period("week", monday, monday + timedelta(days=7))


def month_of(day: date) -> Period:
    first = day.replace(day=1)
    return Period("month", first, (first + timedelta(days=32)).replace(day=1))


PERIODS = {"day": day_of, "week": week_of, "month": month_of}


@kept
def home(site: Site, visit: Visit) -> Response:
    """Today's papers, or those of the last day that has any; with `q`, what a search finds."""
    query = visit.query.get("q", "").replace("\x00", "").strip()[:LONGEST_QUERY]
    if query:
        return _search(site, visit, query)
    with site.reading() as desk:
        last = desk.storage.browsing.day_before(visit.now.date() + timedelta(days=2))
        return _period_page(site, desk, visit, day_of(last or visit.now.date()))


@kept
def day(site: Site, visit: Visit) -> Response:
    return _period(site, visit, day_of(_date(visit.params["day"], r"\d{4}-\d\d-\d\d", "%Y-%m-%d")))


@kept
def week(site: Site, visit: Visit) -> Response:
    return _period(site, visit, week_of(_date(visit.params["week"] + "-1", r"\d{4}-W\d\d-1", "%G-W%V-%u")))


@kept
def month(site: Site, visit: Visit) -> Response:
    return _period(site, visit, month_of(_date(visit.params["month"], r"\d{4}-\d\d", "%Y-%m")))


@kept
def paper(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        found = _find_paper(desk, visit.params["id"])
        if str(found.id) != visit.params["id"]:
            return RedirectResponse(f"{site.root}/paper/{found.id}", 301)
        alike = site.shelf.more_like(desk.storage, found, visit.now)
        others = desk.storage.papers.papers(alike)
    return site.page(
        "paper.html",
        {
            "paper": show(found, site.links),
            "record": found.record,
            "first_seen": found.first_seen.date() if found.first_seen else None,
            "meta": bibliography.citation_meta(found, site.links),
            "alike": [show(others[i], site.links) for i in alike if i in others],
        },
        private=False,
    )


def paper_bib(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        found = _find_paper(desk, visit.params["id"])
    text = bibliography.bibtex([found], site.links)
    return text_reply(text, "application/x-bibtex", filename=f"paper-{found.id}.bib")


def paper_ris(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        found = _find_paper(desk, visit.params["id"])
    text = bibliography.ris([found], site.links)
    return text_reply(text, "application/x-research-info-systems", filename=f"paper-{found.id}.ris")


@kept
def feed(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        papers = desk.storage.browsing.newest(IN_FEED)
    return text_reply(papers_feed(papers, site.links), "application/atom+xml")


def suggest(site: Site, visit: Visit) -> Response:
    """Terms of recent papers that go on from `q`, as a JSON list."""
    site.limit(PREVIEWS, visit.network)
    begun = visit.query.get("q", "")[:LONGEST_QUERY]
    with site.reading() as desk:
        found = site.shelf.suggest(desk.storage, visit.now, begun)
    return text_reply(json.dumps(found, ensure_ascii=False), "application/json")


# ---- inside -------------------------------------------------------------------------------------------------------


def _period(site: Site, visit: Visit, period: Period) -> Response:
    with site.reading() as desk:
        return _period_page(site, desk, visit, period)


def _period_page(site: Site, desk: Desk, visit: Visit, period: Period) -> Response:
    browsing = desk.storage.browsing
    papers = browsing.between(period.first, period.after)
    before, after = browsing.day_before(period.first), browsing.day_from(period.after)
    around = PERIODS[period.kind]
    last = browsing.day_before(period.after) if papers else None
    values = {
        "period": period,
        "before": around(before) if before else None,
        "after": around(after) if after else None,
        "others": [make(last or period.first) for kind, make in PERIODS.items() if kind != period.kind],
        "query": "",
    }
    return _list_page(site, desk, visit, papers, values)


def _search(site: Site, visit: Visit, query: str) -> Response:
    site.limit(SEARCHES, visit.network)
    with site.reading() as desk:
        papers = desk.storage.browsing.search(query, count=FOUND)
    words = query.casefold().split()
    papers.sort(
        key=lambda p: -sum(word in p.record.title.casefold() for word in words)
    )  # stable: newest first
    values: dict[str, object] = {"period": None, "before": None, "after": None, "others": [], "query": query}
    return _list_page(site, desk, visit, papers, values)


def _list_page(
    site: Site, desk: Desk, visit: Visit, papers: list[Paper], values: Mapping[str, object]
) -> Response:
    sort = "trending" if visit.query.get("sort") == "trending" else "newest"
    if sort == "trending":
        papers = _by_interest(papers, visit.now)
    pages = max(1, -(-len(papers) // PER_PAGE))
    number = min(_number(visit.query.get("page", "1")), pages)
    shown = papers[(number - 1) * PER_PAGE : number * PER_PAGE]
    return site.page(
        "papers.html",
        {
            "papers": [show(p, site.links) for p in shown],
            "count": len(papers),
            "sort": sort,
            "page": number,
            "pages": pages,
            "suggested": site.shelf.suggest(desk.storage, visit.now, ""),
            **values,
        },
        private=False,
    )


def _by_interest(papers: Sequence[Paper], now: datetime) -> list[Paper]:
    order: dict[PaperId, int] = {found[0]: at for at, found in enumerate(ranking.trending(papers, now))}
    return sorted(papers, key=lambda p: order.get(p.id, len(order)))


def _find_paper(desk: Desk, text: str) -> Paper:
    if not re.fullmatch(r"[1-9]\d{0,15}", text, re.ASCII):
        raise not_found()
    found = desk.storage.papers.papers([PaperId(int(text))]).get(PaperId(int(text)))
    if found is None or found.first_seen is None:  # known only from somebody's library
        raise not_found()
    return found


def _date(text: str, pattern: str, form: str) -> date:
    """The date a path names, in a range that arithmetic bears; anything else does not exist."""
    if not re.fullmatch(pattern, text, re.ASCII):
        raise not_found()
    try:
        found = datetime.strptime(text, form).date()  # noqa: DTZ007
    except ValueError:
        raise not_found() from None
    if not _FIRST <= found <= _LAST:
        raise not_found()
    return found


def _number(text: str) -> int:
    return max(1, int(text)) if re.fullmatch(r"\d{1,6}", text, re.ASCII) else 1

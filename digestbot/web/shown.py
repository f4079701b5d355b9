"""Papers and previews as the templates show them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

from digestbot import wording
from digestbot.cards import Content, Run, contents, find_links, shown_title
from digestbot.choosing import choose, ranker_with_voted
from digestbot.compose import Nothing
from digestbot.desk import Desk
from digestbot.links import Links
from digestbot.mathtext import readable
from digestbot.model import CardLength, Cause, Digest, DigestPaper, Opinion, Paper, PaperId, Subscriber
from digestbot.previews import local_date, papers_of
from digestbot.web.shelf import Fortnight, fortnight
from digestbot.web.site import Site

_NOTHING = {
    Cause.NO_NEW_PAPER: "No paper came in during the last days.",
    Cause.ALL_SENT: "Everything that fits was in your digests already.",
    Cause.ALL_EXCLUDED: "Every paper of the last days that would fit has one of the excluded terms.",
    Cause.BELOW_MINIMUM: "No paper of the last days fits these topics well enough.",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A paper's card."""

    id: int
    content: Content
    abstract: tuple[Run, ...]  # whole; () where the excerpt is all of it
    upvotes: int | None
    comments: int | None
    why: str = ""
    dots: str = ""
    percent: str = ""
    opinions: Collection[Opinion] = ()


@dataclass(frozen=True, slots=True)
class LivePreview:
    """What the next digest would be. `nothing`: why there would be none."""

    fortnight: Fortnight
    history: Sequence[
        tuple[date, Sequence[tuple[PaperId, str]]]
    ]  # the fortnight's papers by day, with their titles
    summary: str
    sections: Sequence[tuple[str, Sequence[Shown]]]
    more: int
    nothing: str


def show(
    paper: Paper, links: Links, chosen: DigestPaper | None = None, opinions: Collection[Opinion] = ()
) -> Shown:
    made, abstract = _content(paper, links)
    return Shown(
        paper.id,
        made,
        abstract,
        paper.record.upvotes,
        paper.record.comments,
        wording.why(chosen.reasons) if chosen else "",
        wording.dots(chosen.score) if chosen else "",
        wording.percent(chosen.score) if chosen else "",
        opinions,
    )


_title = lru_cache(5000)(shown_title)


@lru_cache(1000)  # about 10 KB each
def _content(paper: Paper, links: Links) -> tuple[Content, tuple[Run, ...]]:
    [made] = contents(paper, links, [CardLength.FULL])
    whole = readable(wording.clean(paper.record.abstract))
    return made, tuple(find_links(whole)) if whole != made.excerpt else ()


def sections(papers: Iterable[DigestPaper], among: Mapping[PaperId, Shown]) -> list[tuple[str, list[Shown]]]:
    """The cards under their headings; those of papers that are gone are left out."""
    return [
        (name, found)
        for name, members in wording.sections(papers).items()
        if (found := [among[p.paper_id] for p in members if p.paper_id in among])
    ]


def live_preview(site: Site, desk: Desk, subscriber: Subscriber, now: datetime) -> LivePreview:
    """What these topics bring, whatever the schedule says."""
    candidates = site.shelf.candidates(desk.storage, now)
    votes = desk.storage.subscribers.votes([subscriber.id]).get(subscriber.id, ())
    slots = {subscriber.id: local_date(subscriber, now)}
    with site.shelf.ranking:
        result = choose(desk, candidates, [subscriber], slots)[subscriber.id]
        ranker = ranker_with_voted(desk, candidates, {subscriber.id: votes})
        count = fortnight(candidates, ranker, subscriber, votes)
    history = [
        (day, [(i, _title(candidates.by_id[i].record.title)) for i in papers]) for day, papers in count.by_day
    ]
    if isinstance(result, Nothing):
        cause = Cause.ALL_SENT if count.papers and result.cause is Cause.BELOW_MINIMUM else result.cause
        return LivePreview(count, history, "", (), 0, _NOTHING.get(cause, "There is nothing to send."))
    found = _sections_of(desk, result)
    about = wording.summary([(name, len(shown)) for name, shown in found])
    return LivePreview(count, history, about, found, result.more, "")


def _sections_of(desk: Desk, digest: Digest) -> list[tuple[str, list[Shown]]]:
    papers = papers_of(desk, digest)
    cards = {
        c.paper_id: show(papers[c.paper_id], desk.links, c) for c in digest.papers if c.paper_id in papers
    }
    return sections(digest.papers, cards)

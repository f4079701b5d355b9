"""One digest in the browser, with everything that did not fit, and what its reader says of the papers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from starlette.responses import Response

from digestbot import bibliography
from digestbot.choosing import ranker_with_voted
from digestbot.desk import Desk
from digestbot.links import FeedbackToken
from digestbot.model import (
    Digest,
    DigestPaper,
    Opinion,
    Paper,
    PaperId,
    Subscriber,
    SubscriberId,
    TopicProfile,
    Vote,
)
from digestbot.web.feeds import digests_feed
from digestbot.web.shown import sections, show
from digestbot.web.site import Site, not_found
from digestbot.web.visit import Form, Visit, text_reply
from digestbot.wording import long_date, summary

DIGESTS_IN_FEED = 30
REST = 200  # papers that did not fit, at most
_SAID = {"more": Opinion.MORE, "less": Opinion.LESS}


@dataclass(frozen=True, slots=True)
class Opened:
    """A digest and its reader."""

    digest: Digest
    subscriber: Subscriber


def digest(site: Site, visit: Visit) -> Response:
    found = site.links.read_digest(visit.params["token"])
    if found is None:
        raise not_found()
    return _digest(site, visit, *found, None)


def feedback(site: Site, visit: Visit) -> Response:
    """GET opens the digest at the card, the choice made but not sent; POST takes that choice, or the whole form's."""
    token = site.links.read_feedback(visit.params["token"])
    if token is None:
        raise not_found()
    return _digest(site, visit, token.subscriber_id, token.slot, token)


def digest_bib(site: Site, visit: Visit) -> Response:
    found = site.links.read_digest(visit.params["token"])
    if found is None:
        raise not_found()
    with site.reading() as desk:
        opened = _open(desk, *found)
        papers = desk.storage.papers.papers([p.paper_id for p in opened.digest.papers])
    listed = [papers[p.paper_id] for p in opened.digest.papers if p.paper_id in papers]
    name = f"digest-{found[1]}.bib"
    return text_reply(bibliography.bibtex(listed, site.links), "application/x-bibtex", filename=name)


def feed(site: Site, visit: Visit) -> Response:
    subscriber_id = site.links.read_feed(visit.params["token"])
    if subscriber_id is None:
        raise not_found()
    with site.reading() as desk:
        if not desk.storage.subscribers.get_many([subscriber_id]):
            raise not_found()
        digests = desk.storage.browsing.digests(subscriber_id, count=DIGESTS_IN_FEED)
        papers = desk.storage.papers.papers({p.paper_id for d in digests for p in d.papers})
    own = site.links.feed(subscriber_id)
    return text_reply(digests_feed(digests, papers, own, site.links), "application/atom+xml")


# ---- inside ---------------------------------------------------------------------------------------------------------


def _digest(
    site: Site, visit: Visit, subscriber_id: SubscriberId, slot: date, token: FeedbackToken | None
) -> Response:
    noted = 0
    if visit.is_post:
        with site.writing() as desk:
            opened = _open(desk, subscriber_id, slot)
            noted = _take_votes(desk, opened.subscriber, visit, token)
        token = None
    with site.reading() as desk:
        opened = _open(desk, subscriber_id, slot)
        return _digest_page(site, visit, desk, opened, token, noted)


def _open(desk: Desk, subscriber_id: SubscriberId, slot: date) -> Opened:
    """Raises 404 where the reader or the digest is gone, or was never sent."""
    subscriber = desk.storage.subscribers.get_many([subscriber_id]).get(subscriber_id)
    found = desk.storage.outbox.find_digest(subscriber_id, slot)
    if subscriber is None or found is None:
        raise not_found()
    return Opened(found[0], subscriber)


def _take_votes(desk: Desk, subscriber: Subscriber, visit: Visit, token: FeedbackToken | None) -> int:
    """Stores what the form says of its papers, or without a form what the token says; returns how many papers."""
    said = _posted(visit.form)
    if not said and token is not None:
        said = {token.paper_id: {token.opinion}}
    known = {i: p for i, p in desk.storage.papers.papers(said).items() if p.first_seen is not None}
    with desk.storage.transaction():
        for asked, paper in known.items():
            if visit.form.fields:
                for opinion in (Opinion.MORE, Opinion.LESS, Opinion.SAVE):
                    if opinion not in said[asked]:
                        desk.storage.subscribers.unvote(subscriber.id, paper.id, opinion)
            votes = [Vote(paper.id, opinion, visit.now) for opinion in sorted(said[asked])]
            desk.storage.subscribers.vote(subscriber.id, votes)
    return len(known)


def _posted(form: Form) -> dict[PaperId, set[Opinion]]:
    """For each paper of the form what is said of it now; an empty set: nothing."""
    said: dict[PaperId, set[Opinion]] = {}
    for text in form.texts("paper"):
        if text.isascii() and text.isdigit() and len(text) < 16:
            opinions = {_SAID[choice]} if (choice := form.text(f"vote-{text}")) in _SAID else set()
            said[PaperId(int(text))] = opinions | ({Opinion.SAVE} if form.text(f"save-{text}") else set())
    return said


def _digest_page(
    site: Site, visit: Visit, desk: Desk, opened: Opened, token: FeedbackToken | None, noted: int
) -> Response:
    digest, subscriber = opened.digest, opened.subscriber
    votes = desk.storage.subscribers.votes([subscriber.id]).get(subscriber.id, ())
    rest = _rest(site, visit, desk, opened, votes)
    named = (*digest.papers, *rest)
    papers = desk.storage.papers.papers([p.paper_id for p in named])
    opinions = _opinions(votes, token)
    cards = {
        p.paper_id: show(papers[p.paper_id], site.links, p, opinions.get(papers[p.paper_id].id, ()))
        for p in named
        if p.paper_id in papers
    }
    by_section = sections(digest.papers, cards)
    unshown = [cards[p.paper_id] for p in rest if p.paper_id in cards]
    return site.page(
        "digest.html",
        {
            "day": long_date(digest.slot),
            "summary": summary([(name, len(found)) for name, found in by_section]),
            "sections": by_section,
            "rest": unshown,
            "missing": max(0, digest.more - len(unshown)),
            "noted": noted,
            "at": token.paper_id if token else None,
            "bibtex": site.path(site.links.bibtex(subscriber.id, digest.slot)),
            "preferences": site.path(site.links.preferences(subscriber.id)),
            "unsubscribe": site.path(site.links.unsubscribe(subscriber.id)),
        },
    )


def _opinions(votes: Collection[Vote], token: FeedbackToken | None) -> dict[PaperId, set[Opinion]]:
    """What stands chosen on each card: what was said, and what the link that was followed says."""
    found: dict[PaperId, set[Opinion]] = {}
    for vote in votes:
        found.setdefault(vote.paper_id, set()).add(vote.opinion)
    if token is not None:
        chosen = found.setdefault(token.paper_id, set())
        if token.opinion is not Opinion.SAVE:
            chosen -= {Opinion.MORE, Opinion.LESS}
        chosen.add(token.opinion)
    return found


def _rest(site: Site, visit: Visit, desk: Desk, opened: Opened, votes: Collection[Vote]) -> list[DigestPaper]:
    """What scored above the minimum and did not fit, as far as its papers are still in the window; best first."""
    digest, subscriber = opened.digest, opened.subscriber
    if not digest.more or visit.now - digest.composed_at > timedelta(days=site.settings.window_days):
        return []
    candidates = site.shelf.candidates(desk.storage, visit.now)
    shown = {p.paper_id for p in digest.papers}
    earlier = desk.storage.outbox.sent_papers([subscriber.id], date.min)[subscriber.id] - shown
    profile = TopicProfile(
        subscriber.preferences.topics, tuple(v for v in votes if v.at < digest.composed_at)
    )
    with site.shelf.ranking:
        ranker = ranker_with_voted(desk, candidates, {subscriber.id: profile.votes})
        [found] = ranker.rank([profile], [shown | earlier], now=digest.composed_at, depth=REST)
    return [
        DigestPaper(s.paper_id, s.score, s.topic, s.reasons)
        for s in found.scored
        if s.score > subscriber.preferences.min_score and _seen_before(candidates.by_id[s.paper_id], digest)
    ]


def _seen_before(paper: Paper, digest: Digest) -> bool:
    return paper.first_seen is not None and paper.first_seen <= digest.composed_at

"""Invented papers, a subscriber and the digest that the tests of mails are about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from digestbot.links import Links
from digestbot.mail import Letterhead, Mail, Mailbox, digest_mail, system_mail
from digestbot.model import (
    CardLength,
    Digest,
    DigestPaper,
    EntryId,
    EntryKind,
    Paper,
    PaperId,
    PaperRecord,
    Reason,
    ReasonKind,
    Subscriber,
    SubscriberId,
)
from digestbot.render import Look, RenderedMail, Renderer

BASE_URL = "https://digest.example.org"
LINKS = Links(BASE_URL, [b"a key of the tests, 32 bytes long"])
LOOK = Look(name="Paperboy", postal_address="Institute of Invented Results, 1 Long Lane, Exampleton")
SLOT = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 7, 0, tzinfo=UTC)
ADA = Subscriber(SubscriberId(7), "ada@example.org", "Ada Lovelace")
LETTERHEAD = Letterhead(Mailbox("Paperboy", "digest@example.org"), "digest@example.org", LINKS)

ABSTRACT = (
    "Sorting socks is a task that every household repeats each week. However, existing methods compare each sock with "
    "all others, which takes quadratic time and much patience, and they fail where a sock has lost its partner for good "
    "or where two pairs differ by a shade only. In this paper, we propose SockNet, which learns an "
    "embedding of socks from their colour, their length and the wear of their heels. The key idea is to treat the left "
    "and the right sock as two views of one pair. Experiments on three invented laundries show that SockNet outperforms "
    "the best household by 12.5% while it needs a third of the time. Code is available at "
    "https://github.com/example/socknet."
)


def make_paper(number: int = 1, **fields: object) -> Paper:
    """A paper; `fields` are PaperRecord's."""
    known: dict[str, object] = {
        "title": f"SockNet {number}: Learning to Pair What the Laundry Parted",
        "abstract": ABSTRACT,
        "authors": ("Ada Byron", "Grace Hopper", "Emmy Noether"),
        "published": date(2026, 11, 18),
        "arxiv_id": f"2611.{number:05}",
    }
    return Paper(PaperId(number), PaperRecord(**(known | fields)), AT)  # type: ignore[arg-type]


def make_choice(
    paper: Paper, *, score: float = 0.8, topic: str | None = "laundry", length: CardLength = CardLength.FULL
) -> DigestPaper:
    reason = Reason(ReasonKind.TERM, "sock pairing") if topic else Reason(ReasonKind.TRENDING, "41 upvotes")
    return DigestPaper(paper.id, score, topic, (reason,), length)


def make_digest(papers: Sequence[Paper], *, slot: date = SLOT, more: int = 0) -> Digest:
    """All of the papers, the first the strongest, all under one topic."""
    choices = [
        make_choice(paper, score=round(0.9 - 0.8 * i / len(papers), 3)) for i, paper in enumerate(papers)
    ]
    return Digest(ADA.id, slot, AT, tuple(choices), more)


def make_renderer(templates: Path | None = None, links: Links = LINKS) -> Renderer:
    return Renderer(templates=templates, links=links, look=LOOK)


@cache
def shared_renderer() -> Renderer:
    """One for all tests that only read what it makes: each needs some 50 ms to set up."""
    return make_renderer()


def render(
    papers: Sequence[Paper], digest: Digest | None = None, subscriber: Subscriber = ADA
) -> RenderedMail:
    by_id = {paper.id: paper for paper in papers}
    return shared_renderer().digest(digest or make_digest(papers), subscriber.email, by_id)


def as_mail(papers: Sequence[Paper], digest: Digest | None = None, subscriber: Subscriber = ADA) -> Mail:
    digest = digest or make_digest(papers)
    message_id = f"<{LINKS.digest_message_id(subscriber.id, digest.slot)}@example.org>"
    rendered = render(papers, digest, subscriber)
    to = Mailbox(subscriber.name or "", subscriber.email)
    return digest_mail(digest, to, rendered, message_id=message_id, letterhead=LETTERHEAD)


def sample_papers() -> list[Paper]:
    """A day of papers as they come: plain and odd ones."""
    papers = [make_paper(number) for number in range(1, 8)]
    papers += [
        make_paper(8, title="Tea or Coffee? A Randomised Breakfast", authors=(), author_count=41),
        make_paper(
            9, title="<script>alert(1)</script>", abstract='We show <b>bold</b> & "quoted" claims. ' * 4
        ),
        make_paper(10, title="A & B\nand the \U0001f9e6 sock", url="https://example.com/a?b=1&c=2#d"),
        make_paper(
            11, title="דגם שפה לכביסה", abstract="אנו מציעים דגם חדש לכביסה. הוא עובד היטב בכל מכונה. " * 3
        ),
        make_paper(
            12,
            title="洗濯物のための言語モデル",
            abstract="本論文では靴下を分類する新しい手法を提案する。" * 8,
        ),
        make_paper(13, title="No Identifier at All", arxiv_id=None, abstract=""),
    ]
    return papers


def sample_digest(papers: Sequence[Paper]) -> Digest:
    """Three sections, the last trending, and more on the web."""
    topics: list[str | None] = ["laundry"] * 5 + ["breakfast & tea"] * 4 + [None] * (len(papers) - 9)
    choices = tuple(
        make_choice(paper, score=round(0.95 - i * 0.05, 3), topic=topic)
        for i, (paper, topic) in enumerate(zip(papers, topics, strict=True))
    )
    return Digest(ADA.id, SLOT, AT, choices, more=9)


SYSTEM_KINDS = tuple(kind for kind in EntryKind if kind is not EntryKind.DIGEST)
SYSTEM_VALUES = {
    "email": ADA.email,
    "topics": "laundry, breakfast & tea",
    "schedule": "every day at 08:00 (Europe/London)",
    "next_digest": "Saturday, 21 November",
    "confirm_url": LINKS.confirm(ADA.id, AT),
    "preferences_url": LINKS.preferences(ADA.id),
    "quiet_url": LINKS.preferences(ADA.id) + "#quiet",
    "unsubscribe_url": LINKS.unsubscribe(ADA.id),
    "account_url": LINKS.account(ADA.id, AT),
    "text": "No new paper for 96 hours.\nLook at the source of your drops.",
}


def as_system_mail(kind: EntryKind) -> Mail:
    rendered = shared_renderer().system(kind.value, SYSTEM_VALUES)
    return system_mail(
        kind,
        rendered,
        recipient=Mailbox("Ada Lovelace", ADA.email),
        entry=(EntryId(3), ADA.id),
        at=AT,
        message_id="<n20261120.abcdefghijklmnopqrstuvwx@example.org>",
        letterhead=LETTERHEAD,
    )

"""Mails' bodies from templates: what is the same for everybody once, what is personal put between as bytes.

A digest's parts are forms (see forms.py): the page, a section's heading, the papers' cards, *N more on the web*. A
paper's card is made once and kept; a digest is the filling of its cards' holes and one join.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

from digestbot import wording
from digestbot.cards import MAIL_BYTES, Card, Content, contents, fit
from digestbot.forms import Form, Holes, inline_fragments, inline_page
from digestbot.links import Links
from digestbot.model import CardLength, Digest, DigestPaper, Paper, PaperId, Reason
from digestbot.quoted import decode, encode, soft_line
from digestbot.stylesheet import Sheet, resolve
from digestbot.templating import Templates

SUBJECT_LETTERS = 69
SYSTEM_VALUES = (
    *("email", "preheader", "topics", "schedule", "next_digest", "purpose", "headline", "text"),
    *("confirm_url", "preferences_url", "quiet_url", "unsubscribe_url", "account_url"),
)
CARDS_BYTES = 64 << 20  # of cards kept, as if they had nothing in common; in truth they share half of it
_URL_BYTES = 64  # what a token and its path add to the base URL, at most

_CARD_HOLES = ("why", "dots", "percent", "number")
_FEEDBACK_HOLES = ("more", "less", "save")  # each the token of a URL
_PAGE_HOLES = (
    *("subject", "preheader", "day", "summary", "papers", "email"),
    *("web_url", "bibtex_url", "preferences_url", "pause_url", "unsubscribe_url"),
)
_MORE_HOLES = ("count", "web_url")
_MARKS_BYTES = 40  # the dots and the per cent
_TOKEN_BYTES = 40
_PAGE_BYTES = {
    "subject": SUBJECT_LETTERS * 6,  # the heaviest letters: `"` as `&quot;`
    "preheader": wording.PREHEADER_BYTES,
    "day": 40,
    "summary": wording.SUMMARY_BYTES,
    "papers": 0,
    "email": 254 * 6,
    "count": 10,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What every mail of one digestbot has in common."""

    name: str = "Digestbot"  # who it is from, as people know it
    postal_address: str = ""  # '': none is printed
    lang: str = "en"


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail's words: the subject as plain text, both bodies quoted-printable with CRLF."""

    subject: str
    text: bytes
    html: bytes

    def text_body(self) -> str:
        return decode(self.text)

    def html_body(self) -> str:
        return decode(self.html)


@dataclass(frozen=True, slots=True)
class _Part:
    """One template of the digest in both forms."""

    html: Form
    text: Form


class Renderer:
    """Renders mails; may be shared by threads.

    Raises TemplateError, naming file and line, where a template is wrong; until a mail is wanted they are not looked at.
    """

    def __init__(self, *, templates: Path | None, links: Links, look: Look) -> None:
        self._templates = Templates(templates, filters={"wrap": wording.wrap})
        self._links = links
        self._look = look
        self._holes = Holes()
        sheets = (Sheet(*self._templates.source(f"email/{name}.css")) for name in ("style", "theme"))
        self._sheet, self._kept_sheet = resolve(*sheets)
        self._cards: dict[PaperId, tuple[Paper, Card]] = {}  # the oldest first
        self._cards_bytes = 0
        self.cards_bytes = CARDS_BYTES  # at most
        self._making = threading.RLock()
        self.cards_made = 0
        self._subject = lru_cache(10_000)(self._make_subject)
        self._heading = lru_cache(10_000)(self._make_heading)

    def prepare(self) -> None:
        """Looks at the digest's page now, for all forks at once."""
        self._room  # noqa: B018

    def left_out(self) -> list[str]:
        """What every digest needs and its page has not, as `email/digest/body.txt has no {{ papers }}`."""
        pages = {"body.html": self._page.html, "body.txt": self._page.text}
        return [
            f"email/digest/{name} has no {{{{ {needed} }}}}"
            for name, form in pages.items()
            for needed in ("papers", "unsubscribe_url")
            if needed not in form.names
        ]

    # ---- a paper's card ---------------------------------------------------------------------------------------

    def cards(self, papers: Sequence[Paper]) -> dict[PaperId, Card]:
        """The papers' cards, each made once for as long as the paper's content stays the same."""
        found = self._known_cards(papers)
        if len(found) == len(papers):
            return found
        with self._making:
            found = self._known_cards(papers)
            missing = {paper.id: paper for paper in papers if paper.id not in found}
            made = self._make_cards(list(missing.values()))  # together: their sheet is worked out once
            fresh = dict(zip(missing, made, strict=True))
            self.keep(missing.values(), fresh)
        return found | fresh

    def keep(self, papers: Iterable[Paper], cards: Mapping[PaperId, Card]) -> None:
        """Takes the cards of these papers for its own; another process may have made them."""
        with self._making:
            for paper in papers:
                self._forget(paper.id)
                self._cards[paper.id] = (paper, cards[paper.id])
                self._cards_bytes += cards[paper.id].kept_bytes
            while self._cards_bytes > self.cards_bytes:
                self._forget(next(iter(self._cards)))

    def keep_only(self, papers: Sequence[Paper]) -> None:
        """Forgets the cards of all others: those of papers that left the window are hardly asked for again."""
        with self._making:
            for left in self._cards.keys() - {paper.id for paper in papers}:
                self._forget(left)

    def _forget(self, paper_id: PaperId) -> None:
        kept = self._cards.pop(paper_id, None)
        self._cards_bytes -= kept[1].kept_bytes if kept else 0

    def _known_cards(self, papers: Sequence[Paper]) -> dict[PaperId, Card]:
        found: dict[PaperId, Card] = {}
        for paper in papers:
            known = self._cards.get(paper.id)
            if known is not None and known[0] is not paper and known[0] == paper:
                known = (paper, known[1])  # read anew: next time one look is enough
                with self._making:
                    if paper.id in self._cards:
                        self._cards[paper.id] = known
            if known is not None and known[0] is paper:
                found[paper.id] = known[1]
        return found

    def fit(self, papers: Sequence[Paper]) -> tuple[CardLength, ...]:
        """The lengths of the first papers, in the order shown, with which a digest's HTML stays under MAIL_BYTES."""
        cards = self.cards(papers)
        return fit([cards[paper.id].sizes for paper in papers], self._room)

    # ---- mails ------------------------------------------------------------------------------------------------

    def digest(self, digest: Digest, email: str, papers: Mapping[PaperId, Paper]) -> RenderedMail:
        """The digest as a mail to this address. `papers` holds at least those that the digest names."""
        cards = self.cards([papers[chosen.paper_id] for chosen in digest.papers])
        sections = wording.sections(digest.papers)
        strongest = wording.strongest(digest.papers)
        subject = self._subject(cards[strongest.paper_id].title, len(digest.papers) - 1, digest.slot)
        page = self._page_values(digest)
        text, body = self._fill_cards(digest, sections, cards)
        if digest.more:
            values = {"count": encode(str(digest.more)), "web_url": page["web_url"]}
            text += self._more.text.filled(values)
            body += self._more.html.filled(values)
        about = _about(tuple((name, len(members)) for name, members in sections.items()))
        shown = {"subject": subject, "preheader": _preheader(digest, strongest, cards), "email": email}
        in_text = {name: encode(value) for name, value in shown.items() if name in self._page.text.names}
        in_html = {name: encode(html.escape(value)) for name, value in shown.items()}
        text = self._page.text.filled(page | in_text | {"summary": about[0], "papers": b"".join(text)})
        body = self._page.html.filled(page | in_html | {"summary": about[1], "papers": b"".join(body)})
        return RenderedMail(subject, b"".join(text), b"".join(body))

    def system(self, name: str, values: Mapping[str, str]) -> RenderedMail:
        """A mail of one of the other kinds, from the templates of `email/<name>/`; missing values are ''."""
        known: dict[str, object] = dict.fromkeys(SYSTEM_VALUES, "") | dict(values) | self._shared()
        subject = wording.clean(self._templates.render(f"email/{name}/subject.txt", known))
        known["subject"] = subject
        text = self._templates.render(f"email/{name}/body.txt", known)
        page = inline_page(self._templates.render(f"email/{name}/body.html", known))
        return RenderedMail(subject, encode(text), encode(page))

    # ---- inside: forms ----------------------------------------------------------------------------------------

    def _shared(self) -> dict[str, object]:
        look = self._look
        return {
            "name": look.name,
            "postal_address": look.postal_address,
            "lang": look.lang,
            "home_url": self._links.home(),
            "sheet": self._sheet,
            "kept_sheet": self._kept_sheet,
        }

    @cached_property
    def _page(self) -> _Part:
        values = self._shared() | self._holes.words(_PAGE_HOLES)
        page = inline_page(self._templates.render("email/digest/body.html", values))
        return _Part(
            self._holes.split(page),
            self._holes.split(self._templates.render("email/digest/body.txt", values)),
        )

    @cached_property
    def _parts(self) -> tuple[_Part, _Part]:
        """The section's heading and *N more on the web*."""
        section = {"topic": self._holes.word("topic")}
        more = self._holes.words(_MORE_HOLES)
        pages = [
            self._templates.render("email/digest/section.html", section),
            self._templates.render("email/digest/more.html", more),
        ]
        section_html, more_html = map(self._holes.split, inline_fragments(pages, self._sheet))
        section_text = self._holes.split(self._templates.render("email/digest/section.txt", section))
        more_text = self._holes.split(self._templates.render("email/digest/more.txt", more))
        return _Part(section_html, section_text), _Part(more_html, more_text)

    def _make_cards(self, papers: Sequence[Paper]) -> list[Card]:
        self.cards_made += len(papers)
        start = self._links.feedback_start()
        urls = {f"{name}_url": start + self._holes.word(name) for name in _FEEDBACK_HOLES}
        holes = self._holes.words(_CARD_HOLES) | urls
        shown = [contents(paper, self._links) for paper in papers]
        pages = [
            self._templates.render("email/card.html", {"paper": one, **holes}) for of in shown for one in of
        ]
        forms = map(self._holes.split, inline_fragments(pages, self._sheet))
        return [self._card(of, holes, tuple(islice(forms, len(of)))) for of in shown]

    def _card(self, shown: Sequence[Content], holes: Mapping[str, str], forms: tuple[Form, ...]) -> Card:
        """The card of one paper, shown in each of the lengths."""
        from digestbot.excerpts import sentences

        texts = [self._templates.render("email/card.txt", {"paper": one, **holes}) for one in shown]
        text_forms = tuple(map(self._holes.split, texts))
        first = shown[0].excerpt.removeprefix("… ")
        spans = sentences(first)
        room = self._card_bound()
        return Card(
            shown[0].title,
            first[: spans[0][1]] if spans else "",
            forms,
            text_forms,
            tuple(form.size + room for form in forms),
            sum(len(piece) for form in (*forms, *text_forms) for piece in form.pieces),
        )

    @property
    def _section(self) -> _Part:
        return self._parts[0]

    @property
    def _more(self) -> _Part:
        return self._parts[1]

    # ---- inside: bounds, so that sizes are known before anything personal is -------------------------------------

    def _card_bound(self) -> int:
        """Bytes that the holes of a card and the heading above it take at most."""
        heading = self._section.html.size + wording.TOPIC_BYTES
        return heading + wording.REASON_BYTES + 3 * _TOKEN_BYTES + _MARKS_BYTES

    @cached_property
    def _room(self) -> int:
        """Bytes that the cards of a mail may take."""
        parts = (self._page.html, self._more.html)
        sizes = {name: self._url_bound() for name in _PAGE_HOLES if name.endswith("_url")} | _PAGE_BYTES
        page = sum(part.size + sum(sizes[name] for name in part.names) for part in parts)
        return MAIL_BYTES - 1 - page

    def _url_bound(self) -> int:
        return len(self._links.home()) + _URL_BYTES

    # ---- inside: a digest's values --------------------------------------------------------------------------------

    def _make_subject(self, title: str, others: int, slot: object) -> str:
        """The strongest paper, how many more, and the day: under 70 characters, never the same twice."""
        values = {"title": "", "others": others, "slot": slot, **self._shared()}
        room = (
            SUBJECT_LETTERS
            - len(wording.clean("x" + self._templates.render("email/digest/subject.txt", values)))
            + 1
        )
        values["title"] = wording.clip_letters(title, count=room)
        return wording.clean(self._templates.render("email/digest/subject.txt", values))

    def _page_values(self, digest: Digest) -> dict[str, bytes]:
        links, who = self._links, digest.subscriber_id
        preferences = links.preferences(who)
        return {
            "day": _day(digest.slot),
            "web_url": encode(links.digest(who, digest.slot)),
            "bibtex_url": encode(links.bibtex(who, digest.slot)),
            "preferences_url": encode(preferences),
            "pause_url": encode(preferences + "#pause"),
            "unsubscribe_url": encode(links.unsubscribe(who)),
        }

    def _make_heading(self, topic: str) -> tuple[bytes, bytes]:
        text = self._section.text.filled({"topic": encode(topic)})
        return b"".join(text), b"".join(self._section.html.filled({"topic": encode(html.escape(topic))}))

    def _fill_cards(
        self, digest: Digest, sections: Mapping[str, Sequence[DigestPaper]], cards: Mapping[PaperId, Card]
    ) -> tuple[list[bytes], list[bytes]]:
        """Both bodies in parts."""
        text: list[bytes] = []
        body: list[bytes] = []
        shown = (chosen.paper_id for members in sections.values() for chosen in members)
        tokens = enumerate(self._links.feedback_tokens(digest.subscriber_id, digest.slot, shown), start=1)
        for topic, members in sections.items():
            heading_text, heading_html = self._heading(topic)
            text.append(heading_text)
            body.append(heading_html)
            for chosen, (number, (more, less, save)) in zip(
                members, tokens, strict=False
            ):  # on in the next section
                card = cards[chosen.paper_id]
                dots, percent = _marks(chosen.score)
                why_text, why_html = _why(chosen.reasons)
                values = {
                    "number": _number(number),
                    "dots": dots,
                    "percent": percent,
                    "why": why_text,
                    "more": soft_line(more),
                    "less": soft_line(less),
                    "save": soft_line(save),
                }
                text += card.text[chosen.length].filled(values)
                values["why"] = why_html
                body += card.html[chosen.length].filled(values)
        return text, body


@lru_cache(1000)
def _number(number: int) -> bytes:
    return encode(f"{number:>2}.")


@lru_cache(1000)
def _marks(score: float) -> tuple[bytes, bytes]:
    """A score as dots and per cent. Scores are stored in thousandths."""
    return encode(wording.dots(score)), encode(wording.percent(score))


@lru_cache(20_000)
def _why(reasons: tuple[Reason, ...]) -> tuple[bytes, bytes]:
    """Why a paper was chosen, as text and as HTML."""
    why = wording.why(reasons)
    return encode(wording.wrap(f"Why: {why}", indent=4).lstrip()), encode(html.escape(why))


@lru_cache(5_000)
def _about(counts: tuple[tuple[str, int], ...]) -> tuple[bytes, bytes]:
    """What today is about, as text and as HTML."""
    about = wording.summary(counts)
    return encode(wording.wrap(about)), encode(html.escape(about))


@lru_cache(100)
def _day(slot: date) -> bytes:
    return encode(wording.long_date(slot))


def _preheader(digest: Digest, strongest: DigestPaper, cards: Mapping[PaperId, Card]) -> str:
    others = [cards[paper.paper_id].title for paper in digest.papers if paper is not strongest]
    return wording.preheader(others, cards[strongest.paper_id].opening)

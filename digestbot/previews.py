"""What somebody would get if a slot were due now: the pipeline's own steps, done in a rehearsal of the storage."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice
from pathlib import Path

from digestbot.cards import paper_url
from digestbot.choosing import Candidates, choose, gather
from digestbot.compose import Nothing
from digestbot.desk import Desk, make_renderer
from digestbot.due_slots import BLOCK, queued_digest
from digestbot.links import Links
from digestbot.mail import Mail
from digestbot.mailroom import MailRoom
from digestbot.model import (
    Cause,
    Digest,
    EntryId,
    EntryKind,
    EntryState,
    OutboxEntry,
    Paper,
    PaperId,
    Status,
    Subscriber,
)
from digestbot.relay import SmtpSettings
from digestbot.render import RenderedMail
from digestbot.schedule import zone_of
from digestbot.smtp import Connection


@dataclass(frozen=True, slots=True)
class Preview:
    subscriber: Subscriber
    slot: date
    result: Digest | Nothing


def preview(desk: Desk, candidates: Candidates, subscribers: Iterable[Subscriber]) -> Iterator[Preview]:
    """One preview per subscriber, in blocks; who may get no digest at all has the cause as its result."""
    everybody = iter(subscribers)
    while block := list(islice(everybody, BLOCK)):
        slots = {s.id: local_date(s, candidates.now) for s in block}
        hindered = {s.id: cause for s in block if (cause := hindrance(s, slots[s.id]))}
        chosen = choose(desk, candidates, [s for s in block if s.id not in hindered], slots)
        for s in block:
            result = Nothing(hindered[s.id]) if s.id in hindered else chosen[s.id]
            yield Preview(s, slots[s.id], result)


def local_date(subscriber: Subscriber, now: datetime) -> date:
    return now.astimezone(zone_of(subscriber.schedule.timezone)).date()


def hindrance(subscriber: Subscriber, day: date) -> Cause | None:
    """Why a subscriber gets no digests at all on a local date, whatever papers there are."""
    paused_until = subscriber.schedule.paused_until
    if subscriber.status is Status.UNCONFIRMED:
        return Cause.UNCONFIRMED
    if subscriber.status is Status.UNSUBSCRIBED:
        return Cause.UNSUBSCRIBED
    if subscriber.status is Status.SUPPRESSED:
        return Cause.SUPPRESSED
    if paused_until is not None and day < paused_until:
        return Cause.PAUSED
    return None


def entry_of(desk: Desk, shown: Preview) -> OutboxEntry:
    """The outbox entry that a run would make of it."""
    assert isinstance(shown.result, Digest)
    queued = queued_digest(desk, shown.result, shown.result.composed_at)
    return OutboxEntry(
        id=EntryId(0),
        kind=EntryKind.DIGEST,
        state=EntryState.QUEUED,
        recipient=shown.subscriber.email,
        subscriber_id=shown.subscriber.id,
        message_id=queued.message_id,
        composed_at=shown.result.composed_at,
        digest=shown.result,
        payload={},
        due_at=queued.due_at,
        recipient_name=shown.subscriber.name or "",
    )


def mail_of(desk: Desk, shown: Preview) -> Mail:
    """The very mail that a run would hand to the server."""
    mail = MailRoom(desk.settings, desk.storage, desk.links, desk.renderer).make(entry_of(desk, shown))
    assert mail is not None
    return mail


def rendered(desk: Desk, shown: Preview) -> RenderedMail:
    assert isinstance(shown.result, Digest)
    return desk.renderer.digest(shown.result, shown.subscriber.email, papers_of(desk, shown.result))


def papers_of(desk: Desk, digest: Digest) -> dict[PaperId, Paper]:
    return desk.storage.papers.papers([chosen.paper_id for chosen in digest.papers])


def as_json(desk: Desk, shown: Preview) -> dict[str, object]:
    """CONTRACT.md's JSON of a preview."""
    assert isinstance(shown.result, Digest)
    papers = papers_of(desk, shown.result)
    return {
        "email": shown.subscriber.email,
        "slot": shown.slot.isoformat(),
        "subject": rendered(desk, shown).subject,
        "papers": [
            {
                "id": chosen.paper_id,
                "title": papers[chosen.paper_id].record.title,
                "url": paper_url(papers[chosen.paper_id], desk.links),
                "topic": chosen.topic,
                "score": chosen.score,
                "reasons": [f"{reason.kind}: {reason.detail}" for reason in chosen.reasons],
            }
            for chosen in shown.result.papers
        ],
    }


def send_test(desk: Desk, shown: Preview, recipient: str) -> str:
    """Mails the preview to an address, with links that nobody's key has signed; returns what the server said."""
    dead = Links(desk.links.base_url, [secrets.token_bytes(32)])
    test_desk = replace(desk, links=dead, renderer=make_renderer(desk.settings, dead))
    subscriber = replace(shown.subscriber, email=recipient)
    mail = mail_of(test_desk, replace(shown, subscriber=subscriber))
    connection = Connection(SmtpSettings.from_url(desk.settings.smtp_url))
    try:
        return connection.hand_over(mail, secrets.token_hex(8)).reply.line
    finally:
        connection.close()


def write_folder(
    desk: Desk, now: datetime, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> tuple[int, int]:
    """A page and a text for everybody who would get a digest, and index.html; (digests, subscribers with none)."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = sum(desk.storage.subscribers.count_by_status().values())
    rows: list[str] = []
    composed = 0
    for done, shown in enumerate(preview(desk, gather(desk, now), desk.storage.subscribers.everybody()), 1):
        rows.append(_write_page(desk, shown, folder))
        composed += isinstance(shown.result, Digest)
        if progress:
            progress(done, whole)
    (folder / "index.html").write_text(
        _INDEX.format(day=f"{now:%Y-%m-%d %H:%M} UTC", rows="\n".join(rows)), "utf-8"
    )
    return composed, len(rows) - composed


_INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Previews</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}
td,th{{padding:.4rem .8rem .4rem 0;text-align:left;border-bottom:1px solid #ddd}}
@media(prefers-color-scheme:dark){{body{{background:#16181c;color:#e6e6e6}}a{{color:#9db8ff}}td,th{{border-color:#333}}}}
</style><h1>Everybody's next digest</h1><p>As of {day}.</p>
<table><tr><th>Subscriber<th>Subject<th>Papers</tr>
{rows}
</table></html>
"""


def _write_page(desk: Desk, shown: Preview, folder: Path) -> str:
    """Writes one subscriber's files; returns the row of the index."""
    who = html.escape(shown.subscriber.email)
    if isinstance(shown.result, Nothing):
        return f"<tr><td>{who}<td>nothing: {shown.result.cause}<td>0</tr>"
    mail = rendered(desk, shown)
    stem = f"{shown.subscriber.id}-" + re.sub(r"[^a-z0-9.@-]", "_", shown.subscriber.email.lower())[:80]
    (folder / f"{stem}.html").write_text(mail.html_body(), "utf-8")
    (folder / f"{stem}.txt").write_text(mail.text_body(), "utf-8")
    subject = f'<a href="{stem}.html">{html.escape(mail.subject)}</a> <a href="{stem}.txt">text</a>'
    return f"<tr><td>{who}<td>{subject}<td>{len(shown.result.papers)}</tr>"

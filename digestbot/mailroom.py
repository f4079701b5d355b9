"""From a ledger entry to the bytes of its mail: fetches what the entry names, renders, and puts it into an envelope."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from email.utils import parseaddr
from typing import TYPE_CHECKING

from digestbot.links import Links
from digestbot.mail import Letterhead, Mail, Mailbox, digest_mail, parse_mailbox, system_mail
from digestbot.model import WEEKDAYS, EntryKind, OutboxEntry, Paper, PaperId, SlotOutcome, Subscriber
from digestbot.quoted import Lines
from digestbot.render import Renderer
from digestbot.schedule import next_due
from digestbot.settings import Settings
from digestbot.storage import Storage

if TYPE_CHECKING:
    from digestbot.dkim import DkimSigner

PAPERS_KEPT = 5000


def make_signer(settings: Settings) -> DkimSigner | None:
    """None: signing is left to the relay. Raises SettingsError for a key that cannot be used."""
    if settings.dkim_key is None or settings.dkim_selector is None or settings.dkim_domain is None:
        return None
    from digestbot.dkim import DkimSigner  # with cryptography, which takes long to load

    return DkimSigner.load(settings.dkim_key, settings.dkim_selector, settings.dkim_domain)


class MailRoom:
    """Makes mails one by one, from several threads; the same entry gives the same bytes."""

    def __init__(self, settings: Settings, storage: Storage, links: Links, renderer: Renderer) -> None:
        self._storage = storage
        self._links = links
        self._renderer = renderer
        self._signer = make_signer(settings)
        self._papers: dict[PaperId, Paper] = {}
        self._letterhead = Letterhead(
            sender=parse_mailbox(settings.from_),
            bounces=settings.bounce_address or parseaddr(settings.from_)[1],
            links=links,
            reply_to=parse_mailbox(settings.reply_to) if settings.reply_to else None,
        )

    def prepare(self, entries: Iterable[OutboxEntry]) -> None:
        """Fetches at once what these entries name, so that making their mails asks the database nothing."""
        named = {p.paper_id for entry in entries if entry.digest for p in entry.digest.papers}
        papers = self._papers if len(self._papers) < PAPERS_KEPT else {}
        self._papers = papers | self._storage.papers.papers(named - papers.keys())

    def make(self, entry: OutboxEntry) -> Mail | None:
        """The mail of an entry; None where nothing is left to send: the subscriber, a paper or the quiet is gone."""
        if not entry.recipient:
            return None
        if entry.digest is None:
            subscriber = self._find_subscriber(entry)
            is_gone = subscriber is None and entry.kind is not EntryKind.OPERATOR
            is_over = entry.kind is EntryKind.QUIET and not (
                subscriber and self._is_still_quiet(entry, subscriber)
            )
            return None if is_gone or is_over else self._system_mail(entry, subscriber)
        papers, named = self._papers, {chosen.paper_id for chosen in entry.digest.papers}
        if not named <= papers.keys():
            papers = self._storage.papers.papers(named)
        if not named <= papers.keys():
            return None
        rendered = self._renderer.digest(entry.digest, entry.recipient, papers)
        return self._signed(
            digest_mail(
                entry.digest,
                Mailbox(entry.recipient_name, entry.recipient),
                rendered,
                message_id=entry.message_id,
                letterhead=self._letterhead,
            )
        )

    def _find_subscriber(self, entry: OutboxEntry) -> Subscriber | None:
        if entry.subscriber_id is None:
            return None
        return self._storage.subscribers.get_many([entry.subscriber_id]).get(entry.subscriber_id)

    def _is_still_quiet(self, entry: OutboxEntry, subscriber: Subscriber) -> bool:
        """False: since the note was queued a digest was composed, or the subscriber paused or wants no such note."""
        slot, paused_until = date.fromisoformat(entry.payload["slot"]), subscriber.schedule.paused_until
        if not subscriber.preferences.quiet_week or (paused_until is not None and slot < paused_until):
            return False
        ended = self._storage.slots.records_since([subscriber.id], slot).get(subscriber.id, [])
        return not any(record.outcome is SlotOutcome.COMPOSED for record in ended)

    def _system_mail(self, entry: OutboxEntry, subscriber: Subscriber | None) -> Mail:
        values = {**self._about(entry, subscriber), **entry.payload, "email": entry.recipient}
        rendered = self._renderer.system(entry.kind, values)
        mail = system_mail(
            entry.kind,
            rendered,
            recipient=Mailbox(subscriber.name or "" if subscriber else "", entry.recipient),
            entry=(entry.id, entry.subscriber_id),
            at=entry.composed_at,
            message_id=entry.message_id,
            letterhead=self._letterhead,
        )
        return self._signed(mail)

    def _signed(self, mail: Mail) -> Mail:
        """Signed last, on the very bytes that leave."""
        return replace(mail, data=Lines(self._signer.sign(mail.data))) if self._signer else mail

    def _about(self, entry: OutboxEntry, subscriber: Subscriber | None) -> dict[str, str]:
        """What the templates may say of a subscriber."""
        if subscriber is None:
            return {}
        links, who, schedule = self._links, subscriber.id, subscriber.schedule
        topics = [topic.name for topic in subscriber.preferences.topics]
        days = "every day" if len(schedule.days) == len(WEEKDAYS) else "on " + ", ".join(schedule.days)
        first = next_due(schedule, entry.composed_at)
        return {
            "confirm_url": links.confirm(who, entry.composed_at),
            "preferences_url": links.preferences(who),
            "quiet_url": links.preferences(who) + "#quiet",
            "unsubscribe_url": links.unsubscribe(who),
            "account_url": links.account(who, entry.composed_at),
            "topics": ", ".join(topics[:3]) + (f" and {len(topics) - 3} more" if len(topics) > 3 else ""),
            "schedule": f"{days} at {schedule.send_at:%H:%M} ({schedule.timezone})",
            "next_digest": f"{first.slot:%A, %-d %B}" if first else "",
        }

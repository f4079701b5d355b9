"""What people do by themselves on the pages: sign up, ask for a fresh link, move to another address, be forgotten.

Nothing here tells the asker whether an address is known, allowed or suppressed: what is not to be done is not done.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from digestbot import ingest
from digestbot.errors import DropError
from digestbot.model import EntryKind, Opinion, PaperId, Status, Subscriber, SubscriberId, Vote
from digestbot.storage import Storage
from digestbot.subscriptions import CONFIRM_ASKED, CONSENT, MONTH, Office

LINK_ASKED = "was sent a fresh link"
LINKS_A_DAY = 3
_DAY = timedelta(days=1)


def is_allowed(email: str, signup: str) -> bool:
    """Whether DIGESTBOT_SIGNUP lets an address in."""
    if signup.startswith("domains:"):
        allowed = [domain.strip().lower() for domain in signup.removeprefix("domains:").split(",")]
        return email.rpartition("@")[2].lower() in allowed
    return signup == "open"


def sign_up(office: Office, wanted: Subscriber, *, signup: str, library: Path | None = None) -> None:
    """Asks the owner of the address to confirm what is wanted now, whatever was asked before and after; whoever is
    subscribed already gets a fresh link instead.

    The same is done and answered for every address, but for the mail. Raises DropError for a library that is none.
    """
    with office.storage.transaction():
        liked = _learn(office, library) if library else []
        subscriber = _admit(office, wanted, signup)
        if subscriber is None:
            return
        if subscriber.status is Status.CONFIRMED:
            send_link(office, subscriber, most=1)
        else:
            office.ask_to_confirm(subscriber, wanted=wanted, liked=liked)


def like_library(office: Office, subscriber: Subscriber, library: Path) -> int:
    """Takes the papers of a library as liked; returns how many. Raises DropError for a library that is none."""
    with office.storage.transaction():
        liked = _learn(office, library)
        votes = [Vote(paper_id, Opinion.LIBRARY, office.now) for paper_id in liked]
        office.storage.subscribers.vote(subscriber.id, votes)
    return len(liked)


def send_link(office: Office, subscriber: Subscriber, *, most: int = LINKS_A_DAY) -> None:
    """Mails a link that opens export, deletion and change of address; at most `most` in any 24 hours."""
    with office.storage.transaction():
        if _link_may_go(office, subscriber, most):
            office.notify(EntryKind.LINK, subscriber)
            _note(office, subscriber.id, LINK_ASKED, "")


def ask_new_address(office: Office, subscriber: Subscriber, email: str) -> None:
    """Asks the owner of another address to confirm that digests shall go there."""
    with office.storage.transaction():
        if not _link_may_go(office, subscriber, LINKS_A_DAY) or not _is_free(office, subscriber, email):
            return
        assert office.links is not None
        office.storage.accounts.begin_address_change(subscriber.id, email, office.now)
        payload = {
            "to": email,
            "account_url": office.links.new_address(subscriber.id, office.now),
            "purpose": "have your digests sent to this address from now on",
        }
        office.notify(EntryKind.LINK, subscriber, payload)
        _note(office, subscriber.id, LINK_ASKED, "to a new address")


def take_new_address(office: Office, subscriber_id: SubscriberId, asked_at: datetime) -> bool:
    """The owner of the new address agrees; False: nothing was asked at that instant, or the address is taken."""
    store = office.storage
    with store.transaction():
        subscriber = store.subscribers.get_many([subscriber_id]).get(subscriber_id)
        email = store.accounts.find_address_change(subscriber_id, asked_at)
        if subscriber is None or email is None or not _is_free(office, subscriber, email):
            return False
        store.subscribers.update([replace(subscriber, email=email)])
        store.accounts.end_address_change(subscriber_id)
        _note(office, subscriber_id, "moved to another address, confirmed by a link to it", CONSENT)
    return True


def forget(office: Office, subscriber: Subscriber) -> None:
    """Deletes everything of a person but a salted hash, so that nobody adds the address again unasked."""
    with office.storage.transaction():
        office.storage.suppressions.add_forgotten(subscriber.email, at=office.now)
        office.storage.accounts.forget_ledger(subscriber.id)
        office.remove(subscriber)


def forget_unanswered(storage: Storage, now: datetime) -> int:
    """Deletes whoever was asked to confirm and did not for 30 days; returns how many.

    Not sooner, since the mails of 30 days are counted.
    """
    unanswered = storage.accounts.unanswered(CONFIRM_ASKED, before=now - MONTH)
    for subscriber_id in unanswered:
        with storage.transaction():
            storage.accounts.forget_ledger(subscriber_id)
            storage.subscribers.remove(subscriber_id)
    return len(unanswered)


def _learn(office: Office, library: Path) -> list[PaperId]:
    """The papers of a library. Raises DropError where it has none."""
    papers, report = ingest.learn_library(office.storage.papers, library, office.now)
    if not papers:
        reasons = [rejected.reason for rejected in report.rejected]
        raise DropError(f"no paper was found in it: {'; '.join(reasons[:3]) or 'it is empty'}")
    return papers


def _admit(office: Office, wanted: Subscriber, signup: str) -> Subscriber | None:
    """The subscriber to write to, who stays as they are: anybody may sign anybody up. None: nobody."""
    store = office.storage.subscribers
    if office.storage.suppressions.among([wanted.email]):
        return None
    known = store.find(wanted.email)
    if known is None:
        allowed = is_allowed(wanted.email, signup)
        return office.enrol([wanted], how="")[0] if allowed else None
    if known.status is Status.CONFIRMED:
        return known
    if known.status is Status.SUPPRESSED:
        return None
    has_left = known.status is Status.UNSUBSCRIBED  # was let in once, and the goodbye says how to come back
    return known if has_left or is_allowed(wanted.email, signup) else None


def _link_may_go(office: Office, subscriber: Subscriber, most: int) -> bool:
    sent = office.storage.accounts.times(subscriber.id, LINK_ASKED, since=office.now - _DAY)
    return subscriber.status is not Status.SUPPRESSED and len(sent) < most and office.now not in sent


def _is_free(office: Office, subscriber: Subscriber, email: str) -> bool:
    owner = office.storage.subscribers.find(email)
    return not office.storage.suppressions.among([email]) and (owner is None or owner.id == subscriber.id)


def _note(office: Office, subscriber_id: SubscriberId, how: str, detail: str) -> None:
    office.storage.subscribers.record_consents([subscriber_id], at=office.now, how=how, detail=detail)

"""What follows from mails that came back. Nothing in them is believed but our own signed tags and tokens."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import BinaryIO

from digestbot.bounce_rules import suppression_reason
from digestbot.bounces import MOST_BYTES, MailClass, MailReading, read_mail
from digestbot.model import SubscriberId
from digestbot.storage.bounces import BounceRecord
from digestbot.subscriptions import Office
from digestbot.wording import clean

log = logging.getLogger(__name__)

_TAG = re.compile(r"(?:\+|=2b|=)([a-z2-7]{20,48})@", re.IGNORECASE)
_RECEIVER = re.compile(r"^(?:to|cc|delivered-to|x-original-to|envelope-to):.*$", re.IGNORECASE | re.MULTILINE)
_TOKEN = re.compile(r"/unsubscribe/([A-Za-z0-9_-]{16,40})")


@dataclass(frozen=True, slots=True)
class Handled:
    reading: MailReading
    acted: bool  # something was recorded or changed


@dataclass(frozen=True, slots=True)
class _Origin:
    """Which mail of ours a mail speaks of."""

    subscriber_id: SubscriberId
    slot: date | None  # None: of a mail that was no digest


def handle_mail(office: Office, data: bytes) -> Handled:
    """Reads one mail and does what follows: evidence, suppression, unsubscription.

    The same mail changes nothing more, ever: it may lie in a Maildir that is read again and again, and an unsubscription
    of last year must not end what was subscribed since. Without a valid tag or token of ours nothing is done.
    """
    reading = read_mail(data)
    text = data[:MOST_BYTES].decode("latin-1")
    origin = _find_origin(office, text)
    if reading.kind is MailClass.UNKNOWN and _is_to_leave(office, text):
        reading = replace(reading, kind=MailClass.UNSUBSCRIBE)
    if origin is None:
        return Handled(reading, acted=False)
    digest, bounces = hashlib.sha256(data).hexdigest(), office.storage.bounces
    with office.storage.transaction():
        acted = not bounces.was_acted_on(digest) and _act(office, reading, origin)
        if acted:
            bounces.remember_mail(digest, office.now)
        return Handled(reading, acted)


def mails_in(path: Path) -> Iterator[tuple[Path, bytes | OSError]]:
    """The mails of a file, of a Maildir (`new` and `cur`), or of a folder of files; an error where one cannot be read."""
    if not path.is_dir():
        yield path, _read_file(path)
        return
    folders = [path / name for name in ("new", "cur") if (path / name).is_dir()] or [path]
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                yield file, _read_file(file)


def read_beginning(stream: BinaryIO) -> bytes:
    """As much of a mail as is looked at; the rest is read, too, so that whoever writes it into a pipe is not cut off."""
    beginning = stream.read(MOST_BYTES)
    while stream.read(65_536):
        pass
    return beginning


def _read_file(path: Path) -> bytes | OSError:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:  # a mail program may have moved it since
        return error


def _act(office: Office, reading: MailReading, origin: _Origin) -> bool:
    if reading.kind is MailClass.UNSUBSCRIBE:
        return office.unsubscribe(origin.subscriber_id)
    evidence = _evidence_kind(reading)
    subscriber = office.storage.subscribers.get_many([origin.subscriber_id]).get(origin.subscriber_id)
    if evidence is None or subscriber is None:
        return False
    bounce = BounceRecord(
        origin.subscriber_id, origin.slot, office.now, evidence, reading.status, clean(reading.detail)
    )
    if not office.storage.bounces.add(bounce):
        return False
    reason = suppression_reason(office.storage.bounces, bounce)
    if reason is not None:
        office.storage.suppressions.add(subscriber.email, reason=reason, at=office.now)
        log.info("subscriber %d suppressed: %s", subscriber.id, reason)
    return True


def _evidence_kind(reading: MailReading) -> str | None:
    """The class under which a bounce is kept; a hard one that names no cause counts as a plain refusal does."""
    if reading.kind is MailClass.HARD:
        return "hard" if reading.names_cause else "refused"
    return {MailClass.SOFT: "soft", MailClass.COMPLAINT: "complaint"}.get(reading.kind)


def _find_origin(office: Office, text: str) -> _Origin | None:
    """The first valid tag or token; the tag of the envelope sender says most."""
    links = office.links
    if links is None:
        return None
    tags = dict.fromkeys(_TAG.findall(text))
    for tag in tags:
        bounced = links.read_bounce_tag(tag)
        if bounced is not None and bounced.subscriber_id is not None:
            return _Origin(bounced.subscriber_id, bounced.slot)
    leaving = [links.read_unsubscribe_tag(tag) for tag in tags]
    leaving += [links.read_unsubscribe(token) for token in dict.fromkeys(_TOKEN.findall(text))]
    for subscriber_id in leaving:
        if subscriber_id is not None:
            return _Origin(subscriber_id, None)
    return None


def _is_to_leave(office: Office, text: str) -> bool:
    """Whether it was written to the address of List-Unsubscribe, whatever its subject."""
    head = re.split(r"\r?\n\r?\n", text.lstrip(), maxsplit=1)[0]
    tags = [tag for line in _RECEIVER.findall(head) for tag in _TAG.findall(line)]
    return office.links is not None and any(office.links.read_unsubscribe_tag(tag) for tag in tags)

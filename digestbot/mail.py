"""The only place that makes headers and MIME: a finished message for one recipient, as bytes.

The same inputs give the same bytes. Headers are written here and not by the `email` package, which puts encoded words
into long List-Unsubscribe URLs and writes encoded words of more than 75 characters (RFC 2047, 2).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parseaddr
from functools import lru_cache

from digestbot.errors import UsageError
from digestbot.links import Links
from digestbot.model import Digest, EntryId, EntryKind, SubscriberId
from digestbot.quoted import Lines
from digestbot.render import RenderedMail
from digestbot.wording import clean

LINE = 76  # at most where there are encoded words (RFC 2047, 2), and little less than is wanted (RFC 5322, 2.1.1)
_WORD_BYTES = 45  # UTF-8 bytes of an encoded word: 60 letters of base64 and 12 of frame make 72, limit 75
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]*", re.ASCII)  # a display name of these needs no quotes
_ENCODED_WORD_LIKE = re.compile(r"=\?")
_ADDRESS = re.compile(
    r"[^\s\x00-\x20\x7f<>()\[\]\\,;:\"@]+@[A-Za-z0-9.\-]+|[^\s\x00-\x20\x7f<>()\[\]\\,;:\"@]+@\[[^\]\s]+\]"
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message ready for SMTP: the envelope's two addresses, and the bytes of DATA."""

    sender: str
    recipient: str
    data: bytes  # `Lines`


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name, '' for none, and an address with an ASCII domain."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def parse_mailbox(text: str) -> Mailbox:
    """`Name <local@domain>` or an address alone; an international domain becomes its A-label. Raises UsageError."""
    name, address = parseaddr(text)
    local, at, domain = address.rpartition("@")
    if at and not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    return Mailbox(clean(name), checked_address(f"{local}{at}{domain}"))


def checked_address(address: str) -> str:
    """The address, if SMTP and headers can carry it as it is. Raises UsageError: nothing is ever mended silently."""
    if not _ADDRESS.fullmatch(address) or len(address.encode()) > 254:
        raise UsageError(f"{address!r} is no mail address; write local@domain without spaces or brackets")
    return address


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all mails of one digestbot say about their sender."""

    sender: Mailbox
    bounces: str  # the envelope sender, before its +tag
    links: Links
    reply_to: Mailbox | None = None

    def tagged(self, tag: str) -> str:
        """The bounce address with a tag (VERP)."""
        local, _, domain = self.bounces.rpartition("@")
        return f"{local}+{tag}@{domain}"


def digest_mail(
    digest: Digest, recipient: Mailbox, rendered: RenderedMail, *, message_id: str, letterhead: Letterhead
) -> Mail:
    """The digest's message. `message_id`: with angle brackets, as the ledger holds it."""
    who = digest.subscriber_id
    tag = letterhead.links.bounce_tag(EntryKind.DIGEST, subscriber_id=who, slot=digest.slot)
    headers = [
        *_opening(letterhead, recipient, rendered.subject),
        *_identity(digest.composed_at, message_id),
        *_list_headers(letterhead, who),
        b"Auto-Submitted: auto-generated\r\n",
        _feedback_id(letterhead, EntryKind.DIGEST),
    ]
    return Mail(
        letterhead.tagged(tag), checked_address(recipient.address), _assemble(headers, rendered, message_id)
    )


def system_mail(
    kind: EntryKind,
    rendered: RenderedMail,
    *,
    recipient: Mailbox,
    entry: tuple[EntryId, SubscriberId | None],
    at: datetime,
    message_id: str,
    letterhead: Letterhead,
) -> Mail:
    """The message of any other kind; `entry`: its id, and whose it is (None: the operator's). `at`: its Date.

    The note of a quiet week comes unasked, as a digest does, so it has a digest's list headers.
    """
    entry_id, subscriber_id = entry
    tag = letterhead.links.bounce_tag(kind, subscriber_id=subscriber_id, entry_id=entry_id)
    headers = [
        *_opening(letterhead, recipient, rendered.subject),
        *_identity(at, message_id),
        *(_list_headers(letterhead, subscriber_id) if kind is EntryKind.QUIET and subscriber_id else ()),
        b"Auto-Submitted: auto-generated\r\n",
        _feedback_id(letterhead, kind),
    ]
    return Mail(
        letterhead.tagged(tag), checked_address(recipient.address), _assemble(headers, rendered, message_id)
    )


# ---- headers ------------------------------------------------------------------------------------------------------


def _opening(letterhead: Letterhead, recipient: Mailbox, subject: str) -> list[bytes]:
    to = Mailbox(clean(recipient.name), recipient.address)
    headers = [_mailbox("From", letterhead.sender), _mailbox("To", to)]
    if letterhead.reply_to is not None:
        headers.append(_mailbox("Reply-To", letterhead.reply_to))
    return [*headers, _text("Subject", clean(subject))]


def _identity(at: datetime, message_id: str) -> list[bytes]:
    return [_date(at), _folded("Message-ID", [message_id])]


@lru_cache(100)
def _date(at: datetime) -> bytes:
    return f"Date: {format_datetime(at)}\r\n".encode("ascii")


def _list_headers(letterhead: Letterhead, subscriber_id: SubscriberId) -> list[bytes]:
    """RFC 2369 and 8058."""
    links = letterhead.links
    mailto = f"mailto:{letterhead.tagged(links.unsubscribe_tag(subscriber_id))}?subject=unsubscribe"
    return [
        _list_id(letterhead),
        _folded("List-Unsubscribe", [f"<{links.unsubscribe(subscriber_id)}>,", f"<{mailto}>"]),
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        b"Precedence: bulk\r\n",
    ]


@lru_cache(10)
def _list_id(letterhead: Letterhead) -> bytes:
    """RFC 2919: the same for everybody and every day."""
    phrase = _phrase(letterhead.sender.name or "Digest", len("List-Id: "))
    return _folded("List-Id", [*phrase, f"<digest.{letterhead.sender.domain}>"])


@lru_cache(100)
def _feedback_id(letterhead: Letterhead, kind: EntryKind) -> bytes:
    """Campaign, customer, kind of mail and, last, the sender's constant id."""
    domain = letterhead.sender.domain
    return _folded("Feedback-ID", [f"{kind.value}:{domain}:{kind.value}:digestbot"])


@lru_cache(10_000)
def _text(name: str, text: str) -> bytes:
    """An unstructured header."""
    if (
        text.isascii()
        and not _ENCODED_WORD_LIKE.search(text)
        and max(map(len, text.split()), default=0) < LINE - 10
    ):
        return _folded(name, text.split(" "))
    return _folded(name, _encoded_words(text, first=LINE - len(name) - 2))


@lru_cache(1000)
def _mailbox(name: str, mailbox: Mailbox) -> bytes:
    checked_address(mailbox.address)
    if not mailbox.name:
        return _folded(name, [mailbox.address])
    return _folded(name, [*_phrase(mailbox.name, len(name) + 2), f"<{mailbox.address}>"])


def _phrase(text: str, used: int) -> list[str]:
    """A display name: as it is, quoted, or in encoded words."""
    if text.isascii() and not _ENCODED_WORD_LIKE.search(text):
        words = text.split(" ")
        if _ATOMS.fullmatch(text) and max(map(len, words)) < LINE - used:
            return words
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if len(quoted) < LINE - used - 2:
            return [quoted]
    return _encoded_words(text, first=LINE - used)


def _encoded_words(text: str, *, first: int) -> list[str]:
    """RFC 2047 words of at most 75 characters, none cut inside a character; `first`: room on the first line."""
    words: list[str] = []
    room = min(_WORD_BYTES, (first - 12) // 4 * 3)
    chunk = ""
    for character in text:
        if chunk and len((chunk + character).encode()) > room:
            words.append(chunk)
            chunk, room = "", _WORD_BYTES
        chunk += character
    return [f"=?utf-8?b?{base64.b64encode(word.encode()).decode()}?=" for word in [*words, chunk]]


def _folded(name: str, tokens: list[str]) -> bytes:
    """The header, folded only between tokens, where there was a space (RFC 5322, 2.2.3)."""
    if any("\r" in token or "\n" in token for token in tokens):
        raise ValueError(f"the header {name} would hold a line end")
    line, lines = f"{name}:", []
    for token in tokens:
        if len(line) + 1 + len(token.encode()) > LINE and line != f"{name}:":
            lines.append(line)
            line = ""
        line += " " + token
    return "\r\n".join([*lines, line, ""]).encode()


# ---- MIME ---------------------------------------------------------------------------------------------------------


def _assemble(headers: list[bytes], rendered: RenderedMail, message_id: str) -> Lines:
    """The whole message. The boundary cannot occur in a body: quoted-printable never writes `=_`."""
    boundary = b"=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32].encode()
    whole = b"".join(
        [
            *headers,
            b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary="' + boundary + b'"\r\n',
            _part_head(b"text/plain", boundary),
            rendered.text,
            _part_head(b"text/html", boundary),
            rendered.html,
            b"\r\n--" + boundary + b"--\r\n",
        ]
    )
    return Lines(whole)  # _folded() and quoted.encode() make no others


def _part_head(kind: bytes, boundary: bytes) -> bytes:
    return (
        b"\r\n--" + boundary + b"\r\nContent-Type: " + kind + b"; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )

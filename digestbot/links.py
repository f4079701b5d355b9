"""Signed, purpose-bound tokens, and the URLs and address tags that carry them.

A token is one byte of purpose, its numbers as LEB128 varints, and 96 bits of an HMAC over both: the same input gives the
same token, a token of one purpose is nothing to another, and none shows an address. The HMAC is SHA-256's, of feedback
SHA-512's: a mail has thirty such tokens, and one HMAC is long enough for the three of a paper.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from digestbot.model import EntryId, EntryKind, Opinion, PaperId, SubscriberId

MAC_BYTES = 12  # 96 bits
EXPIRES_AFTER = timedelta(days=7)  # of confirmation and change of address
_EPOCH = date(1970, 1, 1).toordinal()
_OPINIONS = (Opinion.MORE, Opinion.LESS, Opinion.SAVE)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_KINDS = tuple(EntryKind)


class Purpose(enum.IntEnum):
    """What a token is good for. Numbers are for ever: mails of years ago carry them."""

    UNSUBSCRIBE = 1
    PREFERENCES = 2
    CONFIRM = 3
    DIGEST = 4
    FEEDBACK = 5
    FEED = 6
    ACCOUNT = 7  # export, deletion and change of address, from a fresh link
    BOUNCE = 8
    UNSUBSCRIBE_MAIL = 9
    NEW_ADDRESS = 10  # sent to the new address of a change, which so confirms itself


_FEEDBACK = bytes([Purpose.FEEDBACK])


@dataclass(frozen=True, slots=True)
class FeedbackToken:
    subscriber_id: SubscriberId
    slot: date
    paper_id: PaperId
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class BounceTag:
    """Which of our mails an envelope sender or a failure report speaks of."""

    kind: EntryKind
    subscriber_id: SubscriberId | None  # None: to the operator
    slot: date | None  # of digests
    entry_id: EntryId | None  # of the other kinds


class Links:
    """Makes and reads tokens. `keys`: the first signs, all verify. Readers return None for what is not ours."""

    def __init__(self, base_url: str, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        self.base_url = base_url.rstrip("/")
        self._macs = tuple(_mac_of(key, "sha256") for key in keys)
        self._feedback_macs = tuple(_mac_of(key, "sha512") for key in keys)
        self._token = lru_cache(100)(self._make_token)  # a mail has some of them twice

    # ---- URLs -----------------------------------------------------------------------------------------------

    def home(self) -> str:
        return self.base_url + "/"

    def paper(self, paper_id: PaperId) -> str:
        return f"{self.base_url}/paper/{paper_id}"

    def unsubscribe(self, subscriber_id: SubscriberId) -> str:
        return self._url("unsubscribe", Purpose.UNSUBSCRIBE, subscriber_id)

    def preferences(self, subscriber_id: SubscriberId) -> str:
        return self._url("preferences", Purpose.PREFERENCES, subscriber_id)

    def confirm(self, subscriber_id: SubscriberId, at: datetime) -> str:
        """`at`: when the confirmation mail was composed; the token expires 7 days later."""
        return self._url("confirm", Purpose.CONFIRM, subscriber_id, int(at.timestamp()))

    def account(self, subscriber_id: SubscriberId, at: datetime) -> str:
        return self._url("preferences", Purpose.ACCOUNT, subscriber_id, int(at.timestamp()))

    def new_address(self, subscriber_id: SubscriberId, at: datetime) -> str:
        """`at`: when the change was asked for; the token expires 7 days later."""
        return self._url("confirm", Purpose.NEW_ADDRESS, subscriber_id, int(at.timestamp()))

    def digest(self, subscriber_id: SubscriberId, slot: date) -> str:
        return self._url("digest", Purpose.DIGEST, subscriber_id, _day(slot))

    def bibtex(self, subscriber_id: SubscriberId, slot: date) -> str:
        return self.digest(subscriber_id, slot) + ".bib"

    def feed(self, subscriber_id: SubscriberId) -> str:
        return self._url("feed", Purpose.FEED, subscriber_id) + ".xml"

    def feedback(self, subscriber_id: SubscriberId, slot: date, paper_id: PaperId, opinion: Opinion) -> str:
        [tokens] = self.feedback_tokens(subscriber_id, slot, [paper_id])
        return self.feedback_start() + tokens[_OPINIONS.index(opinion)].decode()

    def feedback_start(self) -> str:
        """The beginning of all feedback URLs, before the token."""
        return f"{self.base_url}/feedback/"

    def feedback_tokens(
        self, subscriber_id: SubscriberId, slot: date, papers: Iterable[PaperId]
    ) -> list[tuple[bytes, bytes, bytes]]:
        """Of each paper the tokens of feedback() for more, less and save. A mail has thirty, so they share their work."""
        start = _FEEDBACK + _varint(subscriber_id) + _varint(_day(slot))
        return [self._opinion_tokens(start + _varint(paper_id)) for paper_id in papers]

    # ---- tags in addresses --------------------------------------------------------------------------------------

    def bounce_tag(
        self,
        kind: EntryKind,
        *,
        subscriber_id: SubscriberId | None = None,
        slot: date | None = None,
        entry_id: EntryId | None = None,
    ) -> str:
        """The `+tag` of an envelope sender (VERP): lower-case base32, at most 48 characters."""
        numbers = (_KINDS.index(kind), subscriber_id or 0, _day(slot) if slot else 0, entry_id or 0)
        return _base32(self._token(Purpose.BOUNCE, numbers))

    def unsubscribe_tag(self, subscriber_id: SubscriberId) -> str:
        """The `+tag` of the address that `List-Unsubscribe: <mailto:...>` names."""
        return _base32(self._token(Purpose.UNSUBSCRIBE_MAIL, (subscriber_id,)))

    # ---- readers ------------------------------------------------------------------------------------------------

    def read_unsubscribe(self, token: str) -> SubscriberId | None:
        numbers = self._read(_unbase64(token), Purpose.UNSUBSCRIBE, 1)
        return SubscriberId(numbers[0]) if numbers else None

    def read_preferences(self, token: str) -> SubscriberId | None:
        numbers = self._read(_unbase64(token), Purpose.PREFERENCES, 1)
        return SubscriberId(numbers[0]) if numbers else None

    def read_feed(self, token: str) -> SubscriberId | None:
        numbers = self._read(_unbase64(token), Purpose.FEED, 1)
        return SubscriberId(numbers[0]) if numbers else None

    def read_confirm(self, token: str) -> tuple[SubscriberId, datetime] | None:
        """Who, and when the mail was composed; whether it is expired is for the caller's `now` to say."""
        return self._read_dated(token, Purpose.CONFIRM)

    def read_account(self, token: str) -> tuple[SubscriberId, datetime] | None:
        return self._read_dated(token, Purpose.ACCOUNT)

    def read_new_address(self, token: str) -> tuple[SubscriberId, datetime] | None:
        return self._read_dated(token, Purpose.NEW_ADDRESS)

    def read_digest(self, token: str) -> tuple[SubscriberId, date] | None:
        numbers = self._read(_unbase64(token), Purpose.DIGEST, 2)
        slot = _date(numbers[1]) if numbers else None
        return (SubscriberId(numbers[0]), slot) if numbers and slot else None

    def read_feedback(self, token: str) -> FeedbackToken | None:
        data = _unbase64(token)
        start, number, mac = data[: -MAC_BYTES - 1], data[-MAC_BYTES - 1 : -MAC_BYTES], data[-MAC_BYTES:]
        opinion = (
            number[0] if number and number[0] < len(_OPINIONS) else 0
        )  # what is none fails below, like a forgery
        part = slice(opinion * MAC_BYTES, (opinion + 1) * MAC_BYTES)
        genuine = [hmac.compare_digest(made(start)[part], mac) for made in self._feedback_macs]
        numbers = _varints(start[1:])
        slot = _date(numbers[1]) if len(numbers) == 3 else None
        if not any(genuine) or number != bytes([opinion]) or start[:1] != _FEEDBACK or slot is None:
            return None
        return FeedbackToken(SubscriberId(numbers[0]), slot, PaperId(numbers[2]), _OPINIONS[opinion])

    def read_bounce_tag(self, tag: str) -> BounceTag | None:
        numbers = self._read(_unbase32(tag), Purpose.BOUNCE, 4)
        if numbers is None or numbers[0] >= len(_KINDS):
            return None
        return BounceTag(
            _KINDS[numbers[0]],
            SubscriberId(numbers[1]) if numbers[1] else None,
            _date(numbers[2]) if numbers[2] else None,
            EntryId(numbers[3]) if numbers[3] else None,
        )

    def read_unsubscribe_tag(self, tag: str) -> SubscriberId | None:
        numbers = self._read(_unbase32(tag), Purpose.UNSUBSCRIBE_MAIL, 1)
        return SubscriberId(numbers[0]) if numbers else None

    def digest_message_id(self, subscriber_id: SubscriberId, slot: date) -> str:
        """The left side of a digest's Message-ID: unique per (subscriber, slot), not to be guessed, no address."""
        return f"d{slot:%Y%m%d}." + self._left_side(f"digest {subscriber_id} {slot.isoformat()}")

    def notice_message_id(self, kind: EntryKind, subscriber_id: SubscriberId | None, at: datetime) -> str:
        """The left side of the Message-ID of any other mail, composed at `at`."""
        return f"n{at:%Y%m%d}." + self._left_side(f"{kind} {subscriber_id} {at.isoformat()}")

    # ---- inside -------------------------------------------------------------------------------------------------

    def _left_side(self, text: str) -> str:
        return _base32(self._macs[0](b"message-id " + text.encode())[:15])

    def _opinion_tokens(self, start: bytes) -> tuple[bytes, bytes, bytes]:
        mac = self._feedback_macs[0](start)
        size = len(start) + 1 + MAC_BYTES
        gap = bytes(-size % 3)  # so that no letter of base64 belongs to two tokens, which are written at once
        written = _base64(
            b"".join(
                (
                    *(start, b"\0", mac[:MAC_BYTES], gap),
                    *(start, b"\1", mac[MAC_BYTES : 2 * MAC_BYTES], gap),
                    *(start, b"\2", mac[2 * MAC_BYTES : 3 * MAC_BYTES], gap),
                )
            )
        )
        letters, step = (size * 8 + 5) // 6, len(written) // 3
        return written[:letters], written[step : step + letters], written[2 * step : 2 * step + letters]

    def _url(self, path: str, purpose: Purpose, *numbers: int) -> str:
        return f"{self.base_url}/{path}/{_base64(self._token(purpose, numbers)).decode()}"

    def _make_token(self, purpose: Purpose, numbers: tuple[int, ...]) -> bytes:
        payload = bytes([purpose]) + b"".join(map(_varint, numbers))
        return payload + self._macs[0](payload)[:MAC_BYTES]

    def _read(self, token: bytes, purpose: Purpose, count: int) -> tuple[int, ...] | None:
        payload, mac = token[:-MAC_BYTES], token[-MAC_BYTES:]
        genuine = [
            hmac.compare_digest(made(payload)[:MAC_BYTES], mac) for made in self._macs
        ]  # equal work for all
        if not any(genuine) or not payload or payload[0] != purpose:
            return None
        numbers = _varints(payload[1:])
        return numbers if len(numbers) == count else None

    def _read_dated(self, token: str, purpose: Purpose) -> tuple[SubscriberId, datetime] | None:
        numbers = self._read(_unbase64(token), purpose, 2)
        if numbers is None:
            return None
        return SubscriberId(numbers[0]), datetime.fromtimestamp(numbers[1], UTC)


def derive_key(secret: str) -> bytes:
    """The 256-bit signing key of one DIGESTBOT_SECRET_KEY."""
    return hashlib.sha256(b"digestbot links " + secret.encode()).digest()


def _mac_of(key: bytes, name: str) -> Callable[[bytes], bytes]:
    """HMAC (RFC 2104) with a key of at most 64 bytes. The hash of the padded key is made once, which halves the time of
    `hmac.digest`."""
    padded = key.ljust(hashlib.new(name).block_size, b"\0")
    inner = hashlib.new(name, bytes(byte ^ 0x36 for byte in padded))
    outer = hashlib.new(name, bytes(byte ^ 0x5C for byte in padded))

    def mac(message: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.digest()

    return mac


def _day(slot: date) -> int:
    return slot.toordinal() - _EPOCH


def _date(day: int) -> date | None:
    try:
        return date.fromordinal(day + _EPOCH)
    except (ValueError, OverflowError):
        return None


@lru_cache(100_000)
def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(data: bytes) -> tuple[int, ...]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number, shift = 0, 0
    return tuple(numbers)


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).rstrip(b"=").decode().lower()


def _unbase64(token: str) -> bytes:
    """The bytes, empty for anything that is not exactly what _url() writes (trailing bits included)."""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if _base64(data).decode() == token else b""


def _unbase32(tag: str) -> bytes:
    """Mail systems change the case of addresses at will, so it does not count."""
    try:
        data = base64.b32decode(tag.upper() + "=" * (-len(tag) % 8))
    except (binascii.Error, ValueError):
        return b""
    return data if _base32(data) == tag.lower() else b""

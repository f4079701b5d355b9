"""What a mail that came back says: bounce, complaint, unsubscription, automatic reply, or nothing we know. Pure.

Reports in the standard form (RFC 3464, RFC 5965) are read here; for the rest flufl.bounce knows the forms of forty mail
systems. Nothing in such a mail is to be believed: what follows from it is decided in bounce_actions.py, by signed tags.
"""

from __future__ import annotations

import email
import enum
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parseaddr

from flufl.bounce import all_failures

from digestbot.bounce_words import DEAD_WORDS, PASSING_WORDS, START_OF_COPY
from digestbot.smtp_replies import DEAD_ADDRESS

log = logging.getLogger(__name__)
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it logs each detector it runs

MOST_BYTES = 256 * 1024  # of a mail: what a mail system says stands at its beginning, and so do our tags
MOST_LINES = 10_000
MOST_LINE_BYTES = 1000  # RFC 5321, 4.5.3.1.6
NOTICE_CHARS = 20_000  # of a mail system's own text
_STATUS = re.compile(r"(?<![\d.])([245]\.[0-7]\.\d{1,2})(?![\d.])")
_ADDRESS = re.compile(r"[^\s<>\"'(),:;\[\]]+@[^\s<>\"'(),:;\[\]]+[^\s<>\"'(),:;\[\].]")
_NOT_FAILED = ("delivered", "relayed", "expanded")
_NOT_COMPLAINTS = (
    "auth-failure",
    "not-spam",
    "dkim",
    "spf",
)  # RFC 6591: about our signatures, not about our mail
_ANSWERING = re.compile(
    r"^(re: )?(out of (the )?office|automatic reply|auto(matic)?[ -]?(reply|response|antwort)|vacation|away from)|"
    r"abwesenheit|absence du bureau|fuera de (la )?oficina|respuesta autom",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"undeliver|delivery failed|failure notice|returned mail|could not be delivered|mail error", re.IGNORECASE
)
_DAEMON = re.compile(
    r"mailer-?daemon|postmaster|deliver[yi]|mail admin|system admin|smtp|mdaemon", re.IGNORECASE
)


class MailClass(enum.StrEnum):
    HARD = "hard"  # the address is dead, or the report gives no other cause
    SOFT = "soft"  # full, delayed, timed out, or refused for sender, size or content
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTO_REPLY = "auto-reply"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MailReading:
    """What one mail says. recipients: of our mail, as the report names them, in lower case."""

    kind: MailClass
    recipients: tuple[str, ...] = ()
    status: str | None = None  # enhanced status code, None where the report has none
    names_cause: bool = False  # of hard: the report itself says that the address is dead
    detail: str = ""  # what the other side said, one line


@dataclass(frozen=True, slots=True)
class _Failure:
    recipient: str
    status: str | None
    text: str


def read_mail(data: bytes) -> MailReading:
    """Reads any bytes; what cannot be understood is `unknown`. Never raises, and takes seconds at most."""
    try:
        return _read(email.message_from_bytes(_tamed(data).lstrip(b" \t\r\n")))
    except Exception:  # hostile input meets a large parser; one mail must not stop the others
        log.debug("a mail could not be read", exc_info=True)
        return MailReading(MailClass.UNKNOWN)


def _tamed(data: bytes) -> bytes:
    """The beginning, without ends of long lines: parsers and patterns take a time that grows with the square of both."""
    lines = data[:MOST_BYTES].split(b"\n", MOST_LINES)
    return b"\n".join(line[:MOST_LINE_BYTES] for line in lines[:MOST_LINES])


def _read(message: Message) -> MailReading:
    reading = _read_feedback(message) or _read_status_report(message)
    if reading is not None:
        return reading
    subject = _subject(message)
    if subject.strip().lower() == "unsubscribe":
        return MailReading(MailClass.UNSUBSCRIBE, _addresses(message, ("from",)))
    marked = _is_marked_automatic(message)
    if _ANSWERING.search(subject) or (marked and not _is_from_daemon(message)):
        return MailReading(MailClass.AUTO_REPLY)
    otherwise = MailClass.AUTO_REPLY if marked else MailClass.UNKNOWN
    return _read_prose(message, must_name=marked) or MailReading(otherwise)


# ---- feedback reports ---------------------------------------------------------------------------------------------


def _read_feedback(message: Message) -> MailReading | None:
    """RFC 5965, and Hotmail's own form: our mail attached, or come back under their headers."""
    for part in message.walk():
        if part.get_content_type() == "message/feedback-report":
            fields = _first_block(part)
            kind = str(fields.get("feedback-type", "abuse")).strip().lower()
            if kind in _NOT_COMPLAINTS:
                return MailReading(MailClass.UNKNOWN)
            who = _addresses(fields, ("original-rcpt-to", "removal-recipient")) or _reported(message)
            unsubscribes = kind.startswith("opt-out")
            return MailReading(
                MailClass.UNSUBSCRIBE if unsubscribes else MailClass.COMPLAINT, who, detail=kind
            )
    if parseaddr(str(message.get("return-path", message.get("from", ""))))[1].lower() == "staff@hotmail.com":
        who = _reported(message)
        return MailReading(MailClass.COMPLAINT, who, detail="hotmail") if who else None
    return None


def _reported(message: Message) -> tuple[str, ...]:
    """To whom the mail went that a feedback report carries."""
    for part in message.walk():
        if "x-hmxmroriginalrecipient" in part:
            return _addresses(part, ("x-hmxmroriginalrecipient",))
    for part in message.walk():
        if part.get_content_type() == "message/rfc822" and part.is_multipart():
            return _addresses(part.get_payload(0), ("to",))
    return ()


# ---- delivery status notifications --------------------------------------------------------------------------------


def _read_status_report(message: Message) -> MailReading | None:
    """RFC 3464; None if it speaks of no recipient. `unknown` where none failed or is delayed."""
    parts = [part for part in message.walk() if part.get_content_type() == "message/delivery-status"]
    blocks = [block for part in parts for block in _blocks(part)] or list(_loose_blocks(message))
    failures = [failure for block in blocks if (failure := _failure(block)) is not None]
    if not failures:
        return MailReading(MailClass.UNKNOWN) if any("final-recipient" in block for block in blocks) else None
    return _judge(failures, fallback=_notice(message))


def _loose_blocks(message: Message) -> Iterator[Message]:
    """The fields of a report that mail systems on the way broke into plain text."""
    for part in message.walk():
        if part.get_content_maintype() == "text":
            for paragraph in re.split(r"\n\s*\n", _text(part).replace("\r\n", "\n")):
                if re.search(r"^final-recipient:", paragraph, re.IGNORECASE | re.MULTILINE):
                    yield email.message_from_string(paragraph.lstrip())


def _failure(block: Message) -> _Failure | None:
    action = str(block.get("action", "failed")).strip().lower()
    recipient = _typed_address(block.get("original-recipient")) or _typed_address(
        block.get("final-recipient")
    )
    if recipient is None or action.startswith(_NOT_FAILED):
        return None
    said = " ".join(
        str(block.get(name, "")) for name in ("status", "diagnostic-code", "x400-supplementary-info")
    )
    words = " ".join(said.split())
    return _Failure(
        recipient, _most_telling(_STATUS.findall(said)), words if re.search("[a-z]{3}", words) else ""
    )


def _most_telling(statuses: list[str]) -> str | None:
    """A 4.x.x is soft whatever else is said; else the first that says more than `5.0.0` and `5.5.0` do."""
    passing = [status for status in statuses if status.startswith("4")]
    telling = [status for status in statuses if status not in ("5.0.0", "5.5.0", "5.3.0")]
    return next(iter((passing if statuses and statuses[0] in passing else []) + telling + statuses), None)


def _typed_address(value: object) -> str | None:
    """`rfc822; ada@example.org` without its type; None for another kind of address."""
    text = str(value or "")
    kind, _, address = text.rpartition(";") if ";" in text.partition("@")[0] else ("rfc822", "", text)
    found = _ADDRESS.search(address)
    return found[0].lower() if found and kind.strip().lower() in ("rfc822", "utf-8", "") else None


# ---- all other forms ----------------------------------------------------------------------------------------------


def _read_prose(message: Message, *, must_name: bool) -> MailReading | None:
    """must_name: only a bounce if it says whom it could not reach."""
    notice = _notice(message)
    temporary, permanent = _scan(message)
    who = _known(message) or sorted(temporary | permanent)
    if not who and (must_name or not _speaks_of_failure(message, notice)):
        return None
    status = _most_telling(_STATUS.findall(notice))
    reading = _judge([_Failure(address, status, notice) for address in who or [""]], fallback="")
    return (
        MailReading(MailClass.SOFT, reading.recipients, reading.status, detail=reading.detail)
        if temporary
        else reading
    )


def _speaks_of_failure(message: Message, notice: str) -> bool:
    """Whether it is a bounce although it names nobody: a tag tells who it was."""
    about = _is_from_daemon(message) or bool(_FAILED.search(_subject(message)))
    return about and bool(DEAD_WORDS.search(notice) or PASSING_WORDS.search(notice))


def _known(message: Message) -> list[str]:
    """Exim names them in a header."""
    return [address.lower() for _, address in getaddresses(message.get_all("x-failed-recipients", []))]


def _scan(message: Message) -> tuple[set[str], set[str]]:
    """flufl.bounce's findings: (temporary, permanent)."""
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # a detector that stumbles over a broken mail has found nothing
        return set(), set()
    return _decoded(temporary), _decoded(permanent)


def _decoded(addresses: Iterable[bytes]) -> set[str]:
    return {address.decode(errors="replace").strip().lower() for address in addresses if address}


def _judge(failures: list[_Failure], *, fallback: str) -> MailReading:
    """Hard if any recipient's failure is; `fallback`: text to look at where a failure says nothing itself."""
    who = tuple(dict.fromkeys(failure.recipient for failure in failures if failure.recipient))
    judged = [(_is_passing(failure.status, failure.text or fallback), failure) for failure in failures]
    passing, chosen = min(judged, key=lambda pair: pair[0])
    status = chosen.status or _most_telling(_STATUS.findall(fallback))
    names_cause = not passing and (status in DEAD_ADDRESS or bool(DEAD_WORDS.search(chosen.text + fallback)))
    kind = MailClass.SOFT if passing else MailClass.HARD
    return MailReading(kind, who, status, names_cause, chosen.text[:300] or fallback[:300])


def _is_passing(status: str | None, text: str) -> bool:
    """Whether a failure is no reason to give the address up: RFC 3463's classes first, then what the text says."""
    if status is not None and status.startswith("4"):
        return True
    if status in DEAD_ADDRESS:
        return False
    if status in ("5.2.2", "5.2.3", "5.3.4", "5.4.6", "5.4.7") or (status or "").startswith(("5.6.", "5.7.")):
        return True
    return not DEAD_WORDS.search(text) and bool(PASSING_WORDS.search(text))


# ---- other mails --------------------------------------------------------------------------------------------------


def _is_marked_automatic(message: Message) -> bool:
    """RFC 3834, and the marks used before it. Mail systems mark their bounces so, too."""
    submitted = str(message.get("auto-submitted", "no")).strip().lower()
    precedence = str(message.get("precedence", "")).strip().lower()
    older = any(name in message for name in ("x-autoreply", "x-autorespond", "x-autoresponse"))
    return submitted.startswith("auto-replied") or precedence == "auto_reply" or older


def _subject(message: Message) -> str:
    raw = str(message.get("subject", ""))
    try:
        return str(make_header(decode_header(raw)))
    except (ValueError, LookupError):
        return raw


def _is_from_daemon(message: Message) -> bool:
    sender = str(message.get("from", ""))
    return bool(_DAEMON.search(sender)) or parseaddr(sender)[1] == "" or "x-failed-recipients" in message


# ---- parts --------------------------------------------------------------------------------------------------------


def _notice(message: Message) -> str:
    """What the mail system wrote itself, in one line: the first text, up to where our own mail is repeated."""
    for part in message.walk():
        if part.get_content_maintype() == "text" and not part.is_multipart():
            text = _text(part)
            if part.get_content_subtype() == "html":
                text = re.sub(r"<[^>]*>", " ", text)
            copy = START_OF_COPY.search(text)
            return " ".join(text[: copy.start() if copy else NOTICE_CHARS].split())
    return ""


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload[:NOTICE_CHARS].decode(part.get_content_charset("latin-1"), "replace")
    except LookupError:
        return payload[:NOTICE_CHARS].decode("latin-1")


def _blocks(part: Message) -> Iterator[Message]:
    payload = part.get_payload()
    if isinstance(payload, list):
        yield from (block for block in payload if isinstance(block, Message))


def _first_block(part: Message) -> Message:
    """The fields of a feedback report, however the parser took them."""
    blocks = list(_blocks(part))
    if blocks:
        inner = blocks[0]
        return inner if inner.keys() else email.message_from_string(str(inner.get_payload()).lstrip())
    return email.message_from_string(_text(part).lstrip())


def _addresses(message: object, names: Iterable[str]) -> tuple[str, ...]:
    """Plain addresses in these headers, in lower case."""
    if not isinstance(message, Message):
        return ()
    found = [_ADDRESS.findall(str(value)) for name in names for value in message.get_all(name, [])]
    return tuple(dict.fromkeys(address.lower() for addresses in found for address in addresses))

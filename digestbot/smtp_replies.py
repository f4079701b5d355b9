"""What a mail server's reply means for one message (RFC 5321 4.2, RFC 3463). Pure."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

# RFC 3463 3.2, 3.3, RFC 7505: the address is dead. Nothing else suppresses at once.
DEAD_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.6", "5.1.10", "5.2.1"})
_ENHANCED = re.compile(r"(?:^|[\s(#])([245]\.\d{1,3}\.\d{1,3})(?=$|[\s):;,])")


class Stage(enum.StrEnum):
    CONNECT = "connect"
    EHLO = "EHLO"
    TLS = "TLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"  # before the text: nothing is in doubt yet
    TEXT = "text"  # the text is out, the reply to the final dot is awaited


class Verdict(enum.Enum):
    ACCEPTED = "accepted"  # the server took responsibility
    DEFERRED = "deferred"  # 4xx: later
    CLOSING = "closing"  # 421: the host wants no more on this connection
    DEAD = "dead"  # this address will never take mail
    FULL = "full"  # this mailbox takes no mail now
    REFUSED = "refused"  # 5xx at RCPT that names no cause
    POLICY = "policy"  # what we are or send was refused, not the address
    TOO_BIG = "too big"
    UNREACHABLE = "unreachable"  # the server cannot take such an address (SMTPUTF8)
    STOP = "stop"  # the server refuses us altogether
    LOST = "lost"  # the connection broke before the final dot: certainly not delivered
    DOUBT = "doubt"  # the connection broke after it


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a server. code 0: none, `text` then says what happened instead."""

    code: int
    text: str

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 3463) at the beginning of the text, None if there is none of the code's class."""
        found = _ENHANCED.search(self.text[:200])
        return found[1] if found and found[1][0] == str(self.code)[0] else None

    @property
    def line(self) -> str:
        """All of it in one line without control characters, for the ledger."""
        text = self.text
        if not text.isprintable():
            text = "".join(c if c.isprintable() else " " for c in text)
        text = " ".join(text.split())
        return (f"{self.code} {text}" if self.code else text)[:500].rstrip()

    @property
    def brief(self) -> str:
        """Codes only: server texts repeat addresses, and logs hold none."""
        return " ".join(filter(None, (str(self.code or "no reply"), self.enhanced)))


def judge(stage: Stage, reply: Reply) -> Verdict:
    """What the reply at MAIL, RCPT, DATA or after the text comes to; the enhanced code decides, if any."""
    kind = reply.code // 100
    if kind == 2:
        return Verdict.ACCEPTED
    if reply.code == 421:
        return Verdict.CLOSING
    if kind == 4:
        return Verdict.DEFERRED
    if kind != 5:  # not SMTP any more
        return Verdict.DOUBT if stage is Stage.TEXT else Verdict.LOST
    if _is_too_big(stage, reply):
        return Verdict.TOO_BIG
    if stage is Stage.MAIL:
        return Verdict.UNREACHABLE if reply.enhanced == "5.6.7" else Verdict.STOP
    return _judge_refusal(stage, reply)


def _judge_refusal(stage: Stage, reply: Reply) -> Verdict:
    """A 5xx at RCPT or later. One recipient a message, so a refusal after the text may speak of the address, too."""
    status = reply.enhanced
    if status in DEAD_ADDRESS:
        return Verdict.DEAD
    if status == "5.2.2" or (status is None and reply.code == 552):
        return Verdict.FULL
    if status == "5.6.7" or (status is None and reply.code == 553 and "SMTPUTF8" in reply.text.upper()):
        return Verdict.UNREACHABLE
    if stage is Stage.RCPT and _names_no_cause(reply):
        return Verdict.REFUSED
    return Verdict.POLICY


def _names_no_cause(reply: Reply) -> bool:
    if reply.enhanced is None:
        return reply.code in (550, 551, 553, 556, 501)
    return reply.enhanced.startswith(("5.0.", "5.1.", "5.2.")) and reply.enhanced not in ("5.1.7", "5.1.8")


def _is_too_big(stage: Stage, reply: Reply) -> bool:
    """RFC 1870 and 5.3.4 at any stage; a plain 552 speaks of the mailbox at RCPT, of the message elsewhere."""
    if reply.enhanced is None:
        return reply.code == 552 and stage is not Stage.RCPT
    return reply.enhanced in ("5.3.4", "5.2.3") or (reply.code == 552 and stage is Stage.MAIL)

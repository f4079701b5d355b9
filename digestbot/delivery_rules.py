"""What follows from a mail server's answer: next state, back-off, evidence, and when to stop. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from digestbot.model import EntryState, OutboxEntry, Outcome
from digestbot.smtp import Handover
from digestbot.smtp_replies import Stage, Verdict

FIRST_WAIT_S = 5 * 60
LONGEST_WAIT_S = 67 * 60  # greylisting servers let in again after 5 to 60 minutes
JITTER = 0.2
DOMAIN_STRIKES = 3  # 4xx in a row at RCPT that postpone a domain
POLICY_STRIKES = 5  # entries in a row ...
POLICY_DOMAINS = 3  # ... of so many domains, refused for what we are or send
TROUBLE_STRIKES = 3  # attempts in a row that the relay did not live through
BREAKER_HOLDS = timedelta(hours=1)

_STATES = {
    Verdict.ACCEPTED: EntryState.SENT,
    Verdict.DEFERRED: EntryState.DEFERRED,
    Verdict.CLOSING: EntryState.DEFERRED,
    Verdict.LOST: EntryState.DEFERRED,
    Verdict.DEAD: EntryState.BOUNCED,
    Verdict.FULL: EntryState.BOUNCED,
    Verdict.REFUSED: EntryState.BOUNCED,
    Verdict.POLICY: EntryState.FAILED,
    Verdict.TOO_BIG: EntryState.FAILED,
    Verdict.UNREACHABLE: EntryState.HELD,
}
EVIDENCE = {Verdict.DEAD: "hard", Verdict.FULL: "soft", Verdict.REFUSED: "refused"}  # bounces.class
TROUBLE = frozenset({Verdict.CLOSING, Verdict.LOST, Verdict.DOUBT})


def decide(entry: OutboxEntry, handover: Handover, *, resend: bool, now: datetime) -> Outcome:
    """The outcome of one attempt. resend: an entry in doubt is tried again, else held. Verdict STOP has no outcome."""
    if handover.verdict is Verdict.DOUBT:
        state = EntryState.IN_DOUBT if resend else EntryState.HELD
    else:
        state = _STATES[handover.verdict]
    again = state in (EntryState.DEFERRED, EntryState.IN_DOUBT)
    return Outcome(state, handover.reply.line, next_attempt_at(entry, now) if again else None)


def next_attempt_at(entry: OutboxEntry, now: datetime) -> datetime:
    """5 minutes after the first attempt, then twice as long each time up to 67; jitter is fixed by entry and attempt."""
    shortest = min(FIRST_WAIT_S * 2 ** min(entry.attempts, 10), LONGEST_WAIT_S / (1 + JITTER))
    digest = hashlib.sha256(f"{entry.id} {entry.attempts}".encode()).digest()
    jitter = 1 + JITTER * int.from_bytes(digest[:4], "big") / 2**32
    return now + timedelta(seconds=int(shortest * jitter))


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()


class DomainPauses:
    """Domains that defer again and again: the rest of their mail waits, without a try, as long as the last one."""

    def __init__(self) -> None:
        self._strikes: dict[str, int] = defaultdict(int)
        self._until: dict[str, datetime] = {}

    def note(self, entry: OutboxEntry, handover: Handover, outcome: Outcome) -> None:
        domain = domain_of(entry.recipient)
        if handover.verdict is not Verdict.DEFERRED or handover.stage is not Stage.RCPT:
            self._strikes.pop(domain, None)
            return
        self._strikes[domain] += 1
        if self._strikes[domain] >= DOMAIN_STRIKES and outcome.next_attempt_at is not None:
            self._until[domain] = outcome.next_attempt_at

    def until(self, entry: OutboxEntry) -> datetime | None:
        """When this entry's domain is tried again; None: now."""
        return self._until.get(domain_of(entry.recipient))


@dataclass(slots=True)
class PolicyBreaker:
    """Stops everything when servers refuse what we are or send; kept between passes as text.

    After `until` one more refusal stops again, an accepted mail ends it.
    """

    domains: list[str] = field(default_factory=list)  # of the refusals in a row
    until: datetime | None = None

    def note(self, entry: OutboxEntry, verdict: Verdict, now: datetime) -> bool:
        """Counts one answer; True: this one stops the run."""
        if verdict is Verdict.ACCEPTED:
            self.domains.clear()
            self.until = None
        if verdict is not Verdict.POLICY:
            return False
        self.domains = [*self.domains, domain_of(entry.recipient)][-POLICY_STRIKES:]
        if len(self.domains) < POLICY_STRIKES or len(set(self.domains)) < POLICY_DOMAINS:
            return False
        self.until = now + BREAKER_HOLDS
        return True

    def is_open(self, now: datetime) -> bool:
        return self.until is not None and now < self.until

    def is_changed_by(self, verdict: Verdict) -> bool:
        """Whether note() would change anything that is kept."""
        return verdict is Verdict.POLICY or (verdict is Verdict.ACCEPTED and bool(self.domains or self.until))

    def to_text(self) -> str:
        until = None if self.until is None else int(self.until.timestamp())
        return json.dumps({"domains": self.domains, "until": until})

    @classmethod
    def from_text(cls, text: str | None) -> PolicyBreaker:
        if text is None:
            return cls()
        stored = json.loads(text)
        until = stored["until"]
        return cls(stored["domains"], None if until is None else datetime.fromtimestamp(until, UTC))

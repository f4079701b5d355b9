"""Many days of a busy digestbot in one process: drops, votes, bounces, unsubscribes, outages; looked at after each day.

Time is simulated, everything else is real: the pipeline of `run --once`, the database, SMTP over sockets, and mails that
come back. What must hold is held against what the mail server got, not against what digestbot says of itself alone.
"""

from __future__ import annotations

import gc
import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import _lru_cache_wrapper
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

from digestbot.alarms import note_run
from digestbot.bounce_desk import handle_mail
from digestbot.desk import Desk, open_desk
from digestbot.model import EntryKind, Opinion, PaperId, Status, SubscriberId, Vote
from digestbot.pipeline import run_once
from digestbot.report import RunReport
from digestbot.service import keep_house
from digestbot.settings import parse_settings
from digestbot.subscriptions import Office, new_subscriber
from tests.smtp_servers import Answer, Misbehave, Received, SmtpServer

START = datetime(2026, 11, 1, tzinfo=UTC)
PASS_EVERY = timedelta(hours=2)
PAPERS_A_DAY = 40
OUTAGE_EVERY = 7  # days: the relay is down for four hours
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu")
HOURS = ("07:30", "08:00", "13:00", "18:45")
AREAS = [
    f"{a} {b}"
    for a in ("causal", "robust", "sparse", "neural", "quantum", "federated")
    for b in ("inference", "learning", "search")
]
WORDS = (
    "model",
    "data",
    "method",
    "result",
    "bound",
    "proof",
    "sample",
    "graph",
    "kernel",
    "token",
    "image",
    "policy",
)
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.MULTILINE | re.IGNORECASE)
_PAPER = re.compile(rb"https://example\.org/p/(\d+)")


@dataclass
class Day:
    """One day's figures."""

    number: int
    mails: int
    outcomes: Counter[str]
    rss_mb: float
    handles: int
    threads: int
    cpu_s: float


@dataclass
class Postbox:
    """What the mail server got, kept small: papers a reader saw as bits of a number."""

    now: datetime = START
    today: dict[str, tuple[str, str]] = field(default_factory=dict)  # message id -> recipient, hash
    got_at: dict[str, datetime] = field(default_factory=dict)  # message id -> when last, today
    seen: dict[str, int] = field(default_factory=dict)  # recipient -> papers
    senders: dict[str, str] = field(default_factory=dict)  # recipient -> envelope sender of the last digest
    copies: int = 0  # mails that came twice, the reply to the first having been lost
    wrong: list[str] = field(default_factory=list)

    def take(self, mail: Received) -> None:
        found = _MESSAGE_ID.search(mail.data)
        assert found, mail.data[:500]
        message_id, digest = found[1].decode(), sha256(mail.data).hexdigest()
        self.got_at[message_id] = self.now
        if message_id in self.today:
            self.copies += 1
            if self.today[message_id] != (mail.recipient, digest):
                self.wrong.append(f"{message_id} to {mail.recipient} came again with other bytes")
            return
        self.today[message_id] = (mail.recipient, digest)
        papers = sum(1 << int(n) for n in set(_PAPER.findall(mail.data.replace(b"=\r\n", b""))))
        if papers:
            self.senders[mail.recipient] = mail.sender
            if self.seen.get(mail.recipient, 0) & papers:
                self.wrong.append(f"{mail.recipient} got a paper twice")
            self.seen[mail.recipient] = self.seen.get(mail.recipient, 0) | papers


class Relay(SmtpServer):
    """Greylists, refuses the dead, loses replies, and is down now and then."""

    def __init__(self, postbox: Postbox, seed: int) -> None:
        self.postbox, self.chance = postbox, random.Random(seed)
        self.is_down = False
        self.dead: set[str] = set()
        super().__init__(self.answer)

    def answer(self, stage: str, argument: str) -> Answer:
        if self.is_down and stage == "connect":
            return "421 4.3.2 down for repairs"
        if stage == "rcpt" and argument in self.dead:
            return "550 5.1.1 no such user"
        if stage == "rcpt" and self.chance.random() < 0.01:
            return "451 4.7.1 try again later"
        if stage == "text" and self.chance.random() < 0.001:
            return Misbehave.DROP
        return None

    def record(self, message: Received) -> None:
        with self._lock:
            self.postbox.take(message)

    def forget(self) -> None:
        self.commands.clear()
        self.clear_text.clear()


class Soak:
    def __init__(self, folder: Path, *, subscribers: int, seed: int = 1) -> None:
        self.folder, self.subscribers = folder, subscribers
        self.chance = random.Random(seed)
        self.postbox = Postbox()
        self.relay = Relay(self.postbox, seed)
        self.gone: dict[SubscriberId, datetime] = {}  # who unsubscribed, complained or died, and when
        self.papers, self.people = count(), count()
        self.days: list[Day] = []

    def live(self, days: int) -> Iterator[Day]:
        with self.relay, self._desk() as desk:
            self._sign_up(desk, self.subscribers, START)
            for number in range(days):
                yield self._live_a_day(desk, number, START + timedelta(days=number))

    @contextmanager
    def _desk(self) -> Iterator[Desk]:
        settings = parse_settings(
            {
                "DIGESTBOT_STATE": str(self.folder / "state"),
                "DIGESTBOT_SECRET_KEY": "a secret of thirty-two characters",
                "DIGESTBOT_SMTP_URL": self.relay.url(),
                "DIGESTBOT_BASE_URL": "https://papers.example.com",
                "DIGESTBOT_FROM": "Paper Digest <digest@example.com>",
            }
        )
        with open_desk(settings) as desk:
            yield desk

    # ---- what happens --------------------------------------------------------------------------------------------

    def _live_a_day(self, desk: Desk, number: int, day: datetime) -> Day:
        self.postbox.today.clear()
        self.postbox.got_at.clear()
        began, outcomes = time.process_time(), Counter[str]()
        self._arrive(desk, number)
        for hour in range(0, 24, int(PASS_EVERY.total_seconds()) // 3600):
            now = day + timedelta(hours=hour)
            self.relay.is_down = number % OUTAGE_EVERY == OUTAGE_EVERY - 1 and 8 <= hour < 12
            self.postbox.now = now
            report = RunReport(now)
            run_once(desk, report)
            note_run(desk, report, now)
            assert report.delivery is not None
            outcomes.update({state.value: n for state, n in report.delivery.counts.items()})
            self.relay.forget()
            if hour == 14:
                self._people_act(desk, now)
        keep_house(desk, day + timedelta(hours=23))
        self._check(desk, day + timedelta(days=1))
        gc.collect()
        statm = Path("/proc/self/statm").read_text().split()
        return Day(
            number,
            len(self.postbox.today),
            outcomes,
            int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count(),
            time.process_time() - began,
        )

    def _arrive(self, desk: Desk, number: int) -> None:
        """A drop, and on some days one that is no drop at all."""
        incoming = desk.settings.incoming
        incoming.mkdir(parents=True, exist_ok=True)
        papers = [self._paper(next(self.papers)) for _ in range(PAPERS_A_DAY)]
        (incoming / f"day-{number}.jsonl").write_text("".join(json.dumps(p) + "\n" for p in papers))
        if number % 5 == 2:
            (incoming / f"bad-{number}.txt").write_text("nothing of use\n")

    def _paper(self, number: int) -> dict[str, object]:
        area, other = self.chance.sample(AREAS, 2)
        sentences = [" ".join(self.chance.choices(WORDS, k=9)).capitalize() + "." for _ in range(6)]
        return {
            "title": f"Number {number} on {area} by {' '.join(self.chance.choices(WORDS, k=3))}",
            "abstract": f"We study {area} with {other}. " + " ".join(sentences),
            "authors": [f"Author {number % 97}"],
            "url": f"https://example.org/p/{number}",
        }

    def _sign_up(self, desk: Desk, people: int, now: datetime) -> None:
        office = self._office(desk, now)
        new = [
            new_subscriber(
                {
                    "email": f"reader-{i}@mail{i % 83}.example.net",
                    "topics": self.chance.sample(AREAS, 2),
                    "timezone": self.chance.choice(ZONES),
                    "send_at": self.chance.choice(HOURS),
                    "max_papers": 5,
                },
                confirmed=True,
            )
            for i in islice(self.people, people)
        ]
        office.enrol(new, how="soak")

    def _people_act(self, desk: Desk, now: datetime) -> None:
        """One in a hundred leaves, one in five hundred complains or dies, one in ten votes; as many come anew."""
        confirmed = [s for s in desk.storage.subscribers.everybody(Status.CONFIRMED) if s.id not in self.gone]
        office, few = self._office(desk, now), len(confirmed) // 100 + 1
        for leaver in self.chance.sample(confirmed, few):
            office.unsubscribe(leaver.id)
            self.gone[leaver.id] = now
        readers = [s for s in confirmed if s.email in self.postbox.senders and s.id not in self.gone]
        for angry in self.chance.sample(readers, min(len(readers), few // 5 + 1)):
            assert handle_mail(office, _bounce(self.postbox.senders[angry.email], angry.email)).acted
            self.gone[angry.id] = now
        for reader in self.chance.sample(readers, len(readers) // 10):
            paper = PaperId(self.chance.randrange(1, desk.storage.papers.count() + 1))
            opinion = self.chance.choice((Opinion.MORE, Opinion.LESS, Opinion.SAVE))
            desk.storage.subscribers.vote(reader.id, [Vote(paper, opinion, now)])
        self.relay.dead |= {s.email for s in self.chance.sample(readers, min(len(readers), few // 5 + 1))}
        self._sign_up(desk, few, now)

    def _office(self, desk: Desk, now: datetime) -> Office:
        return Office(desk.storage, desk.links, desk.mail_domain, now)

    # ---- what must hold ------------------------------------------------------------------------------------------

    def _check(self, desk: Desk, now: datetime) -> None:
        wrong = [*self.postbox.wrong, *self._wrong_mails(desk, now), *_wrong_ledger(desk)]
        assert not wrong, "\n".join(wrong[:20])

    def _wrong_mails(self, desk: Desk, now: datetime) -> Iterator[str]:
        """Each mail of today against its row of the ledger, which is no older than an entry is tried."""
        rows = desk.storage.db.rows(
            "SELECT message_id, kind, subscriber_id, state FROM outbox WHERE composed_at > ?",
            (int((now - timedelta(days=4)).timestamp()),),
        )
        known = {str(row[0]): row[1:] for row in rows}
        for message_id, (recipient, _) in self.postbox.today.items():
            if message_id not in known:
                yield f"{recipient} got {message_id}, which the ledger does not know"
                continue
            kind, who, state = known[message_id]
            left = self.gone.get(SubscriberId(int(str(who))))
            # The reply was lost, and before a second attempt the reader left: that ends the entry.
            if state not in ("sent", "deferred", "in_doubt", "queued") and not (
                left and state == "cancelled"
            ):
                yield f"{recipient} got {message_id}, which is {state!r}"
            if left and kind != EntryKind.GOODBYE and self.postbox.got_at[message_id] > left:
                yield f"{recipient} got a {kind!r} mail after leaving"


def held_blocks() -> int:
    """Blocks of memory that Python holds once functools has forgotten all that it remembers for us. What it remembers
    is bounded (tests/test_growth.py); what grows from day to day beside it is never given back."""
    for found in gc.get_objects():
        if isinstance(found, _lru_cache_wrapper) and found.__module__.startswith("digestbot"):
            found.cache_clear()
    gc.collect()
    return sys.getallocatedblocks()


def _wrong_ledger(desk: Desk) -> Iterator[str]:
    """Sums that must agree, whatever happened."""
    db = desk.storage.db
    composed = db.row("SELECT count(*) FROM slots WHERE outcome = 'composed'")
    digests = db.row("SELECT count(*) FROM outbox WHERE kind = 'digest'")
    if composed != digests:
        yield f"{composed} slots composed, {digests} digests in the outbox"
    slots = db.rows(
        "SELECT subscriber_id, slot, count(*) FROM outbox WHERE kind = 'digest' GROUP BY 1, 2 HAVING count(*) > 1"
    )
    yield from (f"subscriber {who!r}, {slot!r}: {n!r} digests" for who, slot, n in slots)
    entries, states = db.row("SELECT count(*) FROM outbox"), sum(desk.storage.entries.counts().values())
    if entries != (states,):
        yield f"{entries} entries, {states} by state"
    twice = db.rows(
        "SELECT subscriber_id, paper.value AS paper_id, count(*) FROM outbox,"
        " json_each(outbox.papers) AS paper WHERE kind = 'digest'"
        " AND state NOT IN ('bounced', 'failed', 'cancelled') GROUP BY 1, 2 HAVING count(*) > 1"
    )
    yield from (f"subscriber {who!r}: paper {paper!r} {n!r} times" for who, paper, n in twice)
    held = db.row("SELECT count(*) FROM outbox WHERE owner IS NOT NULL")
    if held != (0,):
        yield f"{held} entries are claimed though nobody works"


def _bounce(sender: str, recipient: str) -> bytes:
    """A mail system's answer (RFC 3464) to what `sender`, our tagged address, sent."""
    return f"""\
From: MAILER-DAEMON@mail.example.net
To: {sender}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.net

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
""".replace("\n", "\r\n").encode()

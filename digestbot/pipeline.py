"""Read this first: the whole way, in order.

    drops -> ingest -> catalogue -> candidates -> ranked per topic profile -> digest -> outbox -> mail -> outcome

`run_once` is one pass of all of it, `digestbot run` does the same parts on a timetable, and a preview or a dry run does
them in a rehearsal, where nothing of it ever happened.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from email.utils import parseaddr
from functools import cached_property, partial

from digestbot import ranking, schedule
from digestbot.compose import Choice, Nothing, compose
from digestbot.drops.folder import DropFolder
from digestbot.errors import SettingsError
from digestbot.ingest import IngestPass, Progress, ingest_waiting
from digestbot.links import Links, derive_key
from digestbot.mailroom import MailRoom
from digestbot.model import (
    CardLength,
    Digest,
    DropReport,
    EntryState,
    Paper,
    PaperId,
    Scored,
    SlotOutcome,
    SlotRecord,
    Subscriber,
    SubscriberId,
    TopicProfile,
    Vote,
)
from digestbot.outbox import DeliveryPolicy, DeliveryReport, deliver
from digestbot.render import Look, Renderer
from digestbot.schedule import Verdict
from digestbot.semantics import embeddings_of, find_embedder
from digestbot.settings import Settings
from digestbot.smtp import SmtpSettings
from digestbot.storage import Storage, open_storage
from digestbot.storage.outbox import QueuedDigest
from digestbot.subscriptions import ended_slot, missing_secret

BLOCK = 1000  # subscribers at a time
DEPTH = 5  # ranked papers kept per paper that a digest shows: what diversity chooses from
LEXICAL = "lexical"
REFIT_AT = 1.1  # the catalogue's growth from which its statistics are fitted anew


@dataclass(frozen=True, slots=True)
class Bars:
    """Who is told how far the long parts are."""

    ingest: Progress | None = None
    deliver: Callable[[int, int], None] | None = None  # (done, due)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pipeline works with, whoever runs it."""

    settings: Settings
    storage: Storage
    links: Links
    renderer: Renderer
    embedder: ranking.Embedder | None = None  # None: ranking is lexical

    @property
    def mail_domain(self) -> str:
        return self.settings.from_address.rpartition("@")[2]


def make_renderer(settings: Settings, links: Links) -> Renderer:
    """Raises TemplateError where a template is wrong."""
    name = parseaddr(settings.from_)[0] or settings.from_address
    return Renderer(templates=settings.templates, links=links, look=Look(name, settings.postal_address))


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """A desk with its own connection to the storage. Raises SettingsError, StorageError or TemplateError."""
    keys = [derive_key(key) for key in settings.secret_keys]
    if not keys:
        raise missing_secret()
    links = Links(settings.base_url, keys)
    with open_storage(settings) as storage:
        yield Desk(settings, storage, links, make_renderer(settings, links), find_embedder(settings))


def check_relay(settings: Settings) -> None:
    """Raises SettingsError where mails would go to the world with links that are not https (RFC 8058)."""
    if not settings.is_secure and not SmtpSettings.from_url(settings.smtp_url).is_loopback:
        raise SettingsError(
            [
                f"DIGESTBOT_BASE_URL: is {settings.base_url}, but mails leave this machine:"
                " one-click unsubscribe needs https (RFC 8058)"
            ]
        )


@dataclass(frozen=True)
class Candidates:
    """The papers that may be in a digest at one instant, prepared once for everybody."""

    papers: tuple[Paper, ...]
    model: ranking.Model
    index: ranking.Index
    trending: tuple[Scored, ...]
    now: datetime

    @cached_property
    def by_id(self) -> Mapping[PaperId, Paper]:
        return {paper.id: paper for paper in self.papers}


@dataclass
class DigestCounts:
    composed: int = 0
    empty: int = 0
    late: int = 0
    paused: int = 0


@dataclass
class RunReport:
    """What one pass did, for people and as CONTRACT.md's JSON."""

    now: datetime
    drops: IngestPass = field(default_factory=IngestPass)
    digests: DigestCounts = field(default_factory=DigestCounts)
    delivery: DeliveryReport | None = None  # None: nothing was to be delivered, as in a dry run

    @property
    def rejected_drops(self) -> list[DropReport]:
        return [report for report in self.drops.reports if not report.usable and not report.held]

    @property
    def did_something(self) -> bool:
        digests, delivery = self.digests, self.delivery
        ended = digests.composed + digests.empty + digests.late + digests.paused
        return bool(self.drops.reports or ended or (delivery and (delivery.counts or delivery.stopped)))

    @property
    def is_complete(self) -> bool:
        """False: something was left undone, and the exit status says so."""
        rejected = any(report.rejected for report in self.drops.reports)
        return not rejected and (self.delivery is None or self.delivery.stopped is None)

    def to_json(self) -> dict[str, object]:
        reports, counts = self.drops.reports, self.delivery.counts if self.delivery else {}
        return {
            "now": self.now.isoformat().replace("+00:00", "Z"),
            "drops": {"read": len(reports), "rejected": len(self.rejected_drops)},
            "papers": {
                "new": sum(report.new for report in reports),
                "known": sum(report.known for report in reports),
                "updated": sum(report.updated for report in reports),
                "rejected": sum(len(report.rejected) for report in reports),
            },
            "digests": {
                "composed": self.digests.composed,
                "empty": self.digests.empty,
                "late": self.digests.late,
            },
            "delivery": {state.value: counts.get(state, 0) for state in REPORTED_STATES},
        }


REPORTED_STATES = (
    EntryState.SENT,
    EntryState.DEFERRED,
    EntryState.BOUNCED,
    EntryState.FAILED,
    EntryState.IN_DOUBT,
    EntryState.HELD,
    EntryState.CANCELLED,
)


def run_once(
    desk: Desk,
    now: datetime,
    *,
    rehearsal: bool = False,
    stop: threading.Event | None = None,
    bars: Bars | None = None,
) -> RunReport:
    """One pass: ingest what waits, compose what is due, try each due mail once. A rehearsal delivers nothing."""
    bars = bars or Bars()
    report = RunReport(now)
    report.drops = ingest_drops(desk, now, rehearsal=rehearsal, progress=bars.ingest)
    expired = expire_late(desk, now)
    report.digests = compose_due(desk, now, stop=stop)
    if not rehearsal:
        report.delivery = deliver_due(desk, lambda: now, stop=stop, progress=bars.deliver)
        report.delivery.counts.update(expired)
    return report


def expire_late(desk: Desk, now: datetime) -> Counter[EntryState]:
    """Ends mails that waited too long, before anything is composed: their papers are candidates again."""
    return desk.storage.outbox.expire(now, timedelta(hours=desk.settings.max_lateness_hours))


def ingest_drops(
    desk: Desk, now: datetime, *, rehearsal: bool = False, progress: Progress | None = None
) -> IngestPass:
    """Reads the drops that wait in the drop folder; in a rehearsal they stay where they are."""
    folder = DropFolder(desk.settings.drops)
    return ingest_waiting(desk.storage.papers, folder, now=now, progress=progress, move=not rehearsal)


def deliver_due(
    desk: Desk,
    now: Callable[[], datetime],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DeliveryReport:
    """Tries each due mail once; `now` is what is recorded."""
    settings = desk.settings
    policy = DeliveryPolicy(
        connections=settings.smtp_connections,
        resend_in_doubt=settings.on_doubt == "resend",
        max_lateness=timedelta(hours=settings.max_lateness_hours),
        rate=settings.smtp_rate,
        daily_limit=settings.smtp_daily_limit,
    )
    relay = SmtpSettings.from_url(settings.smtp_url)
    room = MailRoom(settings, desk.storage, desk.links, desk.renderer)
    return deliver(desk.storage, room.make, relay, policy, now=now, stop=stop, progress=progress)


def compose_due(desk: Desk, now: datetime, *, stop: threading.Event | None = None) -> DigestCounts:
    """Ends every slot that is due, in blocks; a slot ends once, whoever runs this at the same time."""
    counts = DigestCounts()
    candidates: Candidates | None = None
    while (stop is None or not stop.is_set()) and (due := desk.storage.subscribers.due(now, BLOCK)):
        candidates = candidates or gather(desk, now)
        _compose_block(desk, candidates, due, counts)
    return counts


def gather(desk: Desk, now: datetime) -> Candidates:
    """The candidates of this instant, with all that ranking prepares once for everybody."""
    papers = desk.storage.papers.candidates(since=now - timedelta(days=desk.settings.window_days), until=now)
    vectors = embeddings_of(desk.storage, desk.embedder, papers)
    model = current_model(desk, now)
    index = ranking.index(model, papers, embedder=desk.embedder, embeddings=vectors)
    trending = [
        Scored(paper_id, score, None, (reason,)) for paper_id, score, reason in ranking.trending(papers, now)
    ]
    return Candidates(tuple(papers), model, index, tuple(trending), now)


def current_model(desk: Desk, now: datetime) -> ranking.Model:
    """The catalogue's statistics; fitted anew, and stored, once the catalogue has grown by a tenth."""
    encoder = desk.embedder.fingerprint if desk.embedder else None
    name = f"semantic {encoder}" if encoder else LEXICAL
    count = desk.storage.papers.count()
    stored = desk.storage.models.find(name)
    if stored is not None:
        try:
            model = ranking.load(stored)
            if model.papers <= count <= model.papers * REFIT_AT:
                return model
        except ranking.StaleModel:
            pass
    vectors = desk.storage.models.vectors(encoder) if encoder else None
    model = ranking.fit(desk.storage.papers.catalogue(), encoder=encoder, embeddings=vectors)
    desk.storage.models.store(name, model.dump(), now)
    return model


def choose(
    desk: Desk, candidates: Candidates, subscribers: Sequence[Subscriber], slots: Mapping[SubscriberId, date]
) -> dict[SubscriberId, Digest | Nothing]:
    """For each of a block of subscribers the digest of the slot, or why there is none. Reads, never writes."""
    if not subscribers:
        return {}
    ids = [s.id for s in subscribers]
    votes = desk.storage.subscribers.votes(ids)
    sent = _sent(desk, ids, candidates)
    index = _index_with_liked(desk, candidates, votes)
    profiles = [TopicProfile(s.preferences.topics, votes.get(s.id, ())) for s in subscribers]
    depth = DEPTH * max((s.preferences.max_papers for s in subscribers), default=0)
    rankings = ranking.rank(index, profiles, [sent[i] for i in ids], now=candidates.now, depth=depth)
    return {
        subscriber.id: _digest(
            desk, candidates, index, subscriber, slots[subscriber.id], found, profile, sent
        )
        for subscriber, found, profile in zip(subscribers, rankings, profiles, strict=True)
    }


def _digest(
    desk: Desk,
    candidates: Candidates,
    index: ranking.Index,
    subscriber: Subscriber,
    slot: date,
    found: ranking.Ranking,
    profile: TopicProfile,
    sent: Mapping[SubscriberId, set[PaperId]],
) -> Digest | Nothing:
    preferences = subscriber.preferences
    choice = Choice(
        ranked=found.scored,
        above=found.above(preferences.min_score),
        candidates=found.candidates,
        excluded=found.excluded,
        trending=_trending_for(candidates, index, profile, sent[subscriber.id]),
        has_profile=bool(profile.topics or profile.votes),
    )
    return compose(
        subscriber.id,
        slot,
        choice,
        preferences,
        now=candidates.now,
        fresh=len(candidates.papers),
        pick=lambda ranked, most: ranking.diversify(index, ranked, most=most),
        fit=partial(_fit, desk, candidates),
    )


def _compose_block(
    desk: Desk, candidates: Candidates, subscribers: Sequence[Subscriber], counts: DigestCounts
) -> None:
    now = candidates.now
    limit = timedelta(hours=desk.settings.max_lateness_hours)
    recorded = desk.storage.slots.recorded([s.id for s in subscribers], _oldest_slot(subscribers))
    records: list[SlotRecord] = []
    to_compose: list[Subscriber] = []
    dues: dict[SubscriberId, schedule.Due] = {}
    next_due: dict[SubscriberId, tuple[datetime | None, datetime | None]] = {}
    for subscriber in subscribers:
        assert subscriber.next_due_at is not None
        settlement = schedule.settle(
            subscriber.schedule,
            subscriber.next_due_at,
            now,
            max_lateness=limit,
            recorded=recorded.get(subscriber.id, ()),
        )
        next_due[subscriber.id] = (subscriber.next_due_at, settlement.next_due_at)
        for due, verdict in settlement.decisions:
            if verdict is Verdict.COMPOSE:
                to_compose.append(subscriber)
                dues[subscriber.id] = due
            else:
                records.append(ended_slot(subscriber.id, due.slot, verdict, now))
    chosen = choose(desk, candidates, to_compose, {i: due.slot for i, due in dues.items()})
    digests = [d for d in chosen.values() if isinstance(d, Digest)]
    records += [
        SlotRecord(i, dues[i].slot, SlotOutcome.EMPTY, now, nothing.cause, nothing.best_score)
        for i, nothing in chosen.items()
        if isinstance(nothing, Nothing)
    ]
    with desk.storage.transaction():
        queued = [queued_digest(desk, digest, dues[digest.subscriber_id].at) for digest in digests]
        desk.storage.outbox.store_decisions(records, queued)
        desk.storage.subscribers.advance(next_due)
    _count(counts, records, len(digests))


def queued_digest(desk: Desk, digest: Digest, due_at: datetime) -> QueuedDigest:
    left = desk.links.digest_message_id(digest.subscriber_id, digest.slot)
    return QueuedDigest(digest, f"<{left}@{desk.mail_domain}>", due_at)


def _count(counts: DigestCounts, records: Sequence[SlotRecord], composed: int) -> None:
    counts.composed += composed
    counts.empty += sum(record.outcome is SlotOutcome.EMPTY for record in records)
    counts.late += sum(record.outcome is SlotOutcome.LATE for record in records)
    counts.paused += sum(record.outcome is SlotOutcome.PAUSED for record in records)


def _oldest_slot(subscribers: Sequence[Subscriber]) -> date:
    """No slot that is still open lies before this date."""
    return min(s.next_due_at for s in subscribers if s.next_due_at).date() - timedelta(days=2)


def _sent(
    desk: Desk, ids: Sequence[SubscriberId], candidates: Candidates
) -> dict[SubscriberId, set[PaperId]]:
    """What counts as sent to each, merged papers by the id they have today."""
    oldest = min((p.first_seen for p in candidates.papers if p.first_seen), default=candidates.now)
    sent = desk.storage.outbox.sent_papers(ids, oldest.date() - timedelta(days=2))
    known = {paper.id for paper in candidates.papers}
    strangers = {paper for papers in sent.values() for paper in papers} - known
    merged = desk.storage.papers.resolve(strangers) if strangers else {}
    return {i: {merged.get(paper, paper) for paper in papers} for i, papers in sent.items()}


def _index_with_liked(
    desk: Desk, candidates: Candidates, votes: Mapping[SubscriberId, Sequence[Vote]]
) -> ranking.Index:
    """The index, with the papers that somebody of this block voted on."""
    voted = {vote.paper_id for said in votes.values() for vote in said}
    if voted <= candidates.by_id.keys():
        return candidates.index
    liked = desk.storage.papers.papers(sorted(voted))
    known = list(liked.values())
    return ranking.index(
        candidates.model,
        candidates.papers,
        known,
        embedder=desk.embedder,
        embeddings=embeddings_of(desk.storage, desk.embedder, [*candidates.papers, *known]),
    )


def _trending_for(
    candidates: Candidates, index: ranking.Index, profile: TopicProfile, sent: set[PaperId]
) -> tuple[Scored, ...]:
    """The trending papers without those this subscriber was sent, voted on or excludes."""
    out = sent | {vote.paper_id for vote in profile.votes}
    for topic in profile.topics:
        for term in topic.exclude:
            out |= {index.papers[row].id for row in index.matches(term)}
    return tuple(paper for paper in candidates.trending if paper.paper_id not in out)


def _fit(desk: Desk, candidates: Candidates, shown: Sequence[PaperId]) -> Sequence[CardLength]:
    """The lengths in which these papers' cards fit into one mail."""
    by_id = candidates.by_id
    return desk.renderer.fit([by_id[paper_id] for paper_id in shown])

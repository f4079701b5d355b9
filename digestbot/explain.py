"""Why a paper has its score, and why somebody got nothing: answers from the records, in one cause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from digestbot import ranking, schedule
from digestbot.choosing import Candidates, choose, gather
from digestbot.compose import Nothing
from digestbot.desk import Desk
from digestbot.drops.identifiers import read_arxiv_id, read_doi
from digestbot.errors import UsageError
from digestbot.identity import SHORT_TITLE_WORDS, aliases_of
from digestbot.model import (
    WEEKDAYS,
    Cause,
    Digest,
    EntryState,
    Paper,
    PaperId,
    PaperRecord,
    SlotOutcome,
    SlotRecord,
    Subscriber,
    TopicProfile,
)
from digestbot.previews import hindrance, local_date
from digestbot.semantics import embeddings_of
from digestbot.storage import Storage
from digestbot.storage.limits import PUT_OFF
from digestbot.titles import title_key, title_words
from digestbot.wording import counted

_IN_THE_OUTBOX = {
    EntryState.DEFERRED: Cause.DEFERRED,
    EntryState.IN_DOUBT: Cause.IN_DOUBT,
    EntryState.HELD: Cause.IN_DOUBT,
    EntryState.QUEUED: Cause.DEFERRED,
    EntryState.SENDING: Cause.IN_DOUBT,
    EntryState.CANCELLED: Cause.LATE,
    EntryState.FAILED: Cause.DEFERRED,
    EntryState.BOUNCED: Cause.SUPPRESSED,
}


@dataclass(frozen=True, slots=True)
class DayAnswer:
    """What became of one subscriber's digest on one local date."""

    day: date
    sent: Digest | None = None  # it went out
    cause: Cause | None = None  # else why not, or not yet
    detail: str = ""
    best_score: float | None = None


def explain_day(desk: Desk, subscriber: Subscriber, day: date, now: datetime) -> DayAnswer:
    """From the slot's record where it has ended; from the schedule and the candidates of now where it has not."""
    storage = desk.storage
    record = _find_record(storage, subscriber, day)
    if record is None:
        return _not_ended(desk, subscriber, day, now)
    if record.outcome is SlotOutcome.COMPOSED:
        return _composed(storage, subscriber, day)
    if record.outcome is SlotOutcome.SKIPPED:
        return DayAnswer(day, cause=Cause.PAUSED, detail="this one digest was skipped")
    detail = f"decided {record.at:%Y-%m-%d %H:%M} UTC"
    return DayAnswer(day, cause=record.cause, detail=detail, best_score=record.best_score)


def _find_record(storage: Storage, subscriber: Subscriber, day: date) -> SlotRecord | None:
    return next((r for r in storage.slots.records(subscriber.id) if r.slot == day), None)


def _composed(storage: Storage, subscriber: Subscriber, day: date) -> DayAnswer:
    found = storage.outbox.find_digest(subscriber.id, day)
    assert found is not None, "a composed slot has an outbox entry"
    digest, state = found
    reply, ended = storage.slots.find_reply(subscriber.id, day)
    if state is EntryState.SENT:
        at = f"{ended:%Y-%m-%d %H:%M} UTC, " if ended else ""
        return DayAnswer(day, sent=digest, detail=f"{at}the server said {reply!r}")
    cause = _IN_THE_OUTBOX[state]
    if state is EntryState.QUEUED and reply == PUT_OFF:
        cause = Cause.LIMIT
    elif state is EntryState.HELD and not reply.startswith("in doubt"):
        cause = Cause.DEFERRED
    return DayAnswer(day, cause=cause, detail=f"the mail is {state}" + (f": {reply}" if reply else ""))


def _not_ended(desk: Desk, subscriber: Subscriber, day: date, now: datetime) -> DayAnswer:
    hindered, due_at = hindrance(subscriber, day), schedule.due_instant(subscriber.schedule, day)
    if hindered and hindered is not Cause.PAUSED:
        return DayAnswer(day, cause=hindered)
    if due_at and subscriber.confirmed_at and due_at <= subscriber.confirmed_at:
        detail = f"the slot was due before the confirmation at {subscriber.confirmed_at:%Y-%m-%d %H:%M} UTC"
        return DayAnswer(day, cause=Cause.UNCONFIRMED, detail=detail)
    if hindered:
        return DayAnswer(day, cause=hindered)
    if WEEKDAYS[day.weekday()] not in subscriber.schedule.days:
        days = ", ".join(subscriber.schedule.days)
        return DayAnswer(day, cause=Cause.NO_SENDING_DAY, detail=f"digests come on {days}")
    if due_at is None:
        return DayAnswer(day, cause=Cause.NO_SENDING_DAY, detail="this date never was there")
    if due_at > now:
        return DayAnswer(day, cause=Cause.NOT_YET_DUE, detail=f"due {due_at:%Y-%m-%d %H:%M} UTC")
    return _due_now(desk, subscriber, day, due_at, now)


def _due_now(desk: Desk, subscriber: Subscriber, day: date, due_at: datetime, now: datetime) -> DayAnswer:
    """The slot is due and no run has ended it yet."""
    lateness_h = (now - due_at).total_seconds() / 3600
    if lateness_h > desk.settings.max_lateness_hours:
        return DayAnswer(day, cause=Cause.LATE, detail=f"no run for {lateness_h:.0f} hours after it was due")
    planned = subscriber.next_due_at
    if planned is None or planned > now:
        then = f"; the next digest is due {planned:%Y-%m-%d %H:%M} UTC" if planned else ""
        return DayAnswer(
            day, cause=Cause.NOT_YET_DUE, detail="the schedule of that time had no such slot" + then
        )
    result = choose(desk, gather(desk, now), [subscriber], {subscriber.id: day})[subscriber.id]
    if isinstance(result, Nothing):
        return DayAnswer(
            day, cause=result.cause, detail=_withheld(subscriber, result), best_score=result.best_score
        )
    return DayAnswer(day, cause=Cause.NOT_YET_DUE, detail="due, and the next run sends it")


def _withheld(subscriber: Subscriber, result: Nothing) -> str:
    if not result.withheld:
        return ""
    terms = dict.fromkeys(term for topic in subscriber.preferences.topics for term in topic.exclude)
    return f"{counted(result.withheld, 'paper')} would fit but for what is excluded: {', '.join(terms)}"


def explain_paper(desk: Desk, subscriber: Subscriber, name: str, now: datetime) -> dict[str, object]:
    """Every part of one paper's score for one subscriber. Raises UsageError for a paper nobody knows."""
    paper = _find_paper(desk.storage, name)
    candidates = gather(desk, now)
    votes = desk.storage.subscribers.votes([subscriber.id]).get(subscriber.id, ())
    liked = desk.storage.papers.papers([vote.paper_id for vote in votes])
    among = [paper, *(p for p in candidates.papers if p.id != paper.id)]
    known = list(liked.values())
    index = ranking.index(
        candidates.model,
        among,
        known,
        embedder=desk.embedder,
        embeddings=embeddings_of(desk.storage, desk.embedder, [*among, *known]),
    )
    profile = TopicProfile(subscriber.preferences.topics, votes)
    found = ranking.explain(index, profile, paper.id, now)
    minimum = subscriber.preferences.min_score
    has_profile = bool(profile.topics or profile.votes)
    noticed = next((s for s in candidates.trending if s.paper_id == paper.id), None)
    scored = found.scored if has_profile else noticed
    score = found.score if has_profile else noticed.score if noticed else 0.0
    fits = score > (minimum if has_profile else 0.0)
    return {
        "paper": paper.id,
        "title": paper.record.title,
        "score": score,
        "min_score": minimum,
        "would_be_sent": _hindered(subscriber, now)
        or _excluded(found)
        or _verdict(desk, subscriber, paper, fits, candidates),
        "reasons": [f"{r.kind}: {r.detail}" for r in scored.reasons] if scored else [],
        "parts": [{"name": p.name, "detail": p.detail, "evidence": p.evidence} for p in found.parts],
    }


def _hindered(subscriber: Subscriber, now: datetime) -> str:
    """Why this person gets nothing at all; '' if they do."""
    cause = hindrance(subscriber, local_date(subscriber, now))
    return f"no: nobody {cause} gets digests" if cause else ""


def _excluded(found: ranking.Explanation) -> str:
    terms = [part.detail for part in found.parts if part.name == "excluded term"]
    return f"no: the excluded term {', '.join(terms)} bars it" if terms else ""


def _verdict(desk: Desk, subscriber: Subscriber, paper: Paper, fits: bool, candidates: Candidates) -> str:
    """Whether the paper may be in the next digest, in words."""
    sent = desk.storage.outbox.sent_papers([subscriber.id], date.min)[subscriber.id]
    if paper.id in set(desk.storage.papers.resolve(sent).values()):
        return "no: it was sent already"
    if not paper.mailable:
        return "no: it came with a backfill, or as a new version of a paper announced earlier"
    if paper.id not in candidates.by_id:
        return "no: it was first seen outside the window"
    if not subscriber.preferences.topics and not desk.storage.subscribers.votes([subscriber.id]):
        told = "without topics and votes the digest is what trends"
        return f"yes, if it is among the first: {told}" if fits else f"no: nobody noticed it yet; {told}"
    if not fits:
        return "no: its score is not above the minimum"
    return "yes, if it is among the best"


def _find_paper(storage: Storage, name: str) -> Paper:
    if name.isdecimal() and len(name) < 18:
        by_id = list(storage.papers.papers([PaperId(int(name))]).values())
        if by_id:
            return by_id[0]
    arxiv = read_arxiv_id(name)
    record = PaperRecord(title=name, arxiv_id=arxiv[0] if arxiv else None, doi=read_doi(name))
    for alias in aliases_of(record):
        for known in storage.papers.find_known([alias]):
            return known.paper
    if len(title_words(name)) < SHORT_TITLE_WORDS:  # such a title alone is no alias
        for paper in storage.papers.catalogue(library=True):
            if title_key(paper.record.title) == title_key(name):
                return paper
    raise UsageError(f"{name!r} is no paper's id, arXiv id, DOI or title; `digestbot papers` lists them")

"""From candidates to digests: everything ranking and composing need is fetched here, for a block of subscribers at once.

Reads the storage and never writes into it, but for the catalogue's statistics, and embeddings of papers and topics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, partial

from digestbot import ranking
from digestbot.compose import Choice, Nothing, compose
from digestbot.desk import Desk
from digestbot.model import (
    CardLength,
    Digest,
    Paper,
    PaperId,
    Scored,
    Subscriber,
    SubscriberId,
    TopicProfile,
    Vote,
)
from digestbot.semantics import embeddings_of, know_texts, model_name, stored_embeddings

SAMPLE = 500  # papers, or up to twice as many, that have embeddings wherever in the catalogue they are


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

    @cached_property
    def ranker(self) -> ranking.Ranker:
        """Kept for all blocks of subscribers: it remembers the topics that many share."""
        return ranking.Ranker(self.index)


def gather(desk: Desk, now: datetime) -> Candidates:
    """The candidates of this instant, with all that ranking prepares once for everybody."""
    papers = desk.storage.papers.candidates(since=now - timedelta(days=desk.settings.window_days), until=now)
    desk.renderer.keep_only(papers)
    vectors = embeddings_of(desk.storage, desk.embedder, papers)
    model = current_model(desk, now)
    index = ranking.index(model, papers, embedder=desk.embedder, embeddings=vectors)
    trending = [
        Scored(paper_id, score, None, (reason,)) for paper_id, score, reason in ranking.trending(papers, now)
    ]
    return Candidates(tuple(papers), model, index, tuple(trending), now)


def current_model(desk: Desk, now: datetime) -> ranking.Model:
    """The catalogue's statistics; fitted anew, and stored, once it has grown by a tenth of the papers counted."""
    encoder = desk.embedder.fingerprint if desk.embedder else None
    name = model_name(desk.embedder)
    count = desk.storage.papers.count()
    stored = desk.storage.models.find(name)
    if stored is not None:
        try:
            model = ranking.load(stored)
            if model.is_current(count):
                return model
        except ranking.StaleModel:
            pass
    if encoder:
        _embed_sample(desk, count)
    vectors = desk.storage.models.vectors(encoder) if encoder else None
    model = ranking.fit(desk.storage.papers.catalogue(), encoder=encoder, embeddings=vectors)
    desk.storage.models.store(name, model.dump(), now)
    return model


def _embed_sample(desk: Desk, count: int) -> None:
    """Sees to it that papers from all over the catalogue have embeddings, not new ones alone: against them is told what
    is near. Steps are powers of two, so that a grown catalogue's sample is in the one before."""
    step = 1 << (max(1, count // SAMPLE)).bit_length() - 1
    spread = [paper for paper in desk.storage.papers.catalogue() if paper.id % step == 0]
    embeddings_of(desk.storage, desk.embedder, spread)


def choose(
    desk: Desk, candidates: Candidates, subscribers: Sequence[Subscriber], slots: Mapping[SubscriberId, date]
) -> dict[SubscriberId, Digest | Nothing]:
    """For each of a block of subscribers the digest of the slot, or why there is none. Reads, never writes."""
    if not subscribers:
        return {}
    ids = [s.id for s in subscribers]
    votes = desk.storage.subscribers.votes(ids)
    sent = _sent(desk, ids, candidates)
    ranker = ranker_with_voted(desk, candidates, votes)
    profiles = [TopicProfile(s.preferences.topics, votes.get(s.id, ())) for s in subscribers]
    _know_topics(desk, ranker, profiles, candidates.now)
    limits = [ranking.Limits(s.preferences.min_score, s.preferences.max_papers) for s in subscribers]
    fit = partial(_fit, desk, candidates)
    rankings = ranker.choose(profiles, [sent[i] for i in ids], limits, now=candidates.now)
    return {
        subscriber.id: compose(
            subscriber.id,
            slots[subscriber.id],
            Choice(
                own=found.scored,
                best=found.best,
                above=found.above,
                candidates=found.candidates,
                excluded=found.excluded,
                withheld=found.withheld,
                trending=_trending_for(candidates, ranker.index, profile, sent[subscriber.id]),
                has_profile=bool(profile.topics or profile.votes),
            ),
            subscriber.preferences,
            now=candidates.now,
            fresh=len(candidates.papers),
            fit=fit,
        )
        for subscriber, found, profile in zip(subscribers, rankings, profiles, strict=True)
    }


def _know_topics(desk: Desk, ranker: ranking.Ranker, profiles: Sequence[TopicProfile], now: datetime) -> None:
    """With an embedding model: topics are embedded once, not anew in every tick."""
    if desk.embedder and desk.keeps_embeddings and ranker.reader.knows_meaning:
        know_texts(desk.storage, desk.embedder, ranker.index, ranking.embedded_texts(profiles), now)


def _sent(
    desk: Desk, ids: Sequence[SubscriberId], candidates: Candidates
) -> dict[SubscriberId, set[PaperId]]:
    """What counts as sent to each, merged papers by the id they have today."""
    oldest = min((p.first_seen for p in candidates.papers if p.first_seen), default=candidates.now)
    sent = desk.storage.outbox.sent_papers(ids, oldest.date() - timedelta(days=2))
    strangers = {paper for papers in sent.values() for paper in papers} - candidates.by_id.keys()
    merged = desk.storage.papers.resolve(strangers) if strangers else {}
    return {i: {merged.get(paper, paper) for paper in papers} for i, papers in sent.items()}


def ranker_with_voted(
    desk: Desk, candidates: Candidates, votes: Mapping[SubscriberId, Sequence[Vote]]
) -> ranking.Ranker:
    """The ranker of all, with the papers that somebody of this block voted on."""
    voted = {vote.paper_id for said in votes.values() for vote in said} - candidates.by_id.keys()
    if not voted:
        return candidates.ranker
    known = list(desk.storage.papers.papers(sorted(voted)).values())
    find = embeddings_of if desk.keeps_embeddings else stored_embeddings
    return candidates.ranker.with_others(known, find(desk.storage, desk.embedder, known))


def _trending_for(
    candidates: Candidates, index: ranking.Index, profile: TopicProfile, sent: set[PaperId]
) -> Iterator[Scored]:
    """The trending papers without those this subscriber was sent, voted on or excludes."""
    out = sent | {vote.paper_id for vote in profile.votes}
    for topic in profile.topics:
        for term in topic.exclude:
            out |= {index.papers[row].id for row in index.matches(term)}
    yield from (paper for paper in candidates.trending if paper.paper_id not in out)


def _fit(desk: Desk, candidates: Candidates, shown: Sequence[PaperId]) -> Sequence[CardLength]:
    """The lengths in which these papers' cards fit into one mail."""
    by_id = candidates.by_id
    return desk.renderer.fit([by_id[paper_id] for paper_id in shown])

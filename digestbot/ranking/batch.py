"""Ranking of whole files of profiles against one collection of papers, by relevance alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from digestbot.model import Opinion, Paper, PaperId, Topic, TopicProfile, Vote
from digestbot.ranking.candidates import Index, index
from digestbot.ranking.embedding import Embedder
from digestbot.ranking.fitting import fit
from digestbot.ranking.scoring import Evidence, Ranker
from digestbot.ranking.statistics import Embeddings

_ONE_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # all votes of a file are equally old
_BLOCK = 200  # against thousands of candidates, the tables of more would not stay small


@dataclass(frozen=True, slots=True)
class BatchProfile:
    topics: tuple[Topic, ...] = ()
    liked: tuple[PaperId, ...] = ()
    disliked: tuple[PaperId, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchRanking:
    """All candidates but those voted on and excluded: best score first, those without evidence (score 0) last.

    Equal scores are in the order of relevance, then of ids.
    """

    papers: tuple[PaperId, ...]
    scores: tuple[float, ...]


def rank_batch(
    papers: Sequence[Paper],
    profiles: Sequence[BatchProfile],
    *,
    candidates: Collection[PaperId] | None = None,
    embedder: Embedder | None = None,
    embeddings: Embeddings | None = None,
) -> Iterator[BatchRanking]:
    """One ranking per profile, in order. The catalogue is `papers`; `candidates` None: all of them."""
    encoder = embedder.fingerprint if embedder else None
    wanted = [paper for paper in papers if candidates is None or paper.id in candidates]
    voted = {paper for profile in profiles for paper in (*profile.liked, *profile.disliked)}
    others = [paper for paper in papers if paper.id in voted]
    prepared = index(
        fit(papers, encoder=encoder, embeddings=embeddings),
        wanted,
        others,
        embedder=embedder,
        embeddings=embeddings,
    )
    ranker = Ranker(prepared)
    for start in range(0, len(profiles), _BLOCK):
        block = [_profile(profile) for profile in profiles[start : start + _BLOCK]]
        for evidence in ranker.weigh(block, [frozenset()] * len(block), _ONE_TIME):
            yield _order(prepared, evidence)


def _profile(profile: BatchProfile) -> TopicProfile:
    votes = [Vote(paper, Opinion.MORE, _ONE_TIME) for paper in profile.liked]
    votes += [Vote(paper, Opinion.LESS, _ONE_TIME) for paper in profile.disliked]
    return TopicProfile(profile.topics, tuple(votes))


def _order(prepared: Index, evidence: Evidence) -> BatchRanking:
    order = np.lexsort((prepared.ids, -np.round(evidence.relevance, 9), -evidence.scores))
    out = evidence.barred | evidence.excluded
    kept = [row for row in order.tolist() if row not in out]
    return BatchRanking(tuple(prepared.papers[row].id for row in kept), tuple(evidence.scores[kept].tolist()))

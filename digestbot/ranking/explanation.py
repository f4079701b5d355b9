"""Every part of one paper's score for one subscriber, by name, for people who ask why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from digestbot.model import PaperId, Scored, Topic, TopicProfile
from digestbot.ranking.agreement import agreement, asked
from digestbot.ranking.candidates import Index
from digestbot.ranking.scoring import Evidence, Ranker
from digestbot.ranking.topics import MEANING
from digestbot.ranking.weighing import AUTHOR_FLOOR

NO_MORE_TOLD = 1e-3  # nats: what rounding may leave


@dataclass(frozen=True, slots=True)
class Part:
    """One reason for or against: evidence in nats, positive for; the score is 0.95 * (1 - exp(-sum))."""

    name: str  # "topic", "agreement", "author", "meaning", "votes", "threshold", "floor", "excluded term", "voted on"
    detail: str
    evidence: float


@dataclass(frozen=True, slots=True)
class Explanation:
    paper_id: PaperId
    score: float  # 0: would not be sent
    parts: tuple[Part, ...]
    scored: Scored | None  # as `rank` gives it; None where the score is 0


def explain(index: Index, profile: TopicProfile, paper_id: PaperId, now: datetime) -> Explanation:
    """Raises KeyError where the paper is no candidate of `index`."""
    row = index.row_of[paper_id]
    if row >= index.size:
        raise KeyError(paper_id)
    ranker = Ranker(index)
    evidence = ranker.weigh([profile], [frozenset()], now)[0]
    parts = [part for topic in evidence.topics for part in _topic_parts(ranker, topic, row)]
    parts += _agreement_parts(ranker, evidence, row)
    if evidence.meaning[row]:
        detail = f"all topics together: {evidence.meaning[row]:+.1f} standard deviations"
        parts.append(Part("meaning", detail, MEANING * float(evidence.meaning[row])))
    if evidence.votes is not None:
        near = evidence.votes.nearest.get(row)
        detail = f"resembles {index.papers[near].record.title}" if near is not None else "all votes together"
        parts.append(Part("votes", detail, float(evidence.votes.relevance[row])))
    if row not in evidence.barred | evidence.excluded:
        parts += _remainder(parts, float(evidence.scores[row]))
    if row in evidence.barred:
        parts.append(Part("voted on", "papers voted on are not sent", 0.0))
    ranked = ranker.rank([profile], [frozenset()], now=now, depth=index.size)[0].scored
    scored = next((one for one in ranked if one.paper_id == paper_id), None)
    return Explanation(paper_id, float(evidence.scores[row]), tuple(parts), scored)


def _remainder(parts: Sequence[Part], score: float) -> Iterator[Part]:
    """What else enters the score: without a term only what is above a threshold counts, and with one votes and meaning
    leave a share of what it says."""
    told = sum(part.evidence for part in parts)
    if score >= AUTHOR_FLOOR - NO_MORE_TOLD:
        return
    rest = -math.log(1.0 - score / AUTHOR_FLOOR) - told
    if rest < -NO_MORE_TOLD and score:
        yield Part("threshold", "without a term that speaks, likes and meaning count from here on", rest)
    elif rest < -NO_MORE_TOLD:
        yield Part("threshold", "no term speaks, and likes and meaning do not reach what they need", rest)
    elif rest > NO_MORE_TOLD and score:
        yield Part("floor", "votes and meaning leave at least this much of what terms say", rest)


def _topic_parts(ranker: Ranker, topic: Topic, row: int) -> Iterator[Part]:
    reader = ranker.reader
    (number,) = reader.read([topic]).tolist()
    said = reader.known.said
    if row in reader.authored(topic):
        yield Part("author", f"{topic.name}: {reader.authored(topic)[row]}", 0.0)
    if said.mentions[number, row] > 0:
        terms = ", ".join(reader.matched(topic, row)) or "its categories"
        evidence = topic.weight * float(said.terms[number, row])
        yield Part("topic", f"{topic.name}: {terms}; weight {topic.weight:g}", evidence)
    if said.meaning[number, row] >= said.clear[number]:
        yield Part("meaning", f"{topic.name}: {said.meaning[number, row]:.1f} standard deviations", 0.0)
    for term in topic.exclude:
        if row in ranker.index.matches(term):
            yield Part("excluded term", term, 0.0)


def _agreement_parts(ranker: Ranker, evidence: Evidence, row: int) -> Iterator[Part]:
    """Whether the profile agrees with what its common words say, where no other term leaves no doubt."""
    numbers = ranker.reader.read(evidence.topics)
    said, votes = ranker.reader.known.said, evidence.votes
    mentions = said.mentions[numbers, row].sum()
    if not 0 < mentions < np.inf:
        return
    surprise, count = (votes.surprise[row], votes.votes) if votes else (0.0, 0)
    told = [evidence.meaning[row], said.meant[numbers].sum(), surprise, count]
    agreed = float(agreement(*(np.array([value], dtype=float) for value in told))[0])
    needed = float(asked(np.array([mentions]))[0])
    yield Part("agreement", f"{agreed:.1f} standard deviations, its common words need {needed:.1f}", 0.0)

"""Every part of one paper's score for one subscriber, by name, for people who ask why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from digestbot.model import PaperId, Scored, TopicProfile
from digestbot.ranking.candidates import Index
from digestbot.ranking.scoring import Ranker, describe
from digestbot.ranking.topics import MEANING


@dataclass(frozen=True, slots=True)
class Part:
    """One reason for or against: evidence in nats, positive for; the score is 1 - exp(-sum), see `ranking.scoring`."""

    name: str  # "topic", "author", "votes", "excluded term", "voted on"
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
    evidence = Ranker(index).weigh([profile], [frozenset()], now)[0]
    parts = []
    for topic, said in evidence.topics:
        if row in said.authors:
            parts.append(Part("author", f"{topic.name}: {said.authors[row]}", 0.0))
        if row in said.terms:
            terms = ", ".join(said.matched(row)) or "its categories"
            parts.append(
                Part(
                    "topic", f"{topic.name}: {terms}; weight {topic.weight:g}", topic.weight * said.terms[row]
                )
            )
        if row in said.clear:
            parts.append(Part("meaning", f"{topic.name}: {said.meaning[row]:.1f} standard deviations", 0.0))
        parts += [Part("excluded term", term, 0.0) for term in topic.exclude if row in index.matches(term)]
    if evidence.meaning[row]:
        detail = f"all topics together: {evidence.meaning[row]:+.1f} standard deviations"
        parts.append(Part("meaning", detail, MEANING * float(evidence.meaning[row])))
    if evidence.votes is not None:
        near = evidence.votes.nearest.get(row)
        detail = f"resembles {index.papers[near].record.title}" if near is not None else "all votes together"
        parts.append(Part("votes", detail, float(evidence.votes.relevance[row])))
    if row in evidence.barred:
        parts.append(Part("voted on", "papers voted on are not sent", 0.0))
    score = float(evidence.scores[row])
    return Explanation(
        paper_id, score, tuple(parts), next(describe(index, evidence, [row], [score])) if score > 0 else None
    )

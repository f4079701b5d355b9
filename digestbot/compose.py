"""Chooses and orders a digest's papers, or finds that there is nothing worth a mail. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain, islice
from typing import NamedTuple

from digestbot.model import (
    CardLength,
    Cause,
    Digest,
    DigestPaper,
    PaperId,
    Preferences,
    Scored,
    SubscriberId,
)

Fit = Callable[
    [Sequence[PaperId]], Sequence[CardLength]
]  # lengths for the first papers, as many as a mail can hold


class Choice(NamedTuple):
    """What ranking says of one subscriber's candidates."""

    own: tuple[
        Scored, ...
    ]  # above the subscriber's minimum, as many as fit: no near-copies, topics take turns
    best: float  # the best score of all candidates; 0: there is no evidence
    above: int  # how many candidates score more than the subscriber's minimum, also beyond `own`
    candidates: int  # not sent before, not voted on
    excluded: int  # of these, barred by an excluded term
    withheld: int = 0  # of these, score more than the minimum but for that
    trending: Iterable[Scored] = ()  # best first, read once as far as needed; none sent, voted on or excluded
    has_profile: bool = True  # False: neither topics nor votes


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there is no digest."""

    cause: Cause
    best_score: float | None = None
    withheld: int = 0  # papers that only an excluded term bars


def compose(
    subscriber_id: SubscriberId,
    slot: date,
    choice: Choice,
    preferences: Preferences,
    *,
    now: datetime,
    fresh: int,
    fit: Fit,
) -> Digest | Nothing:
    """The digest of one slot. `fresh`: candidates of the window before any were taken away for this subscriber.

    Trending papers accompany those chosen for the profile and alone make no mail; without a profile they are the digest.
    """
    if choice.has_profile:
        own, trending = _choose(choice, preferences)
        more = max(0, choice.above - len(own))
    else:
        own, trending, more = (), list(islice(choice.trending, preferences.max_papers)), 0
    shown = [*_in_sections(own), *trending]
    if not shown:
        return _nothing(choice, fresh)
    lengths = fit([paper.paper_id for paper in shown])
    papers = [
        DigestPaper(paper_id, round(score, 3), topic, reasons, length)
        for (paper_id, score, topic, reasons), length in zip(shown, lengths, strict=False)
    ]
    return Digest(subscriber_id, slot, now, tuple(papers), more + len(shown) - len(papers))


def _choose(choice: Choice, preferences: Preferences) -> tuple[Sequence[Scored], list[Scored]]:
    """The profile's papers, and the share of trending ones."""
    most = preferences.max_papers
    accompanying = min(round(most * preferences.trending_share), most - 1)
    own = choice.own[: most - accompanying]
    if not own or not accompanying:
        return own, []
    taken = {paper.paper_id for paper in own}
    others = (paper for paper in choice.trending if paper.paper_id not in taken)
    return own, list(islice(others, accompanying))


def _in_sections(own: Sequence[Scored]) -> list[Scored]:
    """Topic by topic, the topic of the first choice first."""
    sections: dict[str | None, list[Scored]] = {}
    for paper in own:
        sections.setdefault(paper.topic, []).append(paper)
    return list(chain.from_iterable(sections.values()))


def _nothing(choice: Choice, fresh: int) -> Nothing:
    if fresh == 0:
        return Nothing(Cause.NO_NEW_PAPER)
    if choice.candidates == 0:
        return Nothing(Cause.ALL_SENT)
    if choice.withheld or choice.excluded >= choice.candidates:
        return Nothing(Cause.ALL_EXCLUDED, withheld=choice.withheld)
    return Nothing(Cause.BELOW_MINIMUM, choice.best)

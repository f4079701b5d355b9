"""What makes a digest, in which order, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest

from digestbot.compose import Choice, Nothing, compose
from digestbot.model import (
    CardLength,
    Cause,
    Digest,
    PaperId,
    Preferences,
    Reason,
    ReasonKind,
    Scored,
    SubscriberId,
)

SLOT, NOW = date(2026, 11, 20), datetime(2026, 11, 20, 7, tzinfo=UTC)


def own(*ids: int, topic: str | None = "owls") -> tuple[Scored, ...]:
    reasons = (Reason(ReasonKind.TERM, "owls"),)
    return tuple(Scored(PaperId(n), 0.9 - n / 1000, topic, reasons) for n in ids)


def trending(*ids: int) -> tuple[Scored, ...]:
    return tuple(Scored(PaperId(n), 0.5, None, (Reason(ReasonKind.TRENDING, "41 upvotes"),)) for n in ids)


def choice(
    chosen: Sequence[Scored] = (),
    *,
    accompanying: Sequence[Scored] = (),
    above: int | None = None,
    best: float = 0.1,
    candidates: int = 30,
    excluded: int = 0,
    withheld: int = 0,
    has_profile: bool = True,
) -> Choice:
    above = len(chosen) if above is None else above
    return Choice(tuple(chosen), best, above, candidates, excluded, withheld, iter(accompanying), has_profile)


def composed(
    made: Choice, *, most: int = 10, share: float = 0.0, room: int = 99, fresh: int = 30
) -> Digest | Nothing:
    """room: papers that a mail can hold."""
    return compose(
        SubscriberId(7),
        SLOT,
        made,
        Preferences(max_papers=most, trending_share=share),
        now=NOW,
        fresh=fresh,
        fit=lambda papers: (CardLength.FULL,) * min(room, len(papers)),
    )


def shown(made: Digest | Nothing) -> list[int]:
    assert isinstance(made, Digest)
    return [paper.paper_id for paper in made.papers]


def test_trending_papers_take_their_share_and_come_last() -> None:
    made = choice(own(*range(10)), accompanying=trending(50, 51, 52, 53))
    assert shown(composed(made, share=0.3)) == [0, 1, 2, 3, 4, 5, 6, 50, 51, 52]


def test_a_paper_of_ones_own_is_not_shown_again_as_trending() -> None:
    made = choice(own(*range(10)), accompanying=trending(3, 50, 4, 51))
    assert shown(composed(made, share=0.2)) == [0, 1, 2, 3, 4, 5, 6, 7, 50, 51]


def test_however_large_the_share_one_paper_is_ones_own() -> None:
    assert shown(composed(choice(own(1, 2), accompanying=trending(*range(50, 70))), most=5, share=1.0)) == [
        *(1, 50, 51, 52, 53)
    ]


def test_trending_papers_alone_make_no_mail_for_who_has_a_profile() -> None:
    assert composed(choice(accompanying=trending(50)), share=0.5) == Nothing(Cause.BELOW_MINIMUM, 0.1)


def test_without_a_profile_trending_papers_are_the_digest() -> None:
    made = composed(choice(accompanying=trending(50, 51, 52), above=20, has_profile=False), most=2)
    assert shown(made) == [50, 51]
    assert isinstance(made, Digest)
    assert made.more == 0


def test_papers_of_a_topic_stand_together_the_topic_of_the_best_first() -> None:
    mixed = [*own(1), *own(2, topic="terns"), *own(3), *own(4, topic=None), *own(5, topic="terns")]
    assert shown(composed(choice(mixed))) == [1, 3, 2, 5, 4]


@pytest.mark.parametrize(("room", "more"), [(12, 15), (10, 15), (8, 17)])
def test_more_counts_what_was_good_enough_and_found_no_room(room: int, more: int) -> None:
    made = composed(choice(own(*range(10)), above=23, accompanying=trending(50, 51)), share=0.2, room=room)
    assert isinstance(made, Digest)
    assert (len(made.papers), made.more) == (min(room, 10), more)


@pytest.mark.parametrize(
    ("made", "fresh", "why"),
    [
        (choice(candidates=0), 0, Nothing(Cause.NO_NEW_PAPER)),
        (choice(candidates=0), 30, Nothing(Cause.ALL_SENT)),
        (choice(excluded=30), 30, Nothing(Cause.ALL_EXCLUDED)),
        (choice(excluded=29, withheld=2), 30, Nothing(Cause.ALL_EXCLUDED, withheld=2)),
        (choice(excluded=29), 30, Nothing(Cause.BELOW_MINIMUM, 0.1)),
    ],
)
def test_why_there_is_nothing(made: Choice, fresh: int, why: Nothing) -> None:
    assert composed(made, fresh=fresh) == why

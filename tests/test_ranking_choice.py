"""Trending, diversity, batch ranking and explanations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import scipy

from digestbot.model import Opinion, Paper, PaperId, PaperRecord, Scored, Topic, TopicProfile, Vote
from digestbot.ranking import (
    BatchProfile,
    Index,
    Limits,
    Ranker,
    explain,
    fit,
    index,
    rank,
    rank_batch,
    trending,
)
from digestbot.ranking.diversity import Likeness

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SUBJECTS = ["river ice", "bread ovens", "bee dances", "tidal mills", "paper kites", "glass bells"]


def catalogue() -> list[Paper]:
    return [
        Paper(
            PaperId(n),
            PaperRecord(f"On {SUBJECTS[n % 6]} of village {n}", f"Notes on {SUBJECTS[n % 6]} {n}."),
            NOW,
        )
        for n in range(60)
    ]


def noticed(number: int, *, days: float = 0, sightings: int = 1, **fields: int) -> Paper:
    record = PaperRecord("Paper", **fields)  # type: ignore[arg-type]
    return Paper(PaperId(number), record, NOW - timedelta(days=days), sightings=sightings)


def test_trending_is_what_people_notice_while_it_is_new() -> None:
    papers = [
        noticed(1, upvotes=40),
        noticed(2, upvotes=40, days=7),
        noticed(3),
        noticed(4, upvotes=40, comments=10),
        noticed(5, sightings=3),
        noticed(6),
    ]
    found = trending(papers, NOW, {PaperId(6): 1, PaperId(3): -5})
    assert [paper for paper, _, _ in found] == [4, 1, 5, 2, 6]
    assert all(0.0 < score < 1.0 for _, score, _ in found)
    details = {int(paper): reason.detail for paper, _, reason in found}
    assert details == {
        4: "40 upvotes",
        1: "40 upvotes",
        5: "seen in 3 drops",
        2: "40 upvotes",
        6: "liked by 1 reader here",
    }


def prepared(*extra: Paper) -> Index:
    papers = [*catalogue(), *extra]
    return index(fit(papers), papers)


def choose(index_: Index, *topics: Topic, most: int) -> list[Scored]:
    (found,) = Ranker(index_).choose([TopicProfile(topics)], [frozenset()], [Limits(0.0, most)], now=NOW)
    return list(found.scored)


def test_a_loud_topic_does_not_starve_the_others() -> None:
    loud = Topic("ice", ("river ice",), weight=3.0)
    chosen = choose(prepared(), loud, Topic("kites", ("paper kites",)), most=10)
    assert [scored.topic for scored in chosen].count("kites") >= 2
    assert chosen[0].topic == "ice"


def test_likes_do_not_starve_a_topic() -> None:
    likes = tuple(Vote(PaperId(n), Opinion.MORE, NOW) for n in (2, 8, 14, 20))
    profile = TopicProfile((Topic("ice", ("river ice",)),), likes)
    (found,) = Ranker(prepared()).choose([profile], [frozenset()], [Limits(0.0, 6)], now=NOW)
    topics = [scored.topic for scored in found.scored]
    assert topics.count("ice") == topics.count(None) == 3


def test_near_copies_wait_until_nothing_else_is_left() -> None:
    text = "Bee dances, bee dances", "Bee dances tell where flowers are. Bee dances are timed."
    copies = [Paper(PaperId(n), PaperRecord(*text), NOW) for n in (100, 101, 102)]
    found = prepared(*copies)
    topics = (
        Topic("timing", ("bee dances are timed",), weight=10.0),
        Topic("bees", ("bee dances",), weight=0.2),
    )
    assert choose(found, *topics, most=1)[0].paper_id == 100
    assert {scored.paper_id for scored in choose(found, *topics, most=11)} == {100, *range(2, 60, 6)}
    assert {scored.paper_id for scored in choose(found, *topics, most=13)[11:]} == {101, 102}


def test_a_flood_of_near_copies_hides_nothing() -> None:
    text = "Bee dances tell where flowers are. Bee dances are timed. Copy"
    flood = [
        Paper(PaperId(n), PaperRecord("Bee dances, bee dances", f"{text} {n}."), NOW) for n in range(100, 400)
    ]
    topics = Topic("timing", ("bee dances are timed",), weight=10.0), Topic("all", tuple(SUBJECTS))
    chosen = choose(prepared(*flood), *topics, most=6)
    assert chosen[0].paper_id >= 100
    assert sum(scored.paper_id >= 100 for scored in chosen) == 1


def test_a_followed_author_is_first_and_fewer_begin_more() -> None:
    written = Paper(PaperId(200), PaperRecord("Elsewhere", authors=("Ada Lovelace",)), NOW)
    topics = Topic("bees", ("bee dances",)), Topic("ada", (), authors=("Ada Lovelace",))
    found = prepared(written)
    assert choose(found, *topics, most=8)[0].paper_id == 200
    assert choose(found, *topics, most=3) == choose(found, *topics, most=8)[:3]
    assert choose(found, *topics, most=0) == []


def test_an_explanation_names_every_part() -> None:
    found = prepared()
    votes = tuple(Vote(PaperId(n), Opinion.MORE, NOW) for n in (2, 8, 14))
    profile = TopicProfile(
        (Topic("bees", ("bee dances",)), Topic("ice", ("river ice",), exclude=("kites",))), votes
    )
    told = explain(found, profile, PaperId(20), NOW)
    (ranked,) = rank(found, [profile], [frozenset()], now=NOW, depth=60)
    assert told.scored in ranked.scored
    assert [part.name for part in told.parts] == ["topic", "votes"]
    assert all(part.evidence > 0 for part in told.parts)
    assert explain(found, profile, PaperId(4), NOW).parts[0].name == "excluded term"
    assert explain(found, profile, PaperId(2), NOW).score == 0.0
    with pytest.raises(KeyError):
        explain(found, profile, PaperId(999), NOW)


@pytest.mark.parametrize(
    ("topics", "votes", "last"),
    [
        ((), {2: Opinion.MORE, 8: Opinion.MORE}, "threshold"),
        (("bee dances",), {2: Opinion.LESS}, "floor"),
        (("bee dances",), {2: Opinion.MORE}, "votes"),
    ],
)
def test_the_parts_of_a_score_add_up_to_it(
    topics: tuple[str, ...], votes: dict[int, Opinion], last: str
) -> None:
    cast = tuple(Vote(PaperId(n), opinion, NOW) for n, opinion in votes.items())
    profile = TopicProfile(tuple(Topic(name, (name,)) for name in topics), cast)
    told = explain(prepared(), profile, PaperId(14), NOW)
    evidence = sum(part.evidence for part in told.parts)
    assert told.parts[-1].name == last
    assert told.score == pytest.approx(0.95 * (1.0 - np.exp(-evidence)), abs=1e-3)
    assert 0.05 < told.score < 0.95


def test_a_batch_ranks_all_but_what_was_voted_on() -> None:
    profile = BatchProfile((Topic("bee dances", ("bee dances",)),), (PaperId(2),), (PaperId(0),))
    wanted = {PaperId(n) for n in range(30)}
    (found,) = rank_batch(catalogue(), [profile], candidates=wanted)
    assert set(found.papers) == wanted - {0, 2}
    assert set(found.papers[:4]) == {8, 14, 20, 26}
    assert found.scores[3] > 0
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_a_profile_scores_alone_as_in_a_crowd() -> None:
    found = prepared()
    crowd = [
        TopicProfile(
            (Topic("a", (SUBJECTS[n % 6],)), Topic("b", (SUBJECTS[n % 5],), weight=2.0)),
            tuple(Vote(PaperId(m), Opinion.MORE, NOW) for m in range(n % 7)),
        )
        for n in range(150)
    ]
    together = rank(found, crowd, [frozenset()] * 150, now=NOW, depth=60)
    assert together == [rank(found, [profile], [frozenset()], now=NOW, depth=60)[0] for profile in crowd]


def test_a_digest_is_chosen_alone_as_in_a_crowd_that_wants_more_or_less() -> None:
    found = prepared()
    crowd = [
        TopicProfile(tuple(Topic(f"{m % 3}", (SUBJECTS[m % 6],), weight=1.0 + m) for m in range(n % 6)))
        for n in range(150)
    ]
    limits = [Limits((n % 4) / 5, 1 + n % 25) for n in range(150)]
    together = Ranker(found).choose(crowd, [frozenset()] * 150, limits, now=NOW)
    assert together == [
        Ranker(found).choose([profile], [frozenset()], [limit], now=NOW)[0]
        for profile, limit in zip(crowd, limits, strict=True)
    ]
    assert {len(ranking.scored) for ranking in together} >= {0, 1, 10, 20}
    for ranking, limit in zip(together, limits, strict=True):
        assert len(ranking.scored) == min(ranking.above, limit.max_papers)
        assert all(scored.score > limit.min_score for scored in ranking.scored)


def test_what_is_remembered_of_likenesses_has_a_bound() -> None:
    vectors = np.random.default_rng(1).standard_normal((40, 5))
    likeness, others = (
        Likeness(vectors, scipy.sparse.eye_array(40, format="csr"), remembered_bytes=5 * 40 * 4),
        np.arange(40)[None, :].repeat(5, axis=0),
    )
    assert likeness.most == 5
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in (0, 3, 35, 7, 0):
        rows = np.arange(start, start + 5)
        assert np.allclose(likeness.between(rows, others), units[rows] @ units.T, atol=1e-6)


def test_papers_of_the_same_words_are_copies_whatever_the_catalogue_makes_of_them() -> None:
    words = scipy.sparse.csr_array(np.array([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]))
    (found,) = Likeness(np.eye(3), words).between(np.array([0]), np.array([[0, 1, 2]]))
    assert found.tolist() == [1.0, 1.0, 0.0]

"""Ranking as a subscriber sees it: what appears, in what order, and what never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from digestbot.model import Opinion, Paper, PaperId, PaperRecord, ReasonKind, Topic, TopicProfile, Vote
from digestbot.ranking import Index, Ranking, explain, fit, index, load, rank

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SUBJECTS = ["river ice", "bread ovens", "bee dances", "tidal mills", "paper kites", "glass bells"]


def paper(number: int, title: str, abstract: str = "", **fields: object) -> Paper:
    return Paper(PaperId(number), PaperRecord(title, abstract, **fields), NOW)  # type: ignore[arg-type]


def catalogue() -> list[Paper]:
    """60 papers, 10 on each of six subjects."""
    return [
        paper(
            n,
            f"On {SUBJECTS[n % 6]} in village {n}",
            f"We measure {SUBJECTS[n % 6]} and count them in season {n}.",
        )
        for n in range(60)
    ]


def topic(*terms: str, **fields: object) -> Topic:
    return Topic(terms[0] if terms else "topic", terms, **fields)  # type: ignore[arg-type]


def ranked(
    candidates: list[Paper],
    *topics: Topic,
    votes: tuple[Vote, ...] = (),
    sent: frozenset[PaperId] = frozenset(),
) -> Ranking:
    prepared: Index = index(fit(catalogue()), candidates, catalogue())
    (found,) = rank(prepared, [TopicProfile(topics, votes)], [sent], now=NOW, depth=100)
    return found


def ids(found: Ranking) -> list[int]:
    return [scored.paper_id for scored in found.scored]


def scores(found: Ranking) -> dict[int, float]:
    return {scored.paper_id: scored.score for scored in found.scored}


def like(number: int, opinion: Opinion = Opinion.MORE, days: int = 1) -> Vote:
    return Vote(PaperId(number), opinion, NOW - timedelta(days=days))


@pytest.mark.parametrize(
    ("term", "title"),
    [
        ("neural network", "Neural Networks for kites"),
        ("self supervised", "Self-Supervised kites"),
        ("few‑shot", "Few shot kites"),
        ("GAN", "Taming GANs"),
        ("case study", "Two case studies"),
        ("cross entropy loss", "Cross-entropy losses"),
        ("cache", "Caches of kites"),
        ("bias", "Biases of kites"),
        ("virus", "Viruses of kites"),
        ("gas", "Gases of kites"),
        ("actor-critic", "Two actor-critics"),
        ("robotics", "Robotics of kites"),
        ("C++", "Kites in C++ and Rust"),
        ("持续学习", "面向机器人的持续学习方法"),
        ("التعلم الآلي", "مقدمة في التعلُّم الآلي"),
        ("강화학습", "강화학습을 위한 새로운 방법"),
        ("ﬁne tuning", "Fine-tuning kites"),
        ("Schrodinger bridge", "Schrödinger bridges for kites"),
        ("Erdős–Rényi graphs", "Kites on an Erdos-Renyi graph"),
        ("İstanbul", "Kites over Istanbul"),
        ("Schro\u0308dinger", "Kites of Schrödinger"),
    ],
)
def test_a_term_matches_whole_words_in_any_writing(term: str, title: str) -> None:
    assert ids(ranked([paper(900, title), paper(901, "Something else")], topic(term))) == [900]


@pytest.mark.parametrize(
    ("term", "title"),
    [
        ("continual learning", "Continual improvement by learning"),
        ("continual learning", "Deep learning"),
        ("net", "Networks of kites"),
        ("news", "New kites"),
        ("AIDS", "Aid for kites"),
        ("genetics", "Genetic kites"),
        ("C++", "Vitamin C in kites"),
        (".*", "Anything at all"),
        ("", "Anything at all"),
        ("of the", "The state of the art"),
    ],
)
def test_part_of_a_term_is_no_evidence(term: str, title: str) -> None:
    assert ids(ranked([paper(900, title)], topic(term))) == []


def test_a_topic_given_twice_counts_once() -> None:
    once = topic("river ice", weight=2.0)
    papers = catalogue()
    assert scores(ranked(papers, once, topic("River Ice"), topic("river-ice"))) == scores(
        ranked(papers, once)
    )


def test_an_excluded_term_bars_whatever_else_speaks_for_the_paper() -> None:
    candidates = [
        paper(900, "Bee dances", authors=("Ada Lovelace",)),
        paper(901, "Bee dances and wasps", authors=("Ada Lovelace",)),
    ]
    found = ranked(
        candidates, topic("bee dances", authors=("A. Lovelace",)), topic("kites", exclude=("wasp",))
    )
    assert ids(found) == [900]
    assert (found.candidates, found.excluded, found.withheld) == (2, 1, 1)
    elsewhere = ranked(candidates, topic("kites", exclude=("wasp",)))
    assert (elsewhere.excluded, elsewhere.withheld) == (1, 0)


def test_a_followed_author_comes_first() -> None:
    candidates = [
        paper(900, "Bee dances, bee dances", "Bee dances. " * 30),
        paper(901, "Elsewhere", authors=("Lovelace, Ada K.",)),
    ]
    found = ranked(candidates, topic("bee dances", weight=10.0), topic(authors=("Ada Lovelace",), weight=0.1))
    assert ids(found) == [901, 900]
    assert found.scored[0].reasons[0].kind is ReasonKind.AUTHOR


def test_sent_and_voted_papers_never_appear() -> None:
    found = ranked(
        catalogue(),
        topic("river ice"),
        votes=(like(0), like(6, Opinion.LESS), like(12, Opinion.LIBRARY)),
        sent=frozenset({PaperId(18)}),
    )
    assert set(ids(found)) == {24, 30, 36, 42, 48, 54}
    assert found.candidates == 56


def test_likes_find_their_neighbourhood_and_dislikes_sink_theirs() -> None:
    liked = ranked(catalogue(), votes=(like(2), like(8), like(14)))
    assert set(ids(liked)) == {n for n in range(60) if n % 6 == 2} - {2, 8, 14}
    assert liked.scored[0].reasons[0].kind is ReasonKind.LIKED
    both = topic("river ice"), topic("bread ovens")
    before = ranked(catalogue(), *both)
    after = ranked(catalogue(), *both, votes=(like(1, Opinion.LESS), like(7, Opinion.LESS)))
    assert set(ids(after)[:10]) == {n for n in range(60) if n % 6 == 0}
    assert scores(after)[13] < scores(before)[13]


def test_in_a_small_catalogue_the_first_dislikes_do_not_silence_a_topic() -> None:
    bread = topic("bread ovens")
    before = scores(ranked(catalogue(), bread))[55]
    left = [
        scores(ranked(catalogue(), bread, votes=tuple(like(n, Opinion.LESS) for n in disliked)))[55] / before
        for disliked in ([1], [1, 7], range(1, 55, 6))
    ]
    assert left == pytest.approx([1 / 2, 1 / 3, 1 / 10], abs=0.05)


def test_dislikes_keep_their_neighbourhood_away_from_likes() -> None:
    votes = [like(n) for n in (2, 8, 14)] + [like(n, Opinion.LESS) for n in (1, 7, 13)]
    found = ranked(catalogue(), votes=tuple(votes))
    assert {n % 6 for n in ids(found)} == {2}
    told = explain(index(fit(catalogue()), catalogue()), TopicProfile((), tuple(votes)), PaperId(19), NOW)
    assert told.parts[-1].name == "votes"
    assert told.parts[-1].evidence < -0.05


def test_meaning_alone_is_evidence_in_a_large_catalogue_that_knows_the_term() -> None:
    """Forty subjects of eight words each, and every paper on the first names "river ice" but the last ones."""
    papers = []
    for n in range(800):
        own = [f"word{n % 40}x{k}" for k in range(8)]
        said = " ".join(own[n // 40 % 4 :] * 2)
        papers.append(paper(n, f"Paper {n}", f"River ice and {said}" if n % 40 == 0 and n < 700 else said))
    prepared = index(fit(papers), papers)
    (found,) = rank(prepared, [TopicProfile((topic("river ice"),))], [frozenset()], now=NOW, depth=800)
    assert set(ids(found)) == set(range(0, 800, 40))
    kinds = {int(scored.paper_id): scored.reasons[0].kind for scored in found.scored}
    assert kinds[40] is ReasonKind.TERM
    assert kinds[760] is ReasonKind.SIMILAR_TOPIC
    small = [paper for paper in papers if paper.id >= 400]
    (found,) = rank(
        index(fit(small), small), [TopicProfile((topic("river ice"),))], [frozenset()], now=NOW, depth=800
    )
    assert set(ids(found)) == set(range(400, 700, 40))


def test_a_score_means_the_same_on_a_slow_day() -> None:
    busy = scores(ranked(catalogue(), topic("river ice"), votes=(like(2), like(8), like(14))))
    slow = ranked(catalogue()[24:27], topic("river ice"), votes=(like(2), like(8), like(14)))
    assert scores(slow) == {24: busy[24], 26: busy[26]}


def test_a_stored_model_ranks_as_the_fitted_one() -> None:
    fitted = fit(catalogue())
    profile = TopicProfile((topic("river ice"),), (like(2),))
    both = [
        rank(index(model, catalogue()), [profile], [frozenset()], now=NOW, depth=100)
        for model in (fitted, load(fitted.dump()))
    ]
    assert both[0] == both[1]
    assert fitted.dump() == fit(reversed(catalogue())).dump()


def test_statistics_are_fitted_anew_when_a_tenth_of_the_counted_papers_is_new() -> None:
    papers = catalogue()
    for model in (fit(papers, most=20), load(fit(papers, most=20).dump())):
        assert (model.papers, model.catalogue) == (20, len(papers))
        told = [model.is_current(len(papers) + more) for more in (-1, 0, 2, 3)]
        assert told == [False, True, True, False]


def test_nothing_to_rank_by_and_nothing_to_rank() -> None:
    assert ids(ranked(catalogue())) == []
    assert ids(ranked([], topic("river ice"), votes=(like(2),))) == []
    empty = index(fit([]), catalogue())
    assert rank(empty, [TopicProfile((topic("river ice"),), (like(2),))], [frozenset()], now=NOW, depth=3)[
        0
    ].scored

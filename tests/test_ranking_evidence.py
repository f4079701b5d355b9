"""What is evidence in a large catalogue, and what is not: passing mentions, meaning, words with several meanings."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from digestbot.model import Opinion, Paper, PaperId, PaperRecord, ReasonKind, Topic, TopicProfile, Vote
from digestbot.ranking import Index, explain, fit, index, rank

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SUBJECTS, PAPERS = 40, 800


def subject(number: int, *, words: int = 8) -> str:
    """Words that only papers on this subject have."""
    return " ".join(f"word{number % SUBJECTS}x{k}" for k in range(words))


def paper(number: int, abstract: str, title: str = "") -> Paper:
    return Paper(PaperId(number), PaperRecord(title or f"Paper {number}", abstract), NOW)


def world(term: str, *, named_by: int, candidates: tuple[Paper, ...] = ()) -> Index:
    """Forty subjects, twenty papers each; the first `named_by` papers on subject 0 name `term` once."""
    papers = [
        paper(
            n,
            f"{term if n % SUBJECTS == 0 and n < SUBJECTS * named_by else 'Nothing'} and "
            + " ".join(subject(n).split()[n // SUBJECTS % 4 :] * 2),
        )
        for n in range(PAPERS)
    ]
    return index(fit(papers), candidates or papers, papers)


def found(prepared: Index, term: str, *votes: Vote) -> dict[int, ReasonKind]:
    profile = TopicProfile((Topic(term, (term,)),), votes)
    (ranked,) = rank(prepared, [profile], [frozenset()], now=NOW, depth=PAPERS)
    return {int(scored.paper_id): scored.reasons[0].kind for scored in ranked.scored}


def test_meaning_alone_speaks_for_the_whole_neighbourhood_of_a_known_term() -> None:
    kinds = found(world("river ice", named_by=15), "river ice")
    assert set(kinds) == set(range(0, PAPERS, SUBJECTS))
    assert kinds[40] is ReasonKind.TERM
    assert kinds[760] is ReasonKind.SIMILAR_TOPIC


def test_nobody_knows_what_a_term_of_two_papers_means() -> None:
    assert set(found(world("river ice", named_by=2), "river ice")) == {0, 40}


def test_a_paper_half_on_the_subject_is_not_near_enough() -> None:
    half = tuple(
        paper(900 + n, f"{subject(0, words=words)} {subject(7)} {subject(8)}")
        for n, words in enumerate((4, 6, 8))
    )
    whole = paper(910, subject(0))
    assert set(found(world("river ice", named_by=15, candidates=(*half, whole)), "river ice")) == {910}


def partly(words: int) -> str:
    """Of another subject, with so many of the eight words of subject 0."""
    return f"{subject(0, words=words)} {subject(7)}"


@pytest.mark.parametrize(
    ("term", "title", "abstract", "sent"),
    [
        ("policy", "", f"A policy is named in passing. {partly(6)}", False),
        ("policy", "", f"A policy, and another policy. {partly(7)}", True),
        ("policy", "", f"A policy, and another policy. {partly(5)}", False),
        ("policy", "The policy of things", partly(6), True),
        ("policy", "The policy of things", partly(4), False),
        ("river ice", "", f"River ice is named in passing. {partly(6)}", True),
        ("river ice", "", f"River ice is named in passing. {partly(4)}", False),
        ("river ice", "", f"River ice, and river ice again. {partly(5)}", True),
    ],
)
def test_the_oftener_a_paper_names_a_common_term_the_less_it_must_be_near(
    term: str, title: str, abstract: str, sent: bool
) -> None:
    prepared = world(term, named_by=20, candidates=(paper(900, abstract, title),))
    assert (900 in found(prepared, term)) is sent


def test_one_mention_is_enough_of_a_rare_term_and_near_the_topic() -> None:
    rare = paper(900, f"Once named: quokka. {subject(7)}")
    assert set(found(world("policy", named_by=20, candidates=(rare,)), "quokka")) == {900}
    near = paper(901, f"One policy, {subject(0)}")
    assert set(found(world("policy", named_by=20, candidates=(near,)), "policy")) == {901}


def votes(opinion: Opinion, of: int, count: int) -> tuple[Vote, ...]:
    return tuple(Vote(PaperId(of + SUBJECTS * n), opinion, NOW) for n in range(count))


def test_who_likes_other_things_means_another_policy() -> None:
    taste = votes(Opinion.MORE, 3, 5)
    word = paper(900, f"A policy and a policy. {partly(7)}")
    prepared = world("policy", named_by=20, candidates=(word,))
    assert set(found(prepared, "policy")) == {900}
    assert set(found(prepared, "policy", *taste)) == set()
    assert set(found(prepared, "policy", *votes(Opinion.MORE, 7, 5))) == {900}


def ask(prepared: Index, *terms: str) -> set[int]:
    profile = TopicProfile(tuple(Topic(term, (term,)) for term in terms))
    (ranked,) = rank(prepared, [profile], [frozenset()], now=NOW, depth=PAPERS)
    return {int(scored.paper_id) for scored in ranked.scored}


def test_who_has_other_topics_means_the_policy_that_they_are_about() -> None:
    near = paper(900, f"A policy and a policy. {subject(0)}")
    far = paper(901, f"A policy and a policy. {partly(7)}")
    often = paper(902, f"Policy: a policy and a policy. {partly(7)}", "Policy, policy, policy")
    prepared = world("policy", named_by=20, candidates=(near, far, often))
    others = tuple(f"word{number}x0" for number in (3, 4))
    assert ask(prepared, "policy") == {900, 901, 902}
    assert ask(prepared, "policy", *others) == {900, 902}


def test_a_followed_author_says_nothing_of_what_a_common_word_means() -> None:
    word = paper(900, f"A policy and a policy. {partly(7)}")
    prepared = world("policy", named_by=20, candidates=(word,))
    followed = tuple(Topic(name, (), authors=(name,)) for name in ("Ada Lovelace", "Emmy Noether"))
    profile = TopicProfile((Topic("policy", ("policy",)), *followed))
    (ranked,) = rank(prepared, [profile], [frozenset()], now=NOW, depth=PAPERS)
    assert [int(scored.paper_id) for scored in ranked.scored] == [900]


def test_the_explanation_tells_what_a_common_word_lacked() -> None:
    often = paper(900, f"A policy, and another policy. {partly(7)}")
    prepared = world("policy", named_by=20, candidates=(often,))

    def told(*terms: str) -> list[str]:
        profile = TopicProfile(tuple(Topic(term, (term,)) for term in terms))
        parts = explain(prepared, profile, PaperId(900), NOW).parts
        return [part.detail for part in parts if part.name == "agreement"]

    assert told("policy") == ["3.9 standard deviations, its common words need 3.3"]
    (less,) = told("policy", "word3x0", "word4x0")
    assert less.endswith("need 3.3")
    assert float(less.split()[0]) < 3.3
    assert told("another") == []


def test_meaning_alone_needs_the_rest_of_the_profile() -> None:
    prepared = world("river ice", named_by=15, candidates=(paper(900, subject(0)),))
    others = tuple(f"word{number}x0" for number in (3, 4, 5))
    assert ask(prepared, "river ice") == {900}
    assert ask(prepared, "river ice", *others) == set()


def test_both_views_of_votes_push_away_what_was_disliked() -> None:
    prepared = world("policy", named_by=20)

    def votes_say(opinion: Opinion) -> float:
        profile = TopicProfile((), votes(opinion, 7, 6))
        return explain(prepared, profile, PaperId(7 + SUBJECTS * 10), NOW).parts[0].evidence

    assert votes_say(Opinion.LESS) == pytest.approx(-votes_say(Opinion.MORE), rel=0.1)

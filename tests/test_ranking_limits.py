"""Hostile profiles are refused at the door with a reason and, if one is stored all the same, rank in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakSet

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.model import Paper, PaperId, PaperRecord, Topic, TopicProfile
from digestbot.ranking import check_topics, fit, index, rank
from digestbot.ranking.candidates import TEXTS_KEPT
from digestbot.ranking.memory import Memory

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
PAPERS = [Paper(PaperId(n), PaperRecord(f"River ice {n}", "It breaks. " * 100), NOW) for n in range(100)]
PREPARED = index(fit(PAPERS), PAPERS)


def topic(*terms: str, **fields: object) -> Topic:
    return Topic("subject", terms, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ([topic(*(f"term {n}" for n in range(10_000)))], "too many"),
        ([topic("ice")] * 101, "too many"),
        ([topic("x" * 1_000_000)], "longer than 200"),
        ([topic("ice", exclude=("x" * 201,))], "longer than 200"),
        ([topic("")], "no word"),
        ([topic("of the")], "only words that every paper has"),
        ([topic("this")], "only words that every paper has"),
        ([topic("thus many")], "only words that every paper has"),
        ([topic(".*+?[")], "no word"),
        ([topic()], "at least one"),
        ([topic("ice", authors=("",))], "author"),
        ([topic("ice", authors=("...",))], "no family name"),
        ([topic("ice", weight=float("nan"))], "weight"),
        ([topic("ice", weight=-1.0)], "weight"),
        ([Topic(" ", ("ice",))], "no name"),
        ([Topic("ice \x1b]0;x\x07", ("ice",))], "control characters"),
        ([topic("ice", exclude=("sea\u202e",))], "control characters"),
        ([topic("ice", authors=("A. Frost\x9b31m",))], "control characters"),
    ],
)
def test_refused_with_a_reason(topics: list[Topic], said: str) -> None:
    problems = check_topics(topics)
    assert any(said in problem for problem in problems), problems
    assert all(len(problem) < 300 for problem in problems)


@pytest.mark.parametrize(
    "term",
    [
        "C++",
        "sea\u00a0ice",
        "\u200fالجليد",
        "持续学习",
        "التعلم",
        "(un)supervised [learning]",
        "k-means",
        "GPT-4",
        "R&D",
    ],
)
def test_taken(term: str) -> None:
    assert check_topics([topic(term)]) == []


@pytest.mark.parametrize(
    "hostile",
    [
        topic(*(f"river ice {n}" for n in range(10_000))),
        topic("ice " * 250_000),
        topic("(a+)+$", "[", "\\", "", "\x00", "of the"),
        topic(*(["river ice"] * 10_000)),
        topic("it breaks " * 19),
    ],
)
def test_ranks_in_time_all_the_same(hostile: Topic) -> None:
    start = time.process_time()
    rank(PREPARED, [TopicProfile((hostile,))], [frozenset()], now=NOW, depth=10)
    assert time.process_time() - start < 2.0


@given(st.lists(st.text(max_size=30), max_size=5), st.lists(st.text(max_size=30), max_size=3))
def test_any_text_ranks(terms: list[str], authors: list[str]) -> None:
    profile = TopicProfile((topic(*terms, authors=tuple(authors), exclude=tuple(terms[:1])),))
    (found,) = rank(PREPARED, [profile], [frozenset()], now=NOW, depth=10)
    assert all(0.0 < scored.score <= 1.0 for scored in found.scored)
    check_topics(profile.topics)


def test_what_was_looked_up_is_remembered_within_a_bound() -> None:
    @dataclass(eq=False)
    class Found:
        size: int

        def __len__(self) -> int:
            return self.size

    asked: list[int] = []
    alive = WeakSet[Found]()

    def find(key: int) -> Found:
        asked.append(key)
        found = Found(key % 10)
        alive.add(found)
        return found

    memory = Memory(find, most=100)
    for key in [*range(50), 49, 48]:
        assert len(memory.get(key)) == key % 10
        assert sum(1 + len(value) for value in alive) <= 100
    assert asked == list(range(50))
    memory.get(0)
    assert asked[-1] == 0, "forgotten by then"


def test_embedded_topics_are_kept_within_a_bound() -> None:
    found = index(fit(PAPERS), PAPERS)
    vector = np.ones(3)
    found.known_texts.update((str(number), vector) for number in range(TEXTS_KEPT + 1))
    assert found.embedded_texts(["5", "6"]).shape == (2, 3)
    assert set(found.known_texts) == {"5", "6"}

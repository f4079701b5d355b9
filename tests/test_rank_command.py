"""`rank` and `explain` as a user types them, with what people put into files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.household import Household, household

__all__ = ["household"]

PAPERS = [{"id": n, "title": f"River ice {n}", "abstract": "It breaks in spring. " * 20} for n in range(200)]
NOW, LATER = "2026-01-05T05:00:00Z", "2026-01-05T06:00:00Z"


def write(name: str, rows: list[object]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def test_an_unknown_id_is_named_with_its_line_and_the_others_are_ranked(household: Household) -> None:
    profiles = [
        {"user": "ada", "topics": ["river ice"], "liked": [1, 999, None]},
        {"user": "bob", "topics": ["river ice"]},
    ]
    command = ("rank", "--papers", write("p.jsonl", [*PAPERS]), "--profiles", write("u.jsonl", [*profiles]))
    answer = household.run(*command)
    assert answer.code == 1
    assert "u.jsonl: line 1: liked: '999' is no paper's id" in answer.err
    assert [row["user"] for row in answer.json_lines] == ["ada", "bob"]
    Path("c.json").write_text("[3, 4, 'x']".replace("'", '"'))
    answer = household.run(*command, "--candidates", "c.json")
    assert (answer.code, sorted(answer.json_lines[1]["ranking"])) == (1, [3, 4])
    assert "c.json: 'x'" in answer.err


@pytest.mark.parametrize(
    "term",
    [
        "x" * 1_000_000,
        "(a+)+$",
        ".*",
        "",
        "of the",
        "持续学习",
        "التعلم الآلي",
        "[" * 150,
        "\u0000",
    ],
    ids=["1 MB", "backtracking", "any", "empty", "stop words", "Chinese", "Arabic", "brackets", "NUL"],
)
def test_hostile_terms_rank_in_time_or_are_named(household: Household, term: str) -> None:
    profiles = [
        {"user": 1, "topics": [term]},
        {
            "user": 2,
            "topics": [{"name": "many", "terms": ["ice"] + [f"{term[:20]} {n}" for n in range(10_000)]}],
        },
        {"user": 3, "topics": ["river ice"]},
    ]
    start = time.process_time()
    answer = household.do(
        "rank", "--papers", write("p.jsonl", [*PAPERS]), "--profiles", write("u.jsonl", [*profiles])
    )
    assert time.process_time() - start < 20
    assert len(answer.json_lines) == 3
    assert answer.json_lines[2]["scores"][0] > 0
    assert "u.jsonl: line 2" in answer.err
    assert len(answer.err) < 2_000


@pytest.mark.parametrize("term", ["x" * 100_000, "of the", "...", ""])
def test_a_term_that_says_nothing_is_refused_at_the_door(household: Household, term: str) -> None:
    answer = household.run("subscribers", "add", "ada@example.org", f"--topic={term}", "--confirmed", now=NOW)
    assert answer.code == 2
    assert "topic" in answer.err
    assert len(answer.err) < 500


def test_explain_speaks_to_people(household: Household) -> None:
    household.subscribe("ada@example.org", "river ice", now=NOW)
    household.subscribe("eve@example.org", now=NOW)
    rows: list[object] = [
        {"title": "River ice breaks early", "abstract": "We watch it.", "upvotes": 9},
        {"title": "Bread ovens of the north", "abstract": "We bake."},
    ]
    household.do("ingest", write("d.jsonl", rows), now=NOW)
    shown = household.do("explain", "ada@example.org", "River ice breaks early", now=LATER).out
    assert "Would it be sent? yes" in shown
    assert "Why: it mentions river ice" in shown
    assert not set("[]{}'") & set(shown)
    trending = household.do("explain", "eve@example.org", "River ice breaks early", now=LATER).out
    assert "what trends" in trending
    assert "9 upvotes" in trending
    assert "minimum" not in trending
    unnoticed = household.do("explain", "eve@example.org", "Bread ovens of the north", now=LATER).out
    assert "nobody noticed it yet" in unnoticed

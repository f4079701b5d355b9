"""The question of every tick, who is due, reads the rows of those who are, however many others there are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from digestbot.storage.subscribers import BY_STATUS, DUE, NEXT_DUE, PLANNED_AFTER
from tests.many_subscribers import NOW, make_storage

AT = int(NOW.timestamp())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "digestbot.db"
    storage = make_storage(path, subscribers=20_000, due=50)
    assert len(storage.subscribers.due(NOW)) == 50
    storage.close()
    return path


def steps(database: Path, sql: str, values: tuple[int, ...]) -> int:
    """Instructions of SQLite's virtual machine that the query takes."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    with sqlite3.connect(database) as db:
        db.execute("SELECT count(*) FROM sqlite_master").fetchall()  # reads the schema
        db.set_progress_handler(count, 1)
        db.execute(sql, values).fetchall()
    return taken


def test_subscribers_are_counted_without_looking_at_each(database: Path) -> None:
    assert steps(database, BY_STATUS, ()) < 200


@pytest.mark.parametrize(
    ("sql", "values"),
    [(DUE, (AT, 1000, 0)), (NEXT_DUE, ()), (PLANNED_AFTER, (AT,))],
    ids=["due", "next due", "far ahead"],
)
def test_the_plan_is_a_search_in_the_index_without_sorting(
    database: Path, sql: str, values: tuple[int, ...]
) -> None:
    with sqlite3.connect(database) as db:
        plan = [str(row[3]) for row in db.execute("EXPLAIN QUERY PLAN " + sql, values)]
    assert len(plan) == 1, plan
    assert plan[0].startswith("SEARCH subscribers USING ")
    assert "INDEX subscribers_due (next_due_at" in plan[0]


def test_it_reads_only_the_rows_that_are_due(database: Path) -> None:
    few, many = (steps(database, DUE, (AT, limit, 0)) for limit in (5, 1000))
    assert many < 50 * 30  # 18 columns a row and some
    assert few < many / 4
    assert steps(database, NEXT_DUE, ()) < 50

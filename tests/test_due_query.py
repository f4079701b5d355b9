"""The question of every tick, who is due, reads the rows of those who are, however many others there are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from digestbot.model import Status
from digestbot.storage.subscribers import BY_STATUS, DUE, NEXT_DUE, PLANNED_AFTER
from tests.backends import open_storage
from tests.deliveries import add_subscribers
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


@pytest.mark.usefixtures("backend")
def test_the_due_are_shared_out_in_parts_and_nobody_else_is(tmp_path: Path) -> None:
    with closing(open_storage(tmp_path)) as storage:
        people = add_subscribers(storage, [f"p{n}@one.example" for n in range(9)])
        ids = [who.id for who in people]
        storage.subscribers.set_next_due(dict.fromkeys(ids[:7], NOW))
        storage.subscribers.set_next_due({ids[7]: NOW + timedelta(seconds=1)})
        storage.subscribers.set_status(ids[2], Status.UNSUBSCRIBED)
        ranges = storage.subscribers.due_ranges(NOW, 2, 9)
        assert ranges == [(ids[0], ids[1]), (ids[3], ids[4]), (ids[5], ids[6])]
        assert storage.subscribers.due_ranges(NOW, 2, 1) == ranges[:1]
        found = [[who.id for who in storage.subscribers.due_among(NOW, part)] for part in ranges]
        assert found == [list(part) for part in ranges]
        whole = storage.subscribers.due_among(NOW, (ids[0], ids[8]))
        assert [who.id for who in whole] == [*ids[:2], *ids[3:7]]


@pytest.mark.usefixtures("backend")
def test_when_somebody_is_due_next_changes_for_them_alone_and_where_it_was_as_read(tmp_path: Path) -> None:
    tomorrow, later = NOW + timedelta(days=1), NOW + timedelta(days=2)
    with closing(open_storage(tmp_path)) as storage:
        ada, bob = (who.id for who in add_subscribers(storage, ["ada@one.example", "bob@one.example"]))
        storage.subscribers.set_next_due({ada: NOW, bob: NOW})
        storage.subscribers.advance({ada: (NOW, tomorrow)})
        storage.subscribers.advance({ada: (NOW, later)})
        found = storage.subscribers.get_many([ada, bob])
        assert [found[who].next_due_at for who in (ada, bob)] == [tomorrow, NOW]

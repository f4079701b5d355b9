"""A state that an older version left is brought forward whole, and works; one of a newer version is left alone."""

from __future__ import annotations

import gzip
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from digestbot.storage.migrations import steps
from tests.household import Household, household
from tests.schemas import STATES

__all__ = ["household"]

DATABASE = Path("state/digestbot.db")
NEWEST = steps("sqlite")[-1][0]
LATER = "2026-11-18T12:00:00Z"  # the day after the demo's last


def unpack(state: Path) -> None:
    DATABASE.parent.mkdir()
    DATABASE.write_bytes(gzip.decompress(state.read_bytes()))


def rows(table: str) -> Counter[str]:
    """The rows as far as the first version had columns; how digests are packed is tests/test_packing.py's."""
    columns = {"papers": "id, title, abstract, first_seen", "outbox": "id, state, message_id"}
    with closing(sqlite3.connect(DATABASE)) as connection:
        return Counter(map(repr, connection.execute(f"SELECT {columns.get(table, '*')} FROM {table}")))


def shape() -> Iterator[tuple[str, ...]]:
    """All tables with their columns, indexes and triggers; how the SQL was typed aside."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        found = connection.execute("SELECT type, name, tbl_name FROM sqlite_master ORDER BY 1, 2").fetchall()
        for kind, name, table in found:
            columns = [] if kind != "table" else connection.execute(f"PRAGMA table_info({name})").fetchall()
            yield (kind, name, table, *(repr(column[1:4]) for column in columns))


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_versions_follow_each_other(dialect: str) -> None:
    """Two files of one version would be one too many: only one of them is run."""
    versions = [version for version, _ in steps(dialect)]
    assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.name)
def test_a_state_of_a_released_version_works_on(household: Household, state: Path) -> None:
    household.do("init")
    wanted = list(shape())
    DATABASE.unlink()
    DATABASE.parent.rename("elsewhere")
    unpack(state)
    before = {table: rows(table) for table in ("papers", "slots", "outbox", "aliases", "consents")}
    assert before["slots"].total() >= 5

    shown = household.do("status", "--json", now=LATER).json  # a command that changes nothing reads it, too
    assert shown["subscribers"]["confirmed"] == 3
    assert household.do("migrate", "--json").json == {"schema": NEWEST}
    assert {table: rows(table) for table in before} == before
    assert list(shape()) == wanted

    household.drop(
        '{"title": "More on symbolic regression", "abstract": "We study symbolic regression again."}'
    )
    report = household.do("run", "--once", "--json", now=LATER).json
    assert (report["papers"]["new"], report["delivery"]["sent"]) == (1, 0)
    tomorrow = household.do("run", "--once", "--json", now="2026-11-18T23:05:00Z").json
    assert tomorrow["delivery"]["sent"] == 1
    assert household.mails_to("yui@example.com")


def test_a_newer_state_is_left_alone(household: Household) -> None:
    household.do("init")
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (?)", (NEWEST + 1,))
    before = household.state_on_disk()
    for words in (["migrate"], ["run", "--once"], ["status"], ["papers"]):
        answer = household.run(*words)
        assert answer.code == 1
        assert f"schema {NEWEST + 1}" in answer.err
        assert "install a newer digestbot" in answer.err
    assert household.state_on_disk() == before


def test_the_schema_of_each_release_is_kept() -> None:
    """With a release in the changelog there is a state of at least one schema to come from."""
    changelog = (Path(__file__).resolve().parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[?\d+\.\d+", changelog, re.MULTILINE)
    assert STATES
    assert len(STATES) >= min(1, len(released))
    assert int(STATES[-1].name[:4]) <= NEWEST

"""The database file among several connections and processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from digestbot.settings import parse_settings
from digestbot.storage import open_storage, rehearse
from digestbot.storage.sqlite import SqliteDatabase

COUNT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM things").fetchone()[0])
db.close()
"""


def count_elsewhere(path: Path) -> int:
    """As another process sees it, which then closes the database."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_nobody_who_closes_takes_away_what_several_connections_of_one_process_write(tmp_path: Path) -> None:
    path = tmp_path / "digestbot.db"
    first = SqliteDatabase(path)
    first.execute("CREATE TABLE things (number INTEGER)")
    second = SqliteDatabase(path)  # must leave the locks of the first as they are
    assert count_elsewhere(path) == 0
    for number, db in enumerate((first, second, first)):
        db.execute("INSERT INTO things VALUES (?)", (number,))
        assert count_elsewhere(path) == number + 1
    first.close()
    second.close()
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT count(*) FROM things").fetchone() == (3,)


def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "digestbot.db"
    SqliteDatabase(path).close()
    SqliteDatabase(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_nobody_waits_for_a_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digestbot.storage.sqlite.BUSY_TIMEOUT_S", 0.1)  # who had to wait would fail
    settings = parse_settings({"DIGESTBOT_STATE": str(tmp_path)})
    with open_storage(settings) as real:
        real.operation.set_fact("before", "1")
        with rehearse(settings, writing=True) as rehearsed:
            rehearsed.operation.set_fact("rehearsed", "1")
            real.operation.set_fact("meanwhile", "1")
            facts = [rehearsed.operation.find_fact(name) for name in ("before", "rehearsed", "meanwhile")]
            assert facts == ["1", "1", None]
        assert real.operation.find_fact("rehearsed") is None
    assert {path.name for path in tmp_path.iterdir()} == {"digestbot.db"}

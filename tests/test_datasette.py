"""deploy/datasette.yml describes every table and column of the state, and its queries run on a real one."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from digestbot.demo import run_demo
from tests.programs import program

METADATA = Path(__file__).resolve().parents[1] / "deploy" / "datasette.yml"
LEFT_OUT = {  # what nobody looks into
    "counters": "the next ids",
    "facts": "single values of the program's own",
    "handovers": "counts for the daily limit",
    "mails_acted_on": "so that each acts once",
    "models": "the ranking's numbers, packed",
    "vectors": "embeddings, packed",
    "text_vectors": "embeddings, packed",
    "schema_version": "for `migrate`",
}


def look() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(METADATA.read_text(encoding="utf-8"))["databases"]["look"]
    return found


QUERIES = look()["queries"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Two days of the demo, and a vote."""
    folder = tmp_path_factory.mktemp("datasette") / "demo"
    run_demo(folder, lambda said: None)
    connection = sqlite3.connect(folder / "state" / "digestbot.db")
    connection.execute("INSERT INTO votes VALUES (1, 1, 'more', 0)")
    connection.execute("UPDATE outbox SET state = 'bounced', finished_at = unixepoch() WHERE id = 1")
    connection.execute("UPDATE outbox SET due_at = unixepoch()")
    yield connection
    connection.close()


def test_every_table_and_column_is_described_or_left_out(state: sqlite3.Connection) -> None:
    tables = [
        name
        for (name,) in state.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(("sqlite_", "papers_words"))
    ]
    described = look()["tables"]
    assert set(tables) == set(described) | set(LEFT_OUT)
    for table, about in described.items():
        columns = [row[1] for row in state.execute(f"PRAGMA table_info({table})")]
        assert list(about["columns"]) == columns, table
        assert about["description"]


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_runs_and_finds_something(state: sqlite3.Connection, name: str) -> None:
    query = QUERIES[name]
    [(paper_id,)] = state.execute(
        "SELECT json_extract(papers, '$[0]') FROM outbox WHERE papers IS NOT NULL LIMIT 1"
    )
    email = "Yui@example.com" if name == "why_nothing" else "Mira@example.org"
    values = {"email": email, "paper_id": paper_id}
    assert state.execute(query["sql"], {key: values[key] for key in query.get("params", ())}).fetchall()
    assert query["title"]


def test_datasette_takes_it(state: sqlite3.Connection, tmp_path: Path) -> None:
    copy = tmp_path / "look.db"
    state.commit()
    state.execute("VACUUM INTO ?", (str(copy),))
    url = "/look/digests_of_somebody.json?email=mira@example.org&_shape=array"
    command = [program("datasette"), str(copy), "--metadata", str(METADATA), "--get", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "title" in done.stdout

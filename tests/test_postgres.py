"""What a database promises beyond the stores' own tests, on both; and what only a server does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from digestbot.errors import SettingsError, StorageError
from digestbot.storage import Storage
from digestbot.storage.database import Database, take_ids
from digestbot.storage.migrations import migrate, schema_version
from digestbot.storage.postgres import PostgresDatabase
from digestbot.storage.sqlite import SqliteDatabase
from tests import backends
from tests.backends import open_storage
from tests.household import Household, household
from tests.web_world import running

__all__ = ["household"]

PAGE = (
    '{"title": "Owls that read at noon", "abstract": "Reading owls sleep better. They read all day long."}\n'
)
NOON, LATER = "2026-11-20T12:00:00Z", "2026-11-21T09:00:00Z"


@pytest.fixture
def storage(backend: None, tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    yield storage
    storage.close()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database with our schema."""
    backends.use(backends.POSTGRES)
    yield backends.POSTGRES.url(tmp_path)
    backends.use(backends.SQLITE)
    backends.POSTGRES.reset()


def facts(db: Database) -> dict[object, object]:
    return {row[0]: row[1] for row in db.rows("SELECT name, value FROM facts")}


def fail_after(db: Database, name: str) -> None:
    with suppress(ZeroDivisionError), db.transaction():
        put(db, name)
        raise ZeroDivisionError


def put(db: Database, name: str) -> None:
    db.execute("INSERT INTO facts (name, value) VALUES (?, '')", (name,))


# ---- on both --------------------------------------------------------------------------------------------------------


def test_what_fails_is_undone_and_what_was_caught_inside_is_not(storage: Storage) -> None:
    db = storage.db
    fail_after(db, "gone")
    with db.transaction():
        put(db, "first")
        fail_after(db, "inside")
        put(db, "last")
    assert set(facts(db)) == {"first", "last"}


@pytest.mark.parametrize("writing", [True, False])
def test_a_rehearsal_never_happened(storage: Storage, tmp_path: Path, writing: bool) -> None:
    db, other = storage.db, open_storage(tmp_path)
    put(db, "before")
    with db.rehearsal(writing=writing):
        with db.transaction():
            assert list(take_ids(db, "papers", 3)) == [1, 2, 3]
            put(db, "rehearsed")
        assert set(facts(db)) == {"before", "rehearsed"}
        assert set(facts(other.db)) == {"before"}
    assert set(facts(db)) == {"before"}
    with db.transaction():
        assert list(take_ids(db, "papers", 1)) == [1]
    other.close()


def test_what_is_read_alone_stays_true(storage: Storage, tmp_path: Path) -> None:
    """Two who read and then write what follows from it never do so at once."""
    others = [open_storage(tmp_path) for _ in range(4)]
    storage.operation.set_fact("count", "0")

    def add(other: Storage) -> None:
        for _ in range(10):
            with other.transaction():
                count = int(other.operation.find_fact("count") or 0)
                time.sleep(0.001)
                other.operation.set_fact("count", str(count + 1))

    threads = [threading.Thread(target=add, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.operation.find_fact("count") == "40"
    for other in others:
        other.close()


def test_threads_of_one_storage_do_not_share_a_transaction(storage: Storage) -> None:
    began, ended = threading.Event(), threading.Event()

    def undo() -> None:
        with suppress(ZeroDivisionError), storage.transaction():
            storage.operation.set_fact("undone", "")
            began.set()
            raise ZeroDivisionError
        ended.set()

    thread = threading.Thread(target=undo)
    thread.start()
    assert began.wait(120)
    storage.operation.set_fact("done", "")
    thread.join()
    assert ended.is_set()
    assert set(facts(storage.db)) == {"done"}


def test_an_empty_list_finds_nobody(storage: Storage) -> None:
    assert storage.subscribers.get_many([]) == {}
    assert storage.recall is not None
    assert storage.transfer.outcomes([]) == {}


def test_runs_are_kept_in_order(storage: Storage) -> None:
    from tests.deliveries import NOW

    for n in range(3):
        storage.operation.record_run(started_at=NOW, finished_at=NOW, report={"n": n})
    assert [report["n"] for _, _, report in storage.operation.last_runs(2)] == [2, 1]


def test_search_means_the_same(backend: None, tmp_path: Path) -> None:
    with running(tmp_path, DATABASE=backends.current().url(tmp_path)) as world:
        for query, found in (
            ("MOSS+bridge", 2),
            ("10.1234/wires", 1),
            ("2611.00001", 1),
            ("Fern+Ada", 1),
            ("bird-song+night", 0),
            ("zebra", 0),
            ("%22", 0),
        ):
            page = world.get("/?q=" + query)
            assert page.status == 200
            assert len(set(re.findall(r"/paper/\d+", page.text))) == found, query


def test_both_have_the_same_columns(postgres: str, tmp_path: Path) -> None:
    lite, server = SqliteDatabase(tmp_path / "db"), PostgresDatabase(postgres)
    migrate(lite)
    tables = lite.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'papers_words%' ORDER BY name"
    )
    assert tables
    for (table,) in tables:
        ours = lite.rows("SELECT name FROM pragma_table_info(?)", (table,))
        theirs = server.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_name = ? AND is_generated = 'NEVER'"
            " ORDER BY ordinal_position",
            (table,),
        )
        assert theirs == ours, table
    assert schema_version(server) == schema_version(lite)
    lite.close()
    server.close()


# ---- the server -----------------------------------------------------------------------------------------------------


def test_a_wrong_url_is_said_without_the_password(postgres: str) -> None:
    server = urlsplit(postgres)
    for url, problem in (
        ("postgresql://u:geheim@127.0.0.1:port/x", "must be postgresql://"),
        ("postgresql://u:geheim@127.0.0.1:1/x", "Connection refused"),
        (f"postgresql://digestbot:geheim@127.0.0.1:{server.port}/nothing", "does not exist"),
        ("postgresql://u:geheim@nowhere.invalid/x", "nowhere.invalid"),
    ):
        with pytest.raises((SettingsError, StorageError), match=problem) as caught:
            PostgresDatabase(url)
        assert "geheim" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_command_line_says_what_is_wrong(household: Household) -> None:
    household.set("DATABASE", "postgresql://u:geheim@127.0.0.1:1/x")
    answer = household.run("status")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("digestbot: PostgreSQL at 127.0.0.1, x: ")
    household.set("DATABASE", "postgresql://u:ge@heim@127.0.0.1/x")
    answer = household.run("status")
    assert answer.code == 2
    assert "DIGESTBOT_DATABASE: percent-encode" in answer.err
    household.set("DATABASE", "postgresql://u:geheim@127.0.0.1:port/x")
    answer = household.run("status")
    assert answer.code == 2
    assert "DIGESTBOT_DATABASE" in answer.err
    assert "geheim" not in answer.err


def test_a_lost_connection_is_an_error_once_and_an_idle_one_none(postgres: str) -> None:
    db = PostgresDatabase(postgres)
    end = (
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute(end)
        assert db.row("SELECT 1") == (1,), "an idle connection that ended is opened anew"
        with pytest.raises(StorageError, match=r"PostgreSQL at 127\.0\.0\.1"):
            cut_off(db, lambda: other.execute(end))
    assert facts(db) == {}
    db.close()


def cut_off(db: Database, cut: Callable[[], object]) -> None:
    with db.transaction():
        put(db, "lost")
        cut()
        put(db, "lost, too")


def test_a_lock_held_too_long_is_said(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digestbot.storage.postgres.BUSY_TIMEOUT_S", 1)
    one, other = PostgresDatabase(postgres), PostgresDatabase(postgres)
    done = threading.Event()
    with one.transaction():

        def wait() -> None:
            with pytest.raises(StorageError, match="held it for a minute"), other.transaction():
                pass
            done.set()

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(120)
    assert done.is_set()
    one.close()
    other.close()


def test_nul_cannot_break_a_statement(postgres: str) -> None:
    db = PostgresDatabase(postgres)
    put(db, "a\0b")
    assert set(facts(db)) == {"a\N{REPLACEMENT CHARACTER}b"}
    db.close()


def test_a_whole_day_with_pages(postgres: str, household: Household, tmp_path: Path) -> None:
    home = household
    home.set("DATABASE", postgres)
    home.do("init")
    assert not (tmp_path / "state" / "digestbot.db").exists()
    (tmp_path / "people.jsonl").write_text('{"email": "ada@example.org", "topics": ["owls"]}\n')
    home.do("subscribers", "import", "people.jsonl", now=NOON)
    home.drop(PAGE)
    before = contents(postgres)
    assert "Owls that read" in home.do("preview", "ada@example.org", now=LATER).out
    assert home.do("run", "--dry-run", "--json", now=LATER).json["digests"]["composed"] == 1
    assert contents(postgres) == before
    report = home.do("run", "--once", "--json", now=LATER).json
    assert report["delivery"]["sent"] == 1
    assert len(home.mails_to("ada@example.org")) == 1
    assert home.do("run", "--once", "--json", now=LATER).json["delivery"]["sent"] == 0
    assert home.do("status", "--json", now=LATER).json["outbox"]["sent"] == 1
    assert "sent already" in home.do("explain", "ada@example.org", now="2026-11-22T09:00:00Z").out
    assert home.do("outbox", "list", "sent").out
    doctor = home.run("doctor", now=LATER)
    assert "PostgreSQL: schema" in doctor.out + doctor.err
    assert home.run("backup", "copy.db").code == 2


def contents(url: str) -> dict[str, list[str]]:
    """Every row of every table."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return {
            name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}".encode()).fetchall()))
            for (name,) in tables
        }


def test_a_rehearsal_that_decides_nothing_holds_nobody_up(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("digestbot.storage.postgres.BUSY_TIMEOUT_S", 1)
    one, other = PostgresDatabase(postgres), PostgresDatabase(postgres)
    with one.rehearsal(writing=True):
        put(one, "rehearsed")
        with other.transaction():
            put(other, "decided")
    assert set(facts(one)) == {"decided"}
    one.close()
    other.close()

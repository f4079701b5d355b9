"""`migrate --from --to`: everything arrives, verified; a move that is broken off goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from digestbot.errors import StorageError
from digestbot.storage import Storage
from digestbot.storage.moving import UNDER_WAY, move
from digestbot.storage.postgres import PostgresDatabase
from digestbot.storage.sqlite import SqliteDatabase
from tests import backends
from tests.deliveries import NOW, queue_digests
from tests.household import Household, household

__all__ = ["household"]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    yield backends.POSTGRES.url(tmp_path)
    backends.POSTGRES.reset()


def storage_of(url: str) -> Storage:
    path = url.removeprefix("sqlite:///")
    return Storage(PostgresDatabase(url) if path == url else SqliteDatabase(Path(path)))


def lived_in(home: Household) -> str:
    """A state with something in nearly every table; its URL."""
    home.do("init")
    home.drop(
        '{"title": "Owls that read at noon", "abstract": "Reading owls sleep better than others do."}\n'
    )
    home.subscribe("ada@example.org", "owls", now="2026-11-20T07:00:00Z")
    home.subscribe("böb@example.org", "ferns", now="2026-11-20T07:00:00Z", min_score="0.25")
    home.do("suppressions", "add", "eve@example.org")
    home.do("run", "--once", now="2026-11-21T09:00:00Z")
    return f"sqlite:///{home.folder / 'state' / 'digestbot.db'}"


def test_there_and_back(postgres: str, household: Household, tmp_path: Path) -> None:
    source = lived_in(household)
    before = household.do("subscribers", "export", "--full").out
    counts = household.do("migrate", "--from", source, "--to", postgres, "--json").json["tables"]
    assert counts["subscribers"] == 2
    assert counts["outbox"] >= 1
    household.set("DATABASE", postgres)
    assert household.do("subscribers", "export", "--full").out == before
    report = household.do("run", "--once", "--json", now="2026-11-21T09:30:00Z").json
    assert report["digests"]["composed"] == 0
    household.subscribe("new@example.org", "owls", now="2026-11-21T10:00:00Z")
    back = f"sqlite:///{tmp_path / 'back.db'}"
    again = household.do("migrate", "--from", postgres, "--to", back, "--json").json["tables"]
    assert again["subscribers"] == 3


def test_it_refuses_what_it_would_spoil(postgres: str, household: Household, tmp_path: Path) -> None:
    source = lived_in(household)
    storage = storage_of(postgres)
    storage.operation.set_fact("ours", "")
    storage.close()
    for old, new, problem in (
        (source, postgres, "facts is not empty"),
        (f"sqlite:///{tmp_path / 'none.db'}", postgres, "there is no database"),
        (source, source, "the same database"),
        (source, "mysql://x/y", "must begin with"),
    ):
        answer = household.run("migrate", "--from", old, "--to", new)
        assert answer.code == 2
        assert problem in answer.err
    assert household.run("migrate", "--from", source).code == 2


@pytest.mark.parametrize(
    ("source", "target", "named"), [("foo", "sqlite:///b", "--from"), ("sqlite:///a", "foo", "--to")]
)
def test_a_url_that_is_none_is_told_by_its_option(
    household: Household, source: str, target: str, named: str
) -> None:
    answer = household.run("migrate", "--from", source, "--to", target)
    said = "must begin with sqlite:/// or postgresql://"
    assert (answer.code, answer.err) == (2, f"digestbot: {named}: {said}\n")


def test_who_still_sends_is_told_to_stop(postgres: str, household: Household) -> None:
    source = lived_in(household)
    storage = storage_of(source)
    queue_digests(storage, ["ada@example.org"], slot=NOW.date().replace(day=25))
    storage.outbox.claim(NOW.replace(year=2027), "elsewhere:boot:1:1:ab", 5, real_now=NOW)
    storage.close()
    answer = household.run("migrate", "--from", source, "--to", postgres)
    assert answer.code == 2
    assert "stop digestbot first" in answer.err


def test_a_copy_that_differs_is_noticed(postgres: str, household: Household) -> None:
    first, second = storage_of(lived_in(household)), storage_of(postgres)

    def meddle(table: str, rows: int) -> None:
        if table == "papers":
            second.db.execute("INSERT INTO consents (subscriber_id, at, how, detail) VALUES (1, 1, '', '')")
            second.db.execute(
                "INSERT INTO votes (subscriber_id, paper_id, opinion, at) VALUES (1, 1, 'more', 1)"
            )

    with pytest.raises(StorageError, match="votes: the copy differs"):
        move(first.db, second.db, meddle)
    assert second.operation.find_fact(UNDER_WAY) is not None
    first.close()
    second.close()


def test_a_killed_move_goes_on_where_it_was(postgres: str, household: Household) -> None:
    source = lived_in(household)
    storage = storage_of(source)
    queue_digests(storage, [f"p{n}@d.example" for n in range(20_000)])
    storage.close()
    command = [sys.executable, "-m", "digestbot", "migrate", "--from", source, "--to", postgres]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    target = storage_of(postgres)
    child = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    while not target.db.row("SELECT 1 FROM subscribers LIMIT 1"):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    row = target.db.row("SELECT COUNT(*) FROM subscribers")
    assert row is not None
    print(f"killed after {row[0]!r} of 20,002 subscribers")
    target.close()
    counts = household.do("migrate", "--from", source, "--to", postgres, "--json").json["tables"]
    assert (counts["subscribers"], counts["slots"] >= 20_000) == (20_002, True)

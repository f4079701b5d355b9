"""`backup` and `restore` through the command line: nothing of the past is mailed unasked, and what repeats was said."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from digestbot.backup import new_file
from digestbot.errors import UsageError
from tests.household import Household, household

__all__ = ["household"]

CONFIRMED = "2026-01-04T12:00:00Z"
MONDAY, TUESDAY, WEDNESDAY = (f"2026-01-{day:02}T08:30:00Z" for day in (5, 6, 7))


def drop(household: Household, *numbers: int) -> None:
    papers = (
        {
            "title": f"Symbolic regression, part {n}",
            "abstract": f"We regress symbolically for the {n}th time.",
        }
        for n in numbers
    )
    household.drop("".join(json.dumps(paper) + "\n" for paper in papers), f"drop-{numbers[0]}.jsonl")


def titles(household: Household) -> list[set[str]]:
    """The parts that each mail shows, in the order of arrival."""
    found = []
    for message in household.server.messages:
        text = message.data.replace(b"=\r\n", b"").decode()
        found.append({str(n) for n in range(1, 10) if f"regression, part {n}" in text})
    return found


@pytest.fixture
def backed_up(household: Household) -> Household:
    """Ada got part 1 on Monday; then the backup was made; then she got part 2 on Tuesday."""
    household.subscribe("ada@example.org", "symbolic regression", now=CONFIRMED)
    drop(household, 1)
    household.do("run", "--once", now=MONDAY)
    household.do("backup", "b.db", now="2026-01-05T09:00:00Z")
    drop(household, 2)
    household.do("run", "--once", now=TUESDAY)
    assert titles(household) == [{"1"}, {"2"}]
    household.set("STATE", "elsewhere")
    return household


def again(household: Household) -> None:
    """Part 2 reaches the other machine, too, with a new one."""
    target = Path("elsewhere/drops/incoming")
    target.mkdir(parents=True, exist_ok=True)
    Path("both.jsonl").write_bytes(Path("state/drops/done/drop-2.jsonl").read_bytes())
    drop(household, 3)
    text = Path("both.jsonl").read_text() + Path("state/drops/incoming/drop-3.jsonl").read_text()
    (target / "both.jsonl").write_text(text)


def test_a_restored_backup_repeats_only_what_it_says(backed_up: Household) -> None:
    report = backed_up.do("restore", "b.db", "--json", now="2026-01-06T10:00:00Z")
    assert report.json == {
        "database": "elsewhere/digestbot.db",
        "repeats_since": "2026-01-05T09:00:00Z",
        "slots": 1,
        "held": 0,
    }
    again(backed_up)
    rerun = backed_up.do("run", "--once", "--json", now="2026-01-06T10:00:00Z").json
    assert rerun["delivery"]["sent"] == rerun["digests"]["composed"] == 0  # Tuesday was done
    backed_up.do("run", "--once", now=WEDNESDAY)
    assert titles(backed_up) == [{"1"}, {"2"}, {"2", "3"}]  # part 2 was mailed after the backup


def test_without_the_marks_tuesday_would_be_mailed_twice(backed_up: Household) -> None:
    """What restore prevents: the same file, put into place by hand."""
    Path("elsewhere").mkdir()
    Path("elsewhere/digestbot.db").write_bytes(Path("b.db").read_bytes())
    again(backed_up)
    backed_up.do("run", "--once", now="2026-01-06T10:00:00Z")
    assert titles(backed_up) == [{"1"}, {"2"}, {"2", "3"}]


def test_a_slot_that_is_done_stays_so_when_the_hour_changes(backed_up: Household) -> None:
    backed_up.do("restore", "b.db", now="2026-01-06T10:00:00Z")
    backed_up.do("subscribers", "set", "ada@example.org", "--send-at", "20:00", now="2026-01-06T10:00:00Z")
    again(backed_up)
    backed_up.do("run", "--once", now="2026-01-06T21:00:00Z")
    assert titles(backed_up) == [{"1"}, {"2"}]


def test_a_slot_still_to_come_today_is_not_lost(backed_up: Household) -> None:
    backed_up.do("restore", "b.db", now="2026-01-07T07:00:00Z")
    again(backed_up)
    backed_up.do("run", "--once", now=WEDNESDAY)
    assert titles(backed_up)[2:] == [{"2", "3"}]


def test_a_pause_outlives_a_restore(backed_up: Household) -> None:
    backed_up.set("STATE", "state")
    backed_up.do("subscribers", "pause", "ada@example.org", "--until", "2026-01-09", now=TUESDAY)
    backed_up.do("backup", "paused.db", now=TUESDAY)
    backed_up.set("STATE", "elsewhere")
    assert backed_up.do("restore", "paused.db", "--json", now="2026-01-08T10:00:00Z").json["slots"] == 2
    answer = backed_up.do(
        "explain", "ada@example.org", "--date", "2026-01-08", "--json", now="2026-01-08T10:00:00Z"
    )
    assert answer.json["cause"] == "paused"


def test_what_had_not_ended_is_held(household: Household) -> None:
    household.subscribe("ada@example.org", "symbolic regression", now=CONFIRMED)
    household.do(
        "subscribers", "add", "bob@example.org", "--topic", "owls", now=CONFIRMED
    )  # asked to confirm
    drop(household, 1)
    household.server.script = lambda stage, argument: "451 4.7.1 later" if stage == "rcpt" else None
    assert household.do("run", "--once", "--json", now=MONDAY).json["delivery"]["deferred"] == 2
    household.server.script = lambda stage, argument: None
    household.do("backup", "b.db", now=MONDAY)
    household.set("STATE", "elsewhere")
    assert household.do("restore", "b.db", "--json", now=MONDAY).json["held"] == 2
    for now in (MONDAY, TUESDAY, "2026-02-01T08:30:00Z"):
        household.do("run", "--once", now=now)
    assert household.server.messages == []
    held = household.do("outbox", "list", "held", "--json").json_lines
    household.do("outbox", "release", *(str(entry["id"]) for entry in held))
    household.do("run", "--once", now="2026-01-05T10:00:00Z")
    assert household.server.recipients == ["ada@example.org", "bob@example.org"]


def test_a_copy_of_another_kind_knows_its_last_entry(backed_up: Household) -> None:
    """As replication tools make it: the file alone, without a backup's mark since the last mail."""
    backed_up.set("STATE", "state")
    Path("copy.db").write_bytes(Path("state/digestbot.db").read_bytes())
    backed_up.set("STATE", "elsewhere")
    report = backed_up.do("restore", "copy.db", "--json", now=WEDNESDAY).json
    assert report["repeats_since"] == TUESDAY
    assert sorted(path.name for path in Path().glob("copy.db*")) == ["copy.db"]


def test_a_backup_is_whole_while_others_write(household: Household) -> None:
    household.subscribe("first@example.org", "owls", now=CONFIRMED)
    stop = threading.Event()

    def write_pairs() -> None:
        connection = sqlite3.connect("state/digestbot.db", timeout=60, isolation_level=None)
        number = 0
        while not stop.is_set():
            number += 1
            connection.execute("BEGIN IMMEDIATE")
            for side in ("left", "right"):
                connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (side, number))
                connection.executemany(
                    "INSERT INTO consents (subscriber_id, at, how, detail) VALUES (?, 0, 'test', ?)",
                    [(number, "x" * 2000)] * 20,
                )
            connection.execute("COMMIT")
        connection.close()

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        for number in range(5):
            household.do("backup", f"b{number}.db")
    finally:
        stop.set()
        writer.join()
    counts = []
    for number in range(5):
        copy = sqlite3.connect(f"file:b{number}.db?mode=ro", uri=True)
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        written = copy.execute(
            "SELECT max(subscriber_id), count(*) FROM consents WHERE how = 'test'"
        ).fetchone()
        sides = copy.execute("SELECT DISTINCT value FROM facts WHERE name IN ('left', 'right')").fetchall()
        copy.close()
        last = written[0] or 0
        assert written[1] == 40 * last
        assert len(sides) <= 1
        counts.append(last)
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_backup_overwrites_nothing_and_is_for_its_owner_alone(household: Household) -> None:
    household.subscribe("ada@example.org", "owls", now=CONFIRMED)
    household.do("backup", "b.db")
    assert stat.S_IMODE(Path("b.db").stat().st_mode) == 0o600
    before = Path("b.db").read_bytes()
    answer = household.run("backup", "b.db")
    assert answer.code == 2
    assert "b.db: exists already" in answer.err
    assert Path("b.db").read_bytes() == before
    answer = household.run("backup", "no/such/folder/b.db")
    assert answer.code == 2
    assert "no/such/folder/b.db: cannot be written: No such file" in answer.err
    assert sorted(path.name for path in Path().iterdir()) == ["b.db", "state"]


def test_who_writes_the_file_first_keeps_it(tmp_path: Path) -> None:
    target = tmp_path / "b.db"

    def write() -> None:
        with new_file(target) as part:
            part.write_text("ours")
            target.write_text("theirs")

    with pytest.raises(UsageError, match="exists already"):
        write()
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_to_back_up_makes_nothing(household: Household) -> None:
    answer = household.run("backup", "b.db")
    assert answer.code == 2
    assert "there is no database yet" in answer.err
    assert list(Path().iterdir()) == []


def newer_schema(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (9999)")
    connection.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 4096 * 4096])


def scratch(path: Path) -> None:
    """Some index entries are gone, which VACUUM alone would not notice."""
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO aliases (alias, paper_id) VALUES ('arxiv:2601.00001', 7)")
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'aliases_by_paper'"
        ).fetchone()[0]
    connection.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 + 3 : (root - 1) * 4096 + 5] = b"\0\0"  # the page's number of cells
    path.write_bytes(data)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE papers (id INTEGER)")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda path: path.write_bytes(b"this is a letter, and no database\n" * 100),
            "file is not a database",
        ),
        (lambda path: path.write_bytes(b""), "is no database of digestbot's"),
        (foreign, "is no database of digestbot's"),
        (newer_schema, "has schema 9999, this digestbot knows up to"),
        (cut, "malformed"),
        (scratch, "b.db: is damaged"),
    ],
    ids=["letter", "empty", "foreign", "newer", "cut", "scratched"],
)
def test_a_restore_takes_only_what_it_understands(backed_up: Household, spoil: object, said: str) -> None:
    assert callable(spoil)
    spoil(Path("b.db"))
    answer = backed_up.run("restore", "b.db", now=WEDNESDAY)
    assert answer.code == 2
    assert "b.db: " in answer.err
    assert said in answer.err
    assert "nothing was restored" in answer.err
    assert list(Path("elsewhere").iterdir()) == []


def test_a_restore_overwrites_nothing(backed_up: Household) -> None:
    backed_up.set("STATE", "state")
    before = backed_up.state_on_disk()
    answer = backed_up.run("restore", "b.db", now=WEDNESDAY)
    assert answer.code == 2
    assert "state/digestbot.db: a database exists already" in answer.err
    assert backed_up.state_on_disk() == before

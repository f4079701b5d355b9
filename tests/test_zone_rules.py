"""Governments change clocks: zone files that change after a next due instant was stored, in processes that read them."""

from __future__ import annotations

import os
import subprocess
import sys
import zoneinfo
from importlib import resources
from pathlib import Path

import pytest

from tests.household import Household, household
from tests.many_subscribers import make_storage

__all__ = ["household"]

WINTER = "2026-05-01T00:00:00Z"  # when summer time is in force in Berlin
ALL_WINTER = "Africa/Algiers"  # an hour ahead of UTC, all year


def zone_file(name: str) -> bytes:
    for folder in zoneinfo.TZPATH:
        if Path(folder, name).is_file():
            return Path(folder, name).read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(name).read_bytes()


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    """A folder of zone files: all that these tests need, as they are today."""
    folder = tmp_path / "zones"
    for name in ("Europe/Berlin", "Asia/Tokyo", "UTC"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zone_file(name))
    return folder


def abolish_summer_time(zones: Path) -> None:
    (zones / "Europe" / "Berlin").write_bytes(zone_file(ALL_WINTER))


def ask(zones: Path, *words: str, fails: bool = False) -> str:
    """What a process of its own says, whose zones are these."""
    environment = {**os.environ, "PYTHONTZPATH": str(zones)}
    command = [sys.executable, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout


def digestbot(zones: Path, now: str, *words: str, fails: bool = False) -> str:
    return ask(zones, "-m", "digestbot", "--now", now, *words, fails=fails)


def due(household: Household) -> dict[str, str]:
    listed = household.do("subscribers", "list", "--json").json_lines
    return {
        s["email"]: household.do("subscribers", "show", s["email"], "--json").json["next_due_at"]
        for s in listed
    }


@pytest.mark.usefixtures("backend")
def test_stored_instants_follow_new_rules_and_nothing_comes_twice(household: Household, zones: Path) -> None:
    for name, zone in (("berlin", "Europe/Berlin"), ("tokyo", "Asia/Tokyo")):
        email = f"{name}@example.org"
        digestbot(zones, WINTER, "subscribers", "add", email, "--confirmed", "--timezone", zone)
    digestbot(zones, WINTER, "run", "--once")
    tokyo = "2026-05-01T23:00:00Z"
    assert due(household) == {
        "berlin@example.org": "2026-05-01T06:00:00Z",
        "tokyo@example.org": "2026-05-01T23:00:00Z",
    }
    abolish_summer_time(zones)
    digestbot(zones, "2026-05-01T01:00:00Z", "run", "--once")
    assert due(household) == {"berlin@example.org": "2026-05-01T07:00:00Z", "tokyo@example.org": tokyo}
    for hour in ("06:30", "07:00", "07:30"):
        digestbot(zones, f"2026-05-01T{hour}:00Z", "run", "--once")
    (zones / "Europe" / "Berlin").write_bytes(zone_file("Europe/Berlin"))
    digestbot(zones, "2026-05-01T08:00:00Z", "run", "--once")
    assert due(household)["berlin@example.org"] == "2026-05-02T06:00:00Z"
    answer = household.do("explain", "berlin@example.org", "--date", "2026-05-01", "--json")
    assert answer.json["detail"] == "decided 2026-05-01 07:00 UTC"


FOLLOWED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from digestbot.storage import open_file
from digestbot.zone_rules import follow_zone_rules

now = datetime(2026, 5, 1, tzinfo=UTC)
with open_file(Path(sys.argv[1])) as storage:
    print(follow_zone_rules(storage, now))
    print(follow_zone_rules(storage, now))
    Path(sys.argv[2]).write_bytes(Path(sys.argv[3]).read_bytes())  # an update while this runs
    print(follow_zone_rules(storage, now), follow_zone_rules(storage, now))
"""


def test_a_running_process_follows_in_blocks_and_once(tmp_path: Path, zones: Path) -> None:
    database = tmp_path / "digestbot.db"
    storage = make_storage(database, subscribers=2400, due=1)
    storage.db.execute("UPDATE subscribers SET next_due_at = 1777615200, timezone = 'Asia/Tokyo'")
    storage.db.execute("UPDATE subscribers SET timezone = 'Europe/Berlin' WHERE id > 100")
    storage.db.execute("UPDATE subscribers SET next_due_at = 1777590000 WHERE id <= 100")  # 08:00 in Tokyo
    storage.close()
    changed = tmp_path / "changed"
    changed.write_bytes(zone_file(ALL_WINTER))
    target = zones / "Europe" / "Berlin"
    said = ask(zones, "-c", FOLLOWED, str(database), str(target), str(changed)).split()
    assert said == ["0", "0", "2300", "0"]


def damage(zones: Path, how: str) -> None:
    """Makes Berlin's file one that lacks its end, or cannot be read (an address that no process has)."""
    berlin = zones / "Europe" / "Berlin"
    whole = berlin.read_bytes()
    berlin.unlink()
    if how == "unreadable":
        berlin.symlink_to("/proc/self/mem")
    else:
        berlin.write_bytes(whole[:100] if how == "damaged" else whole[:-1])


@pytest.mark.parametrize("how", ["damaged", "unreadable"])
@pytest.mark.usefixtures("backend")
def test_a_damaged_zone_touches_nobody_elsewhere(household: Household, zones: Path, how: str) -> None:
    household.set("EXPECT_DROP_HOURS", "0")
    for name, zone in (("berlin", "Europe/Berlin"), ("tokyo", "Asia/Tokyo")):
        email, topic = f"{name}@example.org", "--topic=ice"
        digestbot(zones, WINTER, "subscribers", "add", email, topic, "--confirmed", "--timezone", zone)
    digestbot(zones, WINTER, "run", "--once")
    household.drop('{"title": "Ice on rivers", "abstract": "It breaks."}\n', "drop.jsonl")
    damage(zones, how)
    digestbot(zones, "2026-05-01T07:00:00Z", "run", "--once")
    assert due(household) == {
        "berlin@example.org": "2026-05-01T08:00:00Z",  # as in UTC
        "tokyo@example.org": "2026-05-01T23:00:00Z",
    }
    for now in ("2026-05-01T08:00:00Z", "2026-05-01T23:00:00Z"):
        digestbot(zones, now, "run", "--once")
    assert household.server.recipients == ["berlin@example.org", "tokyo@example.org"]
    [alarm] = household.do("status", "--json").json["alarms"]
    assert alarm["kind"] == "time zone: Europe/Berlin"
    assert "the digests of 1 subscriber follow UTC" in alarm["detail"]
    said = digestbot(zones, "2026-05-01T23:00:00Z", "doctor", fails=True)
    assert "FAIL  time zones   Europe/Berlin cannot be read here" in said
    (zones / "Europe" / "Berlin").unlink()
    (zones / "Europe" / "Berlin").write_bytes(zone_file("Europe/Berlin"))
    digestbot(zones, "2026-05-01T23:30:00Z", "run", "--once")
    assert due(household)["berlin@example.org"] == "2026-05-02T06:00:00Z"
    assert household.do("status", "--json").json["alarms"] == []


@pytest.mark.parametrize("how", ["damaged", "without the end of its last line"])
def test_nobody_is_added_to_a_damaged_zone(household: Household, zones: Path, how: str) -> None:
    damage(zones, how)
    add = ("subscribers", "add", "berlin@example.org", "--timezone", "Europe/Berlin")
    digestbot(zones, WINTER, *add, fails=True)
    assert household.do("subscribers", "list", "--json").out == ""


@pytest.mark.usefixtures("backend")
def test_a_clock_years_ahead_silences_nobody_for_years(household: Household) -> None:
    household.subscribe("ada@example.org", "ice", now="2026-05-01T00:00:00Z")
    household.subscribe("bob@example.org", "ice", now="2026-05-01T00:00:00Z", days="fri")
    household.do("run", "--once", now="2099-01-01T09:00:00Z")
    assert min(due(household).values()) > "2099"
    household.do("run", "--once", now="2026-05-06T09:00:00Z")  # a Wednesday
    planned = {"ada@example.org": "2026-05-07T08:00:00Z", "bob@example.org": "2026-05-08T08:00:00Z"}
    assert due(household) == planned
    household.drop('{"title": "Ice on rivers", "abstract": "It breaks."}\n', "drop.jsonl")
    household.do("run", "--once", now="2026-05-08T09:00:00Z")
    assert household.server.recipients == ["ada@example.org", "bob@example.org"]

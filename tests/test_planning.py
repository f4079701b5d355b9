"""What a change would do for everybody, before it is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.household import Household, household

__all__ = ["household"]

BEFORE, LATER = "2026-01-05T05:00:00Z", "2026-01-12T05:00:00Z"


def test_a_shorter_window_empties_and_a_longer_one_changes_nothing(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.subscribe("bob@example.org", "gardening", now=BEFORE)
    household.drop(json.dumps({"title": "Reasoning", "abstract": "On reasoning."}), "d.jsonl")
    household.do("ingest", now=BEFORE)
    before = household.state_on_disk()
    shorter = household.do("plan", "--set", "WINDOW_DAYS=3", "--json", now=LATER).json
    longer = household.do("plan", "--set", "DIGESTBOT_WINDOW_DAYS=30", "--json", now=LATER).json
    assert (shorter["emptied"], shorter["same"]) == (1, 1)
    assert shorter["examples"] == {"emptied": ["ada@example.org"]}
    assert (longer["emptied"], longer["same"]) == (0, 2)
    assert household.state_on_disk() == before


def test_other_templates_change_looks_only(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(json.dumps({"title": "Reasoning", "abstract": "On reasoning."}), "d.jsonl")
    source = Path(__file__).resolve().parents[1] / "templates" / "email" / "digest" / "body.txt"
    target = Path("theme/email/digest/body.txt")
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    assert household.do("plan", "--templates", "theme", "--json", now=LATER).json["same"] == 1
    target.write_text("Hello!\n" + source.read_text())
    assert household.do("plan", "--templates", "theme", "--json", now=LATER).json["other_looks"] == 1


def test_a_wrong_setting_is_named(household: Household) -> None:
    answer = household.run("plan", "--set", "WINDOW_DAYS=soon", now=LATER)
    assert answer.code == 2
    assert "DIGESTBOT_WINDOW_DAYS" in answer.err


def test_a_setting_that_is_none_is_refused(household: Household) -> None:
    answer = household.run("plan", "--set", "BOGUS=1", "--set", "window_dais=3", now=LATER)
    assert answer.code == 2
    assert "there is no setting DIGESTBOT_BOGUS" in answer.err
    assert "DIGESTBOT_WINDOW_DAYS is meant?" in answer.err

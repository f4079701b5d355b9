"""`ingest` as a person uses it: files, folders, what is neither, and what waits."""

from __future__ import annotations

import json
import os

from tests.household import Household, household

__all__ = ["household"]

NOW = "2026-01-05T08:30:00Z"


def paper(title: str) -> str:
    return json.dumps({"title": title, "abstract": f"{title} is what this is about."}) + "\n"


def test_a_folder_stands_for_the_files_in_it(household: Household) -> None:
    drops = household.folder / "pages"
    (drops / "inner").mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", ".hidden", "c.part"):
        (drops / name).write_text(paper(f"Reasoning of {name}"))
    report = household.do("ingest", "pages", "--json", now=NOW).json
    assert [(d["path"], d["new"]) for d in report["drops"]] == [("pages/a.jsonl", 1), ("pages/b.jsonl", 1)]
    assert (drops / "a.jsonl").exists()


def test_what_is_no_drop_is_named_and_nothing_changes(household: Household) -> None:
    (household.folder / "empty").mkdir()
    os.mkfifo(household.folder / "pipe")
    (household.folder / "good.jsonl").write_text(paper("Reasoning"))
    answer = household.run("ingest", "good.jsonl", "missing.txt", "empty", "pipe", now=NOW)
    assert answer.code == 2
    for message in ("missing.txt: there is no such file", "empty: a folder without", "pipe: no file"):
        assert message in answer.err
    assert household.do("papers", "--json", now=NOW).out == ""


def test_what_waits_can_be_a_backfill_too(household: Household) -> None:
    household.drop(paper("Reasoning"), "old.jsonl")
    household.subscribe("ada@example.org", "reasoning", now="2026-01-05T05:00:00Z")
    assert household.do("ingest", "--backfill", "--json", now=NOW).json["new"] == 1
    assert household.do("run", "--once", "--json", now=NOW).json["digests"]["composed"] == 0
    assert len(household.do("papers", "--json", now=NOW).json_lines) == 1

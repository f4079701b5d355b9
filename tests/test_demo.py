"""The demo: what a newcomer sees first, and that it is true."""

from __future__ import annotations

import email
import email.policy
import html
import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from email.message import EmailMessage
from importlib.resources import files
from pathlib import Path

import pytest

from digestbot.demo import DROPS, READERS, DemoResult, DemoSlot, run_demo
from digestbot.desk import open_desk
from digestbot.drops.reading import read_drop
from digestbot.errors import UsageError
from digestbot.model import EntryState, PaperRecord
from digestbot.settings import load_settings
from tests.household import Household, household

__all__ = ["household"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return run_demo(tmp_path_factory.mktemp("demo") / "new", lambda line: None)


def message(slot: DemoSlot) -> EmailMessage:
    assert slot.eml
    parsed = email.message_from_bytes(slot.eml.read_bytes(), policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def sample(name: str) -> list[PaperRecord]:
    path = Path(str(files("digestbot").joinpath("samples", name)))
    return [entry for entry in read_drop(path, received=date(2026, 11, 16)) if isinstance(entry, PaperRecord)]


# ---- the invented papers -----------------------------------------------------------------------------------------


def test_each_sample_has_fourteen_papers_that_read_like_papers() -> None:
    for name in DROPS:
        papers = sample(name)
        assert len({paper.title for paper in papers}) == 14
        for paper in papers:
            assert 90 <= len(paper.abstract.split()) <= 170, paper.title
            assert paper.abstract.endswith("."), paper.title


def test_the_second_sample_lists_three_papers_again() -> None:
    first, second = ({(p.title, p.abstract) for p in sample(name)} for name in DROPS)
    assert len(first & second) == 3


def test_the_samples_hold_what_is_hard_to_show() -> None:
    papers = [paper for name in DROPS for paper in sample(name)]
    titles, abstracts = (
        " ".join(texts) for texts in zip(*((p.title, p.abstract) for p in papers), strict=True)
    )
    assert all(sign in titles for sign in ("&", "ñ", "“", "'"))
    assert all(
        sign in abstracts for sign in (r"$\mathcal{O}(n \log n)$", " mathcal{O}(d^2)", "https://example.org/")
    )


# ---- two days ----------------------------------------------------------------------------------------------------


def test_both_page_formats_are_read_and_repeats_recognised(result: DemoResult) -> None:
    assert [(d.format, d.new, d.known, d.updated, d.rejected) for d in result.drops] == [
        ("page-spaced", 14, 0, 0, ()),
        ("page-dense", 11, 3, 0, ()),
    ]


def test_everybody_is_served_once_a_day_at_their_own_morning(result: DemoResult) -> None:
    assert Counter(slot.subscriber.email for slot in result.slots) == {str(r["email"]): 2 for r in READERS}
    assert {slot.slot for slot in result.slots} == {date(2026, 11, 17), date(2026, 11, 18)}
    for slot in result.slots:
        assert (slot.at.date(), slot.at.time()) == (slot.slot, slot.subscriber.schedule.send_at)
    assert len({slot.at.utcoffset() for slot in result.slots}) == 3


def test_every_digest_is_about_what_its_reader_follows(result: DemoResult) -> None:
    for slot in result.slots:
        terms = [term for topic in slot.subscriber.preferences.topics for term in topic.terms]
        for chosen in slot.papers:
            record = result.papers[chosen.paper_id].record
            text = f"{record.title} {record.abstract}".lower()
            assert any(term in text for term in terms), record.title
            assert chosen.reasons
            assert 0 < chosen.score <= 1


def test_nobody_gets_a_paper_twice(result: DemoResult) -> None:
    sent = Counter((slot.subscriber.id, paper.paper_id) for slot in result.slots for paper in slot.papers)
    assert sent
    assert set(sent.values()) == {1}


def test_who_gets_nothing_is_told_why(result: DemoResult) -> None:
    quiet = [slot for slot in result.slots if not slot.papers]
    assert [slot.subscriber.email for slot in quiet] == ["yui@example.com"]
    assert quiet[0].cause == "all below the minimum"
    assert quiet[0].best_score == 0
    assert quiet[0].eml is None is quiet[0].html
    assert quiet[0].state is None


def test_the_files_are_the_mails_of_the_ledger(result: DemoResult) -> None:
    settings = load_settings(result.folder, environ={})
    with open_desk(replace(settings, state=result.folder / settings.state)) as desk:
        ledger = {
            (e.recipient, e.digest.slot): e.message_id
            for e in desk.storage.entries.list_entries([EntryState.SENT])
            if e.digest
        }
    sent = [slot for slot in result.slots if slot.papers]
    assert {(s.subscriber.email, s.slot): message(s)["Message-ID"] for s in sent} == ledger
    assert sorted(path.name for path in (result.folder / "mails").iterdir()) == sorted(
        f"{s.slot}-{s.subscriber.email}{suffix}" for s in sent for suffix in (".eml", ".html")
    )


def test_a_mail_shows_exactly_the_papers_that_the_ledger_names(result: DemoResult) -> None:
    known = {entry.title for name in DROPS for entry in sample(name)}
    for slot in result.slots:
        if slot.html:
            page = slot.html.read_bytes().decode()
            body = message(slot).get_body(("html",))
            assert body is not None
            assert page == body.get_content()
            text = html.unescape(re.sub(r"<[^>]+>", "", page))
            shown = {title for title in known if title in " ".join(text.split())}
            assert shown == {result.papers[paper.paper_id].record.title for paper in slot.papers}


# ---- the folder --------------------------------------------------------------------------------------------------


def test_the_folder_is_a_digestbot_of_its_own(result: DemoResult) -> None:
    assert stat.S_IMODE((result.folder / ".env").stat().st_mode) == 0o600
    answer = subprocess.run(
        [sys.executable, "-m", "digestbot", "explain", "yui@example.com", "--date", "2026-11-17"],
        cwd=result.folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("DIGESTBOT_")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "got nothing on 2026-11-17: all below the minimum" in answer.stdout, answer.stderr


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_demo_is_left_alone(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "mine"
    if kind == "file":
        target.write_text("precious")
    else:
        (target / "state").mkdir(parents=True)
        (target / "state" / "digestbot.db").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"mine .*another folder with --dir"):
        run_demo(target, lambda line: None)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_former_demo_begins_anew_and_other_files_stay(household: Household) -> None:
    household.set("STATE", "elsewhere")  # the demo has settings of its own
    folder = household.folder / "there"
    (folder / "mails").mkdir(parents=True)
    (folder / ".digestbot-demo").touch()
    (folder / "notes.txt").write_text("mine")
    (folder / "mails" / "old.eml").touch()
    answer = household.do("demo", "--dir", "there", "--json", now="2024-03-09T21:00:00+00:00")
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "mails" / "old.eml").exists()
    assert not (household.folder / "elsewhere").exists()
    assert household.server.connections == 0
    document = answer.json
    assert [drop["new"] for drop in document["drops"]] == [14, 11]
    assert {slot["slot"] for slot in document["slots"]} == {"2024-03-10", "2024-03-11"}
    for slot in document["slots"]:
        assert slot["at"].endswith("Z")  # as all instants in JSON
        assert (
            (slot["cause"] is None)
            == bool(slot["papers"])
            == bool(slot["eml"] and Path(slot["eml"]).exists())
        )


def test_a_newcomer_is_told_who_got_what_and_why_and_where_it_lies(household: Household) -> None:
    answer = household.do("demo")
    out = answer.out
    assert "Tuesday, 17 November" in out
    assert "Wednesday, 18 November" in out
    assert (
        "08:00 Asia/Tokyo  yui@example.com follows symbolic regression\n     nothing: all below the minimum"
        in out
    )
    assert re.search(r"\d+ %  Units First: Dimensional Grammars.*mentions symbolic regression", out)
    named = re.search(r"open one +(\S+\.html)", out)
    assert named
    assert (household.folder / named[1]).is_file()
    assert "day-2.txt is read: 11 new, 3 known" in answer.err
    assert json.loads(household.do("demo", "--json").out)["slots"]

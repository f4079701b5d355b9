"""The catalogue in the database: the same whatever the order of arrival, and after a drop is taken back."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot.catalogue import Effect, Entry, Seen
from digestbot.ingest import ingest_file, learn_library
from digestbot.model import DropId, DropReport, PaperId, PaperRecord
from digestbot.storage.drops import DropStore
from digestbot.storage.papers import PaperStore
from tests.catalogue_world import NOW, database, record, store, written

both = pytest.mark.usefixtures("backend")

ABSTRACT = "Whether owls read at noon has been asked by many and answered by few; we sat with forty of them. "


def take(
    papers: PaperStore, *records: PaperRecord, days: int = 0
) -> tuple[DropId, list[Effect], list[PaperId]]:
    """One drop of records, seen some days after NOW."""
    with papers.transaction():
        drop = papers.begin_drop("drop", NOW + timedelta(days=days))
        effects, ids = papers.add(drop, [Entry.of(one) for one in records], Seen(NOW + timedelta(days=days)))
        papers.finish_drop(drop, "done", DropReport("drop", "jsonl"))
    return drop, effects, ids


def catalogue(papers: PaperStore) -> list[tuple[PaperRecord, int]]:
    return sorted(((p.record, p.sightings) for p in papers.catalogue()), key=repr)


def line(title: str, **fields: object) -> str:
    return json.dumps({"title": title, **fields}) + "\n"


# ---- the order of arrival ---------------------------------------------------------------------------------------

OWLS = [  # one work, told by six sources
    record(
        "Owls at Noon Do Not Read",
        arxiv_id="2401.00001",
        abstract=ABSTRACT,
        authors=["Ada Nachtigall", "Bo L"],
    ),
    record(
        "Owls at noon do not read.",
        arxiv_id="2401.00001v2",
        abstract=ABSTRACT[:-40],
        url="https://a.example/x",
    ),
    record("Strigiformes and the Printed Page", doi="10.5555/owl", arxiv_id="2401.00001v1", upvotes=3),
    record("Strigiformes and the Printed Page", doi="10.5555/owl", categories=["cs.LG"], comments=2),
    record("Owls at Noon Do Not Reed", authors=["A. Nachtigall"], upvotes=7),
    record("OWLS AT NOON DO NOT READ"),
]
OTHERS = [
    record("Noon", authors=["Ada Nachtigall"]),
    record("Noon", authors=["Somebody Else"]),
    record("Noon", abstract=ABSTRACT),
    record("Owls at Noon Do Not Read, Part 2", authors=["Ada Nachtigall"]),
]


@both
@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::40])
def test_six_sources_of_one_work_make_one_paper_in_any_order(order: tuple[int, ...]) -> None:
    one_by_one, at_once = store(), store()
    for index in order:
        take(one_by_one, OWLS[index])
    take(at_once, *(OWLS[index] for index in order))
    (paper,) = (record for record, _ in catalogue(one_by_one))
    assert [paper] == [record for record, _ in catalogue(at_once)]
    assert (paper.title, paper.arxiv_id, paper.arxiv_version) == (
        "Owls at noon do not read.",
        "2401.00001",
        2,
    )
    assert (paper.doi, paper.upvotes, paper.comments, paper.abstract) == (
        "10.5555/owl",
        7,
        2,
        ABSTRACT[:-40].strip(),
    )
    assert paper.authors == ("Ada Nachtigall", "Bo L")


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from(OWLS + OTHERS), min_size=1, max_size=5), min_size=1, max_size=5),
    st.data(),
)
def test_drops_in_any_order_and_any_number_of_times_make_the_same_catalogue(
    drops: list[list[PaperRecord]], data: st.DataObject
) -> None:
    def taken(order: list[list[PaperRecord]]) -> list[PaperRecord]:
        papers = store()
        for records in order:
            take(papers, *records)
        return [record for record, _ in catalogue(papers)]

    again = data.draw(st.permutations(drops + data.draw(st.lists(st.sampled_from(drops), max_size=3))))
    shuffled = [data.draw(st.permutations(records)) for records in again]
    assert taken(drops) == taken(shuffled)


# ---- taking a drop back -----------------------------------------------------------------------------------------


@both
def test_a_withdrawn_drop_leaves_no_trace() -> None:
    db = database()
    papers, drops = PaperStore(db), DropStore(db)
    first, _, (owl,) = take(papers, OWLS[0])
    before = catalogue(papers), [p.first_seen for p in papers.catalogue()]
    bad, effects, ids = take(
        papers, OWLS[1], record("A Hoax about Penguins on the Moon", upvotes=99), days=-1
    )
    assert effects == [Effect.UPDATED, Effect.NEW]
    withdrawal = drops.withdraw(bad)
    assert (withdrawal.gone, withdrawal.kept) == ((ids[1],), (owl,))
    assert (catalogue(papers), [p.first_seen for p in papers.catalogue()]) == before
    assert papers.papers([ids[1]]) == {}
    assert papers.candidates(NOW - timedelta(days=9), NOW)[0].id == owl
    assert {drop.id: drop.state for drop in drops.last()} == {first: "done", bad: "withdrawn"}
    assert drops.withdraw(bad) == type(withdrawal)()
    assert db.rows("SELECT * FROM aliases WHERE alias LIKE '%penguin%'") == []
    _, effects, _ = take(papers, record("A Hoax about Penguins on the Moon"))
    assert effects == [Effect.NEW]


@both
def test_papers_that_the_drop_merged_are_gone_under_both_ids() -> None:
    db = database()
    papers, drops = PaperStore(db), DropStore(db)
    drop, _, (one, two, three) = take(
        papers,
        record("Owls at Noon Do Not Read", doi="10.5555/owl"),
        record("Strigiformes and the Printed Page", arxiv_id="2401.00001"),
        record("Strigiformes and the Printed Page", arxiv_id="2401.00001", doi="10.5555/owl"),
    )
    assert (one, two, three) == (one, one, one)  # within one batch nothing had two ids
    other, _, (four,) = take(papers, record("Larks at Dawn Read Newspapers", doi="10.5555/lark"))
    both, _, _ = take(
        papers, record("Larks and Owls Compared at Last", doi="10.5555/lark", arxiv_id="2401.00001")
    )
    assert papers.resolve([four]) == {four: one}
    for withdrawn in (both, drop):
        assert drops.withdraw(withdrawn).gone == ()
    assert drops.withdraw(other).gone == (one, four)


@both
def test_a_paper_merged_twice_is_found_under_every_id() -> None:
    """So nobody is sent it again who got it under the first."""
    papers = store()
    _, _, ids = take(
        papers,
        record("Owls at Noon Do Not Read", doi="10.5555/owl"),
        record("Strigiformes and the Printed Page", arxiv_id="2401.00001"),
        record("Larks at Dawn Read Newspapers", doi="10.5555/lark"),
    )
    for doi in ("10.5555/lark", "10.5555/owl"):
        take(papers, record("Birds That Read, All of Them", doi=doi, arxiv_id="2401.00001"))
    assert papers.resolve(ids) == dict.fromkeys(ids, ids[0])
    assert {paper.id for paper in papers.papers(ids).values()} == {ids[0]}


LIES = [  # what a stranger's library may say of papers that drops have, or will have
    record(
        "Owls at Noon Do Not Read",
        abstract=ABSTRACT * 9,
        authors=["Sam Spammer"],
        url="https://spam.example/x",
        upvotes=999,
    ),
    record("Owls at Noon Do Not Read", arxiv_id="2401.00001v99", code_url="https://spam.example/code"),
    record("Owls at Noon Do Not Read", doi="10.6666/spam"),
    record("Strigiformes and the Printed Page", arxiv_id="2402.99999", doi="10.6666/spam"),
    record("Larks at Dawn Read Newspapers", doi="10.5555/lark", arxiv_id="2401.00001"),
]


@given(st.permutations([*((one, False) for one in (*OWLS[:3], OWLS[5])), *((one, True) for one in LIES)]))
@settings(max_examples=60, deadline=None)
def test_libraries_change_nothing_of_what_drops_say(order: list[tuple[PaperRecord, bool]]) -> None:
    told, untold = PaperStore(database()), PaperStore(database())
    larks = record("Larks at Dawn Read Newspapers", doi="10.5555/lark")
    for one, is_library in [*order, (larks, False)]:
        if is_library:
            with told.transaction():
                library = told.begin_drop("library", NOW)
                told.add(library, [Entry.of(one)], Seen(None, mailable=False))
                told.finish_drop(library, "library", DropReport("library", "bibtex"))
        else:
            take(told, one)
            take(untold, one)
    assert catalogue(told) == catalogue(untold)
    names = "SELECT alias FROM aliases JOIN papers ON papers.id = paper_id WHERE first_seen IS NOT NULL ORDER BY alias"
    assert told._db.rows(names) == untold._db.rows(names)


@both
def test_a_paper_that_only_a_library_is_left_of_is_seen_by_nobody(tmp_path: Path) -> None:
    db = database()
    papers, drops = PaperStore(db), DropStore(db)
    library = written(tmp_path, line("Owls at Noon Do Not Read", upvotes=1), "library")
    (owl,), _ = learn_library(papers, library, NOW)
    ingest_file(papers, written(tmp_path, line("Owls at Noon Do Not Read", upvotes=8), "page"), now=NOW)
    assert [p.record.upvotes for p in papers.catalogue()] == [8]
    row = drops.find("page")
    assert row is not None
    assert drops.withdraw(row.id).gone == ()
    assert list(papers.catalogue()) == []
    paper = papers.papers([owl])[owl]
    assert (paper.first_seen, paper.mailable, paper.record.upvotes, paper.sightings) == (None, False, 1, 0)


@both
def test_drops_are_found_by_name_and_by_number(tmp_path: Path) -> None:
    db = database()
    papers, drops = PaperStore(db), DropStore(db)
    ingest_file(papers, written(tmp_path, line("Owls at Noon Do Not Read") + "{\n", "page.jsonl"), now=NOW)
    row = drops.find("page.jsonl")
    assert row is not None
    assert drops.find(str(row.id)) == row
    assert (row.state, row.received_at, row.report.new, [r.line for r in row.report.rejected]) == (
        "done",
        NOW,
        1,
        [2],
    )
    assert drops.find("99") is drops.find("none") is None


# ---- size -------------------------------------------------------------------------------------------------------


@both
def test_reading_in_blocks_loses_nobody() -> None:
    papers = store()
    records = [record(f"Owl number {number} of the dark wood") for number in range(2500)]
    _, effects, ids = take(papers, *records)
    assert effects == [Effect.NEW] * 2500
    assert [p.id for p in papers.catalogue()] == ids
    assert set(papers.papers(ids)) == set(ids)
    assert take(papers, *records)[1] == [Effect.KNOWN] * 2500

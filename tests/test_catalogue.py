"""When two records speak of one paper, and what they say together."""

from __future__ import annotations

import itertools
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.identity import aliases_of, merge, same_work
from digestbot.model import PaperRecord
from digestbot.titles import author_key, title_key
from tests.catalogue_world import record

TITLE = "Seven birds on one wire share a song"
ABSTRACT = "We listened to seven birds for a year, and found that what one of them sang the others sang the day after."


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (record(TITLE), record("SEVEN BIRDS, on one-wire: share a song!"), True),
        (record(TITLE), record("Seven Birds on One Wire Share a Song."), True),
        (record(TITLE), record("<i>Seven</i> birds on $\\mathbf{one}$ wire share a song"), True),
        (record(TITLE, arxiv_id="2401.00001"), record(TITLE, arxiv_id="2401.00002"), False),
        (
            record(TITLE, arxiv_id="2401.00001v1"),
            record("Another title altogether", arxiv_id="2401.00001v2"),
            True,
        ),
        (record(TITLE, doi="10.5555/a"), record(TITLE, doi="10.5555/b"), False),
        (record(TITLE, doi="10.48550/arXiv.2401.00001"), record(TITLE, doi="10.5555/b"), True),
        (
            record(TITLE, doi="10.5555/a"),
            record("Another title altogether", doi="https://doi.org/10.5555/A"),
            True,
        ),
        (record(TITLE, doi="10.5555/a"), record(TITLE, arxiv_id="2401.00001"), True),
        (record("Bird songs"), record("Bird Songs"), False),  # short: nothing else agrees
        (
            record("Bird songs", authors=["Ada Lerche"]),
            record("Bird Songs", authors=["Lerche, A.", "B C"]),
            True,
        ),
        (record("Bird songs", authors=["Ada Lerche"]), record("Bird Songs", authors=["Bo Lerche"]), False),
        (record("Bird songs", abstract=ABSTRACT), record("Bird Songs", abstract=ABSTRACT.upper()), True),
        (  # just long enough
            record("Songs of seven birds", abstract="They sing."),
            record("Songs of Seven Birds", abstract="They do not."),
            True,
        ),
        (record("Songs of birds"), record("Songs of Birds"), False),
        (record("Bird songs", abstract="They sing."), record("Bird Songs", abstract="They sing."), True),
        (record("Bird songs", abstract="They sing."), record("Bird Songs", abstract="They do not."), False),
        (record("Bird songs", upvotes=3), record("Bird songs", upvotes=4, comments=1), True),
        (record("Bird songs", upvotes=3), record("Bird songs", url="https://example.org/2"), False),
        (
            record(TITLE, authors=["Ada Lerche"]),
            record(TITLE.replace("birds", "brids"), authors=["A Lerche"]),
            True,
        ),
        (
            record(TITLE),
            record(TITLE.replace("birds", "brids")),
            False,
        ),  # nearly equal, and nothing else agrees
        (record(TITLE, abstract=ABSTRACT), record(TITLE.replace("song", "sonq"), abstract=ABSTRACT), True),
        (record(TITLE + " part I", authors=["A B"]), record(TITLE + " part II", authors=["A B"]), False),
        (record(TITLE + " 2", authors=["A B"]), record(TITLE + " 3", authors=["A B"]), False),
        (record("Über die Vögel im Winter"), record("Uber die Vogel im Winter"), True),
        (record("量子计算 的 新 方法"), record("量子计算 的 旧 方法"), False),
    ],
)
def test_the_same_work(a: PaperRecord, b: PaperRecord, same: bool) -> None:
    assert same_work(a, b) is same_work(b, a) is same
    if same:
        assert set(aliases_of(a)) & set(aliases_of(b)), "they must be able to meet"


def test_titles_that_hold_no_word_are_told_apart() -> None:
    assert title_key("???") == "???" != title_key("!!!")


@pytest.mark.parametrize(
    "name", ["Yann LeCun", "Y. LeCun", "LeCun, Yann", "LeCun, Y.", "Yann A. LECUN", "LeCun, Y., Jr."]
)
def test_an_author_in_all_forms(name: str) -> None:
    assert author_key(name) == "lecun y"


def test_merging_takes_the_highest_version_then_the_longest_then_the_smallest() -> None:
    old = record(
        "A long old title of birds", arxiv_id="2401.00001v1", abstract="Old.", url="https://a.example/longer"
    )
    new = record("New title of birds", arxiv_id="2401.00001v3", published=date(2026, 1, 2), upvotes=3)
    bare = record(
        "Yet another and much longer title", abstract="Some abstract", upvotes=9, authors=["Ada Lerche"]
    )
    for order in itertools.permutations([old, new, bare]):
        merged = merge(order)
        assert (merged.title, merged.abstract, merged.url) == (
            "New title of birds",
            "Old.",
            "https://a.example/longer",
        )
        assert (merged.arxiv_version, merged.upvotes, merged.authors, merged.published) == (
            3,
            9,
            ("Ada Lerche",),
            date(2026, 1, 2),
        )
    assert merge([record("Birds b"), record("Birds a")]).title == "Birds a"


RECORDS = st.builds(
    PaperRecord,
    title=st.sampled_from(["Birds", "Bird songs", TITLE]),
    abstract=st.sampled_from(["", "x", "yy", "zz"]),
    authors=st.sampled_from([(), ("A B",), ("C D", "E F")]),
    published=st.sampled_from([None, date(2026, 1, 1), date(2025, 1, 1)]),
    arxiv_id=st.sampled_from([None, "2401.00001", "2401.00002"]),
    arxiv_version=st.sampled_from([None, 1, 2]),
    doi=st.sampled_from([None, "10.5555/a", "10.5555/b"]),
    upvotes=st.sampled_from([None, 0, 5]),
)


@given(st.lists(RECORDS, min_size=1, max_size=5), st.data())
def test_merging_knows_no_order(records: list[PaperRecord], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(records + records[:1]))
    assert merge(records + records[:1]) == merge(shuffled)


@given(st.text(min_size=1, max_size=300), st.text(max_size=400))
def test_aliases_of_any_text_are_bounded(title: str, abstract: str) -> None:
    aliases = aliases_of(PaperRecord(title, abstract, authors=(abstract[:50],)))
    assert aliases
    assert all(len(alias.encode("utf-8", "replace")) < 1000 for alias in aliases)

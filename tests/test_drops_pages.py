"""Daily Papers pages saved as text, spaced and dense."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from digestbot.errors import DropError
from tests.catalogue_world import read, written
from tests.shared import shared

ABSTRACT = (
    "We measure how moss grows on bridges and find that it follows the handrail, whatever the weather. " * 4
)
SPACED = f"""new

Get trending papers in your email inbox!

Subscribe

Daily Papers

byAK and the research community

Jan 9

Moss on Bridges: A Field Study

{ABSTRACT}

  • 3 authors
·
Dec 30, 2024 12

Handrails Considered Helpful

{ABSTRACT}

  • 1 author
·
Jan 2
"""


@pytest.mark.parametrize(
    ("name", "form", "papers", "dated"),
    [("a", "page-spaced", 38, 36), ("b", "page-dense", 200, 0), ("c", "page-spaced", 58, 0)],
)
def test_real_pages_are_read_exactly(name: str, form: str, papers: int, dated: int) -> None:
    path = shared(f"drops/page-{name}.txt")
    lines = set(path.read_text(encoding="utf-8").removeprefix("\ufeff").split("\n"))
    found, records, rejected = read(path)
    assert (found, len(records), rejected) == (form, papers, [])
    assert sum(r.author_count is not None and r.published is not None for r in records) == dated
    for r in records:
        assert r.title in lines or "Subscribe" + r.title in lines
        assert r.abstract in lines
        assert len(r.title) < len(r.abstract)


def test_a_spaced_page_shows_authors_date_and_comments(tmp_path: Path) -> None:
    form, (first, second), rejected = read(written(tmp_path, SPACED), datetime(2025, 1, 9, tzinfo=UTC))
    assert (form, rejected) == ("page-spaced", [])
    assert (first.title, first.author_count, first.published, first.comments) == (
        "Moss on Bridges: A Field Study",
        3,
        date(2024, 12, 30),
        12,
    )
    assert (second.author_count, second.published, second.comments) == (1, date(2025, 1, 2), None)
    assert first.abstract == ABSTRACT.strip()


@pytest.mark.parametrize(
    ("received", "year"),
    [
        (datetime(2025, 1, 9, tzinfo=UTC), 2025),  # the smallest later than every year written
        (datetime(2026, 11, 21, tzinfo=UTC), 2025),
        (datetime(2025, 1, 8, tzinfo=UTC), 2024),  # it would lie after the day received
    ],
)
def test_the_year_of_a_page(tmp_path: Path, received: datetime, year: int) -> None:
    _, (_, second), _ = read(written(tmp_path, SPACED), received)
    assert second.published == date(year, 1, 2)


def test_a_page_without_any_year_is_of_the_latest_year_possible(tmp_path: Path) -> None:
    page = SPACED.replace(", 2024 12", "")
    for received, years in (
        (datetime(2026, 11, 21, tzinfo=UTC), (2025, 2026)),
        (datetime(2026, 1, 8, tzinfo=UTC), (2025, 2025)),
    ):
        _, papers, _ = read(written(tmp_path, page), received)
        assert [p.published and p.published.year for p in papers] == list(years)


def test_a_leap_day_is_of_a_leap_year(tmp_path: Path) -> None:
    page = SPACED.replace("Jan 9", "Feb 29").replace(", 2024 12", "").replace("Dec 30", "Feb 29")
    _, papers, _ = read(written(tmp_path, page), datetime(2026, 11, 21, tzinfo=UTC))
    assert [p.published for p in papers] == [date(2024, 2, 29), date(2024, 1, 2)]


def test_a_dense_page(tmp_path: Path) -> None:
    text = f'Get trending papers in your email inbox!\nSubscribeMoss on Bridges\n{ABSTRACT}\n"Quoted" Ferns\n{ABSTRACT}'
    form, papers, rejected = read(written(tmp_path, text))
    assert (form, rejected) == ("page-dense", [])
    assert [p.title for p in papers] == ["Moss on Bridges", '"Quoted" Ferns']


def test_a_page_cut_after_a_title_keeps_the_rest(tmp_path: Path) -> None:
    cut = SPACED[: SPACED.index("Handrails") + len("Handrails Consid")]
    _, papers, rejected = read(written(tmp_path, cut))
    assert [p.title for p in papers] == ["Moss on Bridges: A Field Study"]
    assert [(r.line, "without an abstract" in r.reason) for r in rejected] == [(21, True)]


def test_a_missing_abstract_spoils_one_entry_only(tmp_path: Path) -> None:
    text = "Subscribe\n\nDaily Papers\n\nJan 9\n\n"
    text += f"First Title\n\n{ABSTRACT}\n\nNo Abstract Here\n\nThird Title\n\n{ABSTRACT}"
    _, papers, rejected = read(written(tmp_path, text))
    assert [p.title for p in papers] == ["First Title", "Third Title"]
    assert [r.line for r in rejected] == [11]


def test_windows_line_ends_and_marks_change_nothing(tmp_path: Path) -> None:
    plain = read(written(tmp_path, SPACED))
    assert read(written(tmp_path, b"\xef\xbb\xbf" + SPACED.replace("\n", "\r\n").encode())) == plain
    assert read(written(tmp_path, SPACED.encode("utf-16"))) == plain


def test_hostile_titles_stay_whole(tmp_path: Path) -> None:
    title = "<script>alert(1)</script> A & B 🦜 \u202egnp.exe"
    _, (paper, _), _ = read(written(tmp_path, SPACED.replace("Moss on Bridges: A Field Study", title)))
    assert paper.title == "<script>alert(1)</script> A & B 🦜 gnp.exe"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (bytes(range(256)) * 20, "binary"),
        (b"\0" * 5000, "zeros"),
        (b"Dear all,\nplease find attached nothing.\n", "no format"),
    ],
)
def test_what_is_no_drop_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(DropError, match=reason):
        read(written(tmp_path, content))

"""The pages for everybody: days, weeks, months, search, papers, feeds."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

import digestbot
from digestbot.ingest import ingest_file
from digestbot.withdrawal import withdraw
from tests.programs import node_modules, program
from tests.web_world import BIRDS, MOSS, NOW, World, running

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = Path(digestbot.__file__).parent / "samples"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("public")) as world:
        world.ingest(
            [{"title": f"Older wires, part {n}", "abstract": BIRDS, "upvotes": n} for n in range(1, 61)],
            at=NOW - timedelta(days=3),
        )
        yield world


def titles(page: str) -> list[str]:
    return re.findall(r'<h2 class="title"><a href="[^"]*">([^<]*)</a>', page)


def test_home_shows_the_last_day_with_papers(site: World) -> None:
    page = site.get("/").text
    assert "Saturday, 21 November 2026" in page
    assert titles(page)[0] == "Seven birds on one wire share a song"
    assert "Ferns &amp; moss under &lt;railway&gt; arches" in page
    assert "Ada Moss and Ben Fern" in page
    assert '40<span class="unseen"> votes' in page
    assert 'rel="prev" href="/day/2026-11-18"' in page
    assert 'rel="next"' not in page


def test_days_weeks_and_months_lead_to_each_other(site: World) -> None:
    day = site.get("/day/2026-11-18").text
    assert 'rel="next" href="/day/2026-11-21"' in day
    assert 'href="/week/2026-W47"' in day
    assert len(titles(day)) == 50
    assert len(titles(site.get("/day/2026-11-18?page=2").text)) == 10
    assert "64 papers" in site.get("/week/2026-W47").text
    assert "64 papers" in site.get("/month/2026-11").text
    empty = site.get("/day/2026-11-20").text
    assert "No papers came in" in empty
    assert 'href="/day/2026-11-18"' in empty
    assert 'href="/day/2026-11-21"' in empty
    for longer in ("/week/2026-W47", "/month/2026-11"):
        assert '<a href="/day/2026-11-21">21 Nov 2026</a>' in site.get(longer).text
    assert '<a href="/week/2026-W47">16 Nov 2026 to 22 Nov 2026</a>' in site.get("/month/2026-11").text


def test_trending_first(site: World) -> None:
    found = titles(site.get("/day/2026-11-18?sort=trending").text)
    assert found[:2] == ["Older wires, part 60", "Older wires, part 59"]


@pytest.mark.parametrize(
    "path",
    [
        "/day/2026-02-30",
        "/day/x",
        "/day/0001-01-01",
        "/week/2026-W60",
        "/month/2026-13",
        "/paper/0",
        "/paper/x",
    ],
)
def test_what_does_not_exist_is_404(site: World, path: str) -> None:
    assert site.get(path).status == 404


def test_search_finds_papers_with_all_words_or_their_beginnings(site: World) -> None:
    assert titles(site.get("/?q=MOSS+bridge").text) == [
        "Moss on bridges of the north",
        "Ferns &amp; moss under &lt;railway&gt; arches",
    ]
    song = ["A song of wires: birdsong in the city at night"]
    assert titles(site.get("/?q=10.1234/wires").text) == song
    assert titles(site.get("/?q=2611.00001").text) == ["Moss on bridges of the north"]
    assert titles(site.get("/?q=Fern+Ada").text) == ["Seven birds on one wire share a song"]
    assert titles(site.get("/?q=bird-song+night").text) == []
    assert "No paper has all of these words" in site.get("/?q=zebra").text


@pytest.mark.parametrize(
    "query", ["%", '"', "*", "^", "AND", "NEAR(moss", "title:moss", "-", "a" * 300, "🧦", "'--"]
)
def test_signs_in_a_search_mean_nothing_special(site: World, query: str) -> None:
    page = site.get("/?q=" + quote(query))
    assert page.status == 200
    assert titles(page.text) == []


def test_search_follows_what_happens_to_papers(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        found = "Moss on bridges of the north"
        assert found in titles(world.get("/?q=moss").text)
        longer = {
            "title": found,
            "arxiv_id": "2611.00001v2",
            "abstract": "Lichens, not the other plant. " * 30,
        }
        world.ingest([longer])
        assert titles(world.get("/?q=lichens").text) == [found]
        assert titles(world.get("/?q=handrail+north").text) == []
        with world.desk() as desk:
            withdraw(desk, desk.storage.drops.last(1)[0].report.path, NOW)
        assert titles(world.get("/?q=lichens").text) == []
        assert titles(world.get("/?q=handrail+north").text) == [found]


def test_a_papers_page_yields_its_metadata_to_a_citation_parser(tmp_path: Path) -> None:
    """Read by the parser behind Wikipedia's citations; the fields are those that Google Scholar asks for."""
    paper = {
        "title": 'Cats & "dogs" under <railway> O\u2019Brien\u2019s arches',
        "authors": ["Zoë Müller-Lyer", "O'Neil, Ann", "Ben <Fern>"],
        "abstract": MOSS,
        "published": "2026-11-19",
        "arxiv_id": "2611.04711v2",
        "doi": "10.1234/a.b_c",
    }
    with running(tmp_path) as world:
        world.ingest([paper])
        page = world.get("/paper/5").text
    command = [program("node"), ROOT / "tests/browser/cite.mjs", node_modules("html-metadata")]
    done = subprocess.run(list(map(str, command)), input=page, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "title": paper["title"],
        "author": paper["authors"],
        "publication_date": "2026/11/19",
        "doi": paper["doi"],
        "arxiv_id": "2611.04711",
        "pdf_url": "https://arxiv.org/pdf/2611.04711",
        "abstract": MOSS.strip(),
        "abstract_html_url": "https://papers.example.org/paper/5",
    }


def test_a_papers_date_is_said_once(tmp_path: Path) -> None:
    paper = {"title": "Moss on dated bridges", "abstract": MOSS, "published": "2026-10-19"}
    with running(tmp_path) as world:
        world.ingest(
            [
                {**paper, "author_count": 5},
                {**paper, "title": "Ferns on dated arches", "authors": ["Ada Fern"]},
            ]
        )
        counted, named = (world.get(f"/paper/{number}").text for number in (5, 6))
    assert "5 authors · 19 Oct 2026" in counted
    assert (counted.count("19 Oct 2026"), named.count("19 Oct 2026")) == (1, 1)


def test_three_thousand_authors_do_not_hide_the_abstract(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.ingest(
            [{"title": "Moss of all", "abstract": MOSS, "authors": [f"Ada N{n}" for n in range(3000)]}]
        )
        page = world.get("/paper/5").text.partition("<article>")[2]
    shown, _, folded = page.partition('<details class="authors">')
    assert "Ada N19 and 2980 others" in shown
    assert "Ada N20" not in shown
    assert "Ada N2999" in folded


def test_feeds_show_formulas_as_pages_do(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.ingest([{"title": "Moss breathes CO$_2$", "abstract": "It takes $\\alpha$ steps."}])
        feed = world.get("/feed.xml").text
    assert "<title>Moss breathes CO₂</title>" in feed
    assert "It takes α steps." in feed


def test_more_like_this(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        for sample in sorted(SAMPLES.glob("*.txt")):
            with world.desk() as desk:
                ingest_file(desk.storage.papers, sample, now=NOW)
        with world.desk() as desk:
            papers = list(desk.storage.papers.catalogue())
        pages = [world.get(f"/paper/{paper.id}").text.partition('id="alike"')[2] for paper in papers]
        shown = [set(map(int, re.findall(r'href="/paper/(\d+)"', page))) for page in pages]
        assert any(shown)  # how many is for the ranking to say
        assert not any(paper.id in others for paper, others in zip(papers, shown, strict=True))


def test_papers_of_somebodys_library_are_not_shown(site: World) -> None:
    library = b"@article{x, title={A secret paper about nothing at all}, author={Nobody}}"
    site.post_parts("/subscribe", {"email": "lib@example.org"}, {"library": library})
    with site.desk() as desk:
        [hidden] = [p for p in desk.storage.papers.catalogue(library=True) if "secret" in p.record.title]
    assert site.get(f"/paper/{hidden.id}").status == 404
    assert "secret" not in site.get("/?q=secret").text.replace('value="secret"', "").replace(
        "“secret”", ""
    ).replace("secret - ", "").replace("q=secret", "")


def test_the_feed_is_atom(site: World) -> None:
    feed = site.get("/feed.xml")
    root = ElementTree.fromstring(feed.body)
    names = {"a": "http://www.w3.org/2005/Atom"}
    entries = root.findall("a:entry", names)
    assert len(entries) == 50
    assert entries[2].findtext("a:title", namespaces=names) == "Ferns & moss under <railway> arches"
    assert len({entry.findtext("a:id", namespaces=names) for entry in entries}) == 50


def test_suggestions_go_on_from_what_was_typed(site: World) -> None:
    assert json.loads(site.get("/suggest?q=older").body)[0] == "older wires"
    assert json.loads(site.get("/suggest?q=qqq").body) == []


def test_a_known_page_is_304(site: World) -> None:
    first = site.get("/")
    again = site.get("/", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_the_preview_before_signing_up_counts_a_fortnight(site: World) -> None:
    page = site.post("/subscribe", {"action": "preview", "topic": "older wires", "max_papers": "5"})
    assert "5 papers on 1 day" in page.text
    part = site.post("/subscribe", {"action": "preview", "topic": "moss"}, X_Part="1").text
    assert "2 papers on 1 day" in part
    assert "Moss on bridges" in part


def test_pages_under_a_path_of_the_base_url(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("path"), BASE_URL="https://example.org/papers") as world:
        page = world.get("/papers/")
        assert page.status == 200
        assert 'href="/papers/paper/1"' in page.text
        assert world.get("/papers/paper/1").status == world.get("/paper/1").status == 200

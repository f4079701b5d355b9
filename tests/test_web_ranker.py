"""The pages rank as the mails do: with the embedding model, where one is set."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from digestbot.choosing import gather
from digestbot.desk import open_desk
from digestbot.model import Opinion, Vote
from tests.web_world import NOW, running

MEANINGS = [["bees", "hives", "pollen"], ["rivers", "tides", "lakes"], ["ovens", "bread", "flour"]]


def test_the_live_preview_finds_by_meaning_what_the_mail_will(tmp_path: Path) -> None:
    tiny_model = pytest.importorskip("tests.tiny_model")
    home = tmp_path / "model"
    home.mkdir()
    model = str(tiny_model.make_model(home, MEANINGS))
    meanings = [0 if n % 6 == 0 else 1 + n % 2 for n in range(120)]
    papers = [
        {"title": f"{MEANINGS[meaning][n // 6 % 3]} in the year {n}"} for n, meaning in enumerate(meanings)
    ]
    other = tmp_path / "other"
    other.mkdir()
    with running(tmp_path, EMBEDDING_MODEL=model) as site, running(other) as plain:
        site.ingest(papers, at=NOW - timedelta(hours=1))
        plain.ingest(papers, at=NOW - timedelta(hours=1))
        for world in (site, plain):
            with open_desk(world.settings) as desk:
                gather(desk, NOW)  # as a run does it
            who = world.add("ada@example.org")
            with world.desk() as desk:
                known = desk.storage.papers.candidates(since=NOW - timedelta(days=1), until=NOW)
                liked = [p.id for p in known if p.record.title.startswith("bees")][:4]
                desk.storage.subscribers.vote(who.id, [Vote(i, Opinion.MORE, NOW) for i in liked])
            shown = world.get(world.links.preferences(who.id)).text
            assert ("hives in the year" in shown) is (world is site)


def test_backfilled_papers_are_in_the_background_that_nearness_is_told_against(tmp_path: Path) -> None:
    tiny_model = pytest.importorskip("tests.tiny_model")
    home = tmp_path / "model"
    home.mkdir()
    model = str(tiny_model.make_model(home, MEANINGS))
    with running(tmp_path, EMBEDDING_MODEL=model) as site:
        old = [{"title": f"{MEANINGS[n % 3][n % 2]} long ago in {n}"} for n in range(90)]
        site.ingest(old, at=NOW - timedelta(days=100))
        with open_desk(site.settings) as desk:
            candidates = gather(desk, NOW)
        assert len(candidates.papers) == 4
        assert len(candidates.model.background) == 94

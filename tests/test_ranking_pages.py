"""Ranking on a real page of papers: nobody gets filler."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from digestbot.drops.reading import read_drop
from digestbot.model import Paper, PaperId, PaperRecord, Topic, TopicProfile
from digestbot.ranking import Index, Ranking, embed_papers, fit, index, load_embedder, rank
from tests.shared import shared

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


def page_papers() -> list[Paper]:
    entries = read_drop(shared("drops/page-a.txt"), received=date(2026, 11, 21))
    records = [entry for entry in entries if isinstance(entry, PaperRecord)]
    assert len(records) == 38
    return [Paper(PaperId(n), record, NOW) for n, record in enumerate(records)]


@pytest.fixture(scope="module")
def page() -> Index:
    papers = page_papers()
    return index(fit(papers), papers)


def ask(page: Index, *terms: str) -> Ranking:
    profile = TopicProfile((Topic(terms[0], terms),))
    return rank(page, [profile], [frozenset()], now=NOW, depth=50)[0]


@pytest.mark.parametrize(
    "terms",
    [("continual learning", "catastrophic forgetting"), ("knowledge distillation",), ("protein folding",)],
)
def test_a_subject_the_page_does_not_have_finds_nothing(page: Index, terms: tuple[str, ...]) -> None:
    assert ask(page, *terms).scored == ()


def test_a_subject_the_page_has_finds_only_papers_on_it(page: Index) -> None:
    found = ask(page, "symbolic regression").scored
    assert found
    for scored in found:
        record = page.papers[page.row_of[scored.paper_id]].record
        assert "symbolic regression" in f"{record.title} {record.abstract}".casefold()
        assert 0.2 < scored.score < 0.95


@pytest.mark.parametrize(
    "terms", [("continual learning", "catastrophic forgetting"), ("knowledge distillation",)]
)
def test_a_model_to_which_the_page_means_the_same_finds_nothing_either(
    terms: tuple[str, ...], tmp_path: Path
) -> None:
    """To this model whoever learns or knows something speaks of the topic."""
    tiny_model = pytest.importorskip("tests.tiny_model")
    near = [
        "continual",
        "knowledge",
        "distillation",
        "catastrophic",
        "forgetting",
        "reinforcement",
        "curriculum",
    ]
    embedder = load_embedder(
        str(tiny_model.make_model(tmp_path, [near, ["symbolic", "regression"]])), threads=1
    )
    papers = page_papers()
    embeddings = embed_papers(embedder, papers)
    model = fit(papers, encoder=embedder.fingerprint, embeddings=embeddings)
    prepared = index(model, papers, embedder=embedder, embeddings=embeddings)
    assert ask(prepared, *terms).scored == ()
    assert len(ask(prepared, "symbolic regression").scored) == len(
        ask(index(fit(papers), papers), "symbolic regression").scored
    )

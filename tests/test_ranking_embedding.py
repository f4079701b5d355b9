"""Semantic ranking with a real, very small ONNX model: its words have one of three meanings each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from digestbot.choosing import choose, gather
from digestbot.errors import UsageError
from digestbot.model import Opinion, Paper, PaperId, PaperRecord, Topic, TopicProfile, Vote
from digestbot.ranking import embed_papers, fit, index, rank
from digestbot.ranking.embedding import OnnxEmbedder, load_embedder
from digestbot.semantics import forget_texts
from tests.benchmarks.town import NOW as TOWN_NOW
from tests.benchmarks.town import open_town, town_settings
from tests.tiny_model import make_model

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
MEANINGS = [["bees", "hives", "pollen"], ["rivers", "tides", "lakes"], ["ovens", "bread", "flour"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), MEANINGS)


def test_equal_texts_have_equal_vectors_whatever_stands_beside_them(folder: Path) -> None:
    embedder = load_embedder(str(folder), threads=1)
    alone = embedder.embed(["bees and hives"])
    beside = embedder.embed(["rivers", "bees and hives", "bread " * 500])
    assert np.array_equal(alone[0], beside[1])
    assert np.allclose(np.linalg.norm(beside, axis=1), 1.0)
    assert embedder.fingerprint == OnnxEmbedder(folder).fingerprint


def test_likes_reach_papers_that_share_no_word(folder: Path) -> None:
    embedder = load_embedder(str(folder), threads=1)
    meanings = [0 if n % 6 == 0 else 1 + n % 2 for n in range(120)]
    papers = [
        Paper(PaperId(n), PaperRecord(f"{MEANINGS[meaning][n // 6 % 3]} in year {n}"), NOW)
        for n, meaning in enumerate(meanings)
    ]
    embeddings = embed_papers(embedder, papers)
    model = fit(papers, encoder=embedder.fingerprint, embeddings=embeddings)
    prepared = index(model, papers, embedder=embedder, embeddings=embeddings)
    liked = tuple(Vote(PaperId(n), Opinion.MORE, NOW) for n in (0, 18, 36, 54))  # all of them say "bees"
    (found,) = rank(prepared, [TopicProfile((), liked)], [frozenset()], now=NOW, depth=120)
    assert {int(scored.paper_id) for scored in found.scored} == set(range(0, 120, 6)) - {0, 18, 36, 54}


def test_a_semantic_model_wants_its_own_embedder(folder: Path) -> None:
    embedder = load_embedder(str(folder), threads=1)
    papers = [Paper(PaperId(n), PaperRecord(f"bees {n}"), NOW) for n in range(5)]
    model = fit(papers, encoder=embedder.fingerprint, embeddings=embed_papers(embedder, papers))
    with pytest.raises(ValueError, match="fit it anew"):
        index(model, papers)
    lexical = index(fit(papers), papers, embedder=embedder)
    assert rank(lexical, [TopicProfile((Topic("bees", ("bees",)),))], [frozenset()], now=NOW, depth=9)[
        0
    ].scored


@pytest.mark.parametrize("missing", ["tokenizer.json", "onnx/model.onnx", "1_Pooling/config.json"])
def test_a_folder_that_lacks_a_file_is_named(folder: Path, tmp_path: Path, missing: str) -> None:
    for path in folder.rglob("*.*"):
        if path.is_file() and path.relative_to(folder).as_posix() != missing:
            (tmp_path / path.relative_to(folder)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(folder)).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=Path(missing).name):
        load_embedder(str(tmp_path))


@pytest.mark.parametrize("broken", ["tokenizer.json", "onnx/model.onnx", "1_Pooling/config.json"])
def test_a_broken_file_is_named(folder: Path, tmp_path: Path, broken: str) -> None:
    for path in folder.rglob("*.*"):
        if path.is_file():
            (tmp_path / path.relative_to(folder)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(folder)).write_bytes(path.read_bytes())
    (tmp_path / broken).write_bytes(b"no model")
    with pytest.raises(UsageError, match=Path(broken).name):
        load_embedder(str(tmp_path))


class Counting:
    """A real model, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._model = load_embedder(str(folder), threads=1)
        self.fingerprint = self._model.fingerprint
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked += texts
        return self._model.embed(texts)


def test_topics_are_embedded_once_for_all_ticks(folder: Path, tmp_path: Path) -> None:
    with open_town(town_settings(tmp_path), readers=4, papers=520) as plain:
        found = []
        for day in (0, 1, 30):
            embedder = Counting(folder)
            desk = replace(plain, embedder=embedder)
            candidates = gather(desk, TOWN_NOW)
            embedder.asked.clear()
            readers = list(desk.storage.subscribers.everybody())
            chosen = choose(
                desk, candidates, readers, dict.fromkeys([r.id for r in readers], TOWN_NOW.date())
            )
            found.append((len(embedder.asked), chosen))
            forget_texts(desk.storage, TOWN_NOW + timedelta(days=day))
        assert [asked for asked, _ in found] == [16, 0, 0]  # three topics each, and all of them together
        assert found[0][1] == found[1][1]
        forget_texts(plain.storage, TOWN_NOW + timedelta(days=61))
        assert plain.storage.models.text_vectors(embedder.fingerprint, embedder.asked) == {}
        assert plain.storage.db.row("SELECT count(*) FROM text_vectors") == (0,)

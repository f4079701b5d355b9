"""Excerpts: verbatim sentences, cuts marked, and the idea and result shown, as readers marked them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.excerpt_model import roles
from digestbot.excerpts import excerpt, sentences
from tests.benchmarks import bench_excerpts
from tests.mail_samples import ABSTRACT
from tests.shared import shared


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three? Four.", 4),
        ("We use e.g. socks, i.e. pairs. It works.", 2),
        ("Smith et al. show it. Fig. 2 and Eq. 3 agree.", 2),
        ("It gains 3.5% over v2.0 of it. Good.", 2),
        ('He said "no." Then he left.', 2),
        ("See https://example.org/a.b. Then go.", 2),
        ("本論文では手法を提案する。実験で確かめた。", 2),
        ("No stop at all", 1),
        ("  padded.  ", 1),
        ("", 0),
        ("J. S. Bach wrote it. (It is long.) And so on.", 3),
    ],
)
def test_sentences_end_where_a_reader_says(text: str, count: int) -> None:
    assert len(split(text)) == count


@given(st.text(alphabet="aB.!? \n…(é", max_size=120))
def test_every_letter_belongs_to_one_sentence(text: str) -> None:
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@given(st.lists(st.text(alphabet="abC e1%", min_size=1, max_size=60), max_size=12), st.integers(1, 3))
def test_an_excerpt_is_verbatim_sentences_in_order(parts: list[str], most: int) -> None:
    abstract = ". ".join(parts)
    at = 0
    for piece in filter(None, (piece.strip() for piece in excerpt(abstract, most=most).split("…"))):
        assert piece in abstract[at:]
        at = abstract.index(piece, at) + len(piece)


def test_task_idea_and_result_are_found_and_the_cuts_marked() -> None:
    shown = excerpt(ABSTRACT)
    assert "we propose SockNet" in shown
    assert "outperforms the best household" in shown
    assert "…" in shown
    assert "Code is available" not in shown
    assert len(shown) <= len(ABSTRACT) / 2 + 10


def test_one_sentence_is_the_most_telling_one() -> None:
    assert len(sentences(excerpt(ABSTRACT, most=1).replace("…", ""))) == 1
    assert "SockNet" in excerpt(ABSTRACT, most=1)


@pytest.mark.parametrize("text", ["", "   ", "Short and whole.", "Two. Sentences only."])
def test_short_abstracts_are_shown_whole(text: str) -> None:
    assert excerpt(text) == text.strip()


@pytest.mark.parametrize(
    ("abstract", "begins"),
    [
        ("Abstract. We weave socks.", "We weave"),
        ("Abstract&nbsp;&nbsp;Knowledge of socks.", "Knowledge"),
        ("[Autoren-Abstract] Socks are woven.", "Socks"),
        ("doi: 10.1086/421787 This article weaves.", "This article"),
        ("Abstract interpretation weaves.", "Abstract interpretation"),
    ],
)
def test_what_a_publisher_prints_before_an_abstract_is_left_out(abstract: str, begins: str) -> None:
    assert excerpt(abstract).startswith(begins)


def test_a_sentence_with_broken_formulas_is_the_last_choice() -> None:
    broken = (
        "We prove that SockNet has a rate of Obig(1{n}+minbig(big[sqrt{rank}{nvarepsilon}big]) and is best."
    )
    plain = "We study how long socks last in use and in the wash, as others have done before us at length."
    assert broken not in excerpt(f"{plain} {broken} {plain} {plain}")


def test_a_book_takes_no_longer_than_an_abstract() -> None:
    assert excerpt("We propose a new sock, and it is good. " * 800)


def test_probabilities_of_each_role_sum_to_one() -> None:
    found = roles(split(ABSTRACT))
    assert found.sum(0) == pytest.approx([1, 1, 1])
    assert found[:, 1].argmax() in (2, 3)


def test_readers_marks_are_shown() -> None:
    """The measure of shared/excerpts; the weights of each fold never saw its abstracts."""
    examples = bench_excerpts.read_examples(shared("excerpts/labels.jsonl.gz"))
    for example in examples:
        shown = excerpt(example.abstract)
        assert all(p.strip() in example.abstract for p in shown.split("…"))
        assert len(shown) - 4 <= len(example.abstract) / 2 or len(sentences(shown.strip("… "))) == 1
    found = bench_excerpts.cross_validate(examples)
    assert found["mean of task, idea, result"] >= 0.64
    assert min(found["task"], found["idea"], found["result"]) >= 0.42


def test_the_shipped_weights_are_those_that_learning_gives() -> None:
    examples = bench_excerpts.read_examples(shared("excerpts/labels.jsonl.gz"))
    learned = roles(split(ABSTRACT), bench_excerpts.learn(examples))
    assert roles(split(ABSTRACT)) == pytest.approx(learned, abs=0.02)

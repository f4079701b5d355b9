"""`rank` and `explain` as a user types them, with what people put into files."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import threading
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.household import Answer, Household, household

__all__ = ["household"]

PAPERS = [{"id": n, "title": f"River ice {n}", "abstract": "It breaks in spring. " * 20} for n in range(200)]
NOW, LATER = "2026-01-05T05:00:00Z", "2026-01-05T06:00:00Z"


def write(name: str, rows: list[object]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def rank(household: Household, papers: Sequence[object], profiles: Sequence[object], *words: str) -> Answer:
    files = ("--papers", write("p.jsonl", [*papers]), "--profiles", write("u.jsonl", [*profiles]))
    return household.run("rank", *files, *words)


def test_an_unknown_id_is_named_with_its_line_and_the_others_are_ranked(household: Household) -> None:
    profiles = [
        {"user": "ada", "topics": ["river ice"], "liked": [1, 999, None]},
        {"user": "bob", "topics": ["river ice"]},
    ]
    command = ("rank", "--papers", write("p.jsonl", [*PAPERS]), "--profiles", write("u.jsonl", [*profiles]))
    answer = household.run(*command)
    assert answer.code == 1
    assert "u.jsonl: line 1: liked: 999 is no paper's id" in answer.err
    assert [row["user"] for row in answer.json_lines] == ["ada", "bob"]
    Path("c.json").write_text("[3, 4, 'x']".replace("'", '"'))
    answer = household.run(*command, "--candidates", "c.json")
    assert (answer.code, sorted(answer.json_lines[1]["ranking"])) == (1, [3, 4])
    assert 'c.json: "x"' in answer.err


BOB = {"user": "bob", "topics": ["river ice"]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"liked": 5}, "liked: 5 is not a list of ids"),
        ({"liked": "17"}, 'liked: "17" is not a list of ids'),
        ({"disliked": {}}, "disliked: {} is not a list of ids"),
        ({"topics": {"name": "ice"}}, "topics: {'name': 'ice'} is not a list of topics"),
        ({"topics": {}}, "topics: {} is not a list of topics"),
        ({"topics": [f"ice {n}" for n in range(101)]}, "101 topics are too many: at most 100"),
        ({"topics": [{"name": "ice", "weight": 0}]}, "topic 'ice': weight: 0 must be from 0.01 to 10"),
        ({"topics": [{"name": "ice", "weight": 10**400}]}, "topic 'ice': weight: 1000"),
        ({"topics": [{"name": 5, "terms": ["ice"]}]}, "topic 5: name: 5 is not a text"),
        ({"topics": [{"name": "ice", "authors": 5}]}, "topic 'ice': authors: 5 is not a list of texts"),
        ({"user": None}, 'needs a "user"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_profile_is_named_with_its_line(
    household: Household, fields: dict[str, object], said: str
) -> None:
    answer = rank(household, PAPERS, [BOB, {**BOB, **fields}])
    assert (answer.code, answer.out) == (2, "")
    assert "u.jsonl: line 2: " in answer.err
    assert said in answer.err
    assert len(answer.err) < 300


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": 7, "title": "Ice", "authors": 5}, "line 2: authors must be a list of texts"),
        ({"id": 7, "title": "Ice", "authors": "Ada"}, "line 2: authors must be a list of texts"),
        ({"id": 7, "title": "Ice", "abstract": ["It breaks."]}, "line 2: abstract must be text"),
        ({"id": True, "title": "Ice"}, "line 2: a paper needs an id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_paper_is_named_with_its_line(
    household: Household, row: dict[str, object], said: str
) -> None:
    answer = rank(household, [{"id": 0, "title": "Ice"}, row], [BOB])
    assert (answer.code, answer.out) == (2, "")
    assert "p.jsonl: " + said in answer.err


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5_000, "\udcff", ""], ids=lambda text: text[:3])
@pytest.mark.parametrize("option", ["--papers", "--profiles", "--candidates"])
def test_a_file_that_is_none_is_named(household: Household, option: str, content: str) -> None:
    files = {"--papers": write("p.jsonl", [*PAPERS]), "--profiles": write("u.jsonl", [BOB])}
    files[option] = "wrong.json"
    Path("wrong.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    answer = household.run("rank", *(word for pair in files.items() for word in pair))
    assert (answer.code, answer.out) == (2, "")
    assert "wrong.json: " in answer.err
    if content and option != "--candidates":
        assert "wrong.json: line 1: " in answer.err


@pytest.mark.parametrize("option", ["--papers", "--profiles", "--candidates"])
def test_the_output_is_never_written_over_an_input(household: Household, option: str) -> None:
    files = {"--papers": write("p.jsonl", [*PAPERS]), "--profiles": write("u.jsonl", [BOB])}
    files["--candidates"] = write("c.json", [[1, 2]])
    Path("out.jsonl").symlink_to(files[option])
    before = Path(files[option]).read_bytes()
    answer = household.run("rank", *(word for pair in files.items() for word in pair), "--out", "out.jsonl")
    assert (answer.code, answer.out) == (2, "")
    assert f"--out out.jsonl: is the file of {option}" in answer.err
    assert Path(files[option]).read_bytes() == before


@pytest.mark.parametrize("option", ["--papers", "--profiles", "--candidates"])
def test_a_bomb_is_refused_in_little_memory(household: Household, option: str) -> None:
    files = {"--papers": write("p.jsonl", [*PAPERS]), "--profiles": write("u.jsonl", [BOB])}
    files[option] = "bomb.gz"
    with gzip.open("bomb.gz", "wb", compresslevel=1) as bomb:
        for _ in range(300):
            bomb.write(b" " * 2**20)
    tracemalloc.start()
    answer = household.run("rank", *(word for pair in files.items() for word in pair))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.code, answer.out) == (2, "")
    assert "bomb.gz: unpacks to over 200 times its size" in answer.err
    assert peak < 100 * 2**20


def test_a_line_without_an_end_is_refused(household: Household) -> None:
    Path("p.jsonl").write_bytes(b'{"id": 1, "title": "' + b"ice " * 5_000_000 + b'"}\n')
    answer = household.run("rank", "--papers", "p.jsonl", "--profiles", write("u.jsonl", [BOB]))
    assert (answer.code, answer.out) == (2, "")
    assert "p.jsonl: line 1: is longer than 16 MiB" in answer.err


def test_packed_files_links_and_pipes_are_read_and_packed_ones_written(household: Household) -> None:
    plain = rank(household, PAPERS, [BOB])
    Path("packed").write_bytes(gzip.compress(Path("p.jsonl").read_bytes()))
    Path("link").symlink_to("packed")
    os.mkfifo("pipe")
    words = Path("u.jsonl").read_bytes()
    writing = threading.Thread(target=Path("pipe").write_bytes, args=(words,), daemon=True)
    writing.start()
    answer = household.run("rank", "--papers", "link", "--profiles", "pipe", "--out", "out.jsonl.gz")
    writing.join(10)
    assert (answer.code, answer.out) == (0, "")
    assert gzip.decompress(Path("out.jsonl.gz").read_bytes()).decode() == plain.out


def test_an_output_that_fails_midway_leaves_the_old_file_whole(household: Household) -> None:
    Path("old.jsonl").write_text("of yesterday\n")
    Path("old.jsonl").chmod(0o640)
    Path("out.jsonl").symlink_to("old.jsonl")
    before = sorted(Path().iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    papers, profiles = write("p.jsonl", [*PAPERS]), write("u.jsonl", [BOB] * 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        answer = household.run("rank", "--papers", papers, "--profiles", profiles, "--out", "out.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert answer.code == 1
    assert "File too large" in answer.err
    assert Path("old.jsonl").read_text() == "of yesterday\n"
    assert {path.name for path in Path().iterdir()} == {path.name for path in before} | {papers, profiles}
    assert rank(household, PAPERS, [BOB], "--out", "out.jsonl").code == 0
    assert Path("out.jsonl").is_symlink()
    assert json.loads(Path("old.jsonl").read_text())["user"] == "bob"
    assert Path("old.jsonl").stat().st_mode & 0o777 == 0o640
    assert rank(household, PAPERS, [BOB], "--out", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()
    nowhere = rank(household, PAPERS, [BOB], "--out", "nowhere/out.jsonl")
    assert (nowhere.code, nowhere.err) == (
        2,
        "digestbot: nowhere/out.jsonl: cannot be written: No such file or directory\n",
    )


def test_an_id_of_the_other_type_is_told(household: Household) -> None:
    papers = [{"id": 99, "title": "River ice"}, {"id": "7", "title": "River ice"}, *PAPERS[:5]]
    answer = rank(household, papers, [{**BOB, "liked": ["99"], "disliked": [7, True]}])
    assert answer.code == 1
    assert 'liked: "99" is no paper\'s id, the number 99 is; left out' in answer.err
    assert 'disliked: 7 is no paper\'s id, the text "7" is; left out' in answer.err
    assert "disliked: true is no paper's id; left out" in answer.err


def test_a_topic_that_says_nothing_is_named_and_changes_nothing(household: Household) -> None:
    answer = rank(household, PAPERS, [BOB, {**BOB, "topics": ["river ice", "the"]}])
    assert answer.code == 0
    assert "u.jsonl: line 2: topic 'the'" in answer.err
    first, second = answer.json_lines
    assert first == second


def test_any_user_is_written(household: Household) -> None:
    answer = rank(household, PAPERS[:3], [{"user": "Zoë \ud800"}])
    assert answer.code == 0
    assert answer.json_lines[0]["user"] == "Zoë \ud800"


@pytest.mark.parametrize(
    "term",
    [
        "x" * 1_000_000,
        "(a+)+$",
        ".*",
        "",
        "of the",
        "持续学习",
        "التعلم الآلي",
        "[" * 150,
        "\u0000",
    ],
    ids=["1 MB", "backtracking", "any", "empty", "stop words", "Chinese", "Arabic", "brackets", "NUL"],
)
def test_hostile_terms_rank_in_time_or_are_named(household: Household, term: str) -> None:
    profiles = [
        {"user": 1, "topics": [term]},
        {
            "user": 2,
            "topics": [{"name": "many", "terms": ["ice"] + [f"{term[:20]} {n}" for n in range(10_000)]}],
        },
        {"user": 3, "topics": ["river ice"]},
    ]
    start = time.process_time()
    answer = rank(household, PAPERS, profiles)
    assert answer.code == 1, "terms that would count are left out"
    assert time.process_time() - start < 20
    assert len(answer.json_lines) == 3
    assert answer.json_lines[2]["scores"][0] > 0
    assert "u.jsonl: line 2" in answer.err
    assert len(answer.err) < 2_000


@pytest.mark.parametrize("term", ["x" * 100_000, "of the", "...", ""])
def test_a_term_that_says_nothing_is_refused_at_the_door(household: Household, term: str) -> None:
    answer = household.run("subscribers", "add", "ada@example.org", f"--topic={term}", "--confirmed", now=NOW)
    assert answer.code == 2
    assert "topic" in answer.err
    assert len(answer.err) < 500


def test_explain_speaks_to_people(household: Household) -> None:
    household.subscribe("ada@example.org", "river ice", now=NOW)
    household.subscribe("eve@example.org", now=NOW)
    rows: list[object] = [
        {"title": "River ice breaks early", "abstract": "We watch it.", "upvotes": 9},
        {"title": "Bread ovens of the north", "abstract": "We bake."},
    ]
    household.do("ingest", write("d.jsonl", rows), now=NOW)
    shown = household.do("explain", "ada@example.org", "River ice breaks early", now=LATER).out
    assert "Would it be sent? yes" in shown
    assert "Why: it mentions river ice" in shown
    assert not set("[]{}'") & set(shown)
    trending = household.do("explain", "eve@example.org", "River ice breaks early", now=LATER).out
    assert "what trends" in trending
    assert "9 upvotes" in trending
    assert "minimum" not in trending
    unnoticed = household.do("explain", "eve@example.org", "Bread ovens of the north", now=LATER).out
    assert "nobody noticed it yet" in unnoticed

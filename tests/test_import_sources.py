"""Where `subscribers import` reads from: a file, a packed one, stdin."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from tests.household import Household, household

__all__ = ["household"]

PEOPLE = b'{"email": "ada@example.org"}\n{"email": "bob@example.org"}\n'


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def emails(household: Household) -> list[str]:
    return [line["email"] for line in household.do("subscribers", "list", "--json").json_lines]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
@pytest.mark.parametrize("through", ["a file", "stdin"])
def test_import_reads_it(
    household: Household, monkeypatch: pytest.MonkeyPatch, pack: type[bytes], through: str
) -> None:
    data = pack(PEOPLE)
    if through == "stdin":
        monkeypatch.setattr(sys, "stdin", Stdin(data))
        answer = household.do("subscribers", "import", "-", "--sync", "--json")
    else:
        Path("people").write_bytes(data)
        answer = household.do("subscribers", "import", "people", "--sync", "--json")
    assert (answer.json["added"], answer.json["missing"]) == (2, [])
    assert emails(household) == ["ada@example.org", "bob@example.org"]


def test_a_broken_packed_file_changes_nothing(household: Household) -> None:
    Path("people.gz").write_bytes(gzip.compress(PEOPLE)[:-12])
    answer = household.run("subscribers", "import", "people.gz")
    assert answer.code == 2
    assert "people.gz: cannot be read" in answer.err
    assert emails(household) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("0", "0 must be from 0.01 to 10"),
        ("1" + "0" * 400, "must be from"),
        ("9" * 5000, "is not valid JSON"),
    ],
    ids=["none", "huge", "too long to read"],
)
def test_a_weight_out_of_range_is_named_with_line_topic_and_field(
    household: Household, number: str, said: str
) -> None:
    Path("people").write_text(
        '{"email": "ada@example.org"}\n'
        f'{{"email": "bob@example.org", "topics": [{{"name": "owls", "weight": {number}}}]}}\n'
    )
    answer = household.run("subscribers", "import", "people")
    assert answer.code == 2
    assert "people: line 2: " in answer.err
    assert said in answer.err
    assert ("topics: topic 'owls': weight: " in answer.err) == (len(number) < 5000)
    assert len(answer.err) < 300


@pytest.mark.parametrize("header", ["email;topics", "name\temail"])
def test_a_table_that_is_not_parted_by_commas_is_told_so(household: Household, header: str) -> None:
    Path("f.csv").write_text(header + "\n")
    answer = household.run("subscribers", "import", "f.csv")
    assert answer.code == 2
    assert "f.csv: line 1: separate the fields with commas" in answer.err


def test_a_line_that_is_no_utf_8_is_named_wherever_it_is(household: Household) -> None:
    rows = b"".join(b"reader%d@example.org,Name\n" % number for number in range(2000))
    Path("f.csv").write_bytes(b"email,name\n" + rows + b"z@example.org,Zo\xeb\n")
    answer = household.run("subscribers", "import", "f.csv")
    assert (answer.code, answer.err) == (2, "digestbot: f.csv: line 2002: is not UTF-8 text\n")

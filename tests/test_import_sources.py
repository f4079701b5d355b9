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

"""A fortnight of digests to read, for five real people: writes build/replay/<ranker>/index.html and every mail.

usage: python -m tests.benchmarks.replay [--data ../shared] [--out build/replay] [--model FOLDER]

The people are users of the evaluation sets with their own keywords and libraries; the papers come day by day from
saved pages, recorded arXiv replies and the sets' cold papers. All of it goes through the program as a user runs it:
`init`, `ingest`, `subscribers add --library`, `run --once` on each day, mails taken from a real SMTP server. With a
model (or DIGESTBOT_EMBEDDING_MODEL) the fortnight is replayed a second time with the semantic ranker.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from digestbot.drops.reading import read_drop
from digestbot.model import PaperRecord
from tests.benchmarks.ranking_data import Evaluation, read_set
from tests.household import Household
from tests.smtp_servers import SmtpServer

FIRST_DAY = date(2026, 11, 2)
DAYS = 14
ARXIV = ("s0_m10_b", "s5_m15", "s9_m15", "s10_m10", "s20_m10", "s40_m10", "s50_m10", "s0_m100")
PAGES = {0: "page-a.txt", 7: "page-c.txt"}  # these come whole, the papers of all others in equal parts


@dataclass(frozen=True)
class Person:
    """A user of a set: who, and whether the library counts beside the keywords."""

    name: str
    set_name: str
    user: int | str
    library: bool = True


PEOPLE = (
    Person("tester", "cula_abs", 4200),
    Person("linguist", "cula_abs", 162, library=False),
    Person("statistician", "cula_abs", 3254),
    Person("scholar", "cula_abs", 2488),
    Person("theorist", "hfpages", "page3-0"),
)


@dataclass(frozen=True)
class Fortnight:
    """Where the papers come from."""

    data: Path
    sets: Mapping[str, Evaluation]

    def catalogue(self) -> list[PaperRecord]:
        """What was there before: the papers that are not cold."""
        known = self.sets["cula_abs"]
        return [paper.record for paper in known.papers if paper.id not in (known.cold or ())]

    def cold(self) -> list[PaperRecord]:
        known = self.sets["cula_abs"]
        return [paper.record for paper in known.papers if paper.id in (known.cold or ())]

    def loose(self) -> list[PaperRecord]:
        """The papers of pages that do not come whole."""
        page = read_drop(self.data / "drops" / "page-b.txt", received=FIRST_DAY)
        whole = {name for day in PAGES.values() for name in self._titles(day)}
        found = [entry for entry in page if isinstance(entry, PaperRecord)]
        found += [paper.record for paper in self.sets["hfpages"].papers]
        return [record for record in found if record.title not in whole]

    def _titles(self, name: str) -> Iterator[str]:
        for entry in read_drop(self.data / "drops" / name, received=FIRST_DAY):
            if isinstance(entry, PaperRecord):
                yield entry.title

    def drops(self, day: int, folder: Path) -> Iterator[Path]:
        """The drops of one day, made in `folder` where they do not lie ready."""
        if day < len(ARXIV):
            yield from (self.data / "corpora" / "arxiv").glob(f"q_testing_{ARXIV[day]}*.xml")
        if day in PAGES:
            yield self.data / "drops" / PAGES[day]
        yield write_lines(folder / f"pages-{day:02}.jsonl", self.loose()[day::DAYS])
        yield write_lines(folder / f"journals-{day:02}.jsonl", self.cold()[day::DAYS])


def write_lines(path: Path, records: Sequence[PaperRecord]) -> Path:
    lines = [json.dumps({"title": record.title, "abstract": record.abstract}) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_library(path: Path, evaluation: Evaluation, liked: Sequence[int]) -> Path:
    titles = {int(paper.id): paper.record for paper in evaluation.papers}
    entries = [
        f"TY  - JOUR\nTI  - {titles[number].title}\nAB  - {titles[number].abstract}\nER  - \n"
        for number in liked
    ]
    path.write_text("\n".join(entries), encoding="utf-8")
    return path


def live(home: Household, fortnight: Fortnight) -> Iterator[tuple[Person, date, bytes]]:
    """Every mail of the fortnight, as the server got it."""
    before = f"{FIRST_DAY - timedelta(days=1)}T12:00:00Z"
    home.do("init", now=before)
    known = write_lines(home.folder / "catalogue.jsonl", fortnight.catalogue())
    home.do("ingest", "--backfill", str(known), now=before)
    for person in PEOPLE:
        join(home, person, fortnight.sets[person.set_name], before)
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        drops = [str(path) for path in fortnight.drops(number, home.folder)]
        home.do("ingest", *drops, now=f"{day}T06:00:00Z")
        home.do("run", "--once", now=f"{day}T08:05:00Z")
        mails = {message.recipient: message.data for message in home.server.messages}
        home.server.messages.clear()
        for person in PEOPLE:
            if mail := mails.get(f"{person.name}@example.org"):
                yield person, day, mail


def join(home: Household, person: Person, evaluation: Evaluation, now: str) -> None:
    user = next(user for user in evaluation.users if user.name == person.user)
    options = [f"--topic={topic}" for topic in user.topics]
    if person.library:
        library = write_library(home.folder / f"{person.name}.ris", evaluation, user.train)
        options += ["--library", str(library)]
    home.do("subscribers", "add", f"{person.name}@example.org", *options, "--confirmed", now=now)


def write_mail(folder: Path, person: Person, day: date, mail: bytes) -> str:
    """The mail's two parts as files; the subject."""
    message = message_from_bytes(mail, policy=policy.default)
    for kind, ending in (("html", "html"), ("plain", "txt")):
        part = message.get_body((kind,))
        if part is None:
            raise ValueError(f"{person.name}, {day}: the mail has no {kind} part")
        (folder / f"{person.name}-{day}.{ending}").write_text(part.get_content(), encoding="utf-8")
    return str(message["subject"])


def write_index(folder: Path, subjects: Mapping[tuple[str, date], str]) -> None:
    rows = []
    for person in PEOPLE:
        rows.append(f"<h2>{person.name} ({person.set_name}, user {person.user})</h2><ul>")
        for day in (FIRST_DAY + timedelta(days=n) for n in range(DAYS)):
            subject = subjects.get((person.name, day))
            link = f"{person.name}-{day}"
            rows.append(
                f'<li>{day}: <a href="{link}.html">{html.escape(subject)}</a> (<a href="{link}.txt">text</a>)'
                if subject
                else f"<li>{day}: no mail"
            )
        rows.append("</ul>")
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>A fortnight</title><h1>A fortnight</h1>'
    )
    (folder / "index.html").write_text(head + "\n".join(rows), encoding="utf-8")


def replay(fortnight: Fortnight, out: Path, model: Path | None) -> None:
    name = "semantic" if model else "lexical"
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "state").mkdir(parents=True)
    subjects: dict[tuple[str, date], str] = {}
    with pytest.MonkeyPatch.context() as patch, SmtpServer() as server:
        home = Household(folder / "state", server, patch)
        if model:
            home.set("EMBEDDING_MODEL", str(model))
        for person, day, mail in live(home, fortnight):
            subjects[person.name, day] = write_mail(folder, person, day, mail)
    shutil.rmtree(folder / "state")
    write_index(folder, subjects)
    print(f"{name}: {len(subjects)} mails, {folder / 'index.html'}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).resolve().parents[2]
    model = os.environ.get("DIGESTBOT_EMBEDDING_MODEL")
    parser.add_argument("--data", type=Path, default=beside.parent / "shared")
    parser.add_argument("--out", type=Path, default=beside / "build" / "replay")
    parser.add_argument("--model", type=Path, default=Path(model) if model else None)
    given = parser.parse_args()
    out, data = given.out.resolve(), given.data.resolve()
    sets = {name: read_set(data / "ranking" / name) for name in ("cula_abs", "hfpages")}
    for ranker in (None, given.model.resolve()) if given.model else (None,):
        replay(Fortnight(data, sets), out, ranker)


if __name__ == "__main__":
    main()

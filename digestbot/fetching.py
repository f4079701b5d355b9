"""From a source to a drop in `incoming`: what is new there, and whether an empty answer means an empty day."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from digestbot import sources
from digestbot.drops.folder import DropFolder
from digestbot.sources import Answer, Client, ComeBackLater


class Marks(Protocol):
    """Where the last time's validators are kept (the operation store's facts)."""

    def find_fact(self, name: str) -> str | None: ...
    def set_fact(self, name: str, value: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """drops: files written to `incoming`. empty, unchanged: answers that held nothing, nothing new."""

    source: str
    drops: tuple[Path, ...] = ()
    empty: int = 0
    unchanged: int = 0


def fetch_arxiv(
    folder: DropFolder,
    marks: Marks,
    categories: Sequence[str],
    *,
    now: datetime,
    client: Client,
    url: str = sources.ARXIV_URL,
) -> Fetched:
    """Writes a drop of what was submitted in the last three days, all pages or none; raises Outage."""
    name = "fetch:arxiv:" + ",".join(categories)

    def read() -> Fetched:
        known = marks.find_fact(name) or ""
        pages = list(sources.arxiv_pages(client, categories, now.date(), known=known, url=url))
        if pages[0].body is None:
            return Fetched("arxiv", unchanged=1)
        full = [page for page in pages if page.body and b"<entry" in page.body]
        drops = _write(folder, "arxiv", now, full, ".xml")
        marks.set_fact(name, pages[0].mark if len(pages) == 1 else "")
        return Fetched("arxiv", drops, empty=len(pages) - len(full))

    return _unless_asked_to_wait(marks, "arxiv", now, read)


def fetch_huggingface(
    folder: DropFolder, marks: Marks, *, now: datetime, client: Client, url: str = sources.HUGGINGFACE_URL
) -> Fetched:
    """Writes a drop for each of the last three days that has papers and changed since the last time; raises Outage.

    A day's validator is kept once its drop is written: what was not is asked for again.
    """

    def read() -> Fetched:
        drops: list[Path] = []
        empty = unchanged = 0
        for day in sources.huggingface_days(now.date()):
            name = f"fetch:huggingface:{day}"
            answer = sources.huggingface_day(client, day, marks.find_fact(name) or "", url=url)
            if answer.body is None:
                unchanged += 1
                continue
            if answer.body.strip() in (b"[]", b"[ ]"):
                empty += 1
            else:
                drops += _write(folder, f"huggingface-{day}", now, [answer], ".json")
            marks.set_fact(name, answer.validator)
        return Fetched("huggingface", tuple(drops), empty, unchanged)

    return _unless_asked_to_wait(marks, "huggingface", now, read)


def _unless_asked_to_wait(marks: Marks, source: str, now: datetime, read: Callable[[], Fetched]) -> Fetched:
    """Reads a source unless it asked for a pause that is not over; remembers when it asks for one."""
    name = f"fetch:{source}:not-before"
    until = marks.find_fact(name)
    if until and now < datetime.fromisoformat(until):
        raise ComeBackLater(f"{source}: asked not to be asked before {until}", 0)
    try:
        return read()
    except ComeBackLater as late:
        marks.set_fact(name, (now + timedelta(seconds=late.wait_s)).isoformat(timespec="seconds"))
        raise


def _write(
    folder: DropFolder, stem: str, now: datetime, answers: Sequence[Answer], suffix: str
) -> tuple[Path, ...]:
    """Writes files that the drop reader sees only once they are whole, all of them."""
    folder.make()
    written = []
    for number, answer in enumerate(answers, 1):
        path = folder.incoming / f"{stem}-{now:%Y%m%dT%H%M%SZ}-{number}{suffix}"
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            file.write(answer.body or b"")
            file.flush()
            os.fsync(file.fileno())
        written.append((part, path))
    for part, path in written:
        part.replace(path)
    return tuple(path for _, path in written)

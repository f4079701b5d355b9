"""Builders for drops and the catalogue: a store in memory, records with defaults, files of text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from digestbot.drops.entry import make_record
from digestbot.drops.reading import read_drop
from digestbot.errors import DropError
from digestbot.model import DropReport, PaperRecord, Rejection
from digestbot.storage.database import Database
from digestbot.storage.migrations import migrate
from digestbot.storage.papers import PaperStore
from tests import backends

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


def database() -> Database:
    db = backends.current().open_fresh()
    migrate(db)
    return db


def store() -> PaperStore:
    return PaperStore(database())


def record(title: str = "Seven birds on one wire share a song", **fields: object) -> PaperRecord:
    return make_record(title, **fields)  # type: ignore[arg-type]


def read(path: Path, received: datetime = NOW) -> tuple[str, list[PaperRecord], list[Rejection]]:
    """Format, papers and rejections of a drop."""
    reading = read_drop(path, received=received.date())
    items = list(reading)
    papers = [item for item in items if isinstance(item, PaperRecord)]
    return reading.format, papers, [item for item in items if isinstance(item, Rejection)]


def written(folder: Path, text: str | bytes, name: str = "drop") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return path


def counts(report: DropReport) -> tuple[int, int, int, int]:
    """new, known, updated, rejected."""
    return report.new, report.known, report.updated, len(report.rejected)


def refusal(path: Path) -> str:
    """Why a drop cannot be read, or cannot be read further; '' if it can."""
    try:
        rejected = read(path)[2]
    except DropError as error:
        return str(error)
    return rejected[-1].reason if rejected else ""

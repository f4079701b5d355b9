"""The book of drops: what was read and what came of it, and how a bad one is taken back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from digestbot.catalogue import Known
from digestbot.identity import aliases_of, bare, merge
from digestbot.model import DropId, DropReport, PaperId, PaperRecord, Rejection
from digestbot.storage.database import Database, Row, Value, from_epoch, in_blocks, placeholders
from digestbot.storage.papers import PaperStore
from digestbot.storage.records import FIELDS, pack_version, record_values

_COLUMNS = "id, state, received_at, backfill, name, format, new, known, updated, rejected, held"


@dataclass(frozen=True, slots=True)
class DropRow:
    """A drop as recorded. state: done, rejected, held, withdrawn or library."""

    id: DropId
    state: str
    received_at: datetime
    backfill: bool
    report: DropReport


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What taking a drop back did. gone: ids of papers that left the catalogue, former ids of merged ones included;
    digests that name one of them are to be composed anew, and those sent cannot be unsent."""

    gone: tuple[PaperId, ...] = ()
    kept: tuple[PaperId, ...] = ()  # papers that other drops had, too, now as those tell them


@dataclass(frozen=True, slots=True)
class _Remaining:
    """What other drops still say of a paper. first_seen None: only libraries have it."""

    versions: frozenset[int]
    drops: int
    first_seen: int | None
    mailable: bool
    upvotes: int | None
    comments: int | None


class DropStore:
    """A method is atomic; `transaction()` of the database makes several of them so."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._papers = PaperStore(db)

    def last(self, limit: int = 100) -> list[DropRow]:
        """The last drops, newest first."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM drops ORDER BY id DESC LIMIT ?", (limit,))
        return [_read_drop(row) for row in rows]

    def find(self, name: str) -> DropRow | None:
        """The last drop of a name, else the one whose id the name is in digits."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM drops WHERE name = ? ORDER BY id DESC LIMIT 1", (name,))
        if not rows and name.isascii() and name.isdigit() and len(name) < 18:
            rows = self._db.rows(f"SELECT {_COLUMNS} FROM drops WHERE id = ?", (int(name),))
        return _read_drop(rows[0]) if rows else None

    def forget_held(self, name: str) -> None:
        """Drops the note that a file of this name is held, once it is released."""
        self._db.execute("DELETE FROM drops WHERE name = ? AND state = 'held'", (name,))

    def withdraw(self, drop: DropId) -> Withdrawal:
        """Takes back all that a drop said. A paper that no other drop has leaves the catalogue, others become what
        the remaining drops say of them; papers that it proved to be one stay one. Twice is as good as once."""
        with self._db.transaction():
            rows = self._db.rows(
                "SELECT DISTINCT paper_id FROM sightings WHERE drop_id = ? ORDER BY paper_id", (drop,)
            )
            self._db.execute("DELETE FROM sightings WHERE drop_id = ?", (drop,))
            self._db.execute("UPDATE drops SET state = 'withdrawn' WHERE id = ?", (drop,))
            ids = [PaperId(cast(int, row[0])) for row in rows]
            gone: list[PaperId] = []
            kept: list[PaperId] = []
            for some in in_blocks(ids):
                remaining = self._remaining(some)
                lost = [paper for paper in some if paper not in remaining]
                gone += self._remove(lost)
                for known in self._papers.known(list(remaining)):
                    self._reduce(known, remaining[known.paper.id])
                    kept.append(known.paper.id)
            return Withdrawal(tuple(sorted(gone)), tuple(kept))

    def _remaining(self, ids: Sequence[PaperId]) -> dict[PaperId, _Remaining]:
        """What other drops say of the papers; those that none has are left out."""
        said: dict[PaperId, list[Row]] = {}
        sql = (
            "SELECT paper_id, version, drop_id, state, received_at, backfill, upvotes, comments"
            " FROM sightings JOIN drops ON drops.id = sightings.drop_id"
            f" WHERE paper_id IN ({placeholders(len(ids))}) ORDER BY received_at, drops.id"
        )
        for paper, *rest in self._db.rows(sql, ids):
            said.setdefault(PaperId(cast(int, paper)), []).append(tuple(rest))
        return {paper: _summary(rows) for paper, rows in said.items()}

    def _remove(self, ids: Sequence[PaperId]) -> list[PaperId]:
        """Removes papers and all that is known of them; returns their ids and those merged into them."""
        if not ids:
            return []
        among = f"IN ({placeholders(len(ids))})"
        merged = self._db.rows(f"SELECT old_id FROM merges WHERE paper_id {among}", ids)
        for table in ("aliases", "versions", "vectors", "merges"):
            self._db.execute(f"DELETE FROM {table} WHERE paper_id {among}", ids)
        self._db.execute(f"DELETE FROM papers WHERE id {among}", ids)
        return [*ids, *(PaperId(cast(int, row[0])) for row in merged)]

    def _reduce(self, known: Known, remaining: _Remaining) -> None:
        """Makes a paper what the remaining drops say of it."""
        paper = known.paper.id
        versions = {key: said for key, said in known.versions.items() if key in remaining.versions}
        versions = versions or dict(known.versions)  # only libraries have it, or more was said than is kept
        mailable = int(remaining.mailable and known.paper.mailable)  # what was never mailed will not be now
        record = replace(
            merge(tuple(versions.values())), upvotes=remaining.upvotes, comments=remaining.comments
        )
        columns = ", ".join(f"{name} = ?" for name in (*FIELDS, "first_seen", "mailable", "sightings"))
        self._db.execute(
            f"UPDATE papers SET {columns} WHERE id = ?",
            (*record_values(record), remaining.first_seen, mailable, remaining.drops, paper),
        )
        self._rewrite("aliases", "alias", paper, _aliases(versions.values()))
        packed = [(key, pack_version(version, bare(record))) for key, version in versions.items()]
        self._rewrite("versions", "version, record", paper, packed)
        self._db.execute("DELETE FROM vectors WHERE paper_id = ?", (paper,))

    def _rewrite(self, table: str, columns: str, paper: PaperId, rows: Collection[Sequence[Value]]) -> None:
        self._db.execute(f"DELETE FROM {table} WHERE paper_id = ?", (paper,))
        values = placeholders(columns.count(",") + 2)
        self._db.execute_many(
            f"INSERT INTO {table} (paper_id, {columns}) VALUES ({values})", [(paper, *row) for row in rows]
        )


def _summary(rows: Sequence[Row]) -> _Remaining:
    """Of rows (version, drop, state, received_at, backfill, upvotes, comments), earliest first."""
    seen = [row for row in rows if row[2] != "library"]
    return _Remaining(
        versions=frozenset(cast(int, row[0]) for row in seen),
        drops=len({row[1] for row in seen}),
        first_seen=cast(int, seen[0][3]) if seen else None,
        mailable=bool(seen) and not seen[0][4],
        upvotes=max((cast(int, row[5]) for row in rows if row[5] is not None), default=None),
        comments=max((cast(int, row[6]) for row in rows if row[6] is not None), default=None),
    )


def _aliases(versions: Iterable[PaperRecord]) -> list[Sequence[Value]]:
    return [(alias,) for alias in sorted({alias for version in versions for alias in aliases_of(version)})]


def _read_drop(row: Row) -> DropRow:
    identifier, state, received_at, backfill, name, form, new, known, updated, rejected, held = row
    report = DropReport(
        path=cast(str, name),
        format=cast("str | None", form),
        new=cast(int, new),
        known=cast(int, known),
        updated=cast(int, updated),
        rejected=tuple(Rejection(r, line=line, entry=n) for line, n, r in json.loads(cast(str, rejected))),
        held=cast("str | None", held),
    )
    return DropRow(
        DropId(cast(int, identifier)), cast(str, state), from_epoch(received_at), bool(backfill), report
    )

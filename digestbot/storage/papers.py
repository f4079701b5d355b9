"""Drops, papers and what is known of them. A method is atomic; `transaction()` makes several of them so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar, cast

from digestbot.catalogue import MAX_NAMESAKES, Change, Effect, Entry, Known, Seen, Work, decide
from digestbot.identity import bare
from digestbot.model import DropId, DropReport, Paper, PaperId
from digestbot.storage.database import (
    BLOCK,
    Database,
    Value,
    from_epoch,
    in_blocks,
    placeholders,
    take_ids,
    to_epoch,
)
from digestbot.storage.records import (
    FIELDS,
    PAPER_COLUMNS,
    pack_version,
    read_paper,
    record_values,
    to_json,
    unpack_version,
)

_T = TypeVar("_T")


class PaperStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def transaction(self) -> AbstractContextManager[None]:
        return self._db.transaction()

    # ---- reading papers -----------------------------------------------------------------------------------------

    def candidates(self, since: datetime, until: datetime) -> list[Paper]:
        """Mailable papers first seen from `since` to `until`, both included, by id."""
        return self._papers(
            "WHERE mailable = 1 AND first_seen BETWEEN ? AND ? ORDER BY id",
            (to_epoch(since), to_epoch(until)),
        )

    def papers(self, ids: Collection[PaperId]) -> dict[PaperId, Paper]:
        """Papers by the id asked for; a merged paper's old id finds the one it became. Unknown ids are left out."""
        living = self.resolve(ids)
        found = {p.id: p for some in in_blocks(sorted(set(living.values()))) for p in self._among(some)}
        return {asked: found[now] for asked, now in living.items() if now in found}

    def resolve(self, ids: Collection[PaperId]) -> dict[PaperId, PaperId]:
        """Each id with the id of the paper it is now: itself, or the paper it was merged into."""
        living = {identifier: identifier for identifier in ids}
        for some in in_blocks(sorted(living)):
            sql = f"SELECT old_id, paper_id FROM merges WHERE old_id IN ({placeholders(len(some))})"
            living.update((_id(old), _id(new)) for old, new in self._db.rows(sql, some))
        return living

    def catalogue(self, *, library: bool = False) -> Iterator[Paper]:
        """All papers by id, read in blocks; those known only from libraries where `library`."""
        last = 0
        seen = "" if library else "AND first_seen IS NOT NULL"
        while papers := self._papers(f"WHERE id > ? {seen} ORDER BY id LIMIT {BLOCK}", (last,)):
            yield from papers
            last = papers[-1].id

    def count(self) -> int:
        """Papers that a drop had."""
        row = self._db.row("SELECT COUNT(*) FROM papers WHERE first_seen IS NOT NULL")
        return cast(int, row[0]) if row else 0

    def newest(self) -> datetime | None:
        """When a paper was last seen for the first time; None: never."""
        row = self._db.row("SELECT MAX(first_seen) FROM papers")
        return from_epoch(row[0]) if row and row[0] is not None else None

    def _among(self, ids: Sequence[Value]) -> list[Paper]:
        return self._papers(f"WHERE id IN ({placeholders(len(ids))})", ids)

    def _papers(self, clause: str, values: Sequence[Value]) -> list[Paper]:
        return [
            read_paper(row) for row in self._db.rows(f"SELECT {PAPER_COLUMNS} FROM papers {clause}", values)
        ]

    # ---- changing the catalogue ---------------------------------------------------------------------------------

    def add(self, drop: DropId, entries: Sequence[Entry], seen: Seen) -> tuple[list[Effect], list[PaperId]]:
        """Takes entries of a drop into the catalogue; for each its effect and its paper."""
        with self._db.transaction():
            known = self.find_known({alias for entry in entries for alias in entry.aliases})
            change = decide(known, entries, seen)
            ids = self._apply(change)
            self._add_sightings(drop, entries, change.work_of_entry, ids, counted=seen.at is not None)
            return list(change.effects), [ids[work] for work in change.work_of_entry]

    def find_known(self, aliases: Collection[str]) -> list[Known]:
        """All papers that have one of the aliases, with everything known of them; aliases of too many are left out."""
        ids: set[PaperId] = set()
        for some in in_blocks(sorted(aliases)):
            sql = f"SELECT alias, paper_id FROM aliases WHERE alias IN ({placeholders(len(some))})"
            papers: dict[Value, set[PaperId]] = {}
            for alias, paper_id in self._db.rows(sql, some):
                papers.setdefault(alias, set()).add(_id(paper_id))
            ids.update(*(found for found in papers.values() if len(found) <= MAX_NAMESAKES))
        return list(self.known(ids))

    def known(self, ids: Collection[PaperId]) -> Iterator[Known]:
        """Papers of these ids, none of them merged away, with everything known of them."""
        for some in in_blocks(sorted(ids)):
            yield from self._known(some)

    def _known(self, ids: Sequence[Value]) -> Iterator[Known]:
        among = f"WHERE paper_id IN ({placeholders(len(ids))}) ORDER BY paper_id"
        aliases: dict[Value, list[str]] = {}
        for paper_id, alias in self._db.rows(f"SELECT paper_id, alias FROM aliases {among}", ids):
            aliases.setdefault(paper_id, []).append(cast(str, alias))
        versions: dict[Value, list[tuple[int, str]]] = {}
        sql = f"SELECT paper_id, version, record FROM versions {among}, version"
        for paper_id, key, packed in self._db.rows(sql, ids):
            versions.setdefault(paper_id, []).append((cast(int, key), cast(str, packed)))
        for paper in self._among(ids):
            base = bare(paper.record)
            said = {key: unpack_version(packed, base) for key, packed in versions.get(paper.id, ())}
            yield Known(paper, frozenset(aliases.get(paper.id, ())), said)

    def _apply(self, change: Change) -> dict[Work, PaperId]:
        """Writes what a batch changes; returns the paper of each work."""
        changed = [work for work in change.works if not work.is_unchanged]
        new = [work for work in changed if not work.was]
        ids = {work: work.was[0].paper.id for work in change.works if work.was}
        ids.update(zip(new, map(PaperId, take_ids(self._db, "papers", len(new))), strict=True))
        rows = [
            (ids[work], *record_values(work.record), *_circumstances(work), int(not work.is_hidden))
            for work in new
        ]
        self._insert(f"papers ({PAPER_COLUMNS})", rows)
        for work in changed:
            if work.was:
                self._update(work)
        aliases = sorted((alias, ids[work]) for work in changed for alias in _added_aliases(work))
        self._insert("aliases (alias, paper_id)", aliases, "ON CONFLICT DO NOTHING")
        self._db.execute_many(
            "INSERT INTO versions (paper_id, version, record) VALUES (?, ?, ?)"
            " ON CONFLICT (paper_id, version) DO UPDATE SET record = excluded.record",
            [(ids[work], *packed) for work in changed for packed in _packed_versions(work)],
        )
        return ids

    def _insert(self, columns: str, rows: Sequence[Sequence[Value]], conflict: str = "") -> None:
        """Many rows in one statement: SQLite keeps the index of words at half the cost of a statement each, and writes
        aliases in two thirds of the time."""
        for some in in_blocks(rows):
            row = f"({placeholders(len(some[0]))})"
            sql = f"INSERT INTO {columns} VALUES {', '.join([row] * len(some))} {conflict}"
            self._db.execute(sql, [value for values in some for value in values])

    def _update(self, work: Work) -> None:
        survivor, *absorbed = work.was
        paper = survivor.paper
        for known in absorbed:
            self._absorb(paper.id, known.paper.id)
        if (work.record, work.first_seen, work.mailable) != (paper.record, paper.first_seen, paper.mailable):
            columns = ", ".join(f"{name} = ?" for name in (*FIELDS, "first_seen", "mailable"))
            self._db.execute(
                f"UPDATE papers SET {columns} WHERE id = ?",
                (*record_values(work.record), *_circumstances(work), paper.id),
            )
        if work.is_revealed:
            for table in ("aliases", "versions"):
                self._db.execute(f"DELETE FROM {table} WHERE paper_id = ?", (paper.id,))
        if (work.record.title, work.record.abstract) != (paper.record.title, paper.record.abstract):
            self._db.execute("DELETE FROM vectors WHERE paper_id = ?", (paper.id,))

    def _absorb(self, survivor: PaperId, old: PaperId) -> None:
        """Makes all that is said of one paper said of another; the old id lives on in `merges`."""
        for table, columns in (
            ("aliases", "alias"),
            ("versions", "version, record"),
            ("sightings", "drop_id, version, upvotes, comments"),
        ):
            self._db.execute(
                f"INSERT INTO {table} (paper_id, {columns}) SELECT ?, {columns} FROM {table} WHERE paper_id = ?"
                " ON CONFLICT DO NOTHING",
                (survivor, old),
            )
            self._db.execute(f"DELETE FROM {table} WHERE paper_id = ?", (old,))
        self._db.execute("DELETE FROM vectors WHERE paper_id = ?", (old,))
        self._db.execute("DELETE FROM papers WHERE id = ?", (old,))
        self._db.execute("UPDATE merges SET paper_id = ? WHERE paper_id = ?", (survivor, old))
        self._db.execute("INSERT INTO merges (old_id, paper_id) VALUES (?, ?)", (old, survivor))
        self._db.execute(
            "UPDATE papers SET sightings = (SELECT COUNT(DISTINCT drop_id) FROM sightings"
            " JOIN drops ON drops.id = drop_id WHERE paper_id = ? AND state <> 'library') WHERE id = ?",
            (survivor, survivor),
        )

    def _add_sightings(
        self,
        drop: DropId,
        entries: Sequence[Entry],
        works: Sequence[Work],
        ids: Mapping[Work, PaperId],
        *,
        counted: bool,
    ) -> None:
        """counted: each paper is seen once more; a library's are not."""
        known = {ids[work] for work in works if work.was and counted}  # new papers are stored as seen once
        first_here = known - self._seen_in(drop, known)
        self._db.execute_many(
            "INSERT INTO sightings (drop_id, paper_id, version, upvotes, comments) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (drop_id, paper_id, version) DO NOTHING",
            [
                (drop, ids[work], e.key, e.record.upvotes, e.record.comments)
                for e, work in zip(entries, works, strict=True)
            ],
        )
        self._db.execute_many(
            "UPDATE papers SET sightings = sightings + 1 WHERE id = ?",
            [(paper_id,) for paper_id in sorted(first_here)],
        )

    def _seen_in(self, drop: DropId, ids: Collection[PaperId]) -> set[PaperId]:
        found: set[PaperId] = set()
        for some in in_blocks(sorted(set(ids))):
            sql = f"SELECT paper_id FROM sightings WHERE drop_id = ? AND paper_id IN ({placeholders(len(some))})"
            found.update(_id(row[0]) for row in self._db.rows(sql, (drop, *some)))
        return found

    # ---- drops --------------------------------------------------------------------------------------------------

    def begin_drop(self, name: str, now: datetime, *, backfill: bool = False) -> DropId:
        """Records that a drop is being read; `finish_drop` in the same transaction says what came of it."""
        with self._db.transaction():
            (identifier,) = take_ids(self._db, "drops", 1)
            self._db.execute(
                "INSERT INTO drops (id, name, received_at, state, backfill) VALUES (?, ?, ?, 'reading', ?)",
                (identifier, name, to_epoch(now), int(backfill)),
            )
            return DropId(identifier)

    def finish_drop(self, drop: DropId, state: str, report: DropReport, *, sha256: str = "") -> None:
        self._db.execute(
            "UPDATE drops SET state = ?, format = ?, sha256 = ?, new = ?, known = ?, updated = ?, rejected = ?,"
            " held = ? WHERE id = ?",
            (
                state,
                report.format,
                sha256,
                report.new,
                report.known,
                report.updated,
                to_json([[r.line, r.entry, r.reason] for r in report.rejected]),
                report.held,
                drop,
            ),
        )

    def is_repeated(self, drop: DropId) -> bool:
        """Whether a drop of the same name and bytes ended as this one did, and was not taken back."""
        same = ("name", "sha256", "state", "backfill", "rejected")
        sql = (
            f"FROM drops a JOIN drops b ON {' AND '.join(f'a.{it} = b.{it}' for it in same)} AND a.id <> b.id"
        )
        return self._db.row(f"SELECT 1 {sql} WHERE a.id = ?", (drop,)) is not None

    def forget_drop(self, drop: DropId) -> None:
        """As if it had never been read; for one that said nothing new."""
        seen = "SELECT DISTINCT paper_id FROM sightings WHERE drop_id = ?"
        self._db.execute(f"UPDATE papers SET sightings = sightings - 1 WHERE id IN ({seen})", (drop,))
        self._db.execute("DELETE FROM sightings WHERE drop_id = ?", (drop,))
        self._db.execute("DELETE FROM drops WHERE id = ?", (drop,))

    def rename_held(self, name: str, to: str) -> None:
        """Where a drop of the same name was held already: the file's name in `held` is that of the last."""
        self._db.execute(
            "UPDATE drops SET name = ? WHERE id = (SELECT MAX(id) FROM drops WHERE name = ? AND state = 'held')",
            (to, name),
        )

    def usual_sizes(self, count: int) -> list[int]:
        """How many papers each of the last `count` daily drops had."""
        sql = (
            "SELECT new + known + updated FROM drops WHERE state = 'done' AND backfill = 0"
            " ORDER BY id DESC LIMIT ?"
        )
        return [cast(int, row[0]) for row in self._db.rows(sql, (count,))]


def _id(value: Value) -> PaperId:
    return PaperId(cast(int, value))


def _circumstances(work: Work) -> tuple[Value, Value]:
    return to_epoch(work.first_seen) if work.first_seen else None, int(work.mailable)


def _added_aliases(work: Work) -> set[str]:
    return work.aliases.difference(*(known.aliases for known in work.was if not work.is_revealed))


def _packed_versions(work: Work) -> Iterator[tuple[int, str]]:
    """What is to be written of its versions (key, JSON): all where the paper they are written against changed."""
    base = bare(work.record)
    kept: Collection[int] = ()
    if len(work.was) == 1 and not work.is_revealed and base == bare(work.was[0].paper.record):
        kept = work.was[0].versions
    for key, version in work.versions.items():
        if key not in kept:
            yield key, pack_version(version, base)

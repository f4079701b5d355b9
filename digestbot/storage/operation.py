"""What the operator wants to know afterwards: runs, alarms, and single facts that outlive a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from digestbot.storage.database import Database, as_int, from_epoch, to_epoch


@dataclass(frozen=True, slots=True)
class Alarm:
    kind: str  # a few words, such as "silence", "delivery stopped" or "failing runs: compose"
    since: datetime
    detail: str
    told_at: datetime | None  # when the operator's mail was queued


class OperationStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def record_run(
        self,
        *,
        started_at: datetime,
        finished_at: datetime,
        report: Mapping[str, object],
        fold: timedelta | None = None,
    ) -> None:
        """Keeps the last 1,000 runs. fold: the counts are added to the last run's, if that began so lately."""
        with self._db.transaction():
            if fold and self._fold_into_last(started_at - fold, finished_at, report):
                return
            self._db.execute(
                "INSERT INTO runs (id, started_at, finished_at, report)"
                " VALUES ((SELECT COALESCE(MAX(id), 0) + 1 FROM runs), ?, ?, ?)",
                (to_epoch(started_at), to_epoch(finished_at), json.dumps(report)),
            )
            self._db.execute("DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - 1000")

    def _fold_into_last(self, since: datetime, finished_at: datetime, report: Mapping[str, object]) -> bool:
        row = self._db.row(
            "SELECT id, finished_at, report FROM runs WHERE id = (SELECT MAX(id) FROM runs) AND started_at > ?",
            (to_epoch(since),),
        )
        if row is None:
            return False
        last, ended, known = row
        self._db.execute(
            "UPDATE runs SET finished_at = ?, report = ? WHERE id = ?",
            (
                max(as_int(ended), to_epoch(finished_at)),
                json.dumps(_added(json.loads(str(known)), report)),
                last,
            ),
        )
        return True

    def last_runs(self, count: int) -> list[tuple[datetime, datetime, dict[str, object]]]:
        """(started, finished, report), the newest first."""
        rows = self._db.rows(
            "SELECT started_at, finished_at, report FROM runs ORDER BY id DESC LIMIT ?", (count,)
        )
        return [(from_epoch(begin), from_epoch(end), json.loads(str(report))) for begin, end, report in rows]

    def raise_alarm(self, kind: str, detail: str, *, now: datetime) -> bool:
        """True if this alarm is new: the operator is told once per kind, until it is cleared."""
        raised = self._db.execute(
            "INSERT INTO alarms (kind, since, detail, told_at) VALUES (?, ?, ?, ?) ON CONFLICT (kind) DO NOTHING",
            (kind, to_epoch(now), detail, to_epoch(now)),
        )
        return raised > 0

    def clear_alarm(self, kind: str) -> bool:
        """True if it stood."""
        return self._db.execute("DELETE FROM alarms WHERE kind = ?", (kind,)) > 0

    def alarms(self) -> list[Alarm]:
        rows = self._db.rows("SELECT kind, since, detail, told_at FROM alarms ORDER BY since, kind")
        return [
            Alarm(str(kind), from_epoch(since), str(detail), None if told is None else from_epoch(told))
            for kind, since, detail, told in rows
        ]

    def find_fact(self, name: str) -> str | None:
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def forget_fact(self, name: str) -> None:
        self._db.execute("DELETE FROM facts WHERE name = ?", (name,))

    def count_up(self, name: str) -> int:
        """Adds one to a fact that is a number, 0 where it is not there yet; returns the sum."""
        with self._db.transaction():
            count = int(self.find_fact(name) or 0) + 1
            self.set_fact(name, str(count))
        return count

    def set_fact(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )


def _added(known: Mapping[str, Any], report: Mapping[str, object]) -> dict[str, object]:
    """The report with the counts of an earlier one added, which another version may have written."""
    return {
        name: {key: n + known.get(name, {}).get(key, 0) for key, n in part.items()}
        if isinstance(part, dict)
        else part
        for name, part in report.items()
    }

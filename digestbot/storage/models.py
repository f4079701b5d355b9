"""What ranking learned, kept between runs: fitted models, and vectors of papers by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from digestbot.model import PaperId
from digestbot.storage.database import Database, in_blocks, placeholders, to_epoch

Vector = npt.NDArray[np.floating]


class ModelStore:
    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, name: str) -> bytes | None:
        """A fitted model as its dump() wrote it."""
        row = self._db.row("SELECT data FROM models WHERE name = ?", (name,))
        return bytes(row[0]) if row and isinstance(row[0], bytes) else None

    def store(self, name: str, data: bytes, now: datetime) -> None:
        self._db.execute(
            "INSERT INTO models (name, fitted_at, data) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET fitted_at = excluded.fitted_at, data = excluded.data",
            (name, to_epoch(now), data),
        )

    def forget_all(self) -> None:
        """Fitted models are fitted anew in the next run."""
        self._db.execute("DELETE FROM models")

    def vectors(self, fingerprint: str, ids: Sequence[PaperId] | None = None) -> dict[PaperId, Vector]:
        """Stored vectors (float16, length 1) of an embedding model; ids None: of all papers."""
        if ids is None:
            return self._read("WHERE model = ?", (fingerprint,))
        found: dict[PaperId, Vector] = {}
        for block in in_blocks(ids):
            clause = f"WHERE model = ? AND paper_id IN ({placeholders(len(block))})"
            found |= self._read(clause, (fingerprint, *block))
        return found

    def store_vectors(self, fingerprint: str, vectors: Mapping[PaperId, Vector]) -> None:
        with self._db.transaction(durable=False):
            self._db.execute_many(
                "INSERT INTO vectors (model, paper_id, vector) VALUES (?, ?, ?)"
                " ON CONFLICT (model, paper_id) DO UPDATE SET vector = excluded.vector",
                ((fingerprint, paper, vector.astype("<f2").tobytes()) for paper, vector in vectors.items()),
            )

    def _read(self, clause: str, values: Sequence[str | int]) -> dict[PaperId, Vector]:
        rows = self._db.rows(f"SELECT paper_id, vector FROM vectors {clause}", values)
        found: dict[PaperId, Vector] = {}
        for paper, data in rows:
            assert isinstance(paper, int)
            assert isinstance(data, bytes)
            found[PaperId(paper)] = np.frombuffer(data, "<f2")
        return found

"""What ranking learned, kept between runs: fitted models, and vectors of papers and of topics by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from digestbot.model import PaperId
from digestbot.storage.database import (
    Database,
    as_int,
    as_text,
    from_epoch,
    in_blocks,
    placeholders,
    to_epoch,
)

if TYPE_CHECKING:  # numpy takes a tenth of a second to load, and most commands rank nothing
    import numpy as np
    import numpy.typing as npt

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
                ((fingerprint, paper, _packed(vector)) for paper, vector in vectors.items()),
            )

    def text_vectors(self, fingerprint: str, texts: Sequence[str]) -> dict[str, tuple[Vector, datetime]]:
        """Those of the texts whose vectors are stored, and when their use was noted last."""
        import numpy as np

        of_digest = {_digest(text): text for text in texts}
        found: dict[str, tuple[Vector, datetime]] = {}
        for block in in_blocks(list(of_digest)):
            rows = self._db.rows(
                "SELECT digest, vector, used_at FROM text_vectors WHERE model = ?"
                f" AND digest IN ({placeholders(len(block))})",
                (fingerprint, *block),
            )
            for digest, data, used_at in rows:
                assert isinstance(data, bytes)
                found[of_digest[as_text(digest)]] = np.frombuffer(data, "<f2"), from_epoch(as_int(used_at))
        return found

    def store_text_vectors(self, fingerprint: str, vectors: Mapping[str, Vector], now: datetime) -> None:
        """Stores them, or notes that they are still used."""
        with self._db.transaction(durable=False):
            self._db.execute_many(
                "INSERT INTO text_vectors (model, digest, used_at, vector) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (model, digest) DO UPDATE SET used_at = excluded.used_at",
                (
                    (fingerprint, _digest(text), to_epoch(now), _packed(vector))
                    for text, vector in vectors.items()
                ),
            )

    def forget_text_vectors(self, before: datetime) -> None:
        """Those that nobody's topic used since."""
        self._db.execute("DELETE FROM text_vectors WHERE used_at < ?", (to_epoch(before),))

    def _read(self, clause: str, values: Sequence[str | int]) -> dict[PaperId, Vector]:
        import numpy as np

        rows = self._db.rows(f"SELECT paper_id, vector FROM vectors {clause}", values)
        found: dict[PaperId, Vector] = {}
        for paper, data in rows:
            assert isinstance(paper, int)
            assert isinstance(data, bytes)
            found[PaperId(paper)] = np.frombuffer(data, "<f2")
        return found


def _packed(vector: Vector) -> bytes:
    return vector.astype("<f2").tobytes()


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()

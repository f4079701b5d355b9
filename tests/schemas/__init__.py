"""States as released versions left them. `python -m tests.schemas` keeps this version's, once, when it is released.

Each is the demo's state after its two days, packed; tests/test_schemas.py brings every one of them forward.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from pathlib import Path

from digestbot.demo import run_demo

FOLDER = Path(__file__).resolve().parent
STATES = sorted(FOLDER.glob("*.db.gz"))


def keep() -> Path:
    """Writes the state of this version's schema; raises FileExistsError where it is kept already."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "demo"
        run_demo(folder, lambda said: None)
        connection = sqlite3.connect(folder / "state" / "digestbot.db", isolation_level=None)
        [(version,)] = connection.execute("SELECT max(version) FROM schema_version")
        connection.execute("DELETE FROM models")  # large, and fitted anew
        copy = Path(place) / "copy.db"
        connection.execute("VACUUM INTO ?", (str(copy),))
        connection.close()
        target = FOLDER / f"{version:04}.db.gz"
        with target.open("xb") as file:
            file.write(gzip.compress(copy.read_bytes(), mtime=0))
    return target

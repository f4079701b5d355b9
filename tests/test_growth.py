"""What keeps a pass cheap as the readers grow: nothing is asked, made or kept once for each of them."""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from pathlib import Path

import digestbot
from digestbot.desk import Desk
from digestbot.due_slots import compose_due
from digestbot.pipeline import deliver_due
from tests.benchmarks.town import NOW, open_town, town_settings
from tests.smtp_servers import SmtpServer


@contextmanager
def counted(desk: Desk) -> Iterator[Counter[str]]:
    """How many statements of each kind SQLite runs."""
    found: Counter[str] = Counter()
    connection = getattr(desk.storage.db, "_connection")  # noqa: B009 the tests' way in
    assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(lambda sql: found.update([sql.split(None, 1)[0].upper()]))
    yield found
    connection.set_trace_callback(None)


def queries(folder: Path, readers: int) -> tuple[int, int, int]:
    """SELECTs of composing and of delivering, and the cards that were made."""
    with (
        SmtpServer() as server,
        open_town(
            town_settings(folder, server.url(), DIGESTBOT_SMTP_CONNECTIONS="1"),
            readers=readers,
            papers=40,
            topics=50,
        ) as desk,
    ):
        with counted(desk) as composing:
            composed = compose_due(desk, NOW).composed
        with counted(desk) as delivering:
            deliver_due(desk, lambda: NOW)
        assert composed > readers / 2
        assert len(server.messages) == composed
        return composing["SELECT"], delivering["SELECT"], desk.renderer.cards_made


def test_no_query_and_no_card_is_for_one_reader(tmp_path: Path) -> None:
    few, many = queries(tmp_path / "few", 40), queries(tmp_path / "many", 160)
    assert many[0] == few[0], "composing asks more where more are due"
    assert many[1] == few[1], "delivering asks more where more wait"
    assert many[2] <= 40, "a card is made twice"


def test_the_database_keeps_no_mail(tmp_path: Path) -> None:
    with (
        SmtpServer() as server,
        open_town(town_settings(tmp_path, server.url()), readers=60, papers=40, topics=50) as desk,
    ):
        compose_due(desk, NOW)
        deliver_due(desk, lambda: NOW)
        rows = desk.storage.db.rows("SELECT * FROM outbox")
    kept = max(sum(len(str(value)) for value in row) for row in rows)
    assert kept < 1500 < min(len(message.data) for message in server.messages) / 4


MEMORY = """
import resource, sys, tempfile
from pathlib import Path
from digestbot.due_slots import compose_due
from tests.benchmarks.town import NOW, open_town, town_settings
with tempfile.TemporaryDirectory() as folder:
    with open_town(town_settings(Path(folder)), readers=int(sys.argv[1]), papers=40, topics=500) as desk:
        compose_due(desk, NOW)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_readers() -> None:
    def peak_kb(readers: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(readers)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
        )
        return int(done.stdout)

    assert peak_kb(6000) < 1.15 * peak_kb(2000)


def test_what_functions_remember_is_bounded() -> None:
    for module in pkgutil.walk_packages(digestbot.__path__, "digestbot."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    remembering = [
        found
        for found in gc.get_objects()
        if isinstance(found, _lru_cache_wrapper) and found.__module__.startswith("digestbot")
    ]
    assert len(remembering) > 20
    for found in remembering:
        takes_nothing = not inspect.signature(found.__wrapped__).parameters
        assert takes_nothing or found.cache_parameters()["maxsize"] is not None, found

"""Work shared by forks, in a program of one thread: python -m tests.crew_program CASE FOLDER; prints JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import digestbot.pipeline
from digestbot.cli import main as digestbot_main
from digestbot.cli.run import stop_on_signals
from digestbot.crew import work_together
from digestbot.errors import DigestbotError, StorageError
from digestbot.relay import ServerRefused, SmtpSettings
from digestbot.smtp_replies import Reply, Stage
from digestbot.storage.sqlite import SqliteDatabase

Tell = Callable[[int, int], None]


def count(db: SqliteDatabase, number: int) -> int:
    for value in range(50):
        with db.transaction(durable=False):
            db.execute("INSERT INTO said (who, what) VALUES (?, ?)", (number, value))
    return os.getpid()


def shared(db: SqliteDatabase) -> object:
    """Each writes through a connection of its own."""
    told: list[tuple[int, int]] = []

    def work(number: int, tell: Tell) -> int:
        pid = count(db, number)
        tell(50, 150)
        return pid

    pids = work_together(db, 3, work, progress=lambda done, whole: told.append((done, whole)))
    rows = db.rows("SELECT who, count(*) FROM said GROUP BY who ORDER BY who")
    return {"processes": len({*pids, os.getpid()}), "rows": rows, "told": max(told)}


def failing(db: SqliteDatabase) -> object:
    def work(number: int, tell: Tell) -> None:
        if number == 1:
            raise StorageError("the disk is full")

    return refused(db, work)


def relay(db: SqliteDatabase) -> object:
    def work(number: int, tell: Tell) -> None:
        raise ServerRefused(SmtpSettings("mx.example", 25), Stage.AUTH, Reply(535, "5.7.8 no"))

    return refused(db, work)


def killed(db: SqliteDatabase) -> object:
    def work(number: int, tell: Tell) -> None:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return refused(db, work)


def refused(db: SqliteDatabase, work: Callable[[int, Tell], None]) -> object:
    try:
        work_together(db, 2, work)
    except DigestbotError as error:
        return {"error": type(error).__name__, "text": str(error), "usable": db.row("SELECT 1")}
    return None


def stopped(db: SqliteDatabase) -> object:
    """SIGTERM to the first process alone."""
    stop = stop_on_signals()

    def work(number: int, tell: Tell) -> bool:
        if number == 0:
            os.kill(os.getppid(), signal.SIGTERM)
        return stop.wait(20)

    return work_together(db, 2, work, stop=stop)


def orphaned(db: SqliteDatabase) -> object:
    """The first process is killed once both others run: they end, too."""
    heard, said = os.pipe()

    def work(number: int, tell: Tell) -> None:
        print(os.getpid(), flush=True)
        os.write(said, b"x")
        if number == 0:
            os.read(heard, 1)
            os.read(heard, 1)
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    return work_together(db, 2, work)


def main(case: str, folder: str) -> None:
    if case == "run":  # `digestbot run --once`, shared from fifty on
        digestbot.pipeline.SHARED_FROM = 50
        sys.argv = ["digestbot", *sys.argv[3:]]
        digestbot_main()
        return
    db = SqliteDatabase(Path(folder) / "crew.db")
    db.execute("CREATE TABLE said (who INTEGER, what INTEGER)")
    cases = {work.__name__: work for work in (shared, failing, relay, killed, stopped, orphaned)}
    print(json.dumps(cases[case](db)))
    assert threading.active_count() == 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

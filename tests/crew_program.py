"""Work shared by forks, in a program of one thread: python -m tests.crew_program CASE FOLDER; prints JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import digestbot.crew
import digestbot.due_slots
from digestbot.cli import main as digestbot_main
from digestbot.cli.run import stop_on_signals
from digestbot.crew import make_ahead, work_together
from digestbot.errors import DigestbotError, DropError, StorageError
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


def queueing(db: SqliteDatabase) -> object:
    """Each writes at once, or the database says that it is locked."""

    def work(number: int, tell: Tell) -> None:
        db.execute("PRAGMA busy_timeout = 0")  # not while they open it, one of them to look through the WAL
        for value in range(300):
            db.mark("INSERT INTO said (who, what) VALUES (?, ?)", (number, value))
        count(db, number)

    work_together(db, 3, work)
    return db.row("SELECT count(*) FROM said")


def killed_writing(db: SqliteDatabase) -> object:
    """What it wrote is gone, and the other one has its turn."""

    def work(number: int, tell: Tell) -> None:
        if number == 1:
            time.sleep(0.2)
        with db.transaction():
            db.execute("INSERT INTO said (who, what) VALUES (?, 0)", (number,))
            if number == 0:
                time.sleep(0.5)
                os.kill(os.getpid(), signal.SIGKILL)

    return refused(db, work), db.rows("SELECT who FROM said")


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
        return stop.wait(120)

    return work_together(db, 2, work, stop=stop)


def told_by_all(db: SqliteDatabase) -> object:
    """As a terminal and a service manager do it: a signal to each of them, and another one from the first."""
    stop = stop_on_signals()

    def work(number: int, tell: Tell) -> bool:
        for told in 2 * (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), told)
        if number == 0:
            os.kill(os.getppid(), signal.SIGTERM)
        return stop.wait(120)

    return work_together(db, 2, work, stop=stop)


def orphaned(db: SqliteDatabase) -> object:
    """The first process is killed once both others run: they end, too."""
    heard, said = os.pipe()

    def work(number: int, tell: Tell) -> None:
        os.write(1, b"%d\n" % os.getpid())  # at once: print() writes the end of the line by itself
        os.write(said, b"x")
        if number == 0:
            os.read(heard, 1)
            os.read(heard, 1)
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)

    return work_together(db, 2, work)


def ahead(db: SqliteDatabase) -> object:
    """More than a pipe holds, while the first process writes, and what is made after nobody takes any more."""

    def make() -> Iterator[tuple[int, str]]:
        for number in range(1000):
            yield os.getpid(), f"{number} " + "x" * 10_000

    with db.transaction():
        made = []
        for pid, text in make_ahead(make()):
            made.append((pid, int(text.split()[0])))
            db.execute("INSERT INTO said (who, what) VALUES (?, ?)", (0, len(made)))
    for _ in make_ahead(make()):
        break
    processes = {pid for pid, _ in made}
    return {
        "makers": len(processes - {os.getpid()}),
        "in_order": [number for _, number in made] == list(range(1000)),
        "rows": db.row("SELECT count(*) FROM said"),
    }


def ahead_failing(db: SqliteDatabase) -> object:
    def make() -> Iterator[int]:
        yield 1
        raise DropError("the list does not end", line=7)

    try:
        list(make_ahead(make()))
    except DropError as error:
        return [str(error), error.line]
    return None


def ahead_killed(db: SqliteDatabase) -> object:
    """A signal to stop is the first process's to follow; one that kills is told."""

    def make() -> Iterator[int]:
        for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            yield 1
            time.sleep(0.1)
            os.kill(os.getpid(), asked)

    made: list[int] = []
    try:
        made += make_ahead(make())
    except DigestbotError as error:
        return str(error)
    return None


def ahead_orphaned(db: SqliteDatabase) -> object:
    def make() -> Iterator[int]:
        yield os.getpid()
        time.sleep(600)

    for pid in make_ahead(make()):
        print(pid, os.getpid(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return None


def main(case: str, folder: str) -> None:
    if case.startswith("run"):  # digestbot, a pass of which is shared from fifty on
        digestbot.crew.SHARED_FROM, digestbot.due_slots.BLOCK = 50, 10
        sys.argv = ["digestbot", *sys.argv[3:]]
        forks: list[bool] = []  # of this program, not of what it runs
        os.register_at_fork(before=lambda: forks.append("premailer" in sys.modules))
        if case == "run told":  # each fork is, and the first process is not
            os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
        if case == "run alone":
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        try:
            digestbot_main()
        finally:
            print("forks without what makes mails:", forks.count(False), file=sys.stderr)
            print("with others" if forks else "alone", file=sys.stderr)
        return
    db = SqliteDatabase(Path(folder) / "crew.db")
    db.execute("CREATE TABLE said (who INTEGER, what INTEGER)")
    works = (shared, queueing, failing, relay, killed, killed_writing, stopped, told_by_all, orphaned)
    cases = {work.__name__: work for work in (*works, ahead, ahead_failing, ahead_killed, ahead_orphaned)}
    print(json.dumps(cases[case](db)))
    assert threading.active_count() == 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

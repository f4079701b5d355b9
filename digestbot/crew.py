"""One piece of work shared by several processes, where one core is not enough: forks of this one, which inherit all that
was prepared, each with a connection of its own to the database or with none."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar, cast

from digestbot.errors import DigestbotError
from digestbot.storage.database import Database

T = TypeVar("T")
Tell = Callable[[int, int], None]  # (done, altogether)

TOLD_EACH_S = 0.1
SHARED_FROM = 5000  # people or mails: a process more pays from here on
MOST = 4  # processes: SQLite has one writer at a time
KILLED = "a process that shared the work was killed; run it again"
_FORK = multiprocessing.get_context("fork")


def crew_size() -> int:
    """How many processes can share work here: one for each core. 1 where threads run, for those cannot be forked."""
    if threading.active_count() > 1:
        return 1
    return min(
        MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def crew_for(things: int) -> int:
    """How many processes shall share the work on so many people or mails."""
    return crew_size() if things > SHARED_FROM else 1


def work_together(
    db: Database,
    size: int,
    work: Callable[[int, Tell], T],
    *,
    stop: threading.Event | None = None,
    progress: Tell | None = None,
) -> list[T]:
    """What `work(number, tell)` returns in each of `size` processes, in order.

    Raises what one of them raised; they end with this process, however it ends. `stop` is set in them when it is set
    here, by the signal that this program takes for it. `progress` hears the sum of what they tell.
    """
    members: list[_Member[T]] = []
    stop = stop or threading.Event()
    db.suspend()
    try:
        members += (_Member(db, work, number, stop) for number in range(size))
    finally:
        db.resume()
    try:
        _wait_for(members, stop, progress)
    finally:
        for member in members:
            member.end()
    return [member.result() for member in members]


def make_ahead(things: Iterator[T]) -> Iterator[T]:
    """The things, made by a fork while the caller works with the one before; here, where only one core is or threads run.

    Raises what making them raises. They must be made without the database, whose connection the fork leaves alone.
    """
    if crew_size() == 1:
        yield from things
        return
    ear, mouth = _FORK.Pipe(duplex=False)
    maker = _FORK.Process(target=_make, args=(things, mouth), daemon=True)
    maker.start()
    mouth.close()
    try:
        while (said := _hear(ear))[0] == "thing":
            yield cast(T, said[1])
        if said[0] == "error":
            raise cast(BaseException, said[1])
    finally:
        maker.kill()
        maker.join()
        ear.close()


def _hear(ear: Connection) -> tuple[str, object]:
    try:
        said: tuple[str, object] = ear.recv()
    except EOFError:
        return "error", DigestbotError(KILLED)
    return said


class _Member(Generic[T]):
    """One process and what it said so far."""

    def __init__(
        self, db: Database, work: Callable[[int, Tell], T], number: int, stop: threading.Event
    ) -> None:
        self.ear, mouth = _FORK.Pipe(duplex=False)
        self.told = (0, 0)
        self.is_done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._process = _FORK.Process(target=_run, args=(db, work, number, mouth, stop), daemon=True)
        self._process.start()
        mouth.close()  # the other end is the process's alone, so its death is heard

    def listen(self) -> None:
        what, said = _hear(self.ear)
        if what == "told":
            self.told = cast(tuple[int, int], said)
            return
        self.is_done = True
        if what == "result":
            self._result = cast(T, said)
        else:
            self._error = cast(BaseException, said)

    def ask_to_stop(self) -> None:
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGTERM)

    def end(self) -> None:
        if not self.is_done:
            self._process.kill()
        self._process.join()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast(T, self._result)


def _wait_for(members: Sequence[_Member[T]], stop: threading.Event, progress: Tell | None) -> None:
    is_told = False
    while working := {member.ear: member for member in members if not member.is_done}:
        for ear in wait(list(working), timeout=0.2):
            working[cast(Connection, ear)].listen()
        if stop.is_set() and not is_told:
            is_told = True
            for member in working.values():
                member.ask_to_stop()
        if progress is not None:
            progress(sum(member.told[0] for member in members), max(member.told[1] for member in members))


# ---- in a member --------------------------------------------------------------------------------------------------


def _run(
    db: Database, work: Callable[[int, Tell], T], number: int, mouth: Connection, stop: threading.Event
) -> None:
    # A terminal and a service manager tell all processes to stop; the first one tells the others, once more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    gc.freeze()  # what was prepared stays: looking through it for garbage would copy its pages, too
    threading.Thread(target=_end_with_parent, daemon=True).start()
    said: tuple[str, object]
    try:
        db.resume()
        said = "result", work(number, _Teller(mouth))
        db.close()
    except BaseException as error:
        said = "error", portable(error)
    with suppress(OSError):  # the first process is gone
        mouth.send(said)


class _Teller:
    """Tells how far this member is, some times a second: to be told of each mail takes the parent as long as a mail."""

    def __init__(self, mouth: Connection) -> None:
        self._mouth = mouth
        self._told_at = 0.0

    def __call__(self, done: int, whole: int) -> None:
        now = time.monotonic()
        if now - self._told_at > TOLD_EACH_S or done == whole:
            self._told_at = now
            with suppress(OSError):
                self._mouth.send(("told", (done, whole)))


def _make(things: Iterator[object], mouth: Connection) -> None:
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_IGN)  # who takes the things decides when to stop
    gc.freeze()  # what the first process left is not ours to finish
    threading.Thread(target=_end_with_parent, daemon=True).start()
    said: tuple[str, object] = "end", None
    with suppress(BrokenPipeError):
        try:
            for thing in things:
                mouth.send(("thing", thing))
        except BrokenPipeError:
            raise
        except BaseException as error:
            said = "error", portable(error)
        mouth.send(said)


def portable(error: BaseException) -> BaseException:
    """The error, or its text where it cannot be handed over."""
    if isinstance(error, DigestbotError):
        try:
            copied: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 our own error, from this process
            return copied
        except TypeError:
            pass
    return DigestbotError(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

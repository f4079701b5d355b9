"""Runs a few jobs over and over until told to stop, whatever the wall clock does meanwhile. The only user of APScheduler.

APScheduler sleeps until an instant of the wall clock: set back by five hours, it would be silent for five hours. So the
wall clock is compared with the monotonic one twice a second, and after a jump every job is due at once.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from digestbot.logs import new_run

WATCH_EVERY_S = 0.5
JUMP_S = 30  # a smaller step of the clock only delays a job by as much
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do at the start and then again and again.

    A run that takes longer than `every_s` is never overlapped: what it missed is left out, and the next run begins at the
    next beat of `every_s` after its end.
    """

    name: str  # unique
    every_s: float
    run: Callable[[], object]  # what it returns is not looked at


class Scheduler:
    """Each job has a thread of its own, so that a slow one does not hold up the others."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        stop: threading.Event,
        on_error: Callable[[str, Exception], None],
        on_success: Callable[[str], None] = lambda _: None,
        on_jump: Callable[[float], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """on_error: gets a job's name and what it raised, in the job's thread; the job goes on at its next beat.

        on_success: gets its name after a run that raised nothing. on_jump: gets the seconds by which the clock was set.
        wall: the wall clock in seconds since 1970.
        """
        self._jobs = jobs
        self._stop = stop
        self._on_error = on_error
        self._on_success = on_success
        self._on_jump = on_jump
        self._wall = wall
        self._signalled = False
        self._failing: dict[str, str] = {}  # what each failing job said last

    def run(self) -> None:
        """Blocks until `stop` is set and the running jobs have ended; these look at `stop` to end at a safe point.

        In the main thread, SIGTERM and Ctrl-C set `stop`; a second one ends the process at once.
        """
        timetable = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(len(self._jobs))},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        for job in self._jobs:
            timetable.add_job(self._run, _Every(job.every_s), (job,), id=job.name, next_run_time=self._now())
        with self._signals():
            timetable.start()
            try:
                self._watch(timetable)
            finally:
                timetable.shutdown(wait=True)

    def _run(self, job: Job) -> None:
        if self._stop.is_set():
            return
        with new_run(job.name):
            try:
                job.run()
                self._on_success(job.name)
            except Exception as error:
                self._note_failure(job.name, error)
            else:
                if self._failing.pop(job.name, None):
                    log.info("%s works again", job.name)

    def _note_failure(self, name: str, error: Exception) -> None:
        """Said once for as long as it stays the same."""
        known = self._failing.get(name) == str(error)
        self._failing[name] = str(error)
        log.log(
            logging.DEBUG if known else logging.ERROR,
            "%s: %s",
            name,
            error,
            exc_info=log.isEnabledFor(logging.DEBUG),
        )
        try:
            self._on_error(name, error)
        except Exception as second:
            log.error("the failure of %s could not be reported: %s", name, second)

    def _watch(self, timetable: BackgroundScheduler) -> None:
        ahead = self._wall() - time.monotonic()
        while not self._stop.wait(WATCH_EVERY_S):
            if self._signalled:
                self._stop.set()
            before, ahead = ahead, self._wall() - time.monotonic()
            if abs(ahead - before) > JUMP_S:
                log.warning("the clock was set by %+.0f s; all jobs run now", ahead - before)
                for entry in timetable.get_jobs():
                    entry.modify(next_run_time=self._now())
                self._report_jump(ahead - before)

    def _report_jump(self, by_s: float) -> None:
        try:
            self._on_jump(by_s)
        except Exception:
            log.exception("the jump of the clock could not be reported")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The handler only sets a flag: an Event must not be set while the same thread may be inside its lock."""

        def note(_signal: int, _frame: FrameType | None) -> None:
            self._signalled = True
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Every(BaseTrigger):  # type: ignore[misc]  # apscheduler has no types
    """The next beat counts from now, not from the last one: APScheduler's own interval trigger lists every missed beat.

    For a machine that starts in 1970 and then asks for the time, at a beat of 30 s, these are 59 million.
    """

    def __init__(self, every_s: float) -> None:
        self._every = timedelta(seconds=every_s)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + self._every

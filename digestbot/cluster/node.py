"""One process of a cluster. The only user of Procrastinate, whose jobs are hints: the ledger stays the truth.

    scheduler: tick -> compose blocks -> deliver blocks        anybody
               ingest, housekeeping, sweep

A job that is lost is said anew by the next tick, one that runs twice finds nothing left to do. So each version of
Procrastinate has job tables of its own, and jobs of a worker that died are forgotten, not repeated.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import procrastinate
from procrastinate.exceptions import AlreadyEnqueued, ProcrastinateException
from procrastinate.jobs import DeleteJobCondition, Status

from digestbot.alarms import note_damaged, note_failure, note_run, note_success
from digestbot.choosing import Candidates, gather
from digestbot.desk import open_desk
from digestbot.due_slots import BLOCK, compose_block
from digestbot.errors import DigestbotError
from digestbot.pipeline import clear_outbox, deliver_due
from digestbot.report import RunReport
from digestbot.service import announce, ingest, keep_house
from digestbot.settings import Settings

DELIVER_BLOCK = 400  # mails in a job: few enough that all workers have some, many for one connection
MOST_JOBS = 200  # of a kind that a tick hands out: more than a cluster does until the next one
FOLD = timedelta(minutes=1)  # blocks of this time are one run in `status`
CANDIDATES_LAST = timedelta(seconds=30)
STALLED_S = 30.0  # without a heartbeat, of which there is one in ten seconds
RETRY_S = 3.0  # after the database was lost
SCHEDULING, COMPOSING, DELIVERING = "schedule", "compose", "deliver"

T = TypeVar("T")

log = logging.getLogger(__name__)


class Node:
    """A scheduler or a worker; either composes and delivers."""

    def __init__(self, settings: Settings, stop: threading.Event, *, schedules: bool) -> None:
        self._settings = settings
        self._stop = stop
        self._schedules = schedules
        self._candidates: tuple[object, Candidates] | None = None

    def run(self) -> None:
        """Until `stop` is set; a lost database is waited for. Raises what is wrong at the start."""
        with open_desk(self._settings) as desk:
            self._desk = desk
            announce(desk, _now())
            asyncio.run(self._stay())

    async def _stay(self) -> None:
        while not self._stop.is_set():
            app = self._make_app()
            try:
                async with app.open_async():
                    await _make_tables(app)
                    await self._serve(app)
            except (ProcrastinateException, OSError) as error:
                log.warning("the database is lost: %s; trying again", error.__cause__ or error)
                await asyncio.sleep(RETRY_S)

    async def _serve(self, app: procrastinate.App) -> None:
        """Until `stop` is set or the database is lost, of which the first to notice tells."""
        queues = [COMPOSING, DELIVERING] + ([SCHEDULING] if self._schedules else [])
        loops = [asyncio.create_task(_loop(app, queue)) for queue in queues]
        loops.append(asyncio.create_task(self._stopped()))
        await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in loops:
            loop.cancel()
        for outcome in await asyncio.gather(*loops, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _stopped(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(0.2)

    # ---- jobs ---------------------------------------------------------------------------------------------------

    def _make_app(self) -> procrastinate.App:
        app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=self._settings.database,
                configure=_enter_tables,
                min_size=1,
                max_size=8,
                timeout=10.0,
            )
        )
        hand_out_mails = partial(self._hand_out_mails, app)

        async def compose(first: int, last: int) -> None:
            await self._attempt("compose", partial(self._compose, first, last))
            await hand_out_mails()

        async def deliver() -> None:
            await self._attempt("deliver", self._deliver)
            await hand_out_mails()

        app.task(name="compose", queue=COMPOSING)(compose)
        app.task(name="deliver", queue=DELIVERING)(deliver)
        if self._schedules:

            async def tick(timestamp: int) -> None:
                await self._hand_out_slots(app)
                await hand_out_mails()

            _plan(app, "tick", "* * * * * */10", tick)
            _plan(app, "ingest", "* * * * *", self._ingest)
            _plan(app, "housekeeping", "17 * * * *", self._keep_house)
            _plan(app, "sweep", "* * * * * */30", partial(_sweep, app))
        return app

    async def _hand_out_slots(self, app: procrastinate.App) -> None:
        def look() -> Sequence[tuple[int, int]]:
            now, subscribers = _now(), self._desk.storage.subscribers
            clear_outbox(self._desk, now)
            note_damaged(self._desk, subscribers.unreadable(now), now)
            return subscribers.due_ranges(now, BLOCK, MOST_JOBS)

        ranges = await self._attempt("tick", look)
        waiting = await app.job_manager.list_jobs_async(queue=COMPOSING, status=Status.TODO.value)
        if not list(waiting):  # else these slots are handed out already
            for number, (first, last) in enumerate(ranges or ()):
                await _defer(app, "compose", f"compose {number}", first=first, last=last)

    async def _hand_out_mails(self, app: procrastinate.App) -> None:
        due = await self._attempt("tick", partial(self._desk.storage.outbox.count_due, _now()))
        for number in range(min(-(-(due or 0) // DELIVER_BLOCK), MOST_JOBS)):
            await _defer(app, "deliver", f"deliver {number}")

    async def _ingest(self, timestamp: int) -> None:
        await self._attempt("ingest", partial(ingest, self._desk))

    async def _keep_house(self, timestamp: int) -> None:
        await self._attempt("housekeeping", partial(keep_house, self._desk, _now()))

    async def _attempt(self, name: str, work: Callable[[], T]) -> T | None:
        """Does work in a thread; what it raises is told, and the next tick hands it out again."""
        try:
            result = await asyncio.to_thread(work)
        except Exception as error:
            log.error("%s: %s", name, error, exc_info=log.isEnabledFor(logging.DEBUG))
            with suppress(DigestbotError):
                await asyncio.to_thread(note_failure, self._desk, name, error, _now())
            return None
        with suppress(DigestbotError):
            await asyncio.to_thread(note_success, self._desk, name)
        return result

    # ---- their work, in threads ---------------------------------------------------------------------------------

    def _compose(self, first: int, last: int) -> None:
        candidates = self._gather(_now())
        report = RunReport(candidates.now)
        due = self._desk.storage.subscribers.due_among(candidates.now, (first, last))
        if due:
            compose_block(self._desk, candidates, due, report.digests)
            note_run(self._desk, report, _now(), fold=FOLD)

    def _gather(self, now: datetime) -> Candidates:
        """Prepared once for the blocks of a tick, and anew after every drop."""
        mark = self._desk.storage.browsing.mark()
        if self._candidates is not None:
            known, candidates = self._candidates
            if known == mark and now - candidates.now < CANDIDATES_LAST:
                return candidates
        self._candidates = (mark, gather(self._desk, now))
        return self._candidates[1]

    def _deliver(self) -> None:
        report = RunReport(_now())
        clear_outbox(
            self._desk, report.now
        )  # a pass of this very process may have failed: nobody else can know
        report.delivery = deliver_due(self._desk, _now, stop=self._stop, most=DELIVER_BLOCK)
        note_run(self._desk, report, _now(), fold=FOLD)


# ---- Procrastinate --------------------------------------------------------------------------------------------------


def _plan(
    app: procrastinate.App, name: str, cron: str, work: Callable[[int], Coroutine[object, object, None]]
) -> None:
    """However many schedulers there are, the database takes each beat once, and none while one waits."""

    async def beat(timestamp: int) -> None:
        await work(timestamp)

    app.periodic(cron=cron, periodic_id=name)(app.task(name=name, queue=SCHEDULING, queueing_lock=name)(beat))


async def _loop(app: procrastinate.App, queue: str) -> None:
    """One block at a time; a long drop does not hold up the ticks."""
    await app.run_worker_async(
        queues=[queue],
        name=queue,
        concurrency=3 if queue == SCHEDULING else 1,
        install_signal_handlers=False,
        listen_notify=False,  # its listener does not survive a restart of the server
        fetch_job_polling_interval=1.0,
        delete_jobs=DeleteJobCondition.ALWAYS,
        stalled_worker_timeout=STALLED_S,
    )


async def _defer(app: procrastinate.App, name: str, lock: str, **values: int) -> None:
    with suppress(AlreadyEnqueued):  # it waits already
        await app.configure_task(name, queueing_lock=lock).defer_async(**values)


async def _sweep(app: procrastinate.App, timestamp: int) -> None:
    """Forgets jobs of workers that died, which Procrastinate leaves to its user."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_S):
        log.warning("forgot job %s %s of a worker that died", job.id, job.task_name)
        with suppress(ProcrastinateException):  # another was faster
            await app.job_manager.finish_job(job=job, status=Status.FAILED, delete_job=True)


async def _make_tables(app: procrastinate.App) -> None:
    connector = app.connector
    found = await connector.execute_query_one_async("SELECT to_regclass('procrastinate_jobs') AS name")
    if found["name"] is None:
        await app.schema_manager.apply_schema_async()


async def _enter_tables(connection: object) -> None:
    """Each version's jobs have tables of their own, so that versions can run side by side."""
    schema = "digestbot_jobs_" + procrastinate.__version__.replace(".", "_")
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")  # type: ignore[attr-defined]
    await connection.execute(f"SET search_path TO {schema}")  # type: ignore[attr-defined]
    await connection.commit()  # type: ignore[attr-defined]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

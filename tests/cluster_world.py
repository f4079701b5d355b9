"""A cluster of real processes on a real PostgreSQL, with a town of subscribers who are all due now."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from digestbot.cli import main
from digestbot.errors import StorageError
from digestbot.settings import parse_settings
from digestbot.storage import Storage, open_storage
from tests.postgres_server import create_database, running_server
from tests.smtp_servers import SmtpServer

CONNECTIONS = 4
UP_S = 20.0  # from its start a process needs some seconds until it listens to signals, on a busy machine more
WORDS = ("owls", "moss", "wires", "bridges", "ferns", "tides")


class Cluster:
    """Its processes share `folder`; `output` has what they say."""

    def __init__(self, folder: Path, database: str, smtp_url: str, **settings: str) -> None:
        self.folder = folder
        self.values = {
            "DIGESTBOT_STATE": str(folder / "state"),
            "DIGESTBOT_DATABASE": database,
            "DIGESTBOT_SMTP_URL": smtp_url,
            "DIGESTBOT_SMTP_CONNECTIONS": str(CONNECTIONS),
            "DIGESTBOT_SECRET_KEY": "a secret of thirty-two characters",
            "DIGESTBOT_BASE_URL": "https://papers.example.org",
            "DIGESTBOT_FROM": "Paper Digest <digest@example.org>",
            **{f"DIGESTBOT_{name}": value for name, value in settings.items()},
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, str] = {}
        self._started: dict[str, float] = {}

    def start(self, name: str, command: str) -> None:
        """command: run or worker; starting a name again is a restart."""
        self._commands[name], self._started[name] = command, time.monotonic()
        environ = {k: v for k, v in os.environ.items() if not k.startswith("DIGESTBOT_")} | self.values
        environ |= {"OPENBLAS_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "digestbot", command],
                cwd=Path(__file__).parents[1],
                env=environ,
                stdout=log,
                stderr=log,
            )

    def supervise(self) -> None:
        """Starts again what gave up, as systemd does: it came up while PostgreSQL was down."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(name, self._commands[name])

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)
        if number is signal.SIGKILL:
            self.processes[name].wait()

    def stop(self) -> dict[str, int]:
        """SIGTERM for all, once they are up; their exit statuses."""
        time.sleep(max(0.0, max(self._started.values(), default=0.0) + UP_S - time.monotonic()))
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        return {name: process.wait(180) for name, process in self.processes.items()}

    def output(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    @contextmanager
    def storage(self) -> Iterator[Storage]:
        with open_storage(parse_settings(self.values)) as storage:
            yield storage

    def states(self) -> dict[str, int]:
        with self.storage() as storage:
            return {state.value: count for state, count in storage.entries.counts().items() if count}

    def wait_for(self, states: dict[str, int], *, timeout_s: float) -> None:
        """Until the outbox has these entries and no others."""
        until = time.monotonic() + timeout_s
        found: dict[str, int] = {}
        while time.monotonic() < until:
            self.supervise()
            try:
                found = self.states()
            except StorageError:
                found = {}
            if found == states:
                return
            time.sleep(0.3)
        raise AssertionError(f"{found} instead of {states}\n" + self.tails())

    def wait_until(self, is_so: Callable[[], bool], *, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < until, self.tails()
            time.sleep(0.1)

    def tails(self) -> str:
        return "\n".join(f"--- {name}\n{self.output(name)[-1500:]}" for name in self.processes)

    def attempts(self) -> dict[str, int]:
        """How often each recipient's entry was marked in doubt."""
        with psycopg.connect(self.values["DIGESTBOT_DATABASE"]) as connection:
            rows = connection.execute(
                "SELECT s.email, o.attempts FROM outbox o JOIN subscribers s ON s.id = o.subscriber_id"
            ).fetchall()
        return {str(email): int(attempts) for email, attempts in rows}


def populate(cluster: Cluster, people: int) -> None:
    """Some papers, and subscribers whose digests are due since a minute."""
    now = datetime.now(UTC)
    due = now - timedelta(minutes=1)
    papers = "".join(
        json.dumps(
            {
                "title": f"{word.title()} and the art of report number {n}",
                "abstract": f"We watched {word} for {n} days. Nothing else happened, which is the point of it.",
            }
        )
        + "\n"
        for word in WORDS
        for n in range(2, 5)
    )
    (cluster.folder / "papers.jsonl").write_text(papers)
    lines = (
        json.dumps(
            {"email": f"p{n}@d{n % 50}.example", "topics": [WORDS[n % len(WORDS)]], "send_at": f"{due:%H:%M}"}
        )
        + "\n"
        for n in range(people)
    )
    (cluster.folder / "people.jsonl").write_text("".join(lines))
    before = (now - timedelta(hours=20)).isoformat()
    with _environment(cluster.values):
        for words in (
            ["ingest", str(cluster.folder / "papers.jsonl")],
            ["subscribers", "import", str(cluster.folder / "people.jsonl")],
        ):
            main(["--now", before, *words])


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def torture_round(folder: Path, *, people: int, kills: int, seed: int, pause_s: float) -> Counter[str]:
    """Two schedulers and three workers deliver while some of them, or PostgreSQL, are killed at random moments.

    Checks that nobody is lost, and that mails held twice were marked in doubt before, at most one for each connection
    of each kill. pause_s: the mean between two kills. Returns what was killed how often.
    """
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    names = {"scheduler-1": "run", "scheduler-2": "run", **{f"worker-{n}": "worker" for n in (1, 2, 3)}}
    allowed = 0
    with running_server() as postgres, SmtpServer(_slowly(kills * pause_s, people, len(names))) as server:
        cluster = Cluster(folder, create_database(postgres.url), server.url())
        populate(cluster, people)
        for name, command in names.items():
            cluster.start(name, command)
        try:
            cluster.wait_until(lambda: bool(server.messages), timeout_s=180)
            for _ in range(kills):
                time.sleep(chance.uniform(0.3, 1.7) * pause_s)
                victim = chance.choice([*names, "postgres", "worker-1"])
                if victim == "postgres":
                    postgres.kill()
                    time.sleep(chance.uniform(0, 1))
                    postgres.start()
                else:
                    cluster.signal(victim, signal.SIGKILL)
                    cluster.start(victim, names[victim])
                allowed += CONNECTIONS * (len(names) if victim == "postgres" else 1)
                killed[victim.partition("-")[0]] += len(server.messages) < people
            cluster.wait_for({"sent": people}, timeout_s=60 + people / 20)
        finally:
            ends = cluster.stop()
        held = Counter(message.recipient for message in server.messages)
        attempts = cluster.attempts()
    assert set(ends.values()) == {0}, cluster.tails()
    assert len(held) == people, f"{people - len(held)} lost"
    twice = sum(held.values()) - people
    assert twice <= allowed, f"{twice} held twice after {killed}"
    assert all(times <= attempts[who] for who, times in held.items()), "a double that nobody knew of"
    print(f"round {seed}: killed in time {dict(killed)}, {twice} held twice, {allowed} allowed")
    return killed


def stop_a_worker(folder: Path, *, people: int, wait_s: float) -> None:
    """A worker is stopped until others have sent what it had claimed, and then goes on.

    Checks that it sends no more than the messages under way. wait_s: real time past its lease; 0: its lease's end is
    moved instead.
    """
    with running_server() as postgres, SmtpServer(_slowly(people / 40, people, 2)) as server:
        cluster = Cluster(folder, create_database(postgres.url), server.url())
        populate(cluster, people)
        cluster.start("scheduler", "run")
        cluster.start("worker", "worker")
        mine = f"%:{cluster.processes['worker'].pid}:%"
        with psycopg.connect(cluster.values["DIGESTBOT_DATABASE"], autocommit=True) as db:

            def claimed() -> int:
                row = db.execute("SELECT COUNT(*) FROM outbox WHERE owner LIKE %s", (mine,)).fetchone()
                return int(row[0]) if row else 0

            cluster.wait_until(lambda: claimed() > 20 and len(server.messages) > 20, timeout_s=180)
            _stop_outside_transactions(cluster, db)
            assert claimed() > CONNECTIONS
            time.sleep(wait_s)
            if not wait_s:
                db.execute("UPDATE outbox SET lease_until = 1 WHERE owner LIKE %s", (mine,))
            cluster.wait_for({"sent": people}, timeout_s=120 + people / 10)
        before = len(server.messages)
        cluster.signal("worker", signal.SIGCONT)
        time.sleep(4)
        after = len(server.messages)
        assert set(cluster.stop().values()) == {0}
        held, attempts = Counter(message.recipient for message in server.messages), cluster.attempts()
    assert len(held) == people
    assert after - before <= CONNECTIONS, "only what was under way"
    assert held.total() - people <= CONNECTIONS
    assert all(times <= attempts[who] for who, times in held.items())


def _stop_outside_transactions(cluster: Cluster, db: psycopg.Connection[tuple[object, ...]]) -> None:
    """In one, the server would end its connection, and it could send nothing anyway."""
    idle = "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    for _ in range(50):
        cluster.signal("worker", signal.SIGSTOP)
        looks = []
        for _ in range(4):
            time.sleep(0.1)
            looks.append(set(db.execute(idle).fetchall()))
        if not set.intersection(*looks):
            return
        cluster.signal("worker", signal.SIGCONT)
        time.sleep(random.uniform(0, 0.2))
    raise AssertionError("it is always in a transaction")


def _slowly(lasting_s: float, people: int, processes: int) -> Callable[[str, str], None]:
    """A mail server so slow that all mails take so long."""
    mean_s = lasting_s * CONNECTIONS * processes / people

    def script(stage: str, argument: str) -> None:
        if stage == "text":
            time.sleep(random.uniform(0, 2 * mean_s))

    return script

"""Several processes on one PostgreSQL: killed, stopped, and left without what they need."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import procrastinate
import psycopg
import pytest

from tests.cluster_world import CONNECTIONS, Cluster, populate, torture_round
from tests.household import Household, household
from tests.postgres_server import create_database, running_server
from tests.smtp_servers import SmtpServer

__all__ = ["household"]

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with running_server() as server:
        yield server.url


@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_is_lost_whoever_is_killed(tmp_path: Path, seed: int) -> None:
    killed = torture_round(tmp_path, people=2000, kills=4, seed=seed, pause_s=1.5)
    assert killed.total() >= 2, "the kills came too late"


def slow(stage: str, argument: str) -> None:
    if stage == "text":
        time.sleep(random.uniform(0.1, 0.3))


def test_a_worker_cut_off_past_its_lease_sends_nothing_it_no_longer_owns(
    server_url: str, tmp_path: Path
) -> None:
    """The lease's end is moved into the past, instead of waiting for a minute."""
    people = 400
    with SmtpServer(slow) as server:
        cluster = Cluster(tmp_path, create_database(server_url), server.url())
        populate(cluster, people)
        cluster.start("scheduler", "run")
        cluster.start("worker", "worker")
        owners = "SELECT DISTINCT owner FROM outbox WHERE owner LIKE %s"
        with psycopg.connect(cluster.values["DIGESTBOT_DATABASE"], autocommit=True) as db:
            mark = f"%:{cluster.processes['worker'].pid}:%"
            cluster.wait_until(lambda: bool(db.execute(owners, (mark,)).fetchall()), timeout_s=60)
            cluster.wait_until(lambda: len(server.messages) > 20, timeout_s=60)
            cluster.signal("worker", signal.SIGSTOP)
            stolen = db.execute("UPDATE outbox SET lease_until = 1 WHERE owner LIKE %s", (mark,)).rowcount
            assert stolen > CONNECTIONS
            cluster.wait_for({"sent": people}, timeout_s=120)
            before = len(server.messages)
            cluster.signal("worker", signal.SIGCONT)
            time.sleep(4)
            after = len(server.messages)
        assert set(cluster.stop().values()) == {0}
    held = Counter(message.recipient for message in server.messages)
    assert len(held) == people
    assert after - before <= CONNECTIONS, "only what was under way"
    assert held.total() - people <= CONNECTIONS
    assert all(times <= cluster.attempts()[who] for who, times in held.items())


def test_the_job_of_a_worker_that_died_is_forgotten(server_url: str, tmp_path: Path) -> None:
    schema = "digestbot_jobs_" + procrastinate.__version__.replace(".", "_")
    with SmtpServer() as server:
        cluster = Cluster(tmp_path, create_database(server_url), server.url())
        populate(cluster, 3)
        cluster.start("scheduler", "run")
        cluster.wait_for({"sent": 3}, timeout_s=60)
        with psycopg.connect(cluster.values["DIGESTBOT_DATABASE"], autocommit=True) as db:
            db.execute(f"SET search_path TO {schema}".encode())
            db.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('deliver', 'deliver', 'doing')"
            )
            left = "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing' AND worker_id IS NULL"
            cluster.wait_until(lambda: not db.execute(left.encode()).fetchall(), timeout_s=60)
        assert "forgot job" in cluster.output("scheduler")
        assert set(cluster.stop().values()) == {0}


def test_a_worker_needs_postgresql_and_real_time(household: Household) -> None:
    answer = household.run("worker")
    assert answer.code == 2
    assert "PostgreSQL" in answer.err
    assert household.run("worker", now="2026-11-21T09:00:00Z").code == 2


BARE = """
import sys
sys.modules["psycopg"] = sys.modules["procrastinate"] = None
from digestbot.cli import main
main(sys.argv[1:])
"""


def test_without_the_extra_sqlite_works_and_postgresql_says_what_to_install(household: Household) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        project = str(Path(__file__).parents[1])
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {project!r})\n{BARE}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("run", "--once").returncode == 0
    household.set("DATABASE", "postgresql://nobody@127.0.0.1:1/x")
    for words in (("status",), ("run", "--once"), ("worker",)):
        answer = run(*words)
        assert answer.returncode == 2
        assert "pip install 'digestbot[cluster]'" in answer.stderr

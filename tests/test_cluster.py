"""Several processes on one PostgreSQL: killed, stopped, and left without what they need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import procrastinate
import psycopg
import pytest

from tests.cluster_world import Cluster, populate, stop_a_worker, torture_round
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


def test_a_worker_cut_off_past_its_lease_sends_nothing_it_no_longer_owns(tmp_path: Path) -> None:
    """The lease's end is moved into the past, instead of waiting for a minute."""
    stop_a_worker(tmp_path, people=400, wait_s=0)


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

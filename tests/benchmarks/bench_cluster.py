"""What a cluster does per second, what it costs, and how well it keeps a rate.

Run: python -m tests.benchmarks.bench_cluster

A scheduler is a worker that hands out jobs, too, so one process is `run` alone and three are `run` with two `worker`s.
Figures of CPU time stand on a busy machine; those per second want an idle one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from digestbot.desk import open_desk
from digestbot.due_slots import compose_due
from digestbot.settings import parse_settings
from tests.cluster_world import CONNECTIONS, Cluster, populate
from tests.postgres_server import PostgresServer, create_database, running_server
from tests.smtp_servers import SmtpServer

DELAY_S = 0.05
PEOPLE_EACH = 1500  # for each process
RATE, RATE_S = 30.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figures:
    """Of the middle part, where all connections are busy."""

    per_s: float
    worker_ms: float  # of CPU, per digest
    postgres_ms: float


def main() -> int:
    with running_server() as postgres:
        ours, theirs = composing(postgres)
        print(f"composing: CPU per digest: {ours:.2f} ms, PostgreSQL {theirs:.2f} ms", flush=True)
        one, three = (delivering(postgres, processes) for processes in (1, 3))
        for count, figures in ((1, one), (3, three)):
            print(
                f"{count} x {CONNECTIONS} connections, {DELAY_S * 1000:.0f} ms per reply:"
                f" {figures.per_s:.0f} digests/s ({figures.per_s * DELAY_S / count / CONNECTIONS:.0%} of what the"
                f" delay allows), CPU per digest: workers {figures.worker_ms:.2f} ms,"
                f" PostgreSQL {figures.postgres_ms:.2f} ms",
                flush=True,
            )
        print(f"three processes do {three.per_s / one.per_s:.2f} times what one does")
        kept = rated(postgres)
        print(
            f"rate limit {RATE:g}/s over 3 processes: {kept:.2f}/s in {RATE_S:g} s ({kept / RATE - 1:+.1%})"
        )
    return 0


def composing(postgres: PostgresServer) -> tuple[float, float]:
    """CPU ms per digest, of this process and of PostgreSQL; one topic each and 18 papers, so mostly storing."""
    with ExitStack() as stack:
        cluster, _ = prepared(stack, postgres, 0.0, PEOPLE_EACH, compose=False)
        with open_desk(parse_settings(cluster.values)) as desk:
            compose_due(desk, datetime(2020, 1, 1, tzinfo=UTC))  # nobody is due: only to be warm
            began = time.process_time(), children_cpu_s(postgres.pid)
            composed = compose_due(desk, datetime.now(UTC).replace(microsecond=0)).composed
            ended = time.process_time(), children_cpu_s(postgres.pid)
    ours, theirs = ((b - a) * 1000 / composed for a, b in zip(began, ended, strict=True))
    return ours, theirs


def delivering(postgres: PostgresServer, processes: int) -> Figures:
    with ExitStack() as stack:
        people = PEOPLE_EACH * processes
        cluster, server = prepared(stack, postgres, DELAY_S, people)
        start(cluster, processes)
        wait(server, people // 10)
        pids = [process.pid for process in cluster.processes.values()]
        marks = []
        for share in (0.15, 0.8):
            wait(server, int(people * share))
            marks.append(
                (time.monotonic(), len(server.messages), sum(map(cpu_s, pids)), children_cpu_s(postgres.pid))
            )
        wait(server, people)
        cluster.stop()
    seconds, digests, worker, database = (b - a for a, b in zip(*marks, strict=True))
    return Figures(digests / seconds, worker * 1000 / digests, database * 1000 / digests)


def rated(postgres: PostgresServer) -> float:
    """Messages per second."""
    with ExitStack() as stack:
        people = int(RATE * RATE_S * 1.3)
        cluster, server = prepared(stack, postgres, 0.0, people, SMTP_RATE=f"{RATE:g}")
        start(cluster, 3)
        wait(server, int(RATE * 5))
        began, before = time.monotonic(), len(server.messages)
        time.sleep(RATE_S)
        kept = (len(server.messages) - before) / (time.monotonic() - began)
        cluster.stop()
    return kept


def prepared(
    stack: ExitStack,
    postgres: PostgresServer,
    delay_s: float,
    people: int,
    *,
    compose: bool = True,
    **settings: str,
) -> tuple[Cluster, SmtpServer]:
    def slow(stage: str, argument: str) -> None:
        if stage == "text" and delay_s:
            time.sleep(delay_s)

    server = stack.enter_context(SmtpServer(slow))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    cluster = Cluster(folder, create_database(postgres.url), server.url(), **settings)
    populate(cluster, people)
    if compose:
        with open_desk(parse_settings(cluster.values)) as desk:
            compose_due(desk, datetime.now(UTC).replace(microsecond=0))
    return cluster, server


def start(cluster: Cluster, processes: int) -> None:
    for number in range(processes):
        cluster.start(str(number), "worker" if number else "run")


def wait(server: SmtpServer, messages: int) -> None:
    while len(server.messages) < messages:
        time.sleep(0.02)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children_cpu_s(postmaster: int) -> float:
    """Of the server's living processes; those of a cluster's connections live as long as it does."""
    found = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return sum(cpu_s(int(pid)) for pid in found)


if __name__ == "__main__":
    sys.exit(main())

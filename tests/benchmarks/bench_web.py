"""Pages a second over HTTP, and how long previews and searches take, with many subscribers and papers.

Run: python -m tests.benchmarks.bench_web [SUBSCRIBERS] [PAPERS]   (default 100,000 of each)

Times are those of the wall; beside them stands the processor's time, which other programs on the machine do not change.
"""

from __future__ import annotations

import http.client
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import quote, urlsplit

from digestbot.ingest import ingest_file
from digestbot.model import Opinion, PaperId, Vote
from digestbot.subscriptions import new_subscriber
from tests.shared import SHARED
from tests.web_world import NOW, Answer, World, running

SECONDS = 5
VISITORS = 2
PREVIEWS = 100
SEARCHES = (
    "diffusion models",
    "the",
    "learning",
    "zebrafish",
    "graph neural networks for code",
    "self-supervised",
)
TOPICS = (
    "diffusion models",
    "agents",
    "reinforcement learning",
    "graph neural networks",
    "code generation",
    "video",
)


def main() -> int:
    count, papers = (int(sys.argv[i]) if len(sys.argv) > i else 100_000 for i in (1, 2))
    pages = sorted((SHARED / "drops").glob("page-*.txt"))
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as world:
        for age, page in enumerate(pages):
            with world.desk() as desk:
                ingest_file(desk.storage.papers, page, now=NOW - timedelta(days=1 + 7 * age))
        fill(world, count)
        print(f"{count} subscribers, {len(pages)} drops, {VISITORS} visitors at once")
        for url in ("/", "/day/2026-11-20", "/paper/50", "/subscribe"):
            print(f"{url:20} {rate(world, url):6.0f} pages a second")
        report("preview", previews(world, count))
        remember(world, papers)
        report(f"search in {papers} papers", searches(world))
    return 0


def report(what: str, took: list[tuple[float, float]]) -> None:
    """took: (wall, processor) seconds of each."""
    wall, cpu = (sorted(1000 * one[i] for one in took) for i in (0, 1))
    late = int(len(took) * 0.95)
    print(
        f"{what}: median {wall[len(wall) // 2]:.0f} ms, 95th percentile {wall[late]:.0f} ms;"
        f" of processor {cpu[len(cpu) // 2]:.0f} and {cpu[late]:.0f} ms"
    )


def remember(world: World, count: int) -> None:
    """A catalogue of as many older papers, of words as they come in real ones."""
    chance = random.Random(4)
    words = " ".join(page.read_text("utf-8") for page in (SHARED / "drops").glob("page-*.txt")).split()
    for start in range(0, count, 10_000):
        block: list[dict[str, object]] = []
        for number in range(start, min(start + 10_000, count)):
            at = chance.randrange(len(words) - 200)
            title = f"{' '.join(words[at : at + 9])} {number}"
            block.append({"title": title, "abstract": " ".join(words[at + 9 : at + 180])})
        world.ingest(block, at=NOW - timedelta(days=100))


def searches(world: World) -> list[tuple[float, float]]:
    return [timed(partial(world.get, "/?q=" + quote(text)))[0] for text in SEARCHES * 5]


def timed(ask: Callable[[], Answer]) -> tuple[tuple[float, float], Answer]:
    began, worked = time.monotonic(), time.process_time()
    reply = ask()
    took = time.monotonic() - began, time.process_time() - worked
    assert reply.status == 200, reply.text
    return took, reply


def fill(world: World, count: int) -> None:
    chance = random.Random(3)
    with world.office() as office:
        person = new_subscriber({"email": "x@example.org", "topics": [TOPICS[0]]}, confirmed=True)
        for start in range(0, count, 5000):
            block = []
            for number in range(start, min(start + 5000, count)):
                form = {"email": "y@example.org", "topics": chance.sample(TOPICS, 3)}
                person = new_subscriber(form, confirmed=True) if number < 200 else person
                block.append(replace(person, email=f"reader{number}@example.org"))
            office.enrol(block, how="benchmark")


def rate(world: World, url: str) -> float:
    """Pages a second that all visitors get together; they live in processes of their own."""
    assert world.handle is not None
    world.get(url)
    with ProcessPoolExecutor(VISITORS, mp_context=get_context("spawn")) as pool:
        list(pool.map(visits, [(world.handle.url, url, 0.1)] * VISITORS))  # the processes have begun
        return sum(pool.map(visits, [(world.handle.url, url, SECONDS)] * VISITORS)) / SECONDS


def visits(asked: tuple[str, str, float]) -> int:
    """How many pages one visitor gets in so many seconds, on one connection."""
    base, url, seconds = asked
    connection = http.client.HTTPConnection(urlsplit(base).netloc)
    end, answered = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        connection.request("GET", url)
        reply = connection.getresponse()
        reply.read()
        answered += reply.status == 200
    return answered


def previews(world: World, count: int) -> list[tuple[float, float]]:
    """Seconds of each preview of a changed topic; every second reader has voted, on papers of long ago, too."""
    chance = random.Random(5)
    found = []
    for number in range(PREVIEWS):
        who = world.find(f"reader{chance.randrange(count)}@example.org")
        assert who is not None
        form = {
            "action": "preview",
            "topics-shown": "1",
            "topic-0-terms": f"{chance.choice(TOPICS)}\n{chance.choice(TOPICS)} {number}",
        }
        if number % 2:
            with world.desk() as desk:
                votes = [Vote(PaperId(paper), Opinion.MORE, NOW) for paper in chance.sample(range(1, 280), 8)]
                desk.storage.subscribers.vote(who.id, votes)
        url = world.links.preferences(who.id)
        found.append(timed(partial(world.post, url, form, X_Part="1"))[0])
    return found


if __name__ == "__main__":
    sys.exit(main())

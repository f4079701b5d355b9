"""Pages a second over HTTP, and how long a preview takes, with many subscribers.

Run: python -m tests.benchmarks.bench_web [SUBSCRIBERS]   (default 100,000)
"""

from __future__ import annotations

import http.client
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from digestbot.ingest import ingest_file
from digestbot.subscriptions import new_subscriber
from tests.shared import SHARED
from tests.web_world import NOW, World, running

SECONDS = 5
VISITORS = 2
PREVIEWS = 100
TOPICS = (
    "diffusion models",
    "agents",
    "reinforcement learning",
    "graph neural networks",
    "code generation",
    "video",
)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    pages = sorted((SHARED / "drops").glob("page-*.txt"))
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as world:
        for age, page in enumerate(pages):
            with world.desk() as desk:
                ingest_file(desk.storage.papers, page, now=NOW - timedelta(days=1 + age))
        fill(world, count)
        print(f"{count} subscribers, {len(pages)} drops, {VISITORS} visitors at once")
        for url in ("/", "/day/2026-11-20", "/paper/50", "/subscribe"):
            print(f"{url:20} {rate(world, url):6.0f} pages a second")
        slow = previews(world, count)
        median, late = (1000 * slow[int(len(slow) * share)] for share in (0.5, 0.95))
        print(f"preview: median {median:.0f} ms, 95th percentile {late:.0f} ms")
    return 0


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


def previews(world: World, count: int) -> list[float]:
    """Seconds of each preview of a changed topic, in order of length; every second reader has voted."""
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
        began = time.monotonic()
        reply = world.post(world.links.preferences(who.id), form, X_Part="1")
        found.append(time.monotonic() - began)
        assert reply.status == 200, urlencode(form)
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main())

"""A town of invented readers and papers for benchmarks: everybody has three topics, and each finds ten papers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from digestbot.desk import Desk, open_desk
from digestbot.ingest import ingest_file
from digestbot.model import Preferences, Subscriber, SubscriberId, Topic
from digestbot.settings import Settings, parse_settings

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SUBJECTS = 400  # words that topics are made of; a paper is about eight of them
THEIRS = 300  # papers about these
_BLOCK = 10_000


def town_settings(folder: Path, smtp_url: str = "smtp://127.0.0.1:2599", **more: str) -> Settings:
    return parse_settings(town_environ(folder, smtp_url, **more))


def town_environ(folder: Path, smtp_url: str = "smtp://127.0.0.1:2599", **more: str) -> dict[str, str]:
    """The settings as the environment of a process has them."""
    return {
        "DIGESTBOT_STATE": str(folder / "state"),
        "DIGESTBOT_SMTP_URL": smtp_url,
        "DIGESTBOT_SECRET_KEY": "a secret of thirty-two characters",
        "DIGESTBOT_BASE_URL": "https://papers.example.org",
        "DIGESTBOT_FROM": "Papers <digests@example.org>",
        **more,
    }


@contextmanager
def open_town(settings: Settings, *, readers: int, papers: int, topics: int = 20_000) -> Iterator[Desk]:
    """A new state with these readers, all due at NOW, and one drop of papers, of which 300 are about their topics: of
    thousands about so few, each topic's words would be everybody's, and mean nothing."""
    with open_desk(settings) as desk:
        if papers:
            drop = settings.state / "drop.jsonl"
            theirs = min(papers, THEIRS)
            lines = chain(paper_lines(theirs), paper_lines(papers - theirs, theirs, foreign=True))
            drop.write_text("".join(lines), encoding="utf-8")
            ingest_file(desk.storage.papers, drop, now=NOW - timedelta(hours=1))
        people = town_people(readers, topics)
        while block := [person for _, person in zip(range(_BLOCK), people, strict=False)]:
            desk.storage.subscribers.add(block, now=NOW - timedelta(days=2))
        yield desk


def town_people(count: int, topics: int) -> Iterator[Subscriber]:
    words = _words(SUBJECTS)
    for number in range(count):
        chance = random.Random(number)
        chosen = (town_topic(chance.randrange(topics), words) for _ in range(3))
        yield Subscriber(
            SubscriberId(0),
            f"reader{number}@d{number % 997}.example",
            preferences=Preferences(topics=tuple(chosen)),
            next_due_at=NOW - timedelta(minutes=5),
            confirmed_at=NOW - timedelta(days=2),
        )


def town_topic(number: int, words: list[str]) -> Topic:
    """The topic of this number: two subjects, another pair for each number below 79,800."""
    first = number % SUBJECTS
    second = (first + 1 + number // SUBJECTS) % SUBJECTS
    return Topic(f"{words[first]} and {words[second]}", (words[first], words[second]))


def paper_lines(count: int, start: int = 0, *, foreign: bool = False) -> Iterator[str]:
    """Papers of the usual size (1.6 KB) as JSON Lines; foreign ones are about nobody's topics."""
    chance = random.Random(start)
    subjects, common = _words(SUBJECTS, seed=3 if foreign else 1), _words(3000, seed=2)
    for number in range(start, start + count):
        about = chance.sample(subjects, 8)
        sentences = [
            " ".join([*chance.choices(common, k=9), word, *chance.choices(common, k=10)]).capitalize() + "."
            for word in about
        ]
        yield (
            json.dumps(
                {
                    "title": " ".join([*chance.choices(common, k=4), *about[:3]]).capitalize(),
                    "abstract": " ".join(sentences),
                    "authors": [" ".join(chance.choices(common, k=2)).title() for _ in range(4)],
                    "published": "2026-11-19",
                    "url": f"https://arxiv.org/abs/2611.{number:05}",
                    "arxiv_id": f"2611.{number:05}",
                    "upvotes": chance.randint(0, 9),
                }
            )
            + "\n"
        )


def _words(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefghijklmnoprstuvw", k=chance.randint(4, 10))) for _ in range(count)]

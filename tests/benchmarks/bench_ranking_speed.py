"""What ranking costs a subscriber in processor time: an invented town's readers against 300 new papers.

usage: python -m tests.benchmarks.bench_ranking_speed [--readers 10000] [--papers 300] [--topics 20000] [--profile]

Every block of 1,000 readers is ranked as a run does it, on one thread: ten papers each, chosen from the best 50, with
the reasons.
`reference` is the time of a fixed piece of Python work in the same run: compare machines by the ratio.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import random
import resource
import time
from collections.abc import Sequence
from itertools import chain, islice

from digestbot.model import Opinion, Paper, PaperId, PaperRecord, TopicProfile, Vote
from digestbot.ranking import Limits, Ranker, fit, index
from tests.benchmarks.town import NOW, paper_lines, town_people

CATALOGUE, BLOCK, VOTES = 3000, 1000, 50


def papers(count: int, candidates: int = 300) -> list[Paper]:
    """Those after the candidates are foreign, so that topics' words are as rare as a reader's are."""
    lines = chain(paper_lines(candidates), paper_lines(count - candidates, candidates, foreign=True))
    rows = [json.loads(line) for line in lines]
    return [
        Paper(PaperId(n), PaperRecord(row["title"], row["abstract"], tuple(row["authors"])), NOW)
        for n, row in enumerate(rows)
    ]


def reference() -> float:
    """Seconds of processor time of a fixed piece of work."""
    start = time.process_time()
    sum(hash((n, str(n))) for n in range(500_000))
    return time.process_time() - start


def votes_of(number: int) -> tuple[Vote, ...]:
    chosen = random.Random(number).sample(range(300, CATALOGUE), VOTES)
    return tuple(Vote(PaperId(n), Opinion.LESS if n % 5 == 0 else Opinion.MORE, NOW) for n in sorted(chosen))


def measure(ranker: Ranker, profiles: Sequence[TopicProfile]) -> float:
    """Processor seconds."""
    start = time.process_time()
    for at in range(0, len(profiles), BLOCK):
        block = profiles[at : at + BLOCK]
        ranker.choose(block, [frozenset()] * len(block), [Limits()] * len(block), now=NOW)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--papers", type=int, default=300)
    parser.add_argument("--topics", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    catalogue = papers(CATALOGUE, given.papers)
    model = fit(catalogue)
    prepared = index(model, catalogue[: given.papers], catalogue)
    people = list(islice(town_people(given.readers, given.topics), given.readers))
    topics = [TopicProfile(person.preferences.topics) for person in people]
    voted = [TopicProfile((), votes_of(n)) for n in range(given.readers // 5)]
    both = [TopicProfile(p.topics, v.votes) for p, v in zip(topics, voted, strict=False)]
    profiler = cProfile.Profile()
    for name, profiles in (("topics", topics), ("50 votes", voted), ("topics and 50 votes", both)):
        ranker = Ranker(prepared)
        if given.profile:
            profiler.enable()
        for topics_are in ("new", "known"):
            each = 1e6 * measure(ranker, profiles) / len(profiles)
            print(f"{name:20} topics {topics_are:5} {each:7.1f} us a reader")
        profiler.disable()
    print(f"reference {1e3 * reference():.0f} ms")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if given.profile:
        profiler.print_stats("tottime")


if __name__ == "__main__":
    main()

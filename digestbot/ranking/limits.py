"""What a topic profile may hold, said at the door with the reason, so that every stored profile ranks in time."""

from __future__ import annotations

import re
from collections.abc import Sequence

from digestbot.errors import in_short
from digestbot.model import Topic
from digestbot.ranking.people import parse_name
from digestbot.ranking.words import LONGEST_TERM, phrase

MOST_TOPICS = 100
MOST_ENTRIES = 1_000  # terms, excluded terms, authors and categories of all topics together
MOST_WEIGHT = 10
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)  # of terminals and direction


def check_topics(topics: Sequence[Topic]) -> list[str]:
    """What is wrong with `topics`, one line each with what to do; empty: they can be stored."""
    problems = []
    if len(topics) > MOST_TOPICS:
        problems.append(f"{len(topics)} topics are too many: at most {MOST_TOPICS}")
    entries = sum(len(t.terms) + len(t.exclude) + len(t.authors) + len(t.categories) for t in topics)
    if entries > MOST_ENTRIES:
        problems.append(
            f"{entries} terms, authors and categories are too many: at most {MOST_ENTRIES} together"
        )
    if problems:
        return problems
    return [problem for topic in topics for problem in _check_topic(topic)]


def _check_topic(topic: Topic) -> list[str]:
    name = in_short(topic.name)
    problems = []
    if not topic.name.strip():
        return ["a topic has no name: give it one"]
    if len(topic.name) > LONGEST_TERM:
        problems.append(f"topic {name}: the name is longer than {LONGEST_TERM} characters")
    problems += [
        f"topic {name}: {in_short(text)} holds control characters; write it without them"
        for text in (topic.name, *topic.terms, *topic.exclude, *topic.authors, *topic.categories)
        if _CONTROL.search(text)
    ]
    if not (topic.terms or topic.exclude or topic.authors or topic.categories):
        problems.append(f"topic {name}: give it at least one term, author or category")
    if not 0.0 <= topic.weight <= MOST_WEIGHT:  # false for NaN, too
        problems.append(f"topic {name}: the weight must lie between 0 and {MOST_WEIGHT}")
    problems += [
        f"topic {name}: {problem}"
        for term in (*topic.terms, *topic.exclude)
        if (problem := _check_term(term))
    ]
    for what, entries in (("author", topic.authors), ("category", topic.categories)):
        problems += [
            f"topic {name}: {what} {in_short(entry)} is empty or longer than {LONGEST_TERM} characters"
            for entry in entries
            if not entry.strip() or len(entry) > LONGEST_TERM
        ]
    problems += [
        f"topic {name}: author {in_short(author)} has no family name"
        for author in topic.authors
        if 0 < len(author.strip()) <= LONGEST_TERM and not parse_name(author).family
    ]
    return problems


def _check_term(term: str) -> str | None:
    if len(term) > LONGEST_TERM:
        return f"the term {in_short(term)} is longer than {LONGEST_TERM} characters"
    if not phrase(term):
        return f"the term {in_short(term)} has no word to look for, or only words that every paper has"
    return None

"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but will cost something one day
    FAIL = "FAIL"  # a run will not work, or its mails will not arrive


@dataclass(frozen=True, slots=True)
class Finding:
    check: str  # one or two words
    level: Level
    said: str
    mend: str = ""  # what to do; '' where all is well


def ok(check: str, said: str) -> Finding:
    return Finding(check, Level.OK, said)


def warn(check: str, said: str, mend: str) -> Finding:
    return Finding(check, Level.WARN, said, mend)


def fail(check: str, said: str, mend: str) -> Finding:
    return Finding(check, Level.FAIL, said, mend)

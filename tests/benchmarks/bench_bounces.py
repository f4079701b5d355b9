"""How often the reader of returned mails agrees with a person who read them: a confusion table per folder.

Run: python -m tests.benchmarks.bench_bounces
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from digestbot.bounces import MailClass, read_mail
from tests.shared import SHARED

LABELS = Path(__file__).parents[1] / "bounce_labels.tsv"


@dataclass
class Score:
    table: Counter[tuple[str, str]] = field(default_factory=Counter)  # (label, found)
    recipients: int = 0  # mails whose recipients were found exactly

    @property
    def count(self) -> int:
        return sum(self.table.values())

    @property
    def right(self) -> int:
        return sum(number for (label, found), number in self.table.items() if label == found)


def read_labels() -> list[tuple[str, str, tuple[str, ...]]]:
    """(file, class, recipients in lower case) of each sample, as a person read it."""
    rows = [line.split("\t") for line in LABELS.read_text().splitlines()[1:]]
    return [(name, label, tuple(sorted(recipients.split()))) for name, label, recipients in rows]


def score_folders(corpus: Path) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for name, label, recipients in read_labels():
        reading = read_mail((corpus / name).read_bytes())
        score = scores.setdefault(name.partition("/")[0], Score())
        score.table[label, reading.kind.value] += 1
        score.recipients += tuple(sorted(reading.recipients)) == recipients
    return scores


def main() -> int:
    corpus = SHARED / "corpora" / "bounces"
    if not corpus.is_dir():
        print(f"{corpus} is not here", file=sys.stderr)
        return 1
    classes = [kind.value for kind in MailClass]
    for folder, score in score_folders(corpus).items():
        print(f"\n{folder}: class {score.right}/{score.count}, recipients {score.recipients}/{score.count}")
        print(f"{'read as:':>14}" + "".join(f"{name:>13}" for name in classes))
        for label in classes:
            print(f"{label:>14}" + "".join(f"{score.table[label, found] or '.':>13}" for found in classes))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How digests lie in an SQLite file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from digestbot.model import Digest, DigestPaper, PaperId, Reason, ReasonKind, SubscriberId
from digestbot.storage.outbox import QueuedDigest
from tests.backends import open_storage
from tests.deliveries import NOW, SLOT, queue_digests


def test_packed_papers_are_readable_with_json_each(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    queue_digests(storage, ["ada@one.example"])
    [row] = storage.db.rows(
        "SELECT group_concat(json_extract(p.value, '$[0]')) FROM outbox, json_each(outbox.papers, '$.papers') p"
    )
    assert row == ("10000,10001,10002",)
    storage.close()


def test_a_digest_of_ten_papers_takes_less_than_530_bytes(tmp_path: Path) -> None:
    """Slot, entry, packed papers and indexes; ids as after years of use, topics and reasons of common length."""
    storage = open_storage(tmp_path)
    topics = ["continual learning", "symbolic regression", "graph neural networks"]
    people, days = 500, 4
    for day in range(days):
        queued = []
        for n in range(people):
            papers = tuple(
                DigestPaper(
                    PaperId(70_000 + 37 * k + n),
                    round(0.9 - 0.031 * k, 3),
                    topics[k % 3],
                    (Reason(ReasonKind.TERM, topics[k % 3]),)
                    + ((Reason(ReasonKind.AUTHOR, "Ada Lovelace"),) if k == 4 else ()),
                )
                for k in range(10)
            )
            slot = SLOT + timedelta(days=day)
            digest = Digest(SubscriberId(n + 40_000), slot, NOW, papers, more=3)
            queued.append(QueuedDigest(digest, f"<d20261121.{n:024d}@example.org>", NOW))
        storage.outbox.store_decisions([], queued)
    storage.db.execute("UPDATE outbox SET state = 'sent', reply = '250 2.0.0 queued', finished_at = due_at")
    storage.db.execute("VACUUM")
    pages = storage.db.row("PRAGMA page_count"), storage.db.row("PRAGMA page_size")
    storage.db.execute("DELETE FROM outbox")
    storage.db.execute("DELETE FROM slots")
    storage.db.execute("VACUUM")
    rest = storage.db.row("PRAGMA page_count")
    assert pages[0] is not None
    assert pages[1] is not None
    assert rest is not None
    bytes_each = (int(str(pages[0][0])) - int(str(rest[0]))) * int(str(pages[1][0])) / (people * days)
    print(f"{bytes_each:.0f} bytes a digest")
    assert bytes_each <= 530
    storage.close()

"""How digests lie in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from digestbot.model import (
    CardLength,
    Digest,
    DigestPaper,
    EntryState,
    PaperId,
    Reason,
    ReasonKind,
    SubscriberId,
)
from digestbot.storage import Storage
from digestbot.storage.migrations import migrate
from digestbot.storage.outbox import QueuedDigest
from tests.backends import current, open_storage
from tests.deliveries import NOW, SLOT, queue_digests


def test_packed_papers_are_readable_with_json_each(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    queue_digests(storage, ["ada@one.example"])
    [row] = storage.db.rows("SELECT group_concat(shown.value) FROM outbox, json_each(outbox.papers) AS shown")
    assert row == ("10000,10001,10002",)
    storage.close()


def test_a_digest_of_ten_papers_takes_less_than_430_bytes(tmp_path: Path) -> None:
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
    assert bytes_each <= 430
    storage.close()


# Two digests as versions before the ninth wrote them: one with all that there is, one of a season ago.
WHOLE = (
    '{"papers":[[7,123,0],[70000,1000,1],[9,500,2]],"why":[[2,-1,3,0],[0,1,0,2,2,3],[1,1]],'
    '"words":["41 upvotes","t\u00f3pic: 1","a:b","\u2026\\"\'\\n"],"more":7}'
)
FOLDED = '{"papers":[[8],[6]]}'


@pytest.mark.usefixtures("backend")
def test_digests_of_earlier_versions_are_brought_forward_whole() -> None:
    storage = Storage(current().open_fresh())
    _back_to_version_8(storage)
    for number, papers in enumerate((WHOLE, FOLDED, None)):
        storage.db.execute(
            "INSERT INTO outbox (id, kind, subscriber_id, slot, state, message_id, composed_at, due_at, papers)"
            " VALUES (?, 'digest', ?, ?, 'queued', '', 0, 0, ?)",
            (number, number, SLOT.isoformat() if papers else None, papers),
        )
    assert migrate(storage.db)[0] == 9
    kinds = list(ReasonKind)
    shown = (
        DigestPaper(PaperId(7), 0.123, None, (Reason(kinds[3], "41 upvotes"),), CardLength(2)),
        DigestPaper(
            PaperId(70000), 1.0, "t\u00f3pic: 1", (Reason(kinds[0], "a:b"), Reason(kinds[2], "\u2026\"'\n"))
        ),
        DigestPaper(PaperId(9), 0.5, "t\u00f3pic: 1", (), CardLength(1)),
    )
    at = datetime.fromtimestamp(0, UTC)
    whole = Digest(SubscriberId(0), SLOT, at, shown, 7)
    assert storage.outbox.find_digest(SubscriberId(0), SLOT) == (whole, EntryState.QUEUED)
    ids = (PaperId(8), PaperId(6))
    folded = Digest(SubscriberId(1), SLOT, at, tuple(DigestPaper(id_, 0.0, None, ()) for id_ in ids))
    assert storage.outbox.find_digest(SubscriberId(1), SLOT) == (folded, EntryState.QUEUED)
    assert storage.db.row("SELECT papers, why, more FROM outbox WHERE id = 2") == (None, None, None)
    storage.close()


def _back_to_version_8(storage: Storage) -> None:
    """What the ninth step adds is taken away: servers keep a database from test to test."""
    storage.migrate()
    for column in ("why", "more"):
        storage.db.execute(f"ALTER TABLE outbox DROP COLUMN {column}")
    storage.db.execute("DELETE FROM schema_version WHERE version >= 9")

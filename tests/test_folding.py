"""What becomes of old digests."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from digestbot.desk import Desk, open_desk
from digestbot.due_slots import compose_due
from digestbot.model import Digest, EntryState, SubscriberId
from digestbot.pipeline import deliver_due
from digestbot.service import FOLDED_AFTER, keep_house
from tests.benchmarks.town import NOW, open_town, town_settings
from tests.smtp_servers import SmtpServer


def test_scores_and_reasons_go_after_a_season_and_papers_stay(tmp_path: Path) -> None:
    later = NOW + FOLDED_AFTER
    with SmtpServer() as server:
        settings = town_settings(tmp_path, server.url())
        with open_town(settings, readers=30, papers=40, topics=20) as desk:
            compose_due(desk, NOW)
            deliver_due(desk, lambda: NOW, most=20)
            ids = [SubscriberId(number) for number in range(1, 31)]
            sent = desk.storage.outbox.sent_papers(ids, NOW.date())
            keep_house(desk, later)
            assert any(found.papers[0].score for found in digests(desk)), "nothing is a season old yet"
            keep_house(desk, later + timedelta(seconds=1))
            kept = "SELECT why IS NOT NULL, group_concat(DISTINCT state) FROM outbox GROUP BY 1"
            states = {row[0]: row[1] for row in desk.storage.db.rows(kept)}
            assert desk.storage.outbox.sent_papers(ids, NOW.date()) == sent
            assert states == {0: "sent", 1: "queued"}, "what is still to be sent keeps its reasons"
            assert all(found.papers and not found.papers[0].reasons for found in digests(desk))
    with open_desk(settings) as desk:
        keep_house(desk, later + timedelta(days=1))
        assert desk.storage.outbox.sent_papers(ids, NOW.date()) == sent


def digests(desk: Desk) -> list[Digest]:
    entries = desk.storage.entries.list_entries([EntryState.SENT])
    return [entry.digest for entry in entries if entry.digest]

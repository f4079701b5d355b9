"""Death of the sender, of the server, a locked database, a full disk: the short forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from digestbot.errors import TemplateError
from digestbot.model import OutboxEntry
from digestbot.outbox import deliver
from digestbot.relay import SmtpSettings
from digestbot.turns import MADE
from tests.backends import open_storage
from tests.deliveries import NOW, QUICK, TestMail, TestMails, make_mail, queue_digests, run_pass, states
from tests.hostile_mails import deliver_hostile_digests
from tests.household import Household, household
from tests.mishaps import fill_the_disk, kill_again_and_again, kill_the_server, lock_the_database
from tests.smtp_servers import SmtpServer

__all__ = ["household"]


def test_kill_9_of_the_sender(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, digests=300, kills=6)


def test_the_mail_server_dies(tmp_path: Path) -> None:
    kill_the_server(tmp_path, digests=200, kills=6)


def test_the_database_is_locked_for_a_while(tmp_path: Path) -> None:
    lock_the_database(tmp_path, digests=20, seconds=2.0)


def test_the_disk_is_full(household: Household) -> None:
    fill_the_disk(household, people=100, more_room=4)


def test_the_database_can_grow_no_more(tmp_path: Path) -> None:
    """SQLite's own limit makes it say the same as a full disk does."""
    storage = open_storage(tmp_path)
    emails = [f"p{n}@one.example" for n in range(400)]
    queue_digests(storage, emails)
    [pages] = storage.db.row("PRAGMA page_count") or (0,)
    storage.db.execute(f"PRAGMA max_page_count = {pages!r}")
    with SmtpServer() as server:
        with pytest.raises(Exception, match="full"):
            run_pass(storage, server.url())
        sent_while_full = len(server.messages)
        assert sum(storage.entries.counts().values()) == 400
        doubtful = states(storage).get("in_doubt", 0)
        storage.close()
        storage = open_storage(tmp_path)  # there is room again
        run_pass(storage, server.url())
    assert set(server.recipients) == set(emails)
    assert len(server.messages) - 400 <= max(doubtful, 2), f"{sent_while_full} sent while the disk was full"
    assert states(storage) == {"sent": 400}
    storage.close()


def test_a_mail_that_cannot_be_made_keeps_none_back_before_it(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    queue_digests(storage, [f"p{n}@one.example" for n in range(40)])

    def make(entry: OutboxEntry) -> TestMail:
        if entry.id == 22:
            raise TemplateError("card.html, line 3: no such value")
        return make_mail(entry)

    with SmtpServer() as server:
        for _ in range(2):
            with pytest.raises(TemplateError, match="line 3"):
                deliver(
                    storage,
                    TestMails(make),
                    SmtpSettings.from_url(server.url()),
                    replace(QUICK, connections=1),
                    now=lambda: NOW,
                )
            assert len(server.messages) == 21
            assert states(storage) == {"sent": 21, "queued": 19}


def test_mails_are_made_in_a_row(tmp_path: Path) -> None:
    """What makes them stays in the processor's caches; and no more of them are kept than of a row."""
    storage = open_storage(tmp_path)
    queue_digests(storage, [f"p{n}@one.example" for n in range(3 * MADE)])
    sent_before: list[int] = []

    def make(entry: OutboxEntry) -> TestMail:
        sent_before.append(len(server.messages))
        return make_mail(entry)

    with SmtpServer() as server:
        relay, policy = SmtpSettings.from_url(server.url()), replace(QUICK, connections=1)
        deliver(storage, TestMails(make), relay, policy, now=lambda: NOW)
    assert sent_before == [MADE * (n // MADE) for n in range(3 * MADE)]


def test_hostile_text_arrives_byte_for_byte(tmp_path: Path) -> None:
    deliver_hostile_digests(tmp_path, 40)

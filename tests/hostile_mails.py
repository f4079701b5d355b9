"""Digests of hostile text, composed, rendered and delivered by the real thing; what arrived is compared byte for byte."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

from digestbot import ingest
from digestbot.desk import open_desk
from digestbot.due_slots import compose_due
from digestbot.mailroom import MailRoom
from digestbot.model import Preferences, Subscriber, SubscriberId, Topic
from digestbot.pipeline import deliver_due
from digestbot.settings import parse_settings
from tests.deliveries import NOW
from tests.smtp_servers import SmtpServer

PIECES = (
    "\n.\n", "\r\n.\r\n", ".", "..", "\n.dot at line start", "\rbare CR", "NUL\x00NUL", "w" * 5000, "😀",
    "\u202eright to left\u202c", "עברית", "<script>alert(1)</script>", "A & B", "=\n=3D", "\x1b[31m", "\u2028",
    "From here", "\nFrom there", "MAIL FROM:<evil@example.com>", "é" * 200, "--boundary", '"quoted"', "&#10;.&#10;",
    "{{ 7*7 }}", "%s %d",
)  # fmt: skip


def hostile_paper(number: int, chance: random.Random) -> dict[str, object]:
    def text(count: int) -> str:
        return " ".join(chance.choice(PIECES) for _ in range(count))

    return {
        "title": f"hostile paper {number} {text(2)}",
        "abstract": f"A hostile study. {text(6)}. It ends here. {text(2)}",
        "authors": [f"Ada {chance.choice(PIECES)[:40]} Lovelace", "Bob"],
        "published": "2026-11-20",
        "url": f"https://example.org/{number}",
        "arxiv_id": f"2611.{number:05d}",
    }


def deliver_hostile_digests(folder: Path, count: int, seed: int = 5) -> None:
    """Composes `count` digests and checks that the server holds exactly the bytes that the mailroom makes."""
    chance = random.Random(seed)
    drop = folder / "hostile.jsonl"
    drop.write_text("\n".join(json.dumps(hostile_paper(n, chance)) for n in range(60)), encoding="utf-8")
    with SmtpServer() as server:
        settings = parse_settings(
            {
                "DIGESTBOT_STATE": str(folder / "state"),
                "DIGESTBOT_SMTP_URL": server.url(),
                "DIGESTBOT_SECRET_KEY": "a secret of thirty-two characters",
                "DIGESTBOT_BASE_URL": "https://papers.example.org",
                "DIGESTBOT_FROM": "Papers <digests@example.org>",
            }
        )
        with open_desk(settings) as desk:
            ingest.ingest_file(desk.storage.papers, drop, now=NOW)
            desk.storage.subscribers.add(
                [
                    Subscriber(
                        SubscriberId(0),
                        f"p{n}@d{n % 9}.example",
                        name=chance.choice(PIECES)[:60].replace("\x00", "") or None,
                        preferences=Preferences(
                            max_papers=chance.randint(1, 12), topics=(Topic("hostile", ("hostile", "study")),)
                        ),
                        next_due_at=NOW,
                        confirmed_at=NOW - timedelta(days=2),
                    )
                    for n in range(count)
                ],
                now=NOW,
            )
            assert compose_due(desk, NOW).composed == count
            room = MailRoom(settings, desk.storage, desk.links, desk.renderer)
            made = {
                entry.recipient: room.make(entry) for entry in desk.storage.entries.list_entries(limit=count)
            }
            report = deliver_due(desk, lambda: NOW)
    assert report.counts == {"sent": count}
    expected = {address: mail.data for address, mail in made.items() if mail is not None}
    assert {message.recipient: message.data for message in server.messages} == expected
    assert len(server.messages) == count
    everything = b"".join(expected.values())
    assert all(word in everything for word in (b"wwwwwwww", b"=F0=9F=98=80", b"alert(1)"))
    assert b"\x00" not in everything
    assert b"\r" not in everything.replace(b"\r\n", b"")
    assert b"\n" not in everything.replace(b"\r\n", b"")

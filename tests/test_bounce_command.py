"""`digestbot bounce`: what came back to a real envelope sender, read from stdin, files and a Maildir."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.household import Household, household

pytestmark = pytest.mark.usefixtures("backend")

__all__ = ["household"]

NOW = "2026-01-05T08:30:00Z"
PAPER = (
    '{"title": "Symbolic regression with fewer symbols", "abstract": "We regress symbolically. It works."}\n'
)


def returned(envelope_sender: str, status: str = "5.1.1") -> bytes:
    """What a mail server writes to the envelope sender of a mail it could not deliver."""
    return (
        f"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nTo: {envelope_sender}\r\n"
        "Subject: Undelivered Mail\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; ada@example.org\r\nAction: failed\r\nStatus: {status}\r\n\r\n--b--\r\n"
    ).encode()


@pytest.fixture
def sender(household: Household) -> str:
    """The envelope sender of a digest that ada got."""
    household.subscribe("ada@example.org", "symbolic regression", now="2026-01-05T05:00:00Z")
    household.drop(PAPER, "drop.jsonl")
    household.do("run", "--once", now=NOW)
    [message] = household.server.messages
    return message.sender


def status_of(household: Household) -> str:
    [shown] = household.do("subscribers", "list", "--json").json_lines
    return str(shown["status"])


def test_a_dead_address_is_suppressed_once(
    household: Household, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for acted in (True, False):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(returned(sender))))
        assert household.do("bounce", "--json", now=NOW).json == {
            "mails": [
                {
                    "path": "-",
                    "class": "hard",
                    "recipients": ["ada@example.org"],
                    "status": "5.1.1",
                    "acted": acted,
                }
            ]
        }
    assert status_of(household) == "suppressed"
    shown = household.do("subscribers", "show", "ada@example.org", "--json").json
    [bounce] = shown["bounces"]
    assert {**bounce, "detail": ""} == {
        "slot": "2026-01-05",
        "at": NOW,
        "kind": "hard",
        "status": "5.1.1",
        "detail": "",
    }
    assert f"2026-01-05, {NOW}, hard, 5.1.1" in household.do("subscribers", "show", "ada@example.org").out


def test_a_forged_tag_changes_nothing(household: Household, sender: str) -> None:
    local, _, domain = sender.partition("@")
    forged = f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{domain}"
    Path("forged.eml").write_bytes(returned(forged))
    [mail] = household.do("bounce", "forged.eml", "--json").json["mails"]
    assert (mail["class"], mail["acted"]) == ("hard", False)
    assert status_of(household) == "confirmed"


def test_a_maildir_and_a_file_that_cannot_be_read(household: Household, sender: str) -> None:
    for name in ("new", "cur"):
        Path("Maildir", name).mkdir(parents=True)
    Path("Maildir/new/1").write_bytes(b"Subject: hello\r\n\r\nnothing of ours\r\n")
    Path("Maildir/cur/2:2,S").write_bytes(returned(sender))
    Path("Maildir/cur/3").write_bytes(b"")
    report = household.do("bounce", "Maildir", "--json", now=NOW).json["mails"]
    assert [(m["path"], m["class"], m["acted"]) for m in report] == [
        ("Maildir/new/1", "unknown", False),
        ("Maildir/cur/2:2,S", "hard", True),
        ("Maildir/cur/3", "unknown", False),
    ]
    assert household.run("bounce", "no-such-file").code == 2


def test_a_file_that_cannot_be_read_stops_no_other(household: Household, sender: str) -> None:
    unreadable = Path("/proc/self/mem")  # for root, too: nothing is at its begin
    if not unreadable.exists():
        pytest.skip("needs a file that nobody can read")
    Path("box").mkdir()
    Path("box/1").symlink_to(unreadable)
    Path("box/2").write_bytes(returned(sender))
    answer = household.run("bounce", "box", "--json", now=NOW)
    assert answer.code == 1
    assert [(mail["path"], mail["acted"]) for mail in answer.json["mails"]] == [("box/2", True)]
    assert "box/1: cannot be read" in answer.err


def test_without_a_key_no_tag_is_valid(household: Household, sender: str) -> None:
    Path("mail.eml").write_bytes(returned(sender))
    household.set("SECRET_KEY", "")
    answer = household.run("bounce", "mail.eml")
    assert answer.code == 2
    assert "DIGESTBOT_SECRET_KEY" in answer.err

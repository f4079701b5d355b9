"""What an operator sees of delivery: exit status, what `run` says, `status`, `outbox list`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.household import Household, household
from tests.smtp_servers import Answer, SmtpServer, make_certificate

__all__ = ["household"]

BEFORE, NOW = "2026-01-05T05:00:00Z", "2026-01-05T08:30:00Z"
PAPER = '{"title": "Symbolic regression with fewer symbols", "abstract": "We regress symbolically."}\n'


@pytest.fixture
def due(household: Household) -> Household:
    """Three digests are due at NOW."""
    for name in ("ada", "bob", "cyd"):
        household.subscribe(f"{name}@{name}.example", "symbolic regression", now=BEFORE)
    household.drop(PAPER, "drop.jsonl")
    return household


def outbox(household: Household) -> dict[str, int]:
    counts = household.do("status", "--json").json["outbox"]
    return {state: count for state, count in counts.items() if count}


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
@pytest.mark.parametrize("fault", ["nobody vouches", "another name", "no TLS"])
def test_what_is_not_safe_stops_the_run(
    due: Household, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, fault: str
) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1" if fault != "another name" else "other.example")
    if fault == "another name":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with SmtpServer(
        certificate=None if fault == "no TLS" else certificate,
        tls_from_start=scheme == "smtps" and fault != "no TLS",
        users={"me": "secret"},
    ) as server:
        due.set("SMTP_URL", server.url(scheme, "me:secret@"))
        run = due.run("run", "--once", now=NOW)
    assert run.code == 1
    words = "TLS" if fault == "no TLS" else "certificate is not valid"
    assert f"delivery stopped: the mail server 127.0.0.1:{server.port} " in run.err
    assert words in run.err
    assert "secret" not in run.err
    assert server.messages == []
    assert not any(word in server.clear_text for word in (b"MAIL", b"AUTH"))
    assert outbox(due) == {"queued": 3}
    assert words in due.do("status").out, "an alarm"


def test_a_relay_that_answers_with_nonsense(due: Household) -> None:
    due.server.script = lambda stage, argument: "OK" if stage == "text" else None
    run = due.run("run", "--once", now=NOW)
    assert run.code == 1
    assert "3 mails in a row did not go through; at the last one: not an SMTP reply: OK" in run.err
    assert "not an SMTP reply: OK" in due.do("outbox", "list").out


def test_why_mails_failed_is_a_command_away(due: Household) -> None:
    def script(stage: str, argument: str) -> Answer:
        refused = stage == "rcpt" and "bob" in argument
        return (
            "550 5.1.1 no\x00 such\x1b[31m user"
            if refused
            else "552 5.3.4 too big"
            if stage == "text"
            else None
        )

    due.server.script = script
    run = due.do("run", "--once", now=NOW)
    assert "mails: 1 bounced, 2 failed" in run.err
    assert "why: `digestbot outbox list bounced failed`" in run.err
    listed = due.do("outbox", "list", "bounced", "failed").out
    assert listed.count("552 5.3.4 too big") == 2
    assert "550 5.1.1 no such [31m user" in listed
    assert "\x1b" not in listed


def test_when_a_deferred_mail_is_tried_again(due: Household) -> None:
    due.server.script = lambda stage, argument: "450 4.7.1 greylisted" if stage == "rcpt" else None
    due.do("run", "--once", now=NOW)
    listed = due.do("outbox", "list").out
    assert listed.count("2026-01-05 08:35") == 3
    assert due.do("outbox", "list", "failed").out == "none\n"


def test_all_entries_are_listed(household: Household) -> None:
    Path("people.csv").write_text(
        "email,topics\n" + "".join(f"p{n}@d.example,symbolic regression\n" for n in range(1100))
    )
    household.do("subscribers", "import", "people.csv", now=BEFORE)
    household.drop(PAPER, "drop.jsonl")
    household.server.script = lambda stage, argument: "554 closed" if stage == "connect" else None
    assert household.run("run", "--once", now=NOW).code == 1
    ids = [entry["id"] for entry in household.do("outbox", "list", "--json").json_lines]
    assert len(set(ids)) == 1100
    listed = household.do("outbox", "list")
    assert len(listed.out.splitlines()) == 1001
    assert "and 100 more; --json lists all" in listed.err


@pytest.mark.parametrize("action", ["release", "drop"])
def test_a_number_that_is_no_entry_is_told(household: Household, action: str) -> None:
    for number in ("99999999999999999999", "0", "7"):
        answer = household.run("outbox", action, number)
        assert answer.code == 2
        assert number in answer.err
        assert "unexpected" not in answer.err

"""From a drop to a mail in the inbox, on real pages, through the command line and a real SMTP server."""

from __future__ import annotations

import email
import email.policy
import html
import json
import re
import tempfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.household import Household, household
from tests.shared import shared

both = pytest.mark.usefixtures("backend")  # for what a page of real papers has no part in

__all__ = ["household"]

BEFORE = "2026-01-05T05:00:00Z"
DAYS = ("2026-01-05T08:30:00Z", "2026-01-06T08:30:00Z", "2026-01-07T08:30:00Z")
READERS = {
    "ada@example.org": ("symbolic regression", "polynomials"),
    "bob@example.org": ("large language models", "reasoning"),
    "eve@example.org": ("reinforcement learning",),
}


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def part(raw: bytes, kind: str) -> str:
    body = parsed(raw).get_body((kind,))
    assert body is not None
    return str(body.get_content())


def titles(household: Household, raw: bytes) -> list[str]:
    """Titles of the catalogue that the HTML part links."""
    known = {p["title"] for p in household.do("papers", "--json").json_lines}
    linked = {
        html.unescape(re.sub(r"<[^>]+>", "", text)).strip()
        for text in re.findall(r"<a [^>]*>(.*?)</a>", part(raw, "html"), re.DOTALL)
    }
    return sorted(title for title in known if " ".join(title.split()) in linked)


def test_three_days_of_real_pages(household: Household) -> None:
    for reader, topics in READERS.items():
        household.subscribe(reader, *topics, now=BEFORE)
    counts = []
    for now, page in zip(DAYS, ("page-a.txt", "page-b.txt", "page-c.txt"), strict=True):
        household.drop(shared(f"drops/{page}"))
        if now == DAYS[2]:
            household.subscribe("new@example.org", "reinforcement learning", now="2026-01-07T06:00:00Z")
        before = len(household.server.messages)
        report = household.do("run", "--once", "--json", now=now).json
        counts.append(report["papers"]["new"])
        mails = household.server.messages[before:]
        assert len({m.recipient for m in mails}) == len(mails) == report["delivery"]["sent"]
        again = household.do("run", "--once", "--json", now=now).json
        assert again["delivery"]["sent"] == again["digests"]["composed"] == 0
    assert counts == [38, 196, 46]
    assert len(household.mails_to("new@example.org")) == 1
    for reader in READERS:
        sent = [title for raw in household.mails_to(reader) for title in titles(household, raw)]
        assert sent, reader
        assert len(sent) == len(set(sent))


@both
def test_no_filler(household: Household) -> None:
    household.subscribe("cl@example.org", "continual learning", "catastrophic forgetting", now=BEFORE)
    household.subscribe("kd@example.org", "knowledge distillation", now=BEFORE)
    household.subscribe("sr@example.org", "symbolic regression", now=BEFORE)
    household.drop(shared("drops/page-a.txt"))
    report = household.do("run", "--once", "--json", now=DAYS[0]).json
    assert report["digests"] == {"composed": 1, "empty": 2, "late": 0}
    [mail] = household.server.messages
    assert mail.recipient == "sr@example.org"
    assert titles(household, mail.data) == ["RSRM: Reinforcement Symbolic Regression Machine"]
    for reader in ("cl@example.org", "kd@example.org"):
        answer = household.do("explain", reader, "--date", "2026-01-05", "--json", now=DAYS[0]).json
        assert answer["cause"] == "all below the minimum"
        assert answer["best_score"] == 0


def test_every_title_leads_somewhere(household: Household) -> None:
    for page in ("page-a.txt", "page-b.txt", "page-c.txt"):
        household.do("ingest", str(shared(f"drops/{page}")), now=BEFORE)
    # Everything there is, in digests for somebody who takes an interest in every common word.
    common = (
        "model models learning data method methods language task tasks results performance training image"
    )
    common += " neural learners loss network networks function functions regression games"
    household.subscribe("every@example.org", *common.split(), now=BEFORE, max_papers="100")
    seen: set[str] = set()
    for day in range(6, 16):
        household.do("run", "--once", now=f"2026-01-{day:02}T08:30:00Z")
    for raw in household.mails_to("every@example.org"):
        body = part(raw, "html")
        links = re.findall(r'href="([^"]*)"', body)
        assert all(link.startswith(("https://", "http://")) for link in links), links
        assert not any("127.0.0.1" in link or "localhost" in link for link in links)
        seen.update(titles(household, raw))
    missing = {p["title"] for p in household.do("papers", "--json").json_lines} - seen
    assert not missing
    bodies = "".join(part(raw, "html") for raw in household.mails_to("every@example.org"))
    assert 'href="https://github.com/taisazero/socratic-debugging-benchmark"' in bodies


@both
def test_a_preview_is_the_mail_and_changes_nothing(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE, timezone="Asia/Tokyo", send_at="17:30")
    household.drop(shared("drops/page-a.txt"))
    before, connections = household.state_on_disk(), household.server.connections
    preview = household.do("preview", "ada@example.org", "--format", "eml", "--out", "../p.eml", now=DAYS[0])
    rehearsed = household.do("run", "--once", "--dry-run", "--json", now=DAYS[0]).json
    assert household.state_on_disk() == before
    assert household.server.connections == connections
    assert preview.out == ""
    assert rehearsed["digests"]["composed"] == 1
    assert set(rehearsed["delivery"].values()) == {0}
    report = household.do("run", "--once", "--json", now=DAYS[0]).json
    assert report["digests"] == rehearsed["digests"]
    [received] = household.mails_to("ada@example.org")
    assert received == Path("../p.eml").read_bytes()


@both
def test_a_preview_where_nothing_is_yet_makes_nothing(household: Household) -> None:
    answer = household.run("preview", "ada@example.org")
    assert answer.code == 2
    assert "ada@example.org is not a subscriber" in answer.err
    assert not (household.folder / "state").exists()


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("p.html", "<!DOCTYPE html>"),
        ("p.EML", "From: "),
        ("p.json", '{"email"'),
        ("p.txt", "Paper Digest, "),
        ("p", "Paper"),
    ],
)
def test_a_previews_file_is_of_the_kind_that_its_name_says(
    household: Household, name: str, begins: str
) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(shared("drops/page-a.txt"))
    household.do("preview", "ada@example.org", "--out", name, now=DAYS[0])
    assert Path(name).read_text().startswith(begins)
    household.do("preview", "ada@example.org", "--out", name, "--format", "json", now=DAYS[0])
    assert Path(name).read_text().startswith('{"email"')


def test_a_preview_that_is_mailed_is_written_too(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(shared("drops/page-a.txt"))
    words = ("--out", "p.html", "--send-to", "me@example.org")
    household.do("preview", "ada@example.org", *words, now=DAYS[0])
    assert Path("p.html").exists()
    assert len(household.mails_to("me@example.org")) == 1


@pytest.mark.parametrize("words", [["status", "--json"], ["papers"], ["run", "--dry-run"]], ids=" ".join)
def test_who_reads_in_a_folder_without_a_database_is_told(household: Household, words: list[str]) -> None:
    assert "there is no database yet" in household.do(*words).err
    household.do("init")
    assert "database" not in household.do(*words).err


@both
def test_nothing_to_send_is_said_and_is_no_failure(household: Household) -> None:
    household.subscribe("ada@example.org", "nothing of this kind", now=BEFORE)
    answer = household.do("preview", "ada@example.org", "--format", "eml", now=DAYS[0])
    assert answer.out == ""
    assert "no new paper" in answer.err


@both
def test_import_resurrects_nobody(household: Household) -> None:
    people = [
        {"email": "left@example.org", "status": "unsubscribed", "topics": ["reasoning"]},
        {"email": "hurt@example.org", "status": "suppressed", "topics": ["reasoning"]},
        {"email": "ok@example.org", "topics": ["reasoning"]},
    ]
    Path("people.jsonl").write_text("\n".join(map(json.dumps, people)))
    household.do("subscribers", "import", "people.jsonl", now=BEFORE)
    again = [{**p, "status": "confirmed", "email": str(p["email"]).upper()} for p in people]
    Path("again.json").write_text(json.dumps(again))
    answer = household.do("subscribers", "import", "again.json", "--json", now=BEFORE)
    assert len(answer.json["kept"]) == 2
    found = {
        s["email"].lower(): s["status"] for s in household.do("subscribers", "list", "--json").json_lines
    }
    assert found == {
        "left@example.org": "unsubscribed",
        "hurt@example.org": "suppressed",
        "ok@example.org": "confirmed",
    }
    household.drop(shared("drops/page-a.txt"))
    household.do("run", "--once", now=DAYS[0])
    assert household.server.recipients == ["ok@example.org"]


@both
def test_an_import_with_a_wrong_line_changes_nothing(household: Household) -> None:
    Path("people.csv").write_text("email,topics,send_at\nok@example.org,a;b,07:00\nbad,a,25:99\n,c,\n")
    answer = household.run("subscribers", "import", "people.csv", now=BEFORE)
    assert answer.code == 2
    assert "line 3: email" in answer.err
    assert "line 3: send_at" in answer.err
    assert "line 4: email" in answer.err
    assert household.do("subscribers", "list", "--json").out == ""


@both
def test_every_wrong_line_is_named(household: Household) -> None:
    Path("people.jsonl").write_text('{"email": "ok@example.org"}\n{"email": \n[1]\n{"email": "bad"}\n')
    answer = household.run("subscribers", "import", "people.jsonl", now=BEFORE)
    assert answer.code == 2
    assert [f"line {n}:" in answer.err for n in (1, 2, 3, 4)] == [False, True, True, True]
    assert household.do("subscribers", "list", "--json").out == ""


@both
def test_a_full_export_repeats_nothing_on_an_empty_machine(household: Household) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    household.drop(shared("drops/page-a.txt"))
    household.do("run", "--once", now=DAYS[0])
    household.do("subscribers", "export", "--full", "--out", "all.jsonl")
    household.set("STATE", "other")
    household.do("subscribers", "import", "all.jsonl", now="2026-01-05T20:00:00Z")
    household.do("ingest", str(shared("drops/page-a.txt")), now="2026-01-05T20:00:00Z")
    household.do("run", "--once", now=DAYS[1])
    sent = [title for raw in household.mails_to("ada@example.org") for title in titles(household, raw)]
    assert sent
    assert len(sent) == len(set(sent))


@both
def test_after_a_very_long_absence_ten_years_are_recorded_and_the_latest_slot_is_sent(
    household: Household,
) -> None:
    everybody = [
        f"reader{number}@example.org" for number in range(4)
    ]  # more slots than one transaction takes
    Path("all.jsonl").write_text(
        "".join(json.dumps({"email": email, "topics": ["reasoning"]}) + "\n" for email in everybody)
    )
    household.do("subscribers", "import", "all.jsonl", now="1971-01-02T00:00:00Z")
    household.drop(json.dumps({"title": "Reasoning", "abstract": "It works."}) + "\n", "drop.jsonl")
    report = household.do("run", "--once", "--json", now=DAYS[0]).json
    assert report["digests"]["composed"] == report["delivery"]["sent"] == 4
    assert 4 * 3653 <= report["digests"]["late"] + 4 <= 4 * 3657
    explained = household.do("explain", everybody[0], "--date", "1999-12-31", "--json", now=DAYS[0]).json
    assert explained["cause"] == "late"
    again = household.do("run", "--once", "--json", now=DAYS[0]).json
    assert again["digests"] == {"composed": 0, "empty": 0, "late": 0}


def test_a_pass_that_ends_early_still_tells_of_its_drops(household: Household) -> None:
    """Composing fails for one paper; the drops are read and put away all the same, so it is now or never."""
    household.subscribe("ada@example.org", "owls", now="2026-01-04T12:00:00Z")
    Path("mine/email").mkdir(parents=True)
    Path("mine/email/card.html").write_text("{% if 'Owls' in paper.title %}{{ paper.feathers }}{% endif %}")
    household.set("TEMPLATES", "mine")
    household.drop('{"title": "Owls", "abstract": "On owls."}\n{"title": ""}\n', "good.jsonl")
    household.drop("\0\1\2\3", "bad.bin")
    answer = household.run("run", "--once", "--json", now="2026-01-05T08:30:00Z")
    assert answer.code == 1
    assert answer.json["drops"] == {"read": 2, "rejected": 1}
    assert "good.jsonl: jsonl: 1 new" in answer.err
    assert "bad.bin: not read: a binary file" in answer.err
    assert answer.err.endswith(
        "digestbot: mine/email/card.html, line 1: 'digestbot.cards.Content object' has no attribute 'feathers'\n"
    )


def test_incoming_may_be_a_file_system_of_its_own(household: Household) -> None:
    incoming = household.folder / "state" / "drops" / "incoming"
    household.do("init")
    incoming.rmdir()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:  # memory, wherever Linux runs
        incoming.symlink_to(elsewhere)
        assert incoming.stat().st_dev != incoming.parent.stat().st_dev
        dropped = household.drop('{"title": "Owls", "abstract": "On owls."}\n', "one.jsonl")
        household.do("run", "--once", now="2026-01-05T08:30:00Z")
        assert not dropped.exists()
    assert (
        incoming.parent / "done" / "one.jsonl"
    ).read_text() == '{"title": "Owls", "abstract": "On owls."}\n'


@both
def test_drops_that_cannot_be_moved_keep_nobody_from_a_digest(household: Household) -> None:
    """Root may write to every folder but one of the kernel's own, so `done` leads there."""
    household.subscribe("ada@example.org", "owls", now="2026-01-04T12:00:00Z")
    household.drop('{"title": "Owls", "abstract": "On owls."}\n', "one.jsonl")
    household.drop('{"title": "Owlets", "abstract": "On young owls."}\n', "two.jsonl")
    done = household.folder / "state" / "drops" / "done"
    done.symlink_to("/proc")
    read = []
    for minute in range(30, 34):
        answer = household.run("run", "--once", "--json", now=f"2026-01-05T08:{minute}:00Z")
        assert answer.code == 1
        assert "one.jsonl: was read, but cannot be moved to state/drops/done" in answer.err
        read.append((answer.json["papers"]["new"], answer.json["drops"]["read"]))
    assert read == [(2, 2), (0, 0), (0, 0), (0, 0)]
    assert household.server.recipients == ["ada@example.org"]
    assert len(titles(household, household.mails_to("ada@example.org")[0])) == 2
    [alarm] = household.do("status", "--json").json["alarms"]
    assert alarm["kind"] == "failing runs: run"
    assert "two.jsonl: was read, but" in household.run("ingest", now="2026-01-05T08:40:00Z").err
    done.unlink()
    report = household.do("run", "--once", "--json", now="2026-01-05T08:50:00Z").json
    assert report["papers"] == {"new": 0, "known": 2, "updated": 0, "rejected": 0}
    assert sorted(path.name for path in done.iterdir()) == ["one.jsonl", "two.jsonl"]
    assert household.do("status", "--json").json["alarms"] == []
    assert [row["name"] for row in household.do("drops", "list", "--json").json_lines] == [
        "two.jsonl",
        "one.jsonl",
    ]
    assert household.do("drops", "withdraw", "one.jsonl", "--json").json["gone"] == 1


@both
def test_a_drop_folder_that_is_none_keeps_nobody_from_a_digest(household: Household) -> None:
    household.subscribe("ada@example.org", "owls", now="2026-01-04T12:00:00Z")
    household.drop('{"title": "Owls", "abstract": "On owls."}\n', "one.jsonl")
    household.do("ingest", now="2026-01-05T07:00:00Z")
    (household.folder / "state" / "drops" / "held").rmdir()
    (household.folder / "state" / "drops" / "held").write_text("in the way")
    answer = household.run("run", "--once", "--json", now="2026-01-05T08:30:00Z")
    assert answer.code == 1
    assert answer.err.endswith("digestbot: state/drops/held: File exists\n")
    assert household.server.recipients == ["ada@example.org"]
    [run] = household.do("status", "--json").json["runs"]
    assert run["digests"]["composed"] == 1


@both
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "empty"),
        ("binary.bin", bytes(range(256)) * 40, ""),
    ],
)
def test_a_useless_drop_is_reported_and_kept(
    household: Household, name: str, content: bytes, reason: str
) -> None:
    Path(name).write_bytes(content)
    household.drop(Path(name))
    answer = household.run("run", "--once", "--json", now=DAYS[0])
    assert answer.code == 1
    assert answer.json["drops"] == {"read": 1, "rejected": 1}
    kept = Path("state/drops/rejected") / name
    assert kept.read_bytes() == content
    rejected = json.loads(kept.with_name(f"{name}.report.json").read_text())["rejected"]
    assert reason in rejected[0]["reason"]
    assert all({"line", "entry"} & entry.keys() for entry in rejected)


HOSTILE = {
    "script": "<script>alert(1)</script> in Reasoning",
    "ampersand": "A & B: Reasoning with &amp; and &lt;",
    "newline": "Reasoning\r\nBcc: everybody@example.org",
    "emoji": "Reasoning about 🦉🇪🇺 owls",
    "control": "Reasoning\x00\x07 \u202ebackwards\u202c",
    "long": "Reasoning " + "é" * 300,
}


@both
@pytest.mark.parametrize("title", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_titles_arrive_escaped_and_whole(household: Household, title: str) -> None:
    household.subscribe("ada@example.org", "reasoning", now=BEFORE)
    record = {
        "title": title,
        "abstract": "We show that reasoning is what it is. It works.",
        "authors": ["A. Nonymous"],
    }
    household.drop(json.dumps(record) + "\n", "drop.jsonl")
    household.do("run", "--once", now=DAYS[0])
    [raw] = household.mails_to("ada@example.org")
    message = parsed(raw)
    shown = " ".join(re.sub("[\x00-\x1f\u202a-\u202e]+", " ", title).split())
    assert message["Bcc"] is None
    assert "<script" not in part(raw, "html")
    assert html.escape(shown, quote=False) in part(raw, "html").replace("&#34;", '"').replace("&#39;", "'")
    assert "".join(shown.split()) in "".join(part(raw, "plain").split())
    headers = raw.split(b"\r\n\r\n", 1)[0]
    assert not re.search(rb"[^\x20-\x7e\r\n\t]", headers)
    assert shown[:15] in str(message["Subject"])

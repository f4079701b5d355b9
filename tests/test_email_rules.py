"""The rules of mails that arrive, one test each, on the bytes that go to the mail server.

Headers (H), bodies (B): RFC 5322, 2045, 2047, 2369, 2919, 3834, 8058 and the senders' rules of Gmail, Yahoo and Outlook.
"""

from __future__ import annotations

import email.policy
import html
import ipaddress
import json
import re
import subprocess
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from digestbot.mail import Mail
from digestbot.model import EntryKind
from tests import caniemail
from tests.mail_samples import (
    ADA,
    AT,
    BASE_URL,
    LINKS,
    LOOK,
    SYSTEM_KINDS,
    as_mail,
    as_system_mail,
    make_digest,
    make_paper,
    sample_digest,
    sample_papers,
)
from tests.programs import node_modules, program
from tests.shared import shared

PAPERS = sample_papers()
KINDS = (EntryKind.DIGEST, *SYSTEM_KINDS)


def mail_of(kind: EntryKind) -> Mail:
    return as_mail(PAPERS, sample_digest(PAPERS)) if kind is EntryKind.DIGEST else as_system_mail(kind)


def split(mail: Mail) -> tuple[list[bytes], bytes]:
    head, _, body = mail.data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def headers(mail: Mail) -> list[tuple[str, str]]:
    """Names and values, unfolded, undecoded."""
    lines = re.sub(rb"\r\n(?=[ \t])", b"", mail.data.partition(b"\r\n\r\n")[0]).split(b"\r\n")
    return [(name.decode(), value.decode()) for name, value in (line.split(b": ", 1) for line in lines)]


def header(mail: Mail, name: str) -> str:
    found = [value for key, value in headers(mail) if key == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def parse(mail: Mail) -> EmailMessage:
    return BytesParser(policy=email.policy.default).parsebytes(mail.data)


def bodies(mail: Mail) -> tuple[str, str]:
    text, page = parse(mail).iter_parts()
    return text.get_content().replace("\r\n", "\n"), page.get_content().replace("\r\n", "\n")


@pytest.fixture(params=KINDS, ids=str)
def mail(request: pytest.FixtureRequest) -> Mail:
    return mail_of(request.param)


@pytest.fixture
def digest() -> Mail:
    return mail_of(EntryKind.DIGEST)


# ---- headers ------------------------------------------------------------------------------------------------------


def test_h1_each_header_once(mail: Mail) -> None:
    names = [name.lower() for name, _ in headers(mail)]
    assert len(names) == len(set(names))
    assert {"date", "from", "to", "subject", "message-id", "mime-version"} <= set(names)
    assert "bcc" not in names


def test_h2_date_is_the_instant_of_composing_with_a_numeric_zone(mail: Mail) -> None:
    assert re.search(r" [+-]\d{4}$", header(mail, "Date"))
    assert parsedate_to_datetime(header(mail, "Date")) == AT


def test_h3_message_id_is_as_the_ledger_has_it(digest: Mail) -> None:
    expected = f"<{LINKS.digest_message_id(ADA.id, sample_digest(PAPERS).slot)}@example.org>"
    assert header(digest, "Message-ID") == expected
    assert as_mail(PAPERS, sample_digest(PAPERS)) == digest


def test_h4_from_is_one_address(mail: Mail) -> None:
    assert getaddresses([header(mail, "From")]) == [("Paperboy", "digest@example.org")]
    assert len(getaddresses([header(mail, "To")])) == 1


def test_h5_list_unsubscribe_has_one_https_url_and_a_tagged_mailto(digest: Mail) -> None:
    value = header(digest, "List-Unsubscribe")
    assert "=?" not in value
    uris = re.findall(r"<([^>]+)>", value)
    assert [uri for uri in uris if uri.startswith("https://")] == [LINKS.unsubscribe(ADA.id)]
    (mailto,) = [uri for uri in uris if uri.startswith("mailto:")]
    tag = re.fullmatch(r"mailto:digest\+([a-z2-7]{1,48})@example\.org\?subject=unsubscribe", mailto)
    assert tag
    assert LINKS.read_unsubscribe_tag(tag[1]) == ADA.id
    assert len(uris) == 2
    assert ADA.email not in value


def test_h6_one_click_is_said_exactly(digest: Mail) -> None:
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in digest.data


def test_h7_list_id_is_the_same_for_all_and_every_day(digest: Mail) -> None:
    assert re.fullmatch(r"[^<>]+ <[\w.-]+\.example\.org>", header(digest, "List-Id"))
    other = as_mail(PAPERS[:1], make_digest(PAPERS[:1], slot=AT.date().replace(day=1)))
    assert header(other, "List-Id") == header(digest, "List-Id")


def test_h8_no_auto_reply_is_asked_for(mail: Mail) -> None:
    assert header(mail, "Auto-Submitted") == "auto-generated"


def test_h8_a_digest_is_bulk(digest: Mail) -> None:
    assert header(digest, "Precedence") == "bulk"


def test_h9_feedback_id_has_four_fields_and_a_constant_sender(mail: Mail) -> None:
    fields = header(mail, "Feedback-ID").split(":")
    assert len(fields) == 4
    assert fields[-1] == "digestbot"
    assert all(re.fullmatch(r"[\w.-]+", field) for field in fields)


def test_h11_lines_and_encoded_words_are_short(mail: Mail) -> None:
    for line in split(mail)[0]:
        assert len(line) <= 78 or line.startswith(b"List-Unsubscribe: <https://")
        assert len(line) <= 998
        assert line.isascii()
    for name, value in headers(mail):
        words = re.findall(r"=\?[^?]+\?.\?[^?]*\?=", value)
        assert all(len(word) <= 75 for word in words)
        if name in ("List-Unsubscribe", "List-Id", "Message-ID", "List-Unsubscribe-Post", "Feedback-ID"):
            assert "=?" not in value
        assert not re.search(r"<[^>]*=\?", value)


def test_h12_no_control_character_gets_into_a_header(mail: Mail) -> None:
    for line in split(mail)[0]:
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line)


def test_headers_and_lines_are_whole(mail: Mail) -> None:
    message = parse(mail)
    assert [part.defects for part in message.walk()] == [[], [], []]
    assert mail.data.replace(b"\r\n", b"").find(b"\n") == mail.data.replace(b"\r\n", b"").find(b"\r") == -1
    assert mail.data.endswith(b"\r\n")


def test_e2_the_envelope_sender_is_a_valid_path(mail: Mail) -> None:
    local, _, domain = mail.sender.rpartition("@")
    assert len(local) <= 64
    assert domain == "example.org"
    assert re.fullmatch(r"digest\+[a-z2-7]{1,48}", local)


# ---- bodies -------------------------------------------------------------------------------------------------------


def test_b1_two_parts_text_first(mail: Mail) -> None:
    message = parse(mail)
    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [part.get_content_charset() for part in parts] == ["utf-8", "utf-8"]


def test_b2_quoted_printable_in_short_lines_of_ascii(mail: Mail) -> None:
    assert mail.data.count(b"Content-Transfer-Encoding: quoted-printable\r\n") == 2
    for line in split(mail)[1].split(b"\r\n"):
        assert len(line) <= 76
        assert line.isascii()
        assert not line.endswith((b" ", b"\t"))
        assert not line.startswith((b"From ", b"."))


def test_b4_the_text_part_is_for_people(mail: Mail) -> None:
    text, _ = bodies(mail)
    assert not re.search(r"</?(?:p|a|td|table|span|br|div)\b|&(?:amp|nbsp|lt|gt|#\d+);", text)
    assert all(len(line) <= 78 for line in text.splitlines() if "https://" not in line)
    assert not re.search(r"\n{4,}", text)


def test_b4_text_and_page_name_the_way_out_and_the_post(digest: Mail) -> None:
    for body in bodies(digest):
        assert LINKS.unsubscribe(ADA.id) in body
        assert LOOK.postal_address in " ".join(html.unescape(body).split())


def test_b5_the_page_is_under_80_kib(digest: Mail) -> None:
    assert len(bodies(digest)[1].encode()) < 80 * 1024


def test_b6_header_and_footer_use_the_same_token(digest: Mail) -> None:
    tokens = set(
        re.findall(r"/unsubscribe/([\w-]+)", "".join(bodies(digest)) + header(digest, "List-Unsubscribe"))
    )
    assert len(tokens) == 1


def test_b7_the_page_says_what_it_is(mail: Mail) -> None:
    _, page = bodies(mail)
    assert page.startswith("<!DOCTYPE html>")
    assert re.search(r'<html lang="en" dir="ltr">', page)
    assert '<meta charset="utf-8">' in page
    assert '<meta name="color-scheme" content="light dark">' in page
    assert '<meta name="supported-color-schemes" content="light dark">' in page
    title = re.search(r"<title>(.*?)</title>", page)
    assert title
    assert html.unescape(title[1]) == str(parse(mail)["Subject"])
    without_comments = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    tables = re.findall(r"<table\b[^>]*>", without_comments)
    assert tables
    assert all('role="presentation"' in table for table in tables)
    assert len(re.findall(r'role="main"', page)) == 1
    assert "<img" not in page


def test_b8_the_preheader_comes_first_and_differs_by_day(digest: Mail) -> None:
    def preheader(mail: Mail) -> str:
        found = re.search(
            r"<body[^>]*>\s*<div[^>]*display:\s*none[^>]*>(.*?)</div>", bodies(mail)[1], re.DOTALL
        )
        assert found
        return found[1]

    assert "Also: " in preheader(digest)
    assert preheader(as_mail([make_paper(3)])) != preheader(
        as_mail([make_paper(4, abstract="Another one. It is.")])
    )
    assert len(preheader(as_mail([make_paper(3)]))) > 20


def test_b9_own_links_are_absolute_and_nothing_is_tracked(mail: Mail) -> None:
    _, page = bodies(mail)
    for url, words in re.findall(r'<a\b[^>]*href="([^"]*)"[^>]*>(.*?)</a>', page, re.DOTALL):
        parts = urlsplit(html.unescape(url))
        assert parts.scheme == "https" or not url.startswith(BASE_URL)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        with pytest.raises(ValueError, match="does not appear"):
            ipaddress.ip_address(parts.hostname)
        shown = re.match(r"(?:https?://)?((?:[\w-]+\.)+[a-z]{2,})(?:/|$)", html.unescape(words).strip())
        assert not shown or shown[1] == parts.hostname
        assert "utm_" not in url


def test_b10_nothing_runs_and_nothing_is_fetched(mail: Mail) -> None:
    _, page = bodies(mail)
    assert not re.search(
        r"<(?:script|form|iframe|link|object|embed|img|base)\b|@import|url\(|data:", page, re.IGNORECASE
    )
    assert not re.search(r"\son\w+=", re.sub(r">[^<]*<", "><", page))


# ---- what mail readers support --------------------------------------------------------------------------------------

# Not supported somewhere, and what happens there. Reviewed one by one; at most ten.
FALLBACKS = {
    "css-max-height": "hides the preheader; display: none and Outlook's mso-hide do it, too",
    "css-overflow": "the same",
    "css-at-media": "narrow screens: without it the mail is as narrow as the screen, with wider margins",
    "css-at-media-prefers-color-scheme": "without it the mail stays light",
    "html-meta-color-scheme": "without it the mail stays light",
    "css-table-layout": "Word makes a column wider for a word that is longer than it",
    "css-word-wrap": "the same; Gmail knows it",
    "html-doctype": "Word lays out as it always does",
}


def test_html_and_css_are_what_mail_readers_support() -> None:
    folder = shared("corpora/caniemail")
    used: set[str] = set()
    for kind in KINDS:
        used |= caniemail.features(bodies(mail_of(kind))[1], folder)
    assert {"css-padding", "html-table", "css-font-size"} <= used
    unsupported = {name: bad for name in used if (bad := caniemail.unsupported(folder / f"{name}.md"))}
    assert set(unsupported) == set(FALLBACKS)
    assert len(FALLBACKS) <= 10


# ---- other people's checkers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EntryKind.DIGEST, EntryKind.CONFIRM], ids=str)
def test_spamassassin_finds_nothing(kind: EntryKind) -> None:
    checker = program("spamassassin")
    done = subprocess.run([checker, "-L", "-t"], input=mail_of(kind).data, capture_output=True, check=False)
    score = re.search(rb"\((-?[\d.]+) points", done.stdout)
    assert score, done.stderr
    assert float(score[1]) <= 0, done.stdout.decode(errors="replace")


def test_the_nu_validator_reports_nothing(tmp_path: Path) -> None:
    java = program("java")
    jar = node_modules("vnu-jar") / "vnu-jar" / "build" / "dist" / "vnu.jar"
    pages = []
    for kind in KINDS:
        pages.append(tmp_path / f"{kind}.html")
        pages[-1].write_text(bodies(mail_of(kind))[1], encoding="utf-8")
    command = [
        java,
        "-Xss4m",
        "-jar",
        str(jar),
        "--format",
        "json",
        "--stdout",
        "--exit-zero-always",
        *map(str, pages),
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    messages = json.loads(done.stdout)["messages"]
    assert [f"{m['url']}: {m['message']}" for m in messages if m["type"] == "error"] == []


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_mblaze_reads_both_parts(kind: EntryKind, tmp_path: Path) -> None:
    mshow = program("mshow")
    path = tmp_path / "mail.eml"
    path.write_bytes(mail_of(kind).data)
    done = subprocess.run([mshow, "-t", str(path)], capture_output=True, check=True)
    assert done.stderr == b""
    assert re.search(rb"text/plain.*text/html", done.stdout, re.DOTALL)


def test_the_list_of_programs_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing program skips with a reason, it does not pass."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DIGESTBOT_TEST_NODE_MODULES", str(tmp_path))
    for call in (lambda: program("spamassassin"), lambda: node_modules("axe-core")):
        with pytest.raises(pytest.skip.Exception, match=r"not in|not installed"):
            call()


def test_every_kind_is_among_the_samples() -> None:
    assert set(KINDS) == set(EntryKind)

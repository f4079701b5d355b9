"""Headers and MIME made by hand, read back by Python's parser."""

from __future__ import annotations

import email.policy
import re
from dataclasses import replace
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot.errors import UsageError
from digestbot.links import Links
from digestbot.mail import Letterhead, Mail, Mailbox, checked_address, digest_mail, parse_mailbox
from digestbot.model import EntryKind
from digestbot.quoted import encode
from digestbot.render import RenderedMail
from tests.mail_samples import (
    ADA,
    LETTERHEAD,
    LINKS,
    SLOT,
    as_mail,
    as_system_mail,
    make_digest,
    make_paper,
    render,
    sample_papers,
)

TO_ADA = Mailbox("Ada", ADA.email)
BODIES = RenderedMail("A subject", encode("text\n"), encode("<p>page</p>\n"))


def parse(mail: Mail) -> EmailMessage:
    return BytesParser(policy=email.policy.default).parsebytes(mail.data)


def with_subject(subject: str, name: str | None = "Ada") -> Mail:
    digest = make_digest([make_paper()])
    return digest_mail(
        digest,
        Mailbox(name or "", ADA.email),
        replace(BODIES, subject=subject),
        message_id="<a@example.org>",
        letterhead=LETTERHEAD,
    )


def head(mail: Mail) -> bytes:
    return mail.data.partition(b"\r\n\r\n")[0]


def header(mail: Mail, name: str) -> str:
    """One header as it stands in the message, unfolded."""
    found = re.search(rf"^{name}: ([^\r]*(?:\r\n[ \t][^\r]*)*)".encode(), head(mail), re.MULTILINE)
    assert found, name
    return found[1].replace(b"\r\n", b"").decode("ascii")


def test_both_bodies_are_read_back_as_they_were_written() -> None:
    papers = sample_papers()
    mail, rendered = parse(as_mail(papers)), render(papers)
    text, page = list(mail.iter_parts())
    assert text.get_content().replace("\r\n", "\n") == rendered.text_body()
    assert page.get_content().replace("\r\n", "\n") == rendered.html_body()


def test_the_same_digest_gives_the_same_bytes_and_another_day_other_ones() -> None:
    papers = [make_paper()]
    assert as_mail(papers) == as_mail(papers)
    other = make_digest(papers, slot=SLOT.replace(day=21))
    assert as_mail(papers).data != as_mail(papers, other).data
    assert as_mail(papers).sender != as_mail(papers, other).sender


def test_the_envelope_sender_carries_a_tag_that_names_the_mail() -> None:
    tag = re.fullmatch(r"digest\+([a-z2-7]{1,48})@example\.org", as_mail([make_paper()]).sender)
    assert tag
    read = LINKS.read_bounce_tag(tag[1])
    assert read is not None
    assert (read.kind, read.subscriber_id, read.slot) == (EntryKind.DIGEST, ADA.id, SLOT)


def test_a_long_name_of_plain_words_is_folded_and_not_encoded() -> None:
    name = " ".join(["The reading circle for everything that swims"] * 3)
    [to] = [h for h in re.split(rb"\r\n(?! )", head(with_subject("x", name))) if h.startswith(b"To:")]
    assert to.replace(b"\r\n", b"").startswith(f"To: {name} <".encode())


@settings(max_examples=100)
@given(st.text(max_size=150), st.none() | st.text(max_size=80))
def test_any_subject_and_name_arrive_and_harm_no_header(subject: str, name: str | None) -> None:
    mail = with_subject(subject, name)
    parsed = parse(mail)
    assert not [part.defects for part in parsed.walk() if part.defects]
    for line in head(mail).split(b"\r\n"):
        assert len(line) <= 76 or line.startswith(b"List-Unsubscribe: <https://")  # a URL is never folded
        assert line.isascii()
        assert b"\r" not in line
        assert b"\n" not in line
        assert all(len(word) <= 75 for word in re.findall(rb"=\?.*?\?=", line))
    assert [name.lower() for name in parsed].count("subject") == 1
    assert cast(AddressHeader, parsed["To"]).addresses[0].addr_spec == ADA.email


@pytest.mark.parametrize(
    "subject",
    [
        "plain words",
        "é" * 150,
        "漢字" * 60,
        "x" * 300,
        "=?utf-8?q?fake?=",
        "many plain words " * 9,
        "\U0001f9e6" * 40,
    ],
)
def test_subjects_come_back_whole(subject: str) -> None:
    assert str(parse(with_subject(subject))["Subject"]) == " ".join(subject.split())


@pytest.mark.parametrize("name", ["Ada", 'A "q" \\ B', "Zoë", "Doe Jane", "=?x?=", "漢" * 50, "x" * 200])
def test_names_come_back_whole(name: str) -> None:
    decoded = str(make_header(decode_header(header(with_subject("s", name), "To"))))
    assert parseaddr(decoded) == (name, ADA.email)


@pytest.mark.parametrize("name", ["Doe, Jane", "a@b", "Dr. No", 'A "q" \\ B', "(comment)", "<x@y.org>"])
def test_names_with_signs_of_their_own_are_quoted(name: str) -> None:
    address = cast(AddressHeader, parse(with_subject("s", name))["To"]).addresses[0]
    assert (address.display_name, address.addr_spec) == (name, ADA.email)


@pytest.mark.parametrize("evil", ["a\r\nBcc: x@y.org", "a\nb", "a\x00b", "a\u2028b", "a\r\n\r\nbody"])
def test_line_breaks_in_a_subject_or_name_make_no_header(evil: str) -> None:
    parsed = parse(with_subject(evil, evil))
    assert parsed["Bcc"] is None
    assert len(parsed.get_all("Subject", [])) == 1
    assert "\n" not in str(parsed["Subject"])


@pytest.mark.parametrize(
    "address",
    ["b@x>\r\nRCPT TO:<evil", "a b@x.org", "", "nobody", "a@b@c", "<a@b.org>", "a@" + "b" * 260, "a@ü.org"],
)
def test_an_address_that_smtp_cannot_carry_is_refused_not_mended(address: str) -> None:
    with pytest.raises(UsageError, match="mail address"):
        checked_address(address)


def test_international_domains_become_ascii() -> None:
    assert parse_mailbox("Zoë <zoe@exämple.org>") == Mailbox("Zoë", "zoe@xn--exmple-cua.org")


@pytest.mark.parametrize("length", [20, 60, 90, 200])
def test_list_headers_fold_at_spaces_only_however_long_the_base_url(length: int) -> None:
    links = Links("https://" + ("a" * 60 + ".") * (length // 60) + "b" * (length % 60) + ".org", [b"k" * 32])
    digest = make_digest([make_paper()])
    letterhead = replace(LETTERHEAD, links=links)
    mail = digest_mail(digest, TO_ADA, BODIES, message_id="<a@example.org>", letterhead=letterhead)
    value = header(mail, "List-Unsubscribe")
    assert f"<{links.unsubscribe(ADA.id)}>" in value
    assert "=?" not in value
    assert links.unsubscribe(ADA.id).encode() in mail.data.partition(b"\r\n\r\n")[0]


def test_reply_to_is_there_where_it_is_set() -> None:
    assert b"\r\nReply-To:" not in as_mail([make_paper()]).data
    letterhead = Letterhead(LETTERHEAD.sender, "b@example.org", LINKS, Mailbox("Help", "help@example.org"))
    mail = digest_mail(
        make_digest([make_paper()]), TO_ADA, BODIES, message_id="<a@example.org>", letterhead=letterhead
    )
    assert header(mail, "Reply-To") == "Help <help@example.org>"
    assert mail.sender.startswith("b+")


def test_system_mails_have_a_tag_of_their_own_and_no_list() -> None:
    mail = as_system_mail(EntryKind.CONFIRM)
    read = LINKS.read_bounce_tag(mail.sender.partition("+")[2].partition("@")[0])
    assert read is not None
    assert (read.kind, read.entry_id, read.slot) == (EntryKind.CONFIRM, 3, None)
    assert b"List-Unsubscribe" not in mail.data
    assert header(mail, "Auto-Submitted") == "auto-generated"

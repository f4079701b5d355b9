import base64
import hmac
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.links import BounceTag, FeedbackToken, Links, derive_key
from digestbot.model import EntryId, EntryKind, Opinion, PaperId, SubscriberId

KEY, OLD_KEY = derive_key("new"), derive_key("old")
LINKS = Links("https://papers.example.org/", [KEY, OLD_KEY])
SLOT = date(2026, 11, 21)
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def token(url: str) -> str:
    return url.rsplit("/", 1)[1]


@given(
    st.integers(1, 2**31 - 1),
    st.integers(1, 2**31 - 1),
    st.sampled_from([Opinion.MORE, Opinion.LESS, Opinion.SAVE]),
)
def test_what_is_written_is_read(subscriber: int, paper: int, opinion: Opinion) -> None:
    who, what = SubscriberId(subscriber), PaperId(paper)
    feedback = token(LINKS.feedback(who, SLOT, what, opinion))
    assert len(feedback) <= 40
    assert LINKS.read_feedback(feedback) == FeedbackToken(who, SLOT, what, opinion)
    assert LINKS.read_unsubscribe(token(LINKS.unsubscribe(who))) == who
    assert LINKS.read_preferences(token(LINKS.preferences(who))) == who
    assert LINKS.read_digest(token(LINKS.digest(who, SLOT))) == (who, SLOT)
    assert LINKS.read_confirm(token(LINKS.confirm(who, AT))) == (who, AT)
    assert LINKS.read_unsubscribe_tag(LINKS.unsubscribe_tag(who)) == who


@given(st.sampled_from(list(EntryKind)), st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_a_bounce_tag_names_the_mail_whatever_its_case(kind: EntryKind, subscriber: int, entry: int) -> None:
    who = SubscriberId(subscriber)
    digest = LINKS.bounce_tag(kind, subscriber_id=who, slot=SLOT)
    other = LINKS.bounce_tag(kind, subscriber_id=who, entry_id=EntryId(entry))
    assert max(len(digest), len(other)) <= 48
    assert LINKS.read_bounce_tag(digest.upper()) == BounceTag(kind, who, SLOT, None)
    assert LINKS.read_bounce_tag(other) == BounceTag(kind, who, None, EntryId(entry))


def test_a_token_of_one_purpose_is_nothing_to_another() -> None:
    unsubscribe = token(LINKS.unsubscribe(SubscriberId(7)))
    assert LINKS.read_preferences(unsubscribe) is None
    assert LINKS.read_feed(unsubscribe) is None
    assert LINKS.read_confirm(unsubscribe) is None


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_token_is_forged(place: int, change: int) -> None:
    genuine = token(LINKS.preferences(SubscriberId(123456)))
    place %= len(genuine)
    forged = genuine[:place] + chr((ord(genuine[place]) + change) % 128) + genuine[place + 1 :]
    assert LINKS.read_preferences(forged) is None or forged == genuine


@pytest.mark.parametrize("junk", ["", "a", "=", "é", "\x00", "A" * 4000, "../../etc/passwd", "AQc"])
def test_junk_is_nobody(junk: str) -> None:
    assert LINKS.read_preferences(junk) is None
    assert LINKS.read_confirm(junk) is None
    assert LINKS.read_digest(junk) is None
    assert LINKS.read_feedback(junk) is None
    assert LINKS.read_bounce_tag(junk) is None
    assert LINKS.read_unsubscribe_tag(junk) is None


def test_keys_rotate() -> None:
    old = Links("https://papers.example.org", [OLD_KEY])
    foreign = Links("https://papers.example.org", [derive_key("foreign")])
    assert LINKS.read_unsubscribe(token(old.unsubscribe(SubscriberId(7)))) == 7
    assert LINKS.read_unsubscribe(token(foreign.unsubscribe(SubscriberId(7)))) is None
    assert old.read_unsubscribe(token(LINKS.unsubscribe(SubscriberId(7)))) is None


def test_a_token_ends_in_a_truncated_hmac_sha256() -> None:
    data = base64.urlsafe_b64decode(token(LINKS.preferences(SubscriberId(7))) + "==")
    assert data[-12:] == hmac.digest(KEY, data[:-12], "sha256")[:12]


def test_links_of_mails_sent_years_ago_are_still_read() -> None:
    """As they were written once, with the key of then: none of these may ever change."""
    links, who = Links("https://papers.example.org", [KEY, derive_key("of that time")]), SubscriberId(300)
    assert links.read_unsubscribe("AawCUSh8rDN_RdDHSW6b") == who
    assert links.read_preferences("AqwC1W9nCoGokFDQbFER") == who
    assert links.read_confirm("A6wCgJ-F2AZ7UUgNUF87q2oR6Ss") == (who, AT)
    assert links.read_digest("BKwCqqIBeNl56WQDxak9EM2O") == (who, SLOT)
    assert links.read_feedback("BawCqqIB8KIEAqAV8hqtO_XdrNDzoQ") == FeedbackToken(
        who, SLOT, PaperId(70_000), Opinion.SAVE
    )
    assert links.read_feed("BqwCsyMfl0UK9LDgCHQ2") == who
    assert links.read_account("B6wCgJ-F2Ab8bemmHL0EZRL5Gcg") == (who, AT)
    assert links.read_new_address("CqwCgJ-F2AaB2avPUMH1OjKXtpQ") == (who, AT)
    assert links.read_bounce_tag("baakyavkuiaqaykip3gz323scy4ruwqz") == BounceTag(
        EntryKind.DIGEST, who, SLOT, None
    )
    assert links.read_unsubscribe_tag("bgwafd2snrpqcajxfzmjj4bp") == who

"""What subscribers do from their mails: confirm, change, vote, pause, move, leave. Over real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from digestbot.accounts import forget, forget_unanswered
from digestbot.links import Links, derive_key
from digestbot.mailroom import MailRoom
from digestbot.model import EntryKind, Opinion, PaperId, Status, Subscriber, SubscriberId, Vote
from digestbot.storage.bounces import BounceRecord
from digestbot.storage.database import Row
from digestbot.subscriptions import new_subscriber
from tests.deliveries import SLOT, queue_digests
from tests.web_world import NOW, World, running

LIBRARY = b"@article{a, title={Moss on bridges of the north}, eprint={2611.00001}, archiveprefix={arXiv}}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("site")) as world:
        yield world


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    """A site of its own, for tests that move the time or count mails."""
    with running(tmp_path) as world:
        yield world


def mail_link(world: World, kind: EntryKind) -> str:
    """The link that the last mail of a kind holds."""
    entry = world.mails(kind)[-1]
    assert entry.subscriber_id is not None
    if kind is EntryKind.CONFIRM:
        return world.links.confirm(entry.subscriber_id, entry.composed_at)
    return entry.payload.get("account_url") or world.links.account(entry.subscriber_id, entry.composed_at)


# ---- unsubscribing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_parts", [False, True])
def test_one_click_says_200_at_once_without_cookie_or_redirect(site: World, as_parts: bool) -> None:
    who = site.add(f"click{as_parts}@example.org", "moss")
    url, one_click = site.links.unsubscribe(who.id), {"List-Unsubscribe": "One-Click"}
    for _ in range(2):
        reply = site.post_parts(url, one_click, {}) if as_parts else site.post(url, one_click)
        assert reply.status == 200
        assert not {"set-cookie", "location"} & set(reply.headers)
    found = site.find(who.email)
    assert found is not None
    assert found.status is Status.UNSUBSCRIBED
    goodbyes = [m for m in site.mails(EntryKind.GOODBYE) if m.subscriber_id == who.id]
    assert len(goodbyes) == 1


def test_unsubscribing_asks_first_in_a_browser(site: World) -> None:
    who = site.add("ask@example.org", "moss")
    page = site.get(site.links.unsubscribe(who.id))
    assert page.status == 200
    assert '<form method="post">' in page.text
    found = site.find(who.email)
    assert found is not None
    assert found.status is Status.CONFIRMED


def test_old_links_unsubscribe_under_a_new_key_and_those_of_the_deleted_say_200(tmp_path: Path) -> None:
    with running(
        tmp_path, SECRET_KEY="a new secret of many characters,a secret of thirty-two characters"
    ) as world:
        who = world.add("old@example.org", "moss")
        old = Links(world.settings.base_url, [derive_key("a secret of thirty-two characters")])
        world.now = NOW + timedelta(days=800)
        assert world.post(old.unsubscribe(who.id)).status == 200
        found = world.find(who.email)
        assert found is not None
        assert found.status is Status.UNSUBSCRIBED
        with world.office() as office:
            office.remove(found)
        assert world.post(old.unsubscribe(who.id)).status == 200


# ---- signing up -------------------------------------------------------------------------------------------------------


def test_signing_up_confirming_and_seeing_the_first_digest(own: World) -> None:
    asked = own.post(
        "/subscribe", {"email": "new@example.org", "topic": ["moss", "birds"], "action": "subscribe"}
    )
    assert asked.status == 200
    found = own.find("new@example.org")
    assert found is not None
    assert (found.status, [t.name for t in found.preferences.topics]) == (
        Status.UNCONFIRMED,
        ["moss", "birds"],
    )
    link = mail_link(own, EntryKind.CONFIRM)
    assert own.get(link).status == 200
    assert own.find("new@example.org") == found
    welcome = own.post(link)
    assert "Moss on bridges of the north" in welcome.text
    found = own.find("new@example.org")
    assert found is not None
    assert found.status is Status.CONFIRMED
    with own.desk() as desk:
        consents = desk.storage.subscribers.consents(found.id)
    assert [how for _, how, _ in consents] == ["was asked to confirm", "confirmed by a link in a mail"]
    assert "digest of new papers" in consents[-1][2]
    assert own.post(link).status == 200
    assert len(own.mails(EntryKind.WELCOME)) == 1


def test_topics_may_be_posted_as_they_are_written_for_an_import(own: World) -> None:
    own.post("/subscribe", {"email": "new@example.org", "topics": "moss; birds\nreefs"})
    found = own.find("new@example.org")
    assert found is not None
    assert [topic.name for topic in found.preferences.topics] == ["moss", "birds", "reefs"]


def test_a_confirmation_expires_after_seven_days(own: World) -> None:
    own.post("/subscribe", {"email": "late@example.org", "topic": "moss"})
    link = mail_link(own, EntryKind.CONFIRM)
    own.now = NOW + timedelta(days=7, seconds=1)
    assert own.post(link).status == 410
    found = own.find("late@example.org")
    assert found is not None
    assert found.status is Status.UNCONFIRMED


def test_signing_up_with_a_library(own: World) -> None:
    reply = own.post_parts(
        "/subscribe", {"email": "lib@example.org", "action": "subscribe"}, {"library": LIBRARY}
    )
    assert reply.status == 200
    found = own.find("lib@example.org")
    assert found is not None
    assert own.votes(found.id) == set()
    assert own.post(mail_link(own, EntryKind.CONFIRM)).status == 200
    assert {opinion for _, opinion in own.votes(found.id)} == {"library"}
    wrong = own.post_parts("/subscribe", {"email": "lib2@example.org"}, {"library": b"\x00\x01 no library"})
    assert wrong.status == 400
    assert own.find("lib2@example.org") is None


def test_a_library_of_too_many_entries_is_refused_before_it_is_read(own: World) -> None:
    library = b"@misc{k, title={One of very many papers}}" * 3001
    form = {"email": "big@example.org", "topic": "moss"}
    reply = own.post_parts("/subscribe", form, {"library": library})
    assert reply.status == 400
    assert "3001 entries" in reply.text
    assert own.find("big@example.org") is None
    who = own.add("in@example.org", "moss")
    statuses = [
        own.post_parts(
            own.links.preferences(who.id), {"action": "library"}, {"library": library + bytes([at])}
        ).status
        for at in range(11)
    ]
    assert statuses == [400] * 10 + [429]


@pytest.mark.parametrize("first", [Status.UNCONFIRMED, Status.UNSUBSCRIBED])
def test_a_link_confirms_what_was_asked_by_its_own_mail(own: World, first: Status) -> None:
    if first is Status.UNSUBSCRIBED:
        left = own.add("victim@example.org", "ferns", quiet_week=False)
        own.post(own.links.unsubscribe(left.id))
    mine = {"email": "victim@example.org", "topic": "moss", "send_at": "06:30"}
    own.post("/subscribe", mine)
    link = mail_link(own, EntryKind.CONFIRM)
    theirs = {"email": "victim@example.org", "topic": "casinos", "timezone": "Asia/Tokyo", "max_papers": "1"}
    own.post_parts("/subscribe", theirs, {"library": LIBRARY})
    own.now += timedelta(days=2)
    own.post_parts("/subscribe", theirs, {"library": LIBRARY})
    later = mail_link(own, EntryKind.CONFIRM)
    for url, shown, other in ((link, "moss", "casinos"), (later, "casinos", "moss")):
        page = own.get(url).text
        assert f"Topics: {shown}" in page
        assert other not in page
    own.post(link)
    own.post(later)
    found = own.find("victim@example.org")
    assert found is not None
    assert found.status is Status.CONFIRMED
    assert [topic.name for topic in found.preferences.topics] == ["moss"]
    assert (found.schedule.timezone, f"{found.schedule.send_at:%H:%M}") == ("UTC", "06:30")
    assert (found.preferences.max_papers, found.preferences.quiet_week) == (10, True)
    assert own.votes(found.id) == set()
    assert "casinos" not in repr(own.rows())


def test_who_is_removed_leaves_nothing_of_what_was_asked(own: World) -> None:
    own.post("/subscribe", {"email": "gone@example.org", "topic": "casinos"})
    found = own.find("gone@example.org")
    assert found is not None
    with own.office() as office:
        office.remove(found)
    assert "casinos" not in repr(own.rows())


def test_strangers_are_sent_no_words_of_who_signed_them_up(own: World) -> None:
    lure = "Cheap pills at http://evil.example/now"
    own.post("/subscribe", {"email": "victim@example.org", "topic": lure, "name": lure})
    [entry] = own.mails(EntryKind.CONFIRM)
    with own.desk() as desk:
        mail = MailRoom(desk.settings, desk.storage, desk.links, desk.renderer).make(entry)
    assert mail is not None
    assert b"victim@example.org" in mail.data
    assert b"pills" not in mail.data
    assert b"evil" not in mail.data


def test_answers_are_equal_whoever_the_address_belongs_to(own: World) -> None:
    own.add("known@example.org", "moss")
    own.add("asked@example.org", "moss", confirmed=False)
    own.add("gone@example.org", "moss")
    with own.desk() as desk:
        desk.storage.suppressions.add("gone@example.org", reason="test", at=own.now)
    addresses = ["known@example.org", "asked@example.org", "gone@example.org", "fresh@example.org"]
    replies = [own.post("/subscribe", {"email": email, "topic": "birds"}) for email in addresses]
    assert {(r.status, r.body) for r in replies} == {(200, replies[0].body)}
    changing = {"date", "content-length"}
    assert len({tuple((k, v) for k, v in r.headers.items() if k not in changing) for r in replies}) == 1
    known = own.find("known@example.org")
    assert known is not None
    assert [t.name for t in known.preferences.topics] == ["moss"]
    assert not [m for m in own.mails() if m.recipient == "gone@example.org"]


def test_an_address_gets_one_confirmation_mail_a_day_and_three_a_month(own: World) -> None:
    sent = []
    for hours in (0, 5, 23, 25, 49, 60, 80, 110):
        own.now = NOW + timedelta(hours=hours)
        email = "target@example.org" if hours % 2 else "TARGET@example.org"
        assert own.post("/subscribe", {"email": email, "topic": "moss"}).status == 200
        sent.append(len(own.mails(EntryKind.CONFIRM)))
    assert sent == [1, 1, 1, 2, 3, 3, 3, 3]


def test_the_operators_own_invitations_count_among_them(own: World) -> None:
    who = own.add("guest@example.org", "moss", confirmed=False)
    own.post("/subscribe", {"email": who.email, "topic": "moss"})
    assert len(own.mails(EntryKind.CONFIRM)) == 1
    own.now += timedelta(hours=23)
    with own.office() as office:
        assert not office.ask_to_confirm(who)
    own.now += timedelta(hours=2)
    with own.office() as office:
        assert office.ask_to_confirm(who)
    own.post("/subscribe", {"email": who.email, "topic": "moss"})
    assert len(own.mails(EntryKind.CONFIRM)) == 2


def test_who_never_confirms_is_forgotten_after_thirty_days(own: World) -> None:
    own.post("/subscribe", {"email": "never@example.org", "topic": "a secret wish"})
    confirmed = own.add("yes@example.org", "moss")
    with own.office() as office:
        vouched = new_subscriber({"email": "vouched@example.org"}, confirmed=False)
        office.enrol([vouched], how="import")  # nobody was asked, so nobody failed to answer
    for days, left in ((29, True), (31, False)):
        with own.desk() as desk:
            assert forget_unanswered(desk.storage, NOW + timedelta(days=days)) == (0 if left else 1)
        assert (own.find("never@example.org") is not None) is left
    assert "never@example.org" not in repr(own.rows())
    assert "a secret wish" not in repr(own.rows())
    assert own.mails(EntryKind.CONFIRM) == []
    assert own.find(confirmed.email) is not None
    assert own.find(vouched.email) is not None


def test_a_network_can_sign_up_only_so_many(own: World) -> None:
    statuses = [
        own.post("/subscribe", {"email": f"n{i}@example.org", "topic": "moss"}).status for i in range(12)
    ]
    assert statuses == [200] * 10 + [429] * 2


def test_forwarded_addresses_count_only_from_trusted_proxies(tmp_path: Path) -> None:
    with running(tmp_path, TRUSTED_PROXIES="127.0.0.0/8") as world:
        form = {"email": "x@example.org", "topic": "moss"}
        statuses = [
            world.post("/subscribe", form, X_Forwarded_For=f"9.9.9.9, 203.0.113.{i}").status
            for i in range(12)
        ]
        assert statuses == [200] * 12
    with running(tmp_path) as world:
        statuses = [
            world.post("/subscribe", form, X_Forwarded_For=f"203.0.113.{i}").status for i in range(12)
        ]
        assert statuses == [200] * 10 + [429] * 2


@pytest.mark.parametrize(
    ("signup", "allowed"), [("closed", set()), ("domains:example.org", {"a@example.org"})]
)
def test_who_may_sign_up(tmp_path: Path, signup: str, allowed: set[str]) -> None:
    with running(tmp_path, SIGNUP=signup) as world:
        bodies = [
            world.post("/subscribe", {"email": e, "topic": "moss"}).body
            for e in ("a@example.org", "b@example.net")
        ]
        assert bodies[0] == bodies[1]
        assert {m.recipient for m in world.mails()} == allowed


def test_who_has_left_may_come_back_where_nobody_new_may_come(tmp_path: Path) -> None:
    """Goodbye says how, and must not say it in vain. Who was only ever asked has not been a reader."""
    with running(tmp_path, SIGNUP="closed") as world:
        left = world.add("left@example.org", "moss")
        world.add("asked@example.org", "moss", confirmed=False)
        world.post(world.links.unsubscribe(left.id), {"List-Unsubscribe": "One-Click"})
        before = [m.id for m in world.mails()]
        [goodbye] = world.mails(EntryKind.GOODBYE)
        with world.desk() as desk:
            said = MailRoom(desk.settings, desk.storage, desk.links, desk.renderer).make(goodbye)
        assert said is not None
        assert said.data.replace(b"=\r\n", b"").count(b"https://papers.example.org/subscribe") == 2
        world.now += timedelta(days=2)
        for email in ("left@example.org", "asked@example.org"):
            world.post("/subscribe", {"email": email, "topic": "moss"})
        [mail] = [m for m in world.mails() if m.id not in before]
    assert (mail.kind, mail.recipient) == (EntryKind.CONFIRM, "left@example.org")


@pytest.mark.parametrize(
    "email", ["", "no address", "a@b", "x@example.org\r\nBcc: y@example.org", "a" * 300 + "@example.org"]
)
def test_what_is_no_address_is_said(site: World, email: str) -> None:
    reply = site.post("/subscribe", {"email": email, "topic": "moss"})
    assert reply.status == 400
    assert 'role="alert"' in reply.text


# ---- preferences ------------------------------------------------------------------------------------------------------


def topics_form(**fields: str) -> dict[str, object]:
    return {
        "action": "save",
        "topics-shown": "1",
        "topic-0-name": "Moss",
        "topic-0-terms": "moss\nferns; lichen",
        "topic-0-exclude": "railway",
        "topic-0-authors": "Ada Moss",
        "topic-0-weight": "2",
        "days-shown": "1",
        "days": ["mon", "thu"],
        "send_at": "06:30",
        "timezone": "Europe/Berlin",
        "max_papers": "7",
        "min_score": "0.2",
        "trending_share": "0.1",
        **fields,
    }


def test_preferences_are_stored_as_posted(site: World) -> None:
    who = site.add("prefs@example.org", "birds")
    reply = site.post(site.links.preferences(who.id), topics_form())
    assert reply.status == 200
    found = site.find(who.email)
    assert found is not None
    [topic] = found.preferences.topics
    assert (topic.name, topic.terms, topic.exclude) == ("Moss", ("moss", "ferns", "lichen"), ("railway",))
    assert (topic.authors, topic.weight) == (("Ada Moss",), 2.0)
    assert (found.preferences.max_papers, found.preferences.min_score) == (7, 0.2)
    assert (found.schedule.timezone, f"{found.schedule.send_at:%H:%M}") == ("Europe/Berlin", "06:30")
    assert found.schedule.days == ("mon", "thu")
    assert found.next_due_at is not None
    due = found.next_due_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert (f"{due:%H:%M}", f"{due:%a}" in ("Mon", "Thu")) == ("06:30", True)


def test_wrong_preferences_change_nothing_and_keep_what_was_typed(site: World) -> None:
    who = site.add("wrong@example.org", "birds")
    before = site.find(who.email)
    reply = site.post(site.links.preferences(who.id), topics_form(timezone="Mars/Base", max_papers="1000"))
    assert reply.status == 400
    assert "Mars/Base" in reply.text
    assert "<li>Papers at most: " in reply.text
    assert "lichen" in reply.text
    assert site.find(who.email) == before


def test_what_is_wrong_is_named_as_the_form_names_it(site: World) -> None:
    wrong = {
        "timezone": "Mars/Base",
        "send_at": "25:00",
        "max_papers": "1000",
        "min_score": "2",
        "trending_share": "much",
        "days-shown": "1",
        "email": "nobody",
    }
    who = site.add("labels@example.org", "birds")
    for url in ("/subscribe", site.links.preferences(who.id)):
        page = site.post(url, wrong).text
        [trouble] = re.findall(r'class="trouble".*?</ul>', page, re.DOTALL)
        named = re.findall(r"<li>([^:<]*):", trouble)
        shown = re.findall(r"<(?:label|legend)[^>]*>([^<]*)<", page)
        assert len(named) >= 5
        assert all(any(label.startswith(name) for label in shown) for name in named), (named, shown)


def test_the_preview_follows_topics_that_are_not_saved(site: World) -> None:
    who = site.add("look@example.org", "birds")
    before = site.find(who.email)
    url = site.links.preferences(who.id)
    page = site.post(url, {"action": "preview", "topics-shown": "1", "topic-0-terms": "moss"})
    part = site.post(url, {"action": "preview", "topics-shown": "1", "topic-0-terms": "moss"}, X_Part="1")
    assert "Moss on bridges of the north" in part.text
    assert "Seven birds" not in part.text
    assert "<html" not in part.text
    assert "2 papers on 1 day" in page.text
    assert site.find(who.email) == before


def test_pause_resume_and_skip(site: World) -> None:
    who = site.add("pause@example.org", "birds")
    url = site.links.preferences(who.id)

    def paused_until() -> date | None:
        found = site.find(who.email)
        assert found is not None
        return found.schedule.paused_until

    page = site.post(url, {"action": "pause", "until": "2026-12-24"}).text
    assert "Paused until Thursday, 24 December 2026." in page
    assert paused_until() == date(2026, 12, 24)
    site.post(url, {"action": "resume"})
    assert paused_until() is None
    site.post(url, {"action": "pause"})
    assert paused_until() == date.max
    site.post(url, {"action": "resume"})
    assert "No digest on Sunday, 22 November" in site.post(url, {"action": "skip"}).text
    assert site.post(url, {"action": "pause", "until": "soon"}).status == 400


def test_a_skip_is_of_one_day_however_often_it_is_asked_and_can_be_taken_back(site: World) -> None:
    who = site.add("twice@example.org", "moss")
    url = site.links.preferences(who.id)
    for _ in range(2):
        assert "No digest on Sunday, 22 November" in site.post(url, {"action": "skip"}).text
    page = site.get(url).text
    assert "The next digest is due on Monday, 23 November" in page
    assert "Send it after all" in page
    page = site.post(url, {"action": "resume"}).text
    assert "The next digest is due on Sunday, 22 November" in page
    assert "Send it after all" not in page


def wants_note(site: World, email: str) -> bool:
    found = site.find(email)
    assert found is not None
    return found.preferences.quiet_week


def test_the_note_of_a_quiet_week_is_turned_off_where_its_mail_leads(site: World) -> None:
    who = site.add("quiet@example.org", "moss")
    url = site.links.preferences(who.id)
    assert 'id="quiet"' in site.get(url).text
    site.post(url, {"action": "save", "max_papers": "5"})  # a form without the box says nothing of it
    assert wants_note(site, who.email) is True
    site.post(url, {"action": "save", "quiet-shown": "1"})
    assert wants_note(site, who.email) is False
    site.post(url, {"action": "save", "quiet-shown": "1", "quiet_week": "1"})
    assert wants_note(site, who.email) is True


def test_saved_papers_and_votes_can_be_taken_back(site: World) -> None:
    who, slot = reader(site, "votes@example.org")
    for opinion in (Opinion.SAVE, Opinion.MORE):
        site.post(site.links.feedback(who, slot, PaperId(1), opinion))
    assert site.votes(who) == {(1, "save"), (1, "more")}
    own = site.links.preferences(who)
    assert "Seven birds" in site.get(own + "/saved.bib").text
    assert "TI  - Seven birds on one wire share a song" in site.get(own + "/saved.ris").text
    assert site.post(own, {"action": "take-back"}).status == 400
    site.post(own, {"action": "take-back", "vote": ["1:save"]})
    assert site.votes(who) == {(1, "more")}
    assert "@misc" not in site.get(own + "/saved.bib").text


# ---- digests ----------------------------------------------------------------------------------------------------------


def reader(world: World, email: str, *topics: str, **fields: object) -> tuple[SubscriberId, date]:
    """A subscriber with a digest of the day after."""
    world.now = NOW
    who = world.add(email, *(topics or ("moss", "birds")), confirmed=True, **fields)
    world.now = NOW + timedelta(days=1, minutes=5)
    world.compose()
    return who.id, world.now.date()


def test_less_replaces_what_was_more_of_this_paper_and_reader_alone(own: World) -> None:
    """And what somebody said comes in the order in which it was said."""
    ada, bob = (own.add(f"{name}@example.org", "moss").id for name in ("ada", "bob"))
    said = [(2, Opinion.SAVE), (2, Opinion.MORE), (1, Opinion.MORE)]
    with own.desk() as desk:
        store = desk.storage.subscribers
        for who in (ada, bob):
            for second, (paper, opinion) in enumerate(said):
                store.vote(who, [Vote(PaperId(paper), opinion, NOW + timedelta(seconds=second))])
        store.vote(ada, [Vote(PaperId(2), Opinion.LESS, NOW + timedelta(minutes=1))])
        found = {
            who: [(vote.paper_id, vote.opinion) for vote in votes]
            for who, votes in store.votes([ada, bob]).items()
        }
    assert found == {ada: [said[0], said[2], (2, Opinion.LESS)], bob: said}


def test_a_digest_shows_what_the_mail_left_out_and_takes_several_votes(own: World) -> None:
    who, slot = reader(own, "reads@example.org", max_papers=1)
    url = own.links.digest(who, slot)
    page = own.get(url)
    shown, _, rest = page.text.partition("What did not fit")
    assert shown.count("<article") == 1
    assert rest.count("<article") == 3
    form = {"paper": [1, 2, 3], "vote-1": "more", "vote-2": "less", "vote-3": "none", "save-3": "1"}
    assert "Noted for 3 papers" in own.post(url, form).text
    assert own.votes(who) == {(1, "more"), (2, "less"), (3, "save")}
    own.post(url, {"paper": [1, 3], "vote-1": "none", "vote-3": "less"})
    assert own.votes(who) == {(2, "less"), (3, "less")}


def test_a_vote_in_the_mail_opens_the_digest_at_the_card_with_the_choice_made(site: World) -> None:
    who, slot = reader(site, "feedback@example.org")
    url = site.links.feedback(who, slot, PaperId(2), Opinion.LESS)
    page = site.get(url)
    assert 'name="vote-2" value="less" checked autofocus' in page.text
    assert site.votes(who) == set()
    assert site.post(url).status == 200
    assert site.votes(who) == {(2, "less")}


def test_bibtex_and_feed_of_digests(site: World) -> None:
    who, slot = reader(site, "feeds@example.org")
    bib = site.get(site.links.bibtex(who, slot))
    assert bib.text.count("@misc{") == 4
    assert bib.headers["content-disposition"] == f'attachment; filename="digest-{slot}.bib"'
    feed = site.get(site.links.feed(who))
    assert feed.headers["content-type"].startswith("application/atom+xml")
    assert site.links.digest(who, slot) in feed.text
    assert "feeds@example.org" not in feed.text


# ---- one's data -------------------------------------------------------------------------------------------------------


def test_a_forwarded_mail_opens_neither_export_nor_deletion_nor_a_change_of_address(site: World) -> None:
    who = site.add("mine@example.org", "moss", name="Ada Mine")
    url = site.links.preferences(who.id)
    page = site.get(url).text
    assert "mine@example.org" not in page
    assert "Ada Mine" not in page
    assert site.get(url + "/export.json").status == 404
    for form in ({"action": "delete", "sure": "yes"}, {"action": "address", "email": "thief@example.org"}):
        assert site.post(url, form).status == 404
    assert site.find("mine@example.org") is not None


def test_a_fresh_link_exports_moves_and_deletes(own: World) -> None:
    who = own.add("old@example.org", "moss")
    assert own.post(own.links.preferences(who.id), {"action": "link"}).status == 200
    fresh = mail_link(own, EntryKind.LINK)
    document = json.loads(own.get(fresh + "/export.json").body)
    assert (document["email"], document["topics"][0]["name"]) == ("old@example.org", "moss")
    own.now += timedelta(minutes=1)
    own.post(fresh, {"action": "address", "email": "new@example.org"})
    mail = own.mails(EntryKind.LINK)[-1]
    assert mail.recipient == "new@example.org"
    moving = mail.payload["account_url"]
    assert own.get(moving).status == 200
    assert own.find("new@example.org") is None
    assert own.post(moving).status == 200
    assert own.find("new@example.org") == replace(who, email="new@example.org")
    own.now += timedelta(minutes=1)
    own.post(fresh, {"action": "address", "email": "next@example.org"})
    assert own.post(fresh, {"action": "delete"}).status == 400
    assert "next@example.org" in repr(own.rows())
    assert own.post(fresh, {"action": "delete", "sure": "yes"}).status == 200
    for address in ("old@example.org", "new@example.org", "next@example.org"):
        assert address not in repr(own.rows())
    with own.desk() as desk:
        assert desk.storage.suppressions.among(["NEW@example.org"]) == {"new@example.org"}
        [(key, _, _)] = desk.storage.suppressions.all()
        assert "example" not in key
    own.post("/subscribe", {"email": "new@example.org", "topic": "moss"})
    assert own.mails(EntryKind.CONFIRM) == []
    assert own.get(fresh).status == 404


def test_who_is_deleted_takes_nothing_of_others_along(own: World) -> None:
    ada, bob = (own.add(f"{name}@example.org", "moss") for name in ("ada", "bob"))

    def kept(who: Subscriber) -> dict[str, list[Row]]:
        with own.desk() as desk:
            tables = ("consents", "votes", "bounces", "slots", "outbox")
            sql = "SELECT * FROM {} WHERE subscriber_id = ?"
            return {table: desk.storage.db.rows(sql.format(table), (who.id,)) for table in tables}

    with own.desk() as desk:
        queue_digests(desk.storage, [ada.email, bob.email])
        for who in (ada, bob):
            desk.storage.subscribers.vote(who.id, [Vote(PaperId(1), Opinion.MORE, NOW)])
            desk.storage.bounces.add(BounceRecord(who.id, SLOT, NOW, "soft", None, ""))
    before = kept(bob)
    assert all(before.values())
    with own.office() as office:
        forget(office, ada)
    assert kept(bob) == before
    assert not any(kept(ada).values())


def test_a_fresh_link_expires_and_only_three_a_day_are_sent(own: World) -> None:
    who = own.add("many@example.org", "moss")
    for _ in range(6):
        own.now += timedelta(minutes=1)
        own.post(own.links.preferences(who.id), {"action": "link"})
    assert len(own.mails(EntryKind.LINK)) == 3
    fresh = mail_link(own, EntryKind.LINK)
    own.now += timedelta(days=7)
    assert own.get(fresh + "/export.json").status == 410


def test_ones_own_address_is_no_new_one_and_takes_none_of_the_three_mails_a_day(own: World) -> None:
    who = own.add("one@example.org", "moss")
    fresh = own.links.account(who.id, own.now)
    for _ in range(3):
        answer = own.post(fresh, {"action": "address", "email": "one@Example.org"})
        assert answer.status == 400
        assert "already" in answer.text
    assert own.mails(EntryKind.LINK) == []
    assert "at most three a day" in own.post(fresh, {"action": "address", "email": "new@example.org"}).text
    assert own.mails(EntryKind.LINK)[-1].recipient == "new@example.org"


def test_nobody_moves_to_an_address_that_is_taken(own: World) -> None:
    who, _ = own.add("one@example.org", "moss"), own.add("two@example.org", "moss")
    own.post(own.links.account(who.id, own.now), {"action": "address", "email": "Two@example.org"})
    assert own.mails(EntryKind.LINK) == []

"""A reader's life in a real browser, against `digestbot run --web` and a real mail server, with real mails between.

The program runs as a process of its own whose wall clock the test sets on; it notices, and goes on at once.
"""

from __future__ import annotations

import email
import email.policy
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import digestbot
from tests.browser_driver import PICTURES, Browser, open_browser
from tests.smtp_servers import SmtpServer
from tests.web_world import BIRDS, DAY_ONE, MOSS, SECRET

SAMPLES = Path(digestbot.__file__).parent / "samples"
DAY_S = 24 * 3600
PATIENCE_S = 60.0
LICHEN = MOSS.replace("moss", "lichen")
READER, OTHER = "reader@example.org", "other@example.org"

pytestmark = pytest.mark.xdist_group("chromium")


@dataclass
class House:
    """A running digestbot with its state in `folder`."""

    folder: Path
    base_url: str
    server: SmtpServer
    environment: dict[str, str]
    shift_s: int = 0

    def move_to(self, hour: int, *, days: int = 0) -> None:
        """Moves the program's clock on to this hour (UTC) of the next day, or of one `days` later."""
        day = (int(time.time()) + self.shift_s) // DAY_S + 1 + days
        self.set_clock(day * DAY_S + hour * 3600 - int(time.time()))

    def set_clock(self, shift_s: int) -> None:
        self.shift_s = shift_s
        part = self.folder / "clock.part"
        part.write_text(f"{shift_s:+d}")
        part.replace(self.folder / "clock")

    def nudge(self) -> None:
        """A minute later."""
        self.set_clock(self.shift_s + 60)

    def drop(self, name: str, papers: list[dict[str, object]]) -> None:
        incoming = self.folder / "state" / "drops" / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        part = incoming / f"{name}.part"
        part.write_text("".join(json.dumps(paper) + "\n" for paper in papers), "utf-8")
        part.rename(incoming / f"{name}.jsonl")

    def run(self, *words: str) -> None:
        subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, check=True, capture_output=True
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tests.shifted_program", str(self.folder / "clock"), *words]

    def page(self, path: str) -> str:
        with urllib.request.urlopen(self.base_url + path, timeout=PATIENCE_S) as reply:
            text: str = reply.read().decode()
        return text

    def mails(self, recipient: str) -> list[EmailMessage]:
        found = [m.data for m in self.server.messages if m.recipient == recipient]
        parsed = [email.message_from_bytes(data, policy=email.policy.default) for data in found]
        return [mail for mail in parsed if isinstance(mail, EmailMessage)]

    def next_mail(self, recipient: str, count: int) -> EmailMessage:
        """The mail that is this recipient's `count`-th, once it has come."""
        wait_until(lambda: len(self.mails(recipient)) >= count, f"mail {count} to {recipient}")
        assert len(self.mails(recipient)) == count
        return self.mails(recipient)[-1]


def wait_until(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


@contextmanager
def running_house(folder: Path) -> Iterator[House]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DIGESTBOT_")}
    with SmtpServer() as server:
        environment |= {
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "DIGESTBOT_SECRET_KEY": SECRET,
            "DIGESTBOT_BASE_URL": f"http://127.0.0.1:{port}",
            "DIGESTBOT_FROM": "Paper Digest <digest@example.org>",
            "DIGESTBOT_SMTP_URL": server.url(),
        }
        house = House(folder, f"http://127.0.0.1:{port}", server, environment)
        house.move_to(6)
        house.run("subscribers", "add", OTHER, "--topic", "moss", "--confirmed")
        house.drop("day-1", DAY_ONE)
        shutil.copy(SAMPLES / "day-1.txt", folder / "state" / "drops" / "incoming")
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(
                house.command("run", "--web"), cwd=folder, env=environment, stderr=said
            )
        try:
            wait_until(lambda: "the pages are at" in (folder / "said").read_text(), "the pages")
            yield house
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert "Traceback" not in (folder / "said").read_text()
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as found:
        yield found


def link(mail: EmailMessage, pattern: str) -> str:
    """The first address in a mail that matches."""
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(rf"http://127\.0\.0\.1:\d+{pattern}", body.get_content())
    assert found, f"no link like {pattern} in {mail['Subject']}"
    return found[0]


def titles(mail: EmailMessage) -> set[str]:
    """Of the papers in a digest."""
    body = mail.get_body(("html",))
    assert body is not None
    return {html.unescape(title) for title in re.findall(r"<h3[^>]*><a[^>]*>([^<]*)<", body.get_content())}


def vote_link(mail: EmailMessage, title: str, word: str) -> str:
    """Where `More like this`, `Less like this` or `Save` leads on the card with this title."""
    body = mail.get_body(("html",))
    assert body is not None
    card = body.get_content().partition(f">{title}</a></h3>")[2]
    found = re.search(rf'href="([^"]*)"[^>]*>{word}</a>', card)
    assert found, f"no {word} on the card of {title}"
    return found[1]


DAY_TWO: list[dict[str, object]] = [
    {"title": "What grows on the handrails of bridges", "abstract": LICHEN},
    {
        "title": "Moss in the gutters of Lisbon",
        "abstract": "A survey of gutters after rain; some moss was seen. " * 4,
    },
    {"title": "Birdsong before dawn", "abstract": BIRDS.replace("seven", "twelve")},
]
DAY_THREE: list[dict[str, object]] = [
    {"title": "A moss that travels by tram", "abstract": "On the spread of a moss along tracks. " * 5}
]


@pytest.mark.parametrize("script", [True, False])
def test_a_readers_life(tmp_path: Path, browser: Browser, script: bool) -> None:
    with running_house(tmp_path) as house:
        browser.do("open", script=script)
        picture = Camera(browser, "life" if script else "life-without-script", script)
        sign_up(house, browser, picture, script=script)
        preferences = choose_topics(house, browser, picture, script=script)
        first = read_and_vote(house, browser, picture)
        see_what_the_vote_changed(house, first)
        if script:
            save_and_pause(house, browser, picture, preferences)
            one_click(house)
        leave(house, browser, picture)
        assert browser.do("trouble") == []


@dataclass
class Camera:
    """Takes pictures of each step, light on a phone and dark on a desk, and lets axe look where scripts run."""

    browser: Browser
    name: str
    script: bool
    taken: int = 0

    def __call__(self, step: str) -> None:
        self.taken += 1
        for width, scheme in ((360, "light"), (1280, "dark")):
            self.browser.do("dress", width=width, scheme=scheme)
            self.browser.do("picture", file=str(PICTURES / f"{self.name}-{self.taken:02}-{step}-{width}.png"))
            scroll = self.browser.do("scroll")
            assert isinstance(scroll, int)
            assert scroll <= width, f"{step} scrolls sideways at {width}"
            if self.script:
                assert self.browser.do("axe") == [], step


def sign_up(house: House, browser: Browser, picture: Camera, *, script: bool) -> None:
    wait_until(lambda: "Seven birds" in house.page("/"), "today's papers")
    browser.do("goto", url=house.base_url + "/")
    assert "Seven birds on one wire" in browser.text()
    picture("today")
    browser.do("goto", url=house.base_url + "/subscribe")
    if script:
        assert browser.do("value", at="#timezone") == "Europe/Berlin"
    browser.do("fill", at="#email", text=READER)
    for term, title in (("birdsong", "A song of wires"), ("moss", "Moss on bridges of the north")):
        browser.do("fill", at="#topic-0-terms", text=term)
        if not script:
            browser.do("click", at="button[value=preview]")
        browser.do("wait", at="[data-preview-part]", text=title)
    assert "A song of wires" not in browser.text("[data-preview-part]")
    picture("preview")
    browser.do("click", at="button[value=subscribe]")
    assert "Look into your mail" in browser.text()
    picture("asked")

    house.nudge()
    confirm = house.next_mail(READER, 1)
    assert "confirm" in confirm["Subject"]
    browser.do("goto", url=link(confirm, r"/confirm/\S+"))
    picture("confirm")
    browser.do("click", at="main button")
    assert "You are in" in browser.text()
    assert "Moss on bridges of the north" in browser.text()
    picture("confirmed")


def choose_topics(house: House, browser: Browser, picture: Camera, *, script: bool) -> str:
    """Adds a topic by the link in the welcome mail; returns the address of the page."""
    house.nudge()
    welcome = house.next_mail(READER, 2)
    own = link(welcome, r"/preferences/\S+")
    browser.do("goto", url=own)
    browser.do("fill", at="#topic-1-terms", text="birdsong")
    if script:
        browser.do(
            "fill", at="#topic-2-terms", text="zebras"
        )  # a third row is there once the second is begun
        browser.do("fill", at="#topic-2-terms", text="")
    else:
        browser.do("click", at="button[value=preview]")
    browser.do("wait", at="[data-preview-part]", text="A song of wires")
    browser.do("click", at="button[value=save]")
    assert "Saved." in browser.text()
    picture("saved")
    return own


def read_and_vote(house: House, browser: Browser, picture: Camera) -> EmailMessage:
    house.move_to(9, days=-1)
    digest = house.next_mail(READER, 3)
    assert titles(digest) == {str(p["title"]) for p in DAY_ONE[1:]}
    browser.do("goto", url=vote_link(digest, "Moss on bridges of the north", "More like this"))
    assert 'value="more"' in str(browser.do("focused"))
    picture("vote")
    browser.do("click", at=".sticky button")
    assert "Noted for" in browser.text()
    picture("noted")
    return digest


def see_what_the_vote_changed(house: House, first: EmailMessage) -> None:
    """The next digest has a paper that no topic names; whoever has the same topics and did not vote gets none such."""
    house.drop("day-2", DAY_TWO)
    house.nudge()
    wait_until(lambda: "gutters of Lisbon" in house.page("/"), "the second drop")
    house.move_to(9)
    second = house.next_mail(READER, 4)
    assert titles(second) == {str(p["title"]) for p in DAY_TWO}
    assert not titles(second) & titles(first)
    body = second.get_body(("plain",))
    assert body is not None
    assert "which you liked" in " ".join(body.get_content().split())
    assert titles(house.next_mail(OTHER, 2)) == {"Moss in the gutters of Lisbon"}


def save_and_pause(house: House, browser: Browser, picture: Camera, own: str) -> None:
    digest = house.mails(READER)[-1]
    browser.do("goto", url=vote_link(digest, "Birdsong before dawn", "Save"))
    browser.do("click", at=".sticky button")
    browser.do("goto", url=own)
    assert "Birdsong before dawn" in browser.text()
    assert "Birdsong before dawn" in house.page(urlsplit(own).path + "/saved.bib")
    browser.do("goto", url=link(digest, r"/preferences/\S+#pause"))
    browser.do("click", at="button[value=pause]")
    assert "Paused until you resume" in browser.text()
    picture("paused")

    house.drop("day-3", DAY_THREE)
    house.nudge()
    wait_until(lambda: "travels by tram" in house.page("/"), "the third drop")
    house.move_to(9)
    assert titles(house.next_mail(OTHER, 3)) == {"A moss that travels by tram"}
    assert len(house.mails(READER)) == 4
    browser.do("goto", url=own)
    browser.do("click", at="button[value=resume]")
    assert "Digests come again" in browser.text()
    house.move_to(9)
    assert titles(house.next_mail(READER, 5)) == {"A moss that travels by tram"}


def one_click(house: House) -> None:
    """What a mail program does with the button it shows (RFC 8058)."""
    digest = house.mails(OTHER)[-1]
    assert digest["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    found = re.search(r"<(http[^>]+)>", digest["List-Unsubscribe"])
    assert found
    with urllib.request.urlopen(found[1], data=b"List-Unsubscribe=One-Click", timeout=PATIENCE_S) as reply:
        assert reply.status == 200
    house.nudge()
    assert "unsubscribed" in house.next_mail(OTHER, 4)["Subject"]


def leave(house: House, browser: Browser, picture: Camera) -> None:
    got = len(house.mails(READER))
    browser.do("goto", url=link(house.mails(READER)[-1], r"/unsubscribe/\S+"))
    picture("unsubscribe")
    browser.do("wait", at="button:focus", text="Unsubscribe")  # as the page says, once it is laid out
    browser.do("press", key="Enter")
    browser.do("wait", text="You are unsubscribed")
    picture("unsubscribed")
    house.nudge()
    assert "unsubscribed" in house.next_mail(READER, got + 1)["Subject"]
    house.drop("day-4", [{"title": "The last moss", "abstract": MOSS.replace("bridges", "roofs")}])
    house.nudge()
    wait_until(lambda: "The last moss" in house.page("/"), "the last drop")
    house.move_to(9)
    house.nudge()
    time.sleep(2)
    assert len(house.mails(READER)) == got + 1

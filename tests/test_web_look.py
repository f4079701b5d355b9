"""The pages in Chromium: no violation of axe, no sideways scrolling, pictures in artifacts/ to look at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import digestbot
from digestbot.ingest import ingest_file
from digestbot.model import Opinion
from tests.browser_driver import PICTURES, Browser, open_browser
from tests.test_web_safety import PASSWORD
from tests.web_world import NOW, World, running

pytestmark = pytest.mark.xdist_group("chromium")

SAMPLES = Path(digestbot.__file__).parent / "samples"
LOOKS = [(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("look"), ADMIN_PASSWORD=PASSWORD) as world:
        with world.desk() as desk:
            for day, sample in enumerate(sorted(SAMPLES.glob("*.txt"))):
                ingest_file(desk.storage.papers, sample, now=NOW - timedelta(days=1 - day))
            papers = list(desk.storage.papers.catalogue())
        topics = [papers[at].record.title.split(":")[0] for at in (-1, -3)]
        world.add("reader@example.org", *topics, "moss", max_papers=4)
        world.now = NOW + timedelta(days=1, minutes=5)
        world.compose()
        yield world


def pages(world: World) -> dict[str, str]:
    reader = world.find("reader@example.org")
    assert reader is not None
    assert world.handle is not None
    links, slot = world.links, world.now.date()
    with world.desk() as desk:
        found = desk.storage.outbox.find_digest(reader.id, slot)
        assert found is not None
        first = found[0].papers[0].paper_id
        for opinion in (Opinion.SAVE, Opinion.MORE):
            world.post(links.feedback(reader.id, slot, first, opinion))
    named = {
        "home": "/",
        "search": "/?q=moss",
        "nothing": "/?q=zebra",
        "empty": "/day/2026-01-01",
        "week": "/week/2026-W47",
        "paper": f"/paper/{first}",
        "subscribe": "/subscribe",
        "confirm": links.confirm(world.add("look@example.org", "moss", confirmed=False).id, world.now),
        "expired": links.confirm(reader.id, world.now - timedelta(days=8)),
        "new-address": links.new_address(reader.id, world.now),
        "preferences": links.preferences(reader.id),
        "account": links.account(reader.id, world.now),
        "unsubscribe": links.unsubscribe(reader.id),
        "digest": links.digest(reader.id, slot),
        "feedback": links.feedback(reader.id, slot, first, Opinion.LESS),
        "nowhere": "/nowhere",
        "login": "/admin",
    }
    return {name: world.handle.url + url.removeprefix(links.base_url) for name, url in named.items()}


@pytest.mark.parametrize("looks", [LOOKS[::3], pytest.param(LOOKS[1:3], marks=pytest.mark.torture)])
def test_pages_look_right_in_light_and_dark_on_phone_and_desk(
    site: World, browser: Browser, looks: list[tuple[int, str]]
) -> None:
    addresses = pages(site)
    for width, scheme in looks:
        browser.do("open", width=width, scheme=scheme)
        for name, url in addresses.items():
            browser.do("goto", url=url)
            look(browser, PICTURES / f"{name}-{scheme}-{width}.png", name, width)
        expected = {"Failed to load resource: the server responded with a status of 404 (Not Found)"}
        expected.add("Failed to load resource: the server responded with a status of 403 (Forbidden)")
        expected.add("Failed to load resource: the server responded with a status of 410 (Gone)")
        trouble = browser.do("trouble")
        assert isinstance(trouble, list)
        assert set(trouble) <= expected


def test_the_operators_pages_look_right(site: World, browser: Browser) -> None:
    assert site.handle is not None
    reader = site.find("reader@example.org")
    assert reader is not None
    for width, scheme in LOOKS[::3]:
        browser.do("open", width=width, scheme=scheme)
        browser.do("goto", url=site.handle.url + "/admin")
        browser.do("fill", at="#password", text=PASSWORD)
        browser.do("click", at="main button")
        for name in ("", "subscribers", "drops", "outbox", f"preview/{reader.id}"):
            browser.do("goto", url=f"{site.handle.url}/admin/{name}".rstrip("/"))
            assert "Password" not in browser.text()
            look(browser, PICTURES / f"admin-{name.split('/')[0]}-{scheme}-{width}.png", name, width)


def look(browser: Browser, file: Path, name: str, width: int) -> None:
    browser.do("picture", file=str(file))
    assert browser.do("axe") == [], name
    scroll = browser.do("scroll")
    assert isinstance(scroll, int)
    assert scroll <= width, f"{name} scrolls sideways at {width}"

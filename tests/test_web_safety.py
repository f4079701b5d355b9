"""Reading changes nothing, forgery learns nothing, hostile text stays text, and nobody's slowness stops others."""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from digestbot.links import Links, derive_key
from digestbot.model import Opinion, PaperId, Subscriber
from digestbot.web.app import ROUTES
from digestbot.web.visit import FORM_BYTES
from tests.web_world import NOW, World, running

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}&#x27;'
PASSWORD = "open, please"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("safe"), ADMIN_PASSWORD=PASSWORD) as world:
        world.ingest(
            [
                {
                    "title": f"Hostile moss {HOSTILE}",
                    "abstract": f"A moss <moss-x onclick=alert(3)> of note. {HOSTILE}",  # known tags never get so far
                    "authors": [HOSTILE],
                }
            ],
            at=NOW - timedelta(hours=1),
        )
        reader = world.add("reader@example.org", "moss", HOSTILE, max_papers=2)
        world.now = NOW + timedelta(days=1, minutes=5)
        world.compose()
        for opinion in (Opinion.SAVE, Opinion.MORE):
            world.post(world.links.feedback(reader.id, world.now.date(), PaperId(5), opinion))
        yield world


@pytest.fixture(scope="module")
def reader(site: World) -> Subscriber:
    found = site.find("reader@example.org")
    assert found is not None
    return found


def urls(world: World, reader: Subscriber, links: Links | None = None) -> list[str]:
    """Every kind of page, with working tokens."""
    links, slot = links or world.links, world.now.date()
    own, fresh = links.preferences(reader.id), links.account(reader.id, world.now)
    return [
        "/",
        "/?q=moss",
        "/?sort=trending&page=2",
        "/day/2026-11-21",
        "/week/2026-W47",
        "/month/2026-11",
        "/paper/5",
        "/paper/5.bib",
        "/paper/5.ris",
        "/feed.xml",
        "/suggest?q=mo",
        "/subscribe",
        "/healthz",
        "/readyz",
        "/metrics",
        "/robots.txt",
        "/static/style.css",
        "/admin",
        "/admin/subscribers",
        "/admin/drops",
        "/admin/outbox",
        f"/admin/preview/{reader.id}",
        f"/admin/preview/{reader.id}/mail",
        *token_urls(links, reader, world),
        own + "/saved.bib",
        own + "/saved.ris",
        fresh + "/export.json",
        links.bibtex(reader.id, slot),
        links.feed(reader.id),
    ]


def token_urls(links: Links, reader: Subscriber, world: World) -> list[str]:
    slot = world.now.date()
    return [
        links.confirm(reader.id, world.now),
        links.new_address(reader.id, world.now),
        links.preferences(reader.id),
        links.account(reader.id, world.now),
        links.unsubscribe(reader.id),
        links.digest(reader.id, slot),
        *(links.feedback(reader.id, slot, PaperId(1), opinion) for opinion in (Opinion.MORE, Opinion.SAVE)),
    ]


# ---- reading changes nothing ----------------------------------------------------------------------------------------


def test_reading_every_page_in_any_order_changes_no_row(site: World, reader: Subscriber) -> None:
    everything = urls(site, reader) * 12
    random.Random(7).shuffle(everything)
    before = site.rows()
    cookie = sign_in(site)
    statuses = {
        site.ask(random.choice(("GET", "HEAD")), url, headers={"Cookie": cookie}).status for url in everything
    }
    assert statuses <= {200, 404, 429}
    assert 200 in statuses
    assert site.rows() == before


def test_head_answers_as_get_without_a_body(site: World, reader: Subscriber) -> None:
    for url in ("/", site.links.unsubscribe(reader.id), "/nowhere"):
        head, whole = site.ask("HEAD", url), site.get(url)
        assert (head.status, head.body) == (whole.status, b"")


# ---- forgery --------------------------------------------------------------------------------------------------------


def test_forged_foreign_and_truncated_tokens_are_404_like_any_unknown_page(
    site: World, reader: Subscriber
) -> None:
    foreign = Links(site.settings.base_url, [derive_key("some other secret of many letters")])
    genuine = token_urls(site.links, reader, site)
    tokens = [url.rpartition("/")[2] for url in genuine]
    paths = [url.rpartition("/")[0] for url in genuine]
    wrong = token_urls(foreign, reader, site)
    wrong += [f"{path}/{token[:-1]}" for path, token in zip(paths, tokens, strict=True)]
    wrong += [f"{path}/{token}A" for path, token in zip(paths, tokens, strict=True)]
    wrong += [f"{path}/{tokens[(at + 4) % len(tokens)]}" for at, path in enumerate(paths)]
    unknown = site.get("/nowhere")
    before = site.rows()
    for url in wrong:
        for reply in (site.get(url), site.post(url, {"List-Unsubscribe": "One-Click", "action": "delete"})):
            assert (reply.status, reply.body) == (404, unknown.body), url
    assert site.rows() == before


@given(st.text(max_size=60))
@example("0/")
def test_any_text_is_no_token(site: World, text: str) -> None:
    for path in ("unsubscribe", "confirm", "preferences", "digest", "feedback"):
        reply = site.get(f"/{path}/{quote(text, safe='')}")
        assert reply.status in (404, 405)


def test_tokens_show_no_address(site: World, reader: Subscriber) -> None:
    for url in token_urls(site.links, reader, site):
        assert len(url.rpartition("/")[2]) <= 40
        assert "reader" not in url


# ---- headers and hostile text ---------------------------------------------------------------------------------------


def test_every_answer_has_the_safe_headers(site: World, reader: Subscriber) -> None:
    for url in [*urls(site, reader), "/nowhere"]:
        reply = site.get(url)
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        if not url.endswith("/mail"):
            assert "unsafe" not in policy
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in reply.headers
    for url in token_urls(site.links, reader, site):
        reply = site.get(url)
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-robots-tag"] == "noindex, nofollow"


def test_hostile_text_stays_text(site: World, reader: Subscriber) -> None:
    assert "&lt;moss-x onclick=alert(3)&gt;" in site.get("/paper/5").text
    cookie = sign_in(site)
    pages = [site.get(url, Cookie=cookie) for url in urls(site, reader)]
    pages.append(site.get(f"/?q={quote(HOSTILE)}"))
    posted = {
        "email": HOSTILE,
        "topic": HOSTILE,
        "timezone": HOSTILE,
        "topic-0-terms": HOSTILE,
        "topics-shown": "1",
    }
    pages.append(site.post("/subscribe", posted))
    pages.append(site.post(site.links.preferences(reader.id), posted))
    for page in pages:
        if not page.headers.get("content-type", "").startswith("text/html"):
            continue
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "<moss-x" not in page.text
        assert not re.search(r"<script(?! src=\"/static/page\.js)|\son\w+\s*=\s*[\"']", page.text)
        assert " style=" not in page.text or "supported-color-schemes" in page.text  # the mail in its frame


def test_no_answer_leads_to_another_site(site: World, reader: Subscriber) -> None:
    for url in (
        "//evil.example/",
        "/\\evil.example",
        "/paper//evil.example",
        "/day/%2F%2Fevil.example",
        "/?next=//evil",
    ):
        reply = site.ask("GET", url if url.startswith("/?") else "http://x" + quote(url, safe="/%"))
        assert "evil" not in reply.headers.get("location", "")


# ---- the operator -----------------------------------------------------------------------------------------------------


def sign_in(world: World) -> str:
    reply = world.post("/admin/login", {"password": PASSWORD})
    assert reply.status == 303
    cookie = reply.headers["set-cookie"]
    for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/admin"):
        assert word in cookie
    return cookie.partition(";")[0]


def test_the_operators_pages_open_by_the_password_only(site: World, reader: Subscriber) -> None:
    rooms = ["/admin", "/admin/subscribers", "/admin/drops", "/admin/outbox", f"/admin/preview/{reader.id}"]
    assert {site.get(url).status for url in rooms} == {403}
    assert site.post("/admin/login", {"password": "guess"}).status == 403
    cookie = sign_in(site)
    assert {site.get(url, Cookie=cookie).status for url in rooms} == {200}
    assert "reader@example.org" in site.get("/admin/subscribers", Cookie=cookie).text
    name, _, value = cookie.partition("=")
    until, _, signature = value.partition(".")
    for forged in (f"{int(until) + 9}.{signature}", f"{until}.", "", "9" * 30 + "." + signature):
        assert site.get("/admin", Cookie=f"{name}={forged}").status == 403


def test_another_sites_page_cannot_use_the_operators_browser(site: World) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        assert site.post("/admin/login", {"password": PASSWORD}, **headers).status == 403
        assert site.post("/admin/logout", {}, **headers).status == 403


def test_without_a_password_there_is_no_operators_page(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        assert {world.get(url).status for url in ("/admin", "/admin/outbox")} == {404}
        assert world.post("/admin/login", {"password": "None"}).status == 404


def test_the_mail_is_shown_in_a_frame_where_nothing_runs(site: World, reader: Subscriber) -> None:
    mail = site.get(f"/admin/preview/{reader.id}/mail", Cookie=sign_in(site))
    if mail.status == 200:
        policy = mail.headers["content-security-policy"]
        assert "sandbox" in policy
        assert "default-src 'none'" in policy


# ---- size and slowness ------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_refused(site: World, reader: Subscriber) -> None:
    url = site.links.digest(reader.id, site.now.date())
    assert site.post(url, {"paper": "x" * (FORM_BYTES + 1)}).status == 413
    assert site.post(site.links.preferences(reader.id), {f"f{i}": "x" for i in range(5000)}).status in (
        400,
        413,
    )
    assert site.get("/").status == 200


def test_what_will_be_too_large_is_refused_before_it_comes(site: World) -> None:
    assert site.handle is not None
    address = (urlsplit(site.handle.url).hostname or "", urlsplit(site.handle.url).port or 0)
    with socket.create_connection(address, timeout=5) as connection:
        head = b"POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000000\r\n"
        connection.sendall(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_slow_clients_do_not_stop_others(site: World) -> None:
    assert site.handle is not None
    address = (urlsplit(site.handle.url).hostname or "", urlsplit(site.handle.url).port or 0)
    slow = [socket.create_connection(address) for _ in range(150)]
    for number, connection in enumerate(slow):
        head = b"POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n"
        head += b"Content-Type: application/x-www-form-urlencoded\r\n"
        connection.sendall(head + (b"\r\na=" if number % 2 else b""))
    began = time.monotonic()
    assert [site.get("/").status for _ in range(5)] == [200] * 5
    assert time.monotonic() - began < 8
    for connection in slow:
        connection.close()


def test_many_visitors_at_once(site: World, reader: Subscriber) -> None:
    replies: list[int] = []

    def visit() -> None:
        replies.extend(site.get(url).status for url in ("/", site.links.preferences(reader.id), "/paper/1"))

    threads = [threading.Thread(target=visit) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [200] * 120


# ---- a fuzzer over all routes ---------------------------------------------------------------------------------------

WORDS = [
    "",
    "0",
    "-1",
    "9" * 30,
    "2026-11-21",
    "0000-00-00",
    "2026-W99",
    "%00",
    "\ud7ff",
    "a" * 3000,
    "../..",
    "'\"<",
    "é",
]


@pytest.mark.parametrize("seconds", [30, pytest.param(300, marks=pytest.mark.torture)])
def test_no_request_makes_the_server_stumble(site: World, reader: Subscriber, seconds: int) -> None:
    chance = random.Random(11)
    known = [urlsplit(url).path for url in urls(site, reader) if "unsub" not in url]
    kinds = [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "text/plain",
        "multipart/form-data",
        "x",
    ]
    fields = [
        "action",
        "topic-0-terms",
        "topics-shown",
        "paper",
        "vote-1",
        "email",
        "days",
        "min_score",
        "until",
        "q",
    ]
    actions = [
        "save",
        "preview",
        "pause",
        "skip",
        "take-back",
        "library",
        "link",
        "address",
        "delete",
        "resume",
        "",
    ]
    cookies = ["", *WORDS[:8], "digestbot_operator=9", sign_in(site)]
    seen: set[tuple[str, int]] = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        path = chance.choice(known)
        if chance.random() < 0.5:
            path = re.sub(
                r"\{.*?\}", lambda _: quote(chance.choice(WORDS), safe="%"), chance.choice(ROUTES)[0]
            )
        query = f"?{chance.choice(fields)}={quote(chance.choice(WORDS))}" if chance.random() < 0.3 else ""
        values = {name: chance.choice([*WORDS, *actions]) for name in chance.sample(fields, 4)}
        body = "&".join(f"{name}={quote(value)}" for name, value in values.items()).encode()
        if chance.random() < 0.3:
            body = bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
        if chance.random() < 0.3:
            body = (
                b'--b\r\nContent-Disposition: form-data; name="library"; filename="x"\r\n\r\n'
                + body
                + b"\r\n--b--\r\n"
            )
        method = chance.choice(["GET", "POST", "HEAD", "PUT", "OPTIONS"])
        headers = {
            "Content-Type": chance.choice(kinds),
            "Cookie": chance.choice(cookies),
        }
        try:
            reply = site.ask(method, path + query, body if method == "POST" else None, headers)
        except (http.client.HTTPException, ConnectionError):
            continue  # refused before there was a request
        assert reply.status < 500 or reply.status == 503, (method, path, query, body[:500], headers)
        assert "content-security-policy" in reply.headers or reply.status == 400
        seen.add((path.split("/")[1], reply.status))
    rooms = {route.split("/")[1] for route, _, _ in ROUTES if route != "/admin/login"}
    assert {room for room, status in seen if status == 200} >= rooms - {"unsubscribe"}


def test_health_and_metrics(site: World) -> None:
    assert json.loads(site.get("/healthz").body) == {"status": "ok"}
    assert json.loads(site.get("/readyz").body) == {"status": "ready"}
    lines = site.get("/metrics").text.splitlines()
    assert "digestbot_papers 5" in lines
    assert any(line.startswith('digestbot_subscribers{status="confirmed"} ') for line in lines)

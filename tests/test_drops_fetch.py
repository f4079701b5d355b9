"""Fetching from sources, against a real server on a loopback port that answers what it is told to."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from digestbot.drops.folder import DropFolder
from digestbot.errors import UsageError
from digestbot.fetching import Fetched, fetch_arxiv, fetch_huggingface
from digestbot.ingest import ingest_waiting
from digestbot.sources import Client, ComeBackLater, Outage, read_categories
from digestbot.storage.operation import OperationStore
from digestbot.storage.papers import PaperStore
from tests.catalogue_world import NOW, counts, database
from tests.shared import shared


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0  # bytes announced and never sent


@dataclass
class Asked:
    query: dict[str, str]
    headers: dict[str, str]


class Source:
    """A server whose answers a test gives; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply] = lambda _: Reply()
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                asked = Asked(query, dict(self.headers))
                source.asked.append(asked)
                reply = source.answer(asked)
                self.send_response(reply.status)
                for name, value in {
                    "Content-Length": str(len(reply.body) + reply.cut),
                    **reply.headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class World:
    source: Source
    folder: DropFolder
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        db = database()
        self.papers, self.marks = PaperStore(db), OperationStore(db)
        self.client = Client(sleep=self.slept.append, timeout_s=5, max_wait_s=60)

    def incoming(self) -> list[str]:
        return (
            sorted(path.name for path in self.folder.incoming.iterdir())
            if self.folder.incoming.exists()
            else []
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    source = Source()
    yield World(source, DropFolder(tmp_path / "drops"))
    source.close()


def feed(*numbers: int, total: int | None = None) -> Reply:
    entries = "".join(
        f"<entry><id>http://arxiv.org/abs/2611.{n:05}v1</id><title>Owl number {n} of the wood</title>"
        f"<summary>Of owl {n}.</summary><published>2026-11-20T00:00:00Z</published></entry>\n"
        for n in numbers
    )
    total = len(numbers) if total is None else total
    return Reply(
        f"""<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
<id>https://arxiv.org/api/x</id><opensearch:totalResults>{total}</opensearch:totalResults>
{entries}</feed>""".encode()
    )


def daily(*numbers: int, etag: str = "") -> Reply:
    papers = [
        {"paper": {"id": f"2611.{n:05}", "title": f"Owl number {n} of the wood", "summary": "Hoo."}}
        for n in numbers
    ]
    return Reply(json.dumps(papers).encode(), headers={"ETag": etag} if etag else {})


# ---- arXiv ------------------------------------------------------------------------------------------------------


def test_arxiv_is_read_page_by_page_with_a_pause(world: World) -> None:
    def answer(asked: Asked) -> Reply:
        start = int(asked.query["start"])
        return feed(*range(start, min(start + 2, 5)), total=5)

    world.source.answer = answer
    found = fetch_arxiv(
        world.folder, world.marks, ["cs.LG", "stat.ML"], now=NOW, client=world.client, url=world.source.url
    )
    assert [asked.query["start"] for asked in world.source.asked] == ["0", "2", "4"]
    assert world.slept == [3.0, 3.0]
    assert world.source.asked[0].query["search_query"] == (
        "(cat:cs.LG OR cat:stat.ML) AND submittedDate:[202611180000 TO 202611212359]"
    )
    assert (
        world.incoming()
        == [f"arxiv-20261121T080000Z-{n}.xml" for n in (1, 2, 3)]
        == [p.name for p in found.drops]
    )
    reports = ingest_waiting(world.papers, world.folder, now=NOW).reports
    assert sum(r.new for r in reports) == 5


def test_the_recorded_replies_of_arxiv(world: World) -> None:
    recorded = shared("corpora/arxiv/q_testing_s0_m100_cfe7536492ca.xml").read_bytes()
    world.source.answer = lambda _: Reply(re.sub(rb"(totalResults>)\d+", rb"\g<1>100", recorded))
    fetch_arxiv(world.folder, world.marks, ["cs.SE"], now=NOW, client=world.client, url=world.source.url)
    (report,) = ingest_waiting(world.papers, world.folder, now=NOW).reports
    assert (report.format, counts(report)) == ("arxiv-atom", (100, 0, 0, 0))
    error = shared("corpora/arxiv/id_abc_s0_m100_b79c8dcf6bc3.xml").read_bytes()
    world.source.answer = lambda _: Reply(error)
    with pytest.raises(Outage, match="incorrect id format for abc"):
        fetch_arxiv(world.folder, world.marks, ["cs.SE"], now=NOW, client=world.client, url=world.source.url)


def test_a_paper_that_comes_late_is_new_once(world: World) -> None:
    seen = []
    for day, numbers in ((0, [1, 2]), (1, [1, 2, 3]), (2, [1, 2, 3])):
        now = NOW + timedelta(days=day)
        world.source.answer = lambda _, numbers=numbers: feed(*numbers)  # type: ignore[misc]
        fetch_arxiv(world.folder, world.marks, ["cs.LG"], now=now, client=world.client, url=world.source.url)
        seen += [(r.new, r.known) for r in ingest_waiting(world.papers, world.folder, now=now).reports]
    assert seen == [(2, 0), (1, 2), (0, 3)]


def fetch_lg(world: World) -> Fetched:
    return fetch_arxiv(
        world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url
    )


def test_arxiv_is_asked_for_what_changed_only(world: World) -> None:
    etag = '"one"'

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("If-None-Match") == etag:
            return Reply(status=304)
        return replace(feed(1, 2), headers={"ETag": etag})

    world.source.answer = answer
    assert [(len(f.drops), f.unchanged) for f in (fetch_lg(world), fetch_lg(world))] == [(1, 0), (0, 1)]
    etag = '"two"'
    assert len(fetch_lg(world).drops) == 1


def test_several_pages_of_arxiv_are_always_read_anew(world: World) -> None:
    def answer(asked: Asked) -> Reply:
        assert "If-None-Match" not in asked.headers
        start = int(asked.query["start"])
        return replace(feed(start, start + 1, total=4), headers={"ETag": '"page"'})

    world.source.answer = answer
    assert [len(fetch_lg(world).drops) for _ in range(2)] == [2, 2]


def test_not_modified_is_believed_only_where_it_was_asked(world: World) -> None:
    world.source.answer = lambda _: Reply(status=304)
    with pytest.raises(Outage, match="304"):
        fetch_lg(world)
    with pytest.raises(Outage, match="304"):
        fetch_huggingface(world.folder, world.marks, now=NOW, client=world.client, url=world.source.url)


def test_an_empty_day_is_no_outage(world: World) -> None:
    world.source.answer = lambda _: feed()
    found = fetch_arxiv(
        world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url
    )
    assert (found.drops, found.empty, world.incoming()) == ((), 1, [])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", 500),
        Reply(b"", 404),
        Reply(b""),
        Reply(b"<html><body>Be right back</body></html>"),
        replace(feed(1, 2), body=feed(1, 2).body[:-30]),
        replace(feed(1, 2), cut=1000),
        feed(total=7),
    ],
    ids=["500", "404", "nothing", "html", "cut", "broken off", "empty page of seven"],
)
def test_an_outage_is_no_empty_day(world: World, reply: Reply) -> None:
    world.source.answer = lambda _: reply
    with pytest.raises(Outage):
        fetch_arxiv(world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url)
    with pytest.raises(Outage):
        fetch_huggingface(world.folder, world.marks, now=NOW, client=world.client, url=world.source.url)
    assert world.incoming() == []


def test_nobody_there_is_an_outage(world: World) -> None:
    world.source.close()
    with pytest.raises(Outage, match="refused"):
        fetch_arxiv(world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url)
    assert len(world.slept) == 3


def test_a_page_that_fails_in_the_middle_leaves_no_drop(world: World) -> None:
    world.source.answer = lambda asked: (
        feed(1, 2, total=4) if asked.query["start"] == "0" else Reply(b"", 500)
    )
    with pytest.raises(Outage):
        fetch_arxiv(world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url)
    assert world.incoming() == []


@pytest.mark.parametrize("texts", [[], ["cs.LG OR all:x"], ["../x"], ["CS"]])
def test_categories_are_checked(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="categories of arXiv"):
        read_categories(texts)
    assert read_categories(["cs.LG,stat.ML", "astro-ph cs.LG", "cond-mat.mes-hall"]) == [
        "cs.LG", "stat.ML", "astro-ph", "cond-mat.mes-hall",
    ]  # fmt: skip


# ---- Hugging Face and good manners ------------------------------------------------------------------------------


def test_three_days_are_asked_for_and_only_what_changed_is_read_again(world: World) -> None:
    days = {
        "2026-11-19": daily(1, etag='"a"'),
        "2026-11-20": daily(2, 3, etag='W/"b"'),
        "2026-11-21": daily(),
    }

    def answer(asked: Asked) -> Reply:
        reply = days[asked.query["date"]]
        known = asked.headers.get("If-None-Match")
        return Reply(status=304) if known and known == reply.headers.get("ETag") else reply

    world.source.answer = answer
    first = fetch_huggingface(world.folder, world.marks, now=NOW, client=world.client, url=world.source.url)
    assert (len(first.drops), first.empty, first.unchanged) == (2, 1, 0)
    assert sum(r.new for r in ingest_waiting(world.papers, world.folder, now=NOW).reports) == 3
    days["2026-11-19"] = daily(1, 4, etag='"c"')  # it came late
    second = fetch_huggingface(world.folder, world.marks, now=NOW, client=world.client, url=world.source.url)
    assert (len(second.drops), second.empty, second.unchanged) == (1, 1, 1)
    (report,) = ingest_waiting(world.papers, world.folder, now=NOW).reports
    assert counts(report) == (1, 1, 0, 0)


def test_last_modified_is_a_validator_too(world: World) -> None:
    stamp = "Sat, 21 Nov 2026 07:00:00 GMT"
    world.source.answer = lambda asked: (
        Reply(status=304)
        if asked.headers.get("If-Modified-Since") == stamp
        else replace(daily(1), headers={"Last-Modified": stamp})
    )
    for unchanged in (0, 3):
        found = fetch_huggingface(
            world.folder, world.marks, now=NOW, client=world.client, url=world.source.url
        )
        assert found.unchanged == unchanged


@pytest.mark.parametrize("status", [429, 503])
def test_a_short_pause_is_waited_for(world: World, status: int) -> None:
    replies = [Reply(status=status, headers={"Retry-After": "7"}), feed(1)]
    world.source.answer = lambda _: replies.pop(0)
    found = fetch_arxiv(
        world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url
    )
    assert (len(found.drops), world.slept) == (1, [7.0])


def test_a_long_pause_is_kept_until_it_is_over(world: World) -> None:
    world.source.answer = lambda _: Reply(status=429, headers={"Retry-After": "3600"})
    for minutes in (0, 59):
        with pytest.raises(ComeBackLater):
            fetch_huggingface(
                world.folder,
                world.marks,
                now=NOW + timedelta(minutes=minutes),
                client=world.client,
                url=world.source.url,
            )
    assert (len(world.source.asked), world.slept) == (1, [])
    world.source.answer = lambda _: daily()
    later = NOW + timedelta(minutes=60)
    assert (
        fetch_huggingface(
            world.folder, world.marks, now=later, client=world.client, url=world.source.url
        ).empty
        == 3
    )


@pytest.mark.parametrize("when", ["Fri, 31 Dec 2099 23:59:59 GMT", "Fri, 31 Dec 2099 23:59:59 -0000"])
def test_a_retry_after_may_be_a_date(world: World, when: str) -> None:
    world.source.answer = lambda _: Reply(status=503, headers={"Retry-After": when})
    with pytest.raises(ComeBackLater):
        fetch_arxiv(world.folder, world.marks, ["cs.LG"], now=NOW, client=world.client, url=world.source.url)
    assert world.slept == []


@pytest.mark.parametrize("nonsense", ["9" * 400, "\u00b2", "soon", "", "-5", "1e400"])
def test_a_retry_after_that_makes_no_sense_is_ten_seconds(world: World, nonsense: str) -> None:
    replies = [Reply(status=503, headers={"Retry-After": nonsense}), feed(1)]
    world.source.answer = lambda _: replies.pop(0)
    assert len(fetch_lg(world).drops) == 1
    assert world.slept == [10.0]

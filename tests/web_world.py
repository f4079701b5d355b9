"""A running site in a folder of its own, asked over real HTTP."""

from __future__ import annotations

import contextlib
import http.client
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from digestbot.desk import Desk, make_renderer
from digestbot.due_slots import compose_due
from digestbot.ingest import ingest_file
from digestbot.links import Links, derive_key
from digestbot.model import EntryKind, OutboxEntry, Subscriber, SubscriberId
from digestbot.settings import Settings, parse_settings
from digestbot.storage import open_storage
from digestbot.subscriptions import Office, new_subscriber
from digestbot.web.server import Handle, serve_in_thread

SECRET = "a secret of thirty-two characters"
NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
BIRDS = (
    "We listen to birds on one wire. Their song is shared by seven. We find that the wire carries the tune. "
    * 3
)
MOSS = (
    "We measure how moss grows on bridges. It follows the handrail. The result holds for every kind of moss. "
    * 3
)
DAY_ONE: list[dict[str, object]] = [
    {
        "title": "Seven birds on one wire share a song",
        "abstract": BIRDS,
        "authors": ["Ada Moss", "Ben Fern"],
        "upvotes": 40,
    },
    {"title": "Moss on bridges of the north", "abstract": MOSS, "arxiv_id": "2611.00001", "comments": 3},
    {"title": "Ferns & moss under <railway> arches", "abstract": MOSS + " See https://ferns.example.org/x."},
    {"title": "A song of wires: birdsong in the city at night", "abstract": BIRDS, "doi": "10.1234/wires"},
]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def first_link(self, pattern: str) -> str:
        found = re.search(rf'(?:href|action)="([^"]*{pattern}[^"]*)"', self.text)
        assert found, f"no link like {pattern}"
        return found[1].replace("&amp;", "&")


@dataclass
class World:
    """`now` may be moved; the site follows."""

    settings: Settings
    links: Links
    now: datetime = NOW
    handle: Handle | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    # ---- the site -----------------------------------------------------------------------------------------------

    def get(self, url: str, **headers: str) -> Answer:
        return self.ask("GET", url, headers=headers)

    def post(self, url: str, form: Mapping[str, object] | None = None, **headers: str) -> Answer:
        body = urlencode(form or {}, doseq=True).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", url, body, {**kind, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def post_parts(self, url: str, form: Mapping[str, str], files: Mapping[str, bytes]) -> Answer:
        """As multipart/form-data."""
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
            for k, v in form.items()
        ]
        parts += [
            f'--{mark}\r\nContent-Disposition: form-data; name="{k}"; filename="{k}"\r\n\r\n'.encode()
            + v
            + b"\r\n"
            for k, v in files.items()
        ]
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        return self.ask("POST", url, body, {"Content-Type": f"multipart/form-data; boundary={mark}"})

    def ask(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        assert self.handle is not None
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(urlsplit(self.handle.url).netloc, timeout=30)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(
                method, target, body, {k.replace("_", "-"): v for k, v in (headers or {}).items()}
            )
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    # ---- what lies behind it ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def desk(self) -> Iterator[Desk]:
        with open_storage(self.settings) as storage:
            yield Desk(self.settings, storage, self.links, make_renderer(self.settings, self.links))

    @contextlib.contextmanager
    def office(self) -> Iterator[Office]:
        with self.desk() as desk:
            yield Office(desk.storage, self.links, "example.org", self.now)

    def ingest(self, papers: Sequence[Mapping[str, object]], *, at: datetime | None = None) -> None:
        import json

        path = self.settings.state / f"{uuid.uuid4().hex}.jsonl"
        path.write_text("".join(json.dumps(paper) + "\n" for paper in papers), "utf-8")
        with self.desk() as desk:
            ingest_file(desk.storage.papers, path, now=at or self.now)
        path.unlink()

    def add(self, email: str, *topics: str, confirmed: bool = True, **fields: object) -> Subscriber:
        form = {"email": email, "topics": list(topics), **fields}
        with self.office() as office:
            return office.subscribe(new_subscriber(form, confirmed=confirmed), how="test")

    def find(self, email: str) -> Subscriber | None:
        with self.desk() as desk:
            return desk.storage.subscribers.find(email)

    def compose(self) -> None:
        """One tick at `now`."""
        with self.desk() as desk:
            compose_due(desk, self.now)

    def mails(self, kind: EntryKind | None = None) -> list[OutboxEntry]:
        with self.desk() as desk:
            found = desk.storage.entries.list_entries(limit=100_000)
        return [entry for entry in found if kind is None or entry.kind is kind]

    def votes(self, subscriber_id: SubscriberId) -> set[tuple[int, str]]:
        with self.desk() as desk:
            said = desk.storage.subscribers.votes([subscriber_id]).get(subscriber_id, ())
            return {(vote.paper_id, vote.opinion.value) for vote in said}

    def rows(self) -> list[object]:
        """Every row of every table."""
        with self.desk() as desk:
            db = desk.storage.db
            tables = [
                str(r[0])
                for r in db.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            ]
            return [(table, sorted(map(repr, db.rows(f"SELECT * FROM {table}")))) for table in tables]


@contextlib.contextmanager
def running(folder: Path, **settings: str) -> Iterator[World]:
    """A site with the papers of one day; `settings` by their names without prefix."""
    state = folder / "state"
    state.mkdir(exist_ok=True)
    values = {
        "STATE": str(state),
        "SECRET_KEY": SECRET,
        "BASE_URL": "https://papers.example.org",
        "FROM": "Paper Digest <digest@example.org>",
        **settings,
    }
    parsed = parse_settings({f"DIGESTBOT_{name}": value for name, value in values.items()})
    world = World(parsed, Links(parsed.base_url, [derive_key(key) for key in parsed.secret_keys]))
    world.ingest(DAY_ONE, at=NOW - timedelta(hours=2))
    world.handle = serve_in_thread(parsed, "127.0.0.1", 0, clock=lambda: world.now)
    try:
        yield world
    finally:
        world.handle.stop()

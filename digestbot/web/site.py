"""What all rooms share: settings, storage by request, templates, the candidates of now, and limits."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import parseaddr
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from digestbot.desk import Desk, make_renderer
from digestbot.links import Links, derive_key
from digestbot.semantics import find_embedder
from digestbot.settings import Settings
from digestbot.storage import Storage, open_storage
from digestbot.subscriptions import Office, missing_secret
from digestbot.templating import Templates
from digestbot.web.limits import Limits, Rule
from digestbot.web.shelf import Shelf
from digestbot.wording import direction, long_date, short_date

CONNECTIONS = 16  # to the database at once, at most
PAGES_KEPT = 300  # about 60 KB each
BUSY_S = 30.0  # until a visitor who waits for one of them is sent away
_STATIC = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Site:
    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] | None = None) -> None:
        """Raises SettingsError without a secret key, StorageError, TemplateError for a wrong template, and UsageError for
        a wrong embedding model."""
        keys = [derive_key(key) for key in settings.secret_keys]
        if not keys:
            raise missing_secret()
        self.settings = settings
        self.links = Links(settings.base_url, keys)
        self.renderer = make_renderer(settings, self.links)
        self.now = clock or _now
        self.limits = Limits()
        self._embedder = find_embedder(settings)
        self.shelf = Shelf(settings.window_days, self._embedder)
        self.root = urlsplit(settings.base_url).path.rstrip("/")
        self._templates = Templates(
            settings.templates,
            filters={"short_date": short_date, "long_date": long_date, "direction": direction},
        )
        if settings.templates is not None:
            self._templates.compile("web/")
        self._pages: OrderedDict[Hashable, Response] = OrderedDict()
        self._keeping = threading.Lock()
        self._closing = ExitStack()
        self._idle: queue.LifoQueue[Storage] = queue.LifoQueue()
        self._left = CONNECTIONS
        self._opening = threading.Lock()
        self._idle.put(self._open())  # so that what is wrong with it is said at the start
        self.static = lru_cache(self._static)
        self._version = hashlib.sha256(b"".join(self.static(name)[0] for name in _STATIC)).hexdigest()[:12]

    # ---- storage ------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Desk]:
        """A desk on a rehearsal of the storage: one state of it, and nothing that is done lasts."""
        with self._storage() as storage, storage.db.rehearsal(writing=False):
            yield self._desk(storage)

    @contextmanager
    def writing(self) -> Iterator[Desk]:
        with self._storage() as storage:
            yield self._desk(storage)

    def office(self, desk: Desk, now: datetime) -> Office:
        return Office(desk.storage, self.links, desk.mail_domain, now)

    def close(self) -> None:
        self._closing.close()

    def _desk(self, storage: Storage) -> Desk:
        return Desk(self.settings, storage, self.links, self.renderer, self._embedder, keeps_embeddings=False)

    @contextmanager
    def _storage(self) -> Iterator[Storage]:
        storage = self._take()
        try:
            yield storage
        finally:
            self._idle.put(storage)

    def _take(self) -> Storage:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        with self._opening:
            if self._left > 0:
                return self._open()
        try:
            return self._idle.get(timeout=BUSY_S)
        except queue.Empty:
            raise HTTPException(503, headers={"Retry-After": "30"}) from None

    def _open(self) -> Storage:
        self._left -= 1
        return self._closing.enter_context(open_storage(self.settings))

    def kept(self, key: Hashable, make: Callable[[], Response]) -> Response:
        """A public page, made once for each key; the least used are forgotten."""
        with self._keeping:
            found = self._pages.get(key)
            if found is not None:
                self._pages.move_to_end(key)
                return found
        made = make()
        with self._keeping:
            self._pages[key] = made
            while len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return made

    # ---- replies ------------------------------------------------------------------------------------------------

    def page(
        self, name: str, values: Mapping[str, object], *, status: int = 200, private: bool = True
    ) -> Response:
        """A page of `templates/web/`. private: it hangs on a token, so nobody keeps or indexes it."""
        shared = {
            "name": parseaddr(self.settings.from_)[0] or self.settings.from_address,
            "postal_address": self.settings.postal_address,
            "root": self.root,
            "version": self._version,
            "private": private,
            "signup": self.settings.signup,
        }
        html = self._templates.render(f"web/{name}", {**shared, **values})
        response = HTMLResponse(html.encode("utf-8", "replace"), status_code=status)
        if not private:
            response.headers["cache-control"] = "public, max-age=60"
        return response

    def path(self, url: str) -> str:
        """One of our own absolute URLs as a path, so that pages work under every name they are reached by."""
        return self.root + url.removeprefix(self.links.base_url)

    def _static(self, name: str) -> tuple[bytes, str]:
        """Bytes and media type of a file of the pages; the mails' theme is the pages', too."""
        if name not in _STATIC:
            raise HTTPException(404)
        text = self._templates.source(f"web/{name}")[1]
        if name == "style.css":
            text = self._templates.source("email/theme.css")[1] + text
        return text.encode(), _STATIC[name]

    def limit(self, rule: Rule, network: str) -> None:
        """Raises HTTPException 429 where a network asks too often."""
        if not self.limits.allow(rule, network, time.monotonic()):
            raise HTTPException(429, headers={"Retry-After": str(round(rule.per_s))})


def not_found() -> HTTPException:
    """The one answer to what does not exist, is forged, or is not for this visitor."""
    return HTTPException(404)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

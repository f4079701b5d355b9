"""The routes, and what surrounds every room: limits of size, security headers, pages for errors."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digestbot.errors import StorageError
from digestbot.web import account, admin, digests, health, public, signup
from digestbot.web.site import Site
from digestbot.web.visit import FORM_BYTES, LIBRARY_BYTES, Form, Visit, network_of, read_form

Room = Callable[[Site, Visit], Response]
BODY_S = 30.0  # for a request's body to arrive
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",  # URLs hold tokens
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), interest-cohort=()",
    "cache-control": "no-store",
}
_SAID = {
    400: ("This request cannot be read.", "Something about the form was wrong. Go back and try again."),
    403: ("This is not allowed.", "The request came from another site."),
    404: ("There is no such page.", "The link may be cut off, or what it led to is gone."),
    405: ("This cannot be done here.", "The page exists, but not for this kind of request."),
    408: ("That took too long.", "Please try again."),
    413: ("This is too large.", "A library may have up to 4 MB."),
    429: ("Too many requests.", "Please wait a while and try again."),
    500: ("Something went wrong.", "It is our fault, and it is recorded. Please try again later."),
    503: ("Too busy.", "Please try again in a minute."),
}
log = logging.getLogger(__name__)

READ, BOTH, POST = ("GET",), ("GET", "POST"), ("POST",)
ROUTES: Sequence[tuple[str, Room, Sequence[str]]] = (
    ("/", public.home, READ),
    ("/day/{day}", public.day, READ),
    ("/week/{week}", public.week, READ),
    ("/month/{month}", public.month, READ),
    ("/paper/{id}.bib", public.paper_bib, READ),
    ("/paper/{id}.ris", public.paper_ris, READ),
    ("/paper/{id}", public.paper, READ),
    ("/feed.xml", public.feed, READ),
    ("/suggest", public.suggest, READ),
    ("/subscribe", signup.subscribe, BOTH),
    ("/confirm/{token}", signup.confirm, BOTH),
    ("/preferences/{token}", account.preferences, BOTH),
    ("/preferences/{token}/saved.{form:str}", account.saved, READ),
    ("/preferences/{token}/export.json", account.export, READ),
    ("/unsubscribe/{token}", account.unsubscribe, BOTH),
    ("/feedback/{token}", digests.feedback, BOTH),
    ("/digest/{token}.bib", digests.digest_bib, READ),
    ("/digest/{token}", digests.digest, BOTH),
    ("/feed/{token}.xml", digests.feed, READ),
    ("/healthz", health.healthz, READ),
    ("/readyz", health.readyz, READ),
    ("/metrics", health.metrics, READ),
    ("/robots.txt", health.robots, READ),
    ("/static/{name}", health.static, READ),
    ("/admin", admin.overview, READ),
    ("/admin/login", admin.login, POST),
    ("/admin/logout", admin.logout, POST),
    ("/admin/subscribers", admin.subscribers, READ),
    ("/admin/drops", admin.drops, READ),
    ("/admin/outbox", admin.outbox, READ),
    ("/admin/preview/{id}", admin.one_preview, READ),
    ("/admin/preview/{id}/mail", admin.preview_mail, READ),
)


def make_app(site: Site) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        site.close()

    app = Starlette(
        routes=[Route(path, _endpoint(site, room), methods=list(methods)) for path, room, methods in ROUTES],
        exception_handlers={HTTPException: _explain(site), Exception: _apologise(site)},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a token with a slash behind it is no token
    return Surroundings(app, site)


class Surroundings:
    """Around everything: the base URL's path taken off, bodies cut at their limit, headers on every answer."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._root = site.root
        self._secure = site.settings.is_secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if self._root and (path == self._root or path.startswith(self._root + "/")):
            scope = {**scope, "path": path.removeprefix(self._root) or "/"}
            scope.pop("raw_path", None)
        await self._app(scope, _limited(scope, receive), self._with_headers(send))

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if headers["cache-control"] == "no-store":
                    headers.setdefault("x-robots-tag", "noindex, nofollow")
                if self._secure:
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        return sending


def _limited(scope: Scope, receive: Receive) -> Receive:
    """The body, refused with 413 where too many bytes are announced or come, and with 408 where they do not come."""
    path: str = scope["path"]
    takes_library = path.startswith(("/subscribe", "/preferences/"))
    most = LIBRARY_BYTES + FORM_BYTES if takes_library else FORM_BYTES
    taken, announced = 0, int(Headers(scope=scope).get("content-length", 0))

    async def receiving() -> Message:
        nonlocal taken
        message = await receive() if announced <= most else {}
        taken += len(message.get("body", b""))
        if max(taken, announced) > most:
            raise HTTPException(413, headers={"Connection": "close"})
        return message

    return receiving


def _endpoint(site: Site, room: Room) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        visit = Visit(
            method="POST" if request.method == "POST" else "GET",
            params=request.path_params,
            query=request.query_params,
            headers=request.headers,
            cookies=request.cookies,
            form=await _form(request) if request.method == "POST" else Form(),
            network=network_of(request, site.settings.trusted_proxies),
            now=site.now(),
        )
        reply = await run_in_threadpool(room, site, visit)
        return _fresh(request, reply)

    return answer


async def _form(request: Request) -> Form:
    try:
        async with asyncio.timeout(BODY_S):
            return await read_form(request)
    except TimeoutError:
        raise HTTPException(408, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400) from None


def _fresh(request: Request, reply: Response) -> Response:
    """304 instead of a public page or feed that the visitor has already."""
    if request.method == "POST" or reply.status_code != 200 or not reply.body:
        return reply
    tag = f'"{hashlib.sha256(reply.body).hexdigest()[:32]}"'
    reply.headers["etag"] = tag
    if tag in request.headers.get("if-none-match", ""):
        kept = {k: v for k, v in reply.headers.items() if k in ("etag", "cache-control")}
        return Response(status_code=304, headers=kept)
    return reply


def _explain(site: Site) -> Callable[[Request, Exception], Response]:
    def explain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error_page(site, error.status_code, error.headers)

    return explain


def _apologise(site: Site) -> Callable[[Request, Exception], Response]:
    def apologise(request: Request, error: Exception) -> Response:
        route = request.scope.get("route")
        log.error("%s failed: %s: %s", getattr(route, "path", "a page"), type(error).__name__, error)
        return _error_page(site, 503 if isinstance(error, StorageError) else 500)

    return apologise


def _error_page(site: Site, status: int, headers: object = None) -> Response:
    title, text = _SAID.get(status, _SAID[500] if status >= 500 else _SAID[400])
    reply = site.page("error.html", {"title": title, "text": text}, status=status)
    if isinstance(headers, dict):
        reply.headers.update(headers)
    return reply

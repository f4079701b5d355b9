"""The operator's pages behind DIGESTBOT_ADMIN_PASSWORD: plain lists, nothing to change."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from digestbot.compose import Nothing
from digestbot.desk import Desk
from digestbot.model import EntryState, Subscriber, SubscriberId
from digestbot.previews import Preview, preview, rendered
from digestbot.web.limits import LOGINS
from digestbot.web.site import Site, not_found
from digestbot.web.visit import Visit

COOKIE = "digestbot_operator"
SESSION_S = 12 * 3600
ROWS = 100
MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


def operator_only(room: Callable[[Site, Visit], Response]) -> Callable[[Site, Visit], Response]:
    """The room for a visitor with the cookie; for others the door to it, or 404 where no password is set."""

    def guarded(site: Site, visit: Visit) -> Response:
        if site.settings.admin_password is None:
            raise not_found()
        if not _is_operator(site, visit):
            return site.page("admin_login.html", {"wrong": False}, status=403)
        return room(site, visit)

    return guarded


def login(site: Site, visit: Visit) -> Response:
    password = site.settings.admin_password
    if password is None:
        raise not_found()
    check_origin(site, visit)
    site.limit(LOGINS, visit.network)
    given = hashlib.sha256(visit.form.text("password").encode()).digest()
    if not hmac.compare_digest(given, hashlib.sha256(password.strip().encode()).digest()):
        return site.page("admin_login.html", {"wrong": True}, status=403)
    reply = RedirectResponse(f"{site.root}/admin", 303)
    reply.set_cookie(
        COOKIE,
        _ticket(site, int(visit.now.timestamp()) + SESSION_S),
        max_age=SESSION_S,
        path=f"{site.root}/admin",
        secure=True,
        httponly=True,
        samesite="strict",
    )
    return reply


def logout(site: Site, visit: Visit) -> Response:
    if site.settings.admin_password is None:
        raise not_found()
    check_origin(site, visit)
    reply = RedirectResponse(f"{site.root}/", 303)
    reply.delete_cookie(COOKIE, path=f"{site.root}/admin", secure=True, httponly=True, samesite="strict")
    return reply


def check_origin(site: Site, visit: Visit) -> None:
    """Raises HTTPException 403 for a POST that another site's page makes (CSRF)."""
    fetched = visit.headers.get("sec-fetch-site")
    if fetched is not None:  # browsers say Origin: null under our Referrer-Policy, but this they say truly
        if fetched not in ("same-origin", "none"):
            raise HTTPException(403)
        return
    origin = visit.headers.get("origin")
    own = {visit.headers.get("host", ""), urlsplit(site.settings.base_url).netloc}
    if origin is not None and urlsplit(origin).netloc not in own:
        raise HTTPException(403)


@operator_only
def overview(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        storage = desk.storage
        values = {
            "papers": storage.papers.count(),
            "subscribers": {s.value: n for s, n in storage.subscribers.count_by_status().items()},
            "outbox": {s.value: n for s, n in storage.entries.counts().items() if n},
            "next_due_at": storage.subscribers.next_due_at(),
            "alarms": storage.operation.alarms(),
            "runs": [
                (begin, end, _in_words(report)) for begin, end, report in storage.operation.last_runs(ROWS)
            ],
        }
    return site.page("admin.html", values)


@operator_only
def subscribers(site: Site, visit: Visit) -> Response:
    text, after = visit.query.get("q", "")[:254], _number(visit.query.get("after", "0"))
    with site.reading() as desk:
        found = desk.storage.browsing.subscribers(text, after=after, count=ROWS + 1)
    more = found[ROWS - 1].id if len(found) > ROWS else None
    return site.page("admin_subscribers.html", {"found": found[:ROWS], "query": text, "more": more})


@operator_only
def drops(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        return site.page("admin_drops.html", {"drops": desk.storage.drops.last(ROWS)})


@operator_only
def outbox(site: Site, visit: Visit) -> Response:
    state = visit.query.get("state", "")
    wanted = [EntryState(state)] if state in list(EntryState) else []
    with site.reading() as desk:
        found = desk.storage.entries.list_entries(wanted, limit=ROWS)
    return site.page("admin_outbox.html", {"entries": found, "state": state, "states": list(EntryState)})


@operator_only
def one_preview(site: Site, visit: Visit) -> Response:
    with site.reading() as desk:
        shown = _preview(site, desk, visit)
        nothing = shown.result.cause.value if isinstance(shown.result, Nothing) else ""
        subject = "" if nothing else rendered(desk, shown).subject
    values = {"subscriber": shown.subscriber, "nothing": nothing, "subject": subject}
    return site.page("admin_preview.html", values)


@operator_only
def preview_mail(site: Site, visit: Visit) -> Response:
    """The mail itself, for a frame in which nothing runs and nothing loads."""
    with site.reading() as desk:
        shown = _preview(site, desk, visit)
        if isinstance(shown.result, Nothing):
            raise not_found()
        body = rendered(desk, shown).html_body()
    return HTMLResponse(
        body, headers={"content-security-policy": MAIL_POLICY, "x-frame-options": "SAMEORIGIN"}
    )


def _preview(site: Site, desk: Desk, visit: Visit) -> Preview:
    number = SubscriberId(_number(visit.params["id"]))
    subscriber: Subscriber | None = desk.storage.subscribers.get_many([number]).get(number)
    if subscriber is None:
        raise not_found()
    candidates = site.shelf.candidates(desk.storage, visit.now)
    with site.shelf.ranking:
        return next(preview(desk, candidates, [subscriber]))


def _ticket(site: Site, until: int) -> str:
    """`<until>.<signature>`: another key or another password ends all sessions."""
    secret = f"operator {site.settings.secret_keys[0]} {site.settings.admin_password}"
    key = hashlib.sha256(secret.encode()).digest()
    return f"{until}.{hmac.digest(key, str(until).encode(), 'sha256').hex()}"


def _is_operator(site: Site, visit: Visit) -> bool:
    until, _, _ = visit.cookies.get(COOKIE, "").partition(".")
    number = _number(until)
    genuine = hmac.compare_digest(_ticket(site, number).encode(), visit.cookies.get(COOKIE, "").encode())
    return genuine and number > _seconds(visit.now)


def _seconds(now: datetime) -> int:
    return int(now.timestamp())


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _in_words(report: dict[str, object]) -> str:
    """`papers: 12 new; digests: 3 composed`, what is 0 left out."""
    parts = []
    for name, counts in report.items():
        if isinstance(counts, dict) and any(counts.values()):
            parts.append(
                f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            )
    return "; ".join(parts) or "nothing"

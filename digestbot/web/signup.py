"""Sign-up and confirmation: double opt-in, with answers that are the same for every address."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from starlette.responses import Response

from digestbot import accounts
from digestbot.errors import DropError
from digestbot.links import EXPIRES_AFTER
from digestbot.model import Status, Subscriber, SubscriberId
from digestbot.schedule import next_digest
from digestbot.subscriber_form import NOBODY, FormError, overlay
from digestbot.subscriptions import CONSENT, new_subscriber
from digestbot.web import fields
from digestbot.web.limits import PREVIEWS, SIGN_UPS
from digestbot.web.shown import live_preview
from digestbot.web.site import Site, not_found
from digestbot.web.visit import Form, Visit

LIBRARY_ENTRIES = 3000  # each is compared with the catalogue, while other writers wait
_ENTRY = re.compile(rb"@\s*\w+\s*[{(]|TY  -")  # of BibTeX or RIS
ANSWER_S = 0.3  # what every answer to a sign-up takes at least, whatever is done for it


def subscribe(site: Site, visit: Visit) -> Response:
    """The form; with `preview` what its topics would bring; else a confirmation mail, if one may go out."""
    if not visit.is_post:
        return _form_page(site, visit, [], Form())
    if visit.form.text("action") == "preview":
        return preview(site, visit)
    began = time.monotonic()
    site.limit(SIGN_UPS, visit.network)
    try:
        wanted = new_subscriber(
            {**fields.written_form(visit.form), "email": visit.form.text("email")}, confirmed=False
        )
        _sign_up(site, visit, wanted)
    except FormError as error:
        return _form_page(site, visit, error.problems, visit.form)
    except DropError as error:
        return _form_page(site, visit, [f"library: {error}"], visit.form)
    finally:
        time.sleep(max(0.0, began + ANSWER_S - time.monotonic()))
    return site.page("asked.html", {})


def preview(site: Site, visit: Visit) -> Response:
    """What topics would have brought, for somebody who is not subscribed."""
    site.limit(PREVIEWS, visit.network)
    try:
        wanted = overlay(NOBODY, fields.written_form(visit.form))
    except FormError as error:
        return _form_page(site, visit, error.problems, visit.form)
    with site.reading() as desk:
        shown = live_preview(site, desk, wanted, visit.now)
    if visit.wants_part:
        return site.page("preview_part.html", {"preview": shown, "problems": []})
    return _form_page(site, visit, [], visit.form, shown=shown)


def confirm(site: Site, visit: Visit) -> Response:
    """Double opt-in, and the confirmation of a new address by its owner."""
    read = site.links.read_confirm(visit.params["token"])
    moved = site.links.read_new_address(visit.params["token"])
    found = read or moved
    if found is None:
        raise not_found()
    if not timedelta(days=-1) <= visit.now - found[1] <= EXPIRES_AFTER:
        return site.page("expired.html", {}, status=410)
    if moved:
        return _confirm_address(site, visit, *moved)
    return _confirm_consent(site, visit, *found)


def _confirm_consent(site: Site, visit: Visit, subscriber_id: SubscriberId, asked_at: datetime) -> Response:
    with site.writing() if visit.is_post else site.reading() as desk:
        office = site.office(desk, visit.now)
        if visit.is_post:
            how = "confirmed by a link in a mail"
            office.confirm(subscriber_id, asked_at, how=how, detail=CONSENT)
        subscriber = desk.storage.subscribers.get_many([subscriber_id]).get(subscriber_id)
        if subscriber is None or subscriber.status is Status.SUPPRESSED:
            return site.page("expired.html", {}, status=410)
        if subscriber.status is not Status.CONFIRMED:
            wanted, _ = office.asked(subscriber, asked_at)
            return site.page("confirm.html", {"subscriber": wanted, "consent": CONSENT})
    with site.reading() as desk:
        shown = live_preview(site, desk, subscriber, visit.now)
    own = site.path(site.links.preferences(subscriber_id))
    due = next_digest(subscriber.schedule, subscriber.next_due_at)
    values = {"preview": shown, "preferences": own, "first_slot": due.slot if due else None}
    return site.page("confirmed.html", values)


def _confirm_address(site: Site, visit: Visit, subscriber_id: SubscriberId, asked_at: datetime) -> Response:
    if not visit.is_post:
        return site.page("new_address.html", {"done": None})
    with site.writing() as desk:
        office = site.office(desk, visit.now)
        done = accounts.take_new_address(office, subscriber_id, asked_at)
    return site.page("new_address.html", {"done": done}, status=200 if done else 410)


def _sign_up(site: Site, visit: Visit, wanted: Subscriber) -> None:
    wanted = replace(wanted, name=None)
    with uploaded(visit.form.files.get("library", b"")) as library, site.writing() as desk:
        office = site.office(desk, visit.now)
        accounts.sign_up(office, wanted, signup=site.settings.signup, library=library)


def _form_page(
    site: Site, visit: Visit, problems: list[str], form: Form, *, shown: object = None
) -> Response:
    values = {
        "view": fields.view(NOBODY, form),
        "email": form.text("email"),
        "problems": fields.labelled(problems),
        "preview": shown,
        "consent": CONSENT,
        "timezones": fields.timezones(),
        "weekdays": fields.WEEKDAY_NAMES,
        "weights": fields.WEIGHTS,
    }
    if visit.wants_part:
        return site.page("preview_part.html", values)
    with site.reading() as desk:
        values["suggested"] = site.shelf.suggest(desk.storage, visit.now, "")
    return site.page("subscribe.html", values, status=400 if problems else 200)


@contextmanager
def uploaded(data: bytes) -> Iterator[Path | None]:
    """An uploaded file on disk for as long as it is read; None: none was chosen. Raises DropError if it is too long."""
    if not data:
        yield None
        return
    entries = sum(1 for _ in _ENTRY.finditer(data))
    if entries > LIBRARY_ENTRIES:
        raise DropError(f"it has {entries} entries, and at most {LIBRARY_ENTRIES} are taken at once")
    with tempfile.TemporaryDirectory(prefix="digestbot-") as folder:
        path = Path(folder) / "library"
        path.write_bytes(data)
        yield path

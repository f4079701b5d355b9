"""A subscriber's own pages: preferences with their live preview, saved papers, one's data; and the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from starlette.responses import Response

from digestbot import accounts, bibliography
from digestbot.addresses import check_address
from digestbot.desk import Desk
from digestbot.errors import DropError, UsageError, in_short
from digestbot.links import EXPIRES_AFTER
from digestbot.model import Opinion, Paper, PaperId, Status, Subscriber, SubscriberId
from digestbot.roster import export_one
from digestbot.schedule import next_digest
from digestbot.subscriber_form import FormError, overlay
from digestbot.subscriptions import UNTIL_RESUMED
from digestbot.web import fields
from digestbot.web.limits import LIBRARIES, PREVIEWS
from digestbot.web.shown import live_preview
from digestbot.web.signup import uploaded
from digestbot.web.site import Site, not_found
from digestbot.web.visit import Form, Visit, text_reply
from digestbot.wording import counted, long_date

VOTES_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose page it is. is_fresh: the link is fresh, so it opens export, deletion and change of address, too."""

    subscriber: Subscriber
    is_fresh: bool


def preferences(site: Site, visit: Visit) -> Response:
    who = _read_token(site, visit)
    if isinstance(who, Response):
        return who
    action = visit.form.text("action", "save") if visit.is_post else ""
    if action in ("", "preview"):
        with site.reading() as desk:
            return _show(site, visit, desk, _owner(desk, *who))
    with site.writing() as desk:
        owner = _owner(desk, *who)
        act = _ACTIONS.get(action)
        if act is None or (action in _FRESH_ONLY and not owner.is_fresh):
            raise not_found()
        try:
            said = act(site, visit, desk, owner.subscriber)
        except (FormError, DropError, UsageError, ValueError) as error:
            problems = error.problems if isinstance(error, FormError) else [str(error)]
            return _page(site, visit, desk, owner, problems=problems, form=visit.form)
        if isinstance(said, Response):
            return said
        return _page(site, visit, desk, _owner(desk, *who), said=said)


def saved(site: Site, visit: Visit) -> Response:
    """Saved papers as BibTeX or RIS."""
    if visit.params["form"] not in ("bib", "ris"):
        raise not_found()
    who = _read_token(site, visit)
    if isinstance(who, Response):
        return who
    with site.reading() as desk:
        owner = _owner(desk, *who)
        papers = [paper for paper, opinion in _voted(desk, owner.subscriber) if opinion is Opinion.SAVE]
    if visit.params["form"] == "ris":
        text = bibliography.ris(papers, site.links)
        return text_reply(text, "application/x-research-info-systems", filename="saved.ris")
    return text_reply(bibliography.bibtex(papers, site.links), "application/x-bibtex", filename="saved.bib")


def export(site: Site, visit: Visit) -> Response:
    """All that is known of the subscriber, as JSON; opened by a fresh link only."""
    who = _read_token(site, visit)
    if isinstance(who, Response):
        return who
    with site.reading() as desk:
        owner = _owner(desk, *who)
        if not owner.is_fresh:
            raise not_found()
        document = export_one(desk.storage, owner.subscriber)
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return text_reply(text, "application/json", filename="digestbot.json")


def unsubscribe(site: Site, visit: Visit) -> Response:
    """GET asks; any POST does it at once and says so, RFC 8058's one-click too, years later and for the deleted."""
    subscriber_id = site.links.read_unsubscribe(visit.params["token"])
    if subscriber_id is None:
        raise not_found()
    if visit.is_post:
        with site.writing() as desk:
            site.office(desk, visit.now).unsubscribe(subscriber_id)
    return site.page("unsubscribe.html", {"done": visit.is_post})


# ---- who it is ------------------------------------------------------------------------------------------------------


def _read_token(site: Site, visit: Visit) -> tuple[SubscriberId, bool] | Response:
    """(whose token, whether it is a fresh link's); a page where a fresh link is expired."""
    token = visit.params["token"]
    lasting, fresh = site.links.read_preferences(token), site.links.read_account(token)
    if lasting is not None:
        return lasting, False
    if fresh is None:
        raise not_found()
    if visit.now - fresh[1] > EXPIRES_AFTER:
        return site.page("expired.html", {}, status=410)
    return fresh[0], True


def _owner(desk: Desk, subscriber_id: SubscriberId, is_fresh: bool) -> Owner:
    subscriber = desk.storage.subscribers.get_many([subscriber_id]).get(subscriber_id)
    if subscriber is None:
        raise not_found()
    return Owner(subscriber, is_fresh)


# ---- what can be done; each returns what to say, or a page --------------------------------------------------------

Action = Callable[[Site, Visit, Desk, Subscriber], "str | Response"]


def _save(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    site.office(desk, visit.now).change(subscriber, fields.written_form(visit.form))
    return "Saved."


def _pause(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    text = visit.form.text("until")
    try:
        until = date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{in_short(text)} is not a date such as 2026-12-24") from None
    site.office(desk, visit.now).pause(subscriber, until)
    return f"Paused until {long_date(until)}." if until else "Paused until you resume."


def _resume(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    site.office(desk, visit.now).resume(subscriber)
    return "Digests come again."


def _skip(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    slot = site.office(desk, visit.now).skip(subscriber)
    return f"No digest on {slot:%A, %-d %B}."


def _take_back(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    chosen = set(visit.form.texts("vote"))
    if not chosen:
        raise ValueError("Tick what to take back first.")
    votes = desk.storage.subscribers.votes([subscriber.id]).get(subscriber.id, ())
    with desk.storage.transaction():
        for vote in votes:
            if f"{vote.paper_id}:{vote.opinion}" in chosen:
                desk.storage.subscribers.unvote(subscriber.id, vote.paper_id, vote.opinion)
    return "Taken back."


def _library(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    site.limit(LIBRARIES, visit.network)
    with uploaded(visit.form.files.get("library", b"")) as path:
        if path is None:
            raise ValueError("Choose a BibTeX or RIS file first.")
        count = accounts.like_library(site.office(desk, visit.now), subscriber, path)
    return f"Taken as liked, and never sent to you: {counted(count, 'paper')} of your library."


def _send_link(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    accounts.send_link(site.office(desk, visit.now), subscriber)
    return "A link is on its way to your address; at most three a day are sent."


def _change_address(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> str:
    email = check_address(visit.form.text("email"))
    if email == subscriber.email:
        raise ValueError("Your digests go to that address already.")
    accounts.ask_new_address(site.office(desk, visit.now), subscriber, email)
    return (
        "If digests can go to that address, a mail there now asks to confirm it; at most three a day are sent."
        " Until then nothing changes."
    )


def _delete(site: Site, visit: Visit, desk: Desk, subscriber: Subscriber) -> Response:
    if visit.form.text("sure") != "yes":
        raise ValueError("To delete everything, tick the box first.")
    accounts.forget(site.office(desk, visit.now), subscriber)
    return site.page("deleted.html", {})


_ACTIONS: dict[str, Action] = {
    "save": _save,
    "pause": _pause,
    "resume": _resume,
    "skip": _skip,
    "take-back": _take_back,
    "library": _library,
    "link": _send_link,
    "address": _change_address,
    "delete": _delete,
}
_FRESH_ONLY = ("address", "delete")


# ---- the page -------------------------------------------------------------------------------------------------------


def _show(site: Site, visit: Visit, desk: Desk, owner: Owner) -> Response:
    """The page as stored, or with what was posted to be looked at."""
    if not visit.is_post:
        return _page(site, visit, desk, owner)
    site.limit(PREVIEWS, visit.network)
    try:
        changed = overlay(owner.subscriber, fields.written_form(visit.form))
    except FormError as error:
        return _page(site, visit, desk, owner, problems=error.problems, form=visit.form)
    return _page(site, visit, desk, replace(owner, subscriber=changed), form=visit.form)


def _page(
    site: Site,
    visit: Visit,
    desk: Desk,
    owner: Owner,
    *,
    said: str = "",
    problems: list[str] | None = None,
    form: Form | None = None,
) -> Response:
    subscriber = owner.subscriber
    values: dict[str, object] = {
        "preview": live_preview(site, desk, subscriber, visit.now),
        "problems": fields.labelled(problems or []),
    }
    if visit.wants_part:
        return site.page("preview_part.html", values)
    recorded = desk.storage.slots.recorded([subscriber.id], visit.now.date()).get(subscriber.id, set())
    due = next_digest(subscriber.schedule, subscriber.next_due_at, recorded=recorded)
    paused_until = subscriber.schedule.paused_until
    voted = _voted(desk, subscriber)
    values |= {
        "is_fresh": owner.is_fresh,
        "said": said,
        "unsaved": form is not None,
        "view": fields.view(subscriber, form),
        "status": subscriber.status.value,
        "is_confirmed": subscriber.status is Status.CONFIRMED,
        "paused": paused_until is not None and paused_until > visit.now.date(),
        "paused_until": None if paused_until == UNTIL_RESUMED else paused_until,
        "next_slot": due.slot if due else None,
        "skipped": site.office(desk, visit.now).skipped_ahead(subscriber),
        "rated": [(p, o.value) for p, o in voted if o in (Opinion.MORE, Opinion.LESS)][:VOTES_SHOWN],
        "saved": [p for p, o in voted if o is Opinion.SAVE][:VOTES_SHOWN],
        "library": sum(o is Opinion.LIBRARY for _, o in voted),
        "own": site.root + "/preferences/" + visit.params["token"],
        "feed": site.path(site.links.feed(subscriber.id)),
        "unsubscribe": site.path(site.links.unsubscribe(subscriber.id)),
        "email": subscriber.email if owner.is_fresh else "",
        "timezones": fields.timezones(),
        "weekdays": fields.WEEKDAY_NAMES,
        "weights": fields.WEIGHTS,
        "suggested": site.shelf.suggest(desk.storage, visit.now, ""),
    }
    return site.page("preferences.html", values, status=400 if problems else 200)


def _voted(desk: Desk, subscriber: Subscriber) -> list[tuple[Paper, Opinion]]:
    """What the subscriber said of papers, the latest first."""
    votes = desk.storage.subscribers.votes([subscriber.id]).get(subscriber.id, ())
    ids: list[PaperId] = [vote.paper_id for vote in votes]
    papers = desk.storage.papers.papers(ids)
    return [(papers[v.paper_id], v.opinion) for v in reversed(votes) if v.paper_id in papers]

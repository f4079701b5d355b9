"""For machines: is it alive, is it ready, and the counts, all from the database."""

from __future__ import annotations

import json

from starlette.responses import PlainTextResponse, Response

from digestbot.errors import DigestbotError
from digestbot.storage import check_schema
from digestbot.web.site import Site
from digestbot.web.visit import Visit, text_reply

METRICS = {
    "digestbot_papers": "Papers in the catalogue.",
    "digestbot_subscribers": "Subscribers by status.",
    "digestbot_outbox_entries": "Mails by state.",
    "digestbot_alarms": "Alarms that stand.",
    "digestbot_last_run_timestamp_seconds": "When the last run that did something ended; 0: never.",
    "digestbot_last_paper_timestamp_seconds": "When a paper was last seen for the first time; 0: never.",
    "digestbot_next_due_timestamp_seconds": "When the next digest is due; 0: none is.",
}


def healthz(site: Site, visit: Visit) -> Response:
    return _json({"status": "ok"})


def readyz(site: Site, visit: Visit) -> Response:
    """503 where the database cannot be read or has another schema."""
    try:
        with site.reading() as desk:
            at, wanted = check_schema(desk.storage)
    except DigestbotError as error:
        return _json({"status": "unavailable", "reason": type(error).__name__}, 503)
    return _json(
        {"status": "ready"} if at == wanted else {"status": "wrong schema"}, 200 if at == wanted else 503
    )


def metrics(site: Site, visit: Visit) -> Response:
    """Prometheus' text format."""
    with site.reading() as desk:
        storage = desk.storage
        newest, due = storage.papers.newest(), storage.subscribers.next_due_at()
        runs = storage.operation.last_runs(1)
        values: dict[str, dict[str, float]] = {
            "digestbot_papers": {"": storage.papers.count()},
            "digestbot_subscribers": {
                f'{{status="{status}"}}': count
                for status, count in storage.subscribers.count_by_status().items()
            },
            "digestbot_outbox_entries": {
                f'{{state="{state}"}}': count for state, count in storage.entries.counts().items()
            },
            "digestbot_alarms": {"": len(storage.operation.alarms())},
            "digestbot_last_run_timestamp_seconds": {"": runs[0][1].timestamp() if runs else 0},
            "digestbot_last_paper_timestamp_seconds": {"": newest.timestamp() if newest else 0},
            "digestbot_next_due_timestamp_seconds": {"": due.timestamp() if due else 0},
        }
    lines = []
    for name, found in values.items():
        lines += [f"# HELP {name} {METRICS[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{labels} {value:.16g}" for labels, value in found.items()]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def robots(site: Site, visit: Visit) -> Response:
    """Only what is for everybody; the rest hangs on tokens and says noindex itself."""
    private = ("preferences", "unsubscribe", "confirm", "feedback", "digest", "feed/", "admin", "suggest")
    rules = [f"Disallow: {site.root}/{name}" for name in private]
    return PlainTextResponse("\n".join(["User-agent: *", *rules]) + "\n")


def static(site: Site, visit: Visit) -> Response:
    data, media_type = site.static(visit.params["name"])
    return Response(data, media_type=media_type, headers={"cache-control": "public, max-age=86400"})


def _json(document: object, status: int = 200) -> Response:
    reply = text_reply(json.dumps(document), "application/json")
    reply.status_code = status
    return reply

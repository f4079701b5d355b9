"""`explain`: why a paper has its score, or why somebody got nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from digestbot.cli.context import App, json_option, pass_app, print_json
from digestbot.errors import UsageError
from digestbot.wording import counted

if TYPE_CHECKING:
    from digestbot.explain import DayAnswer

_KINDS = {
    "term": "it mentions",
    "author": "it is by",
    "similar": "it is close to the topic",
    "liked": "it is like",
    "category": "it is in",
    "trending": "it is trending:",
}


@click.command("explain")
@click.argument("email")
@click.argument("paper", required=False)
@click.option("--date", "day", metavar="DATE", help="A local date; default today.")
@json_option
@pass_app
def explain_command(app: App, email: str, paper: str | None, day: str | None, as_json: bool) -> None:
    """Say why PAPER (an id, arXiv id, DOI or title) has its score for EMAIL; without PAPER, what became of a day."""
    from digestbot.explain import explain_day, explain_paper
    from digestbot.previews import local_date
    from digestbot.subscriptions import get_subscriber

    if paper is not None and day is not None:
        raise UsageError("name a PAPER or a --date, not both")
    with app.desk(rehearsal=True) as desk:
        subscriber = get_subscriber(desk.storage, email)
        if paper is not None:
            report = explain_paper(desk, subscriber, paper, app.now())
            if as_json:
                print_json(report)
            else:
                click.echo("\n".join(_lines(report)))
            return
        try:
            wanted = date.fromisoformat(day) if day else local_date(subscriber, app.now())
        except ValueError:
            raise UsageError(f"--date: {day!r} is not a date such as 2026-11-21") from None
        answer = explain_day(desk, subscriber, wanted, app.now())
    if as_json:
        print_json(_form(email, answer))
    else:
        click.echo(_sentence(email, answer))


def _form(email: str, answer: DayAnswer) -> dict[str, object]:
    return {
        "email": email,
        "date": answer.day.isoformat(),
        "sent": [p.paper_id for p in answer.sent.papers] if answer.sent else None,
        "cause": answer.cause,
        "detail": answer.detail or None,
        "best_score": answer.best_score,
    }


def _sentence(email: str, answer: DayAnswer) -> str:
    detail = f" ({answer.detail})" if answer.detail else ""
    if answer.sent:
        return f"{email} was sent {counted(len(answer.sent.papers), 'paper')} on {answer.day}{detail}"
    best = f", the best score was {answer.best_score:.2f}" if answer.best_score is not None else ""
    return f"{email} got nothing on {answer.day}: {answer.cause}{best}{detail}"


def _lines(report: Mapping[str, Any]) -> list[str]:
    """For people: the verdict first, then why, then every part of the score."""
    lines = [
        f"{report['title']} (paper {report['paper']})",
        f"Would it be sent? {report['would_be_sent']}",
        f"Score {report['score']:.2f}; papers are sent above {report['min_score']:.2f}",
        *(f"Why: {_reason(reason)}" for reason in report["reasons"]),
    ]
    if report["parts"]:
        lines.append("Parts of the score, in nats of evidence:")
    for part in report["parts"]:
        evidence = f"{part['evidence']:+.3f}" if part["evidence"] else ""
        lines.append(f"  {part['name']:14} {evidence:>7}  {part['detail']}")
    return lines


def _reason(reason: str) -> str:
    kind, _, detail = reason.partition(": ")
    return f"{_KINDS.get(kind, kind)} {detail}"

"""`status`: the counts of today, from the database."""

from __future__ import annotations

import click

from digestbot.cli.context import App, json_option, pass_app, print_json
from digestbot.timestamps import find_timestamp, timestamp


@click.command("status")
@json_option
@pass_app
def status_command(app: App, as_json: bool) -> None:
    """Count papers, subscribers and mails; show alarms and last runs."""
    with app.rehearsal() as storage:
        next_due = storage.subscribers.next_due_at()
        report = {
            "papers": storage.papers.count(),
            "subscribers": {s.value: n for s, n in storage.subscribers.count_by_status().items()},
            "outbox": {s.value: n for s, n in storage.entries.counts().items()},
            "next_due_at": find_timestamp(next_due),
            "runs": [
                {"started_at": timestamp(begin), "finished_at": timestamp(end), **run}
                for begin, end, run in storage.operation.last_runs(5)
            ],
            "alarms": [
                {"kind": a.kind, "since": timestamp(a.since), "detail": a.detail}
                for a in storage.operation.alarms()
            ],
        }
        alarms = storage.operation.alarms()
    if as_json:
        print_json(report)
        return
    for name in ("subscribers", "outbox"):
        counted = report[name]
        assert isinstance(counted, dict)
        click.echo(f"{name:12} " + (", ".join(f"{n} {s}" for s, n in counted.items() if n) or "none"))
    click.echo(f"{'papers':12} {report['papers']}")
    click.echo(f"{'next due':12} {report['next_due_at'] or 'nothing'}")
    for alarm in alarms:
        click.echo(f"ALARM {alarm.kind} since {alarm.since:%Y-%m-%d %H:%M} UTC: {alarm.detail}")

"""`status`: the counts of today, from the database."""

from __future__ import annotations

from collections.abc import Mapping

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
        alarms, runs = storage.operation.alarms(), storage.operation.last_runs(5)
        report = {
            "papers": storage.papers.count(),
            "subscribers": {s.value: n for s, n in storage.subscribers.count_by_status().items()},
            "outbox": {s.value: n for s, n in storage.entries.counts().items()},
            "next_due_at": find_timestamp(next_due),
            "runs": [
                {"started_at": timestamp(begin), "finished_at": timestamp(end), **run}
                for begin, end, run in runs
            ],
            "alarms": [{"kind": a.kind, "since": timestamp(a.since), "detail": a.detail} for a in alarms],
        }
    if as_json:
        print_json(report)
        return
    for name in ("subscribers", "outbox"):
        counted = report[name]
        assert isinstance(counted, dict)
        click.echo(f"{name:12} " + (", ".join(f"{n} {s}" for s, n in counted.items() if n) or "none"))
    click.echo(f"{'papers':12} {report['papers']}")
    click.echo(f"{'next due':12} {report['next_due_at'] or 'nothing'}")
    for number, (begin, _, run) in enumerate(runs):
        click.echo(f"{'' if number else 'last runs':12} {begin:%Y-%m-%d %H:%M} UTC: {_told(run)}")
    for alarm in alarms:
        click.echo(f"ALARM {alarm.kind} since {alarm.since:%Y-%m-%d %H:%M} UTC: {alarm.detail}")


def _told(run: Mapping[str, object]) -> str:
    """A run's report without what is 0, such as `papers: 12 new, 3 known; delivery: 2 sent`."""
    said = []
    for part, counts in run.items():
        found = [f"{n} {name}" for name, n in counts.items() if n] if isinstance(counts, dict) else []
        if found:
            said.append(f"{part}: {', '.join(found)}")
    return "; ".join(said)

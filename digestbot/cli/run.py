"""`run`: one pass, or the scheduler."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from digestbot.cli import describe_error
from digestbot.cli.context import App, count_bar, file_bar, json_option, pass_app, print_json, say
from digestbot.errors import DigestbotError, UsageError
from digestbot.wording import counted

if TYPE_CHECKING:
    from digestbot.report import RunReport


log = logging.getLogger(__name__)


@click.command("run")
@click.option("--once", is_flag=True, help="One pass, each due mail tried once, then exit.")
@click.option("--dry-run", is_flag=True, help="Report what a pass would do; changes nothing, sends nothing.")
@click.option("--web", is_flag=True, help="Serve the pages, too, on 127.0.0.1 port 8025, as `serve` does.")
@json_option
@pass_app
def run_command(app: App, once: bool, dry_run: bool, web: bool, as_json: bool) -> None:
    """Ingest, compose what is due, deliver: as a scheduler, or --once."""
    from digestbot.alarms import note_failure, note_run, note_success
    from digestbot.desk import check_sending
    from digestbot.logs import set_up_logs
    from digestbot.pipeline import Bars, run_once
    from digestbot.report import RunReport

    if app.pinned_now and not once and not dry_run:
        raise UsageError("--now needs --once: a scheduler runs on real time")
    if web and (once or dry_run):
        raise UsageError("--web goes with the scheduler, not with --once or --dry-run")
    app.check_settings()
    report = RunReport(app.now())
    if dry_run:
        with app.desk(rehearsal=True) as desk:
            run_once(desk, report, rehearsal=True)
        _tell(report, as_json)
        return
    check_sending(app.settings)
    stop = stop_on_signals()
    set_up_logs(logging.WARNING if once else logging.INFO, debug=app.debug)
    if not once:
        _schedule(app, stop, web=web)
        return
    with app.desk() as desk:
        with file_bar("reading drops") as reading, count_bar("delivering") as delivering:
            try:
                run_once(desk, report, stop=stop, bars=Bars(reading, delivering))
            except Exception as error:
                _tell(report, as_json)
                note_failure(desk, "run", error, app.now())
                note_run(desk, report, app.now())
                raise DigestbotError(describe_error(error)[0]) from error  # 1, as something was done
        note_success(desk, "run")
        note_run(desk, report, app.now())
        waiting = desk.storage.outbox.count_due(app.now())
    _tell(report, as_json)
    if report.delivery and report.delivery.put_off:
        say(f"put off, since the daily limit is reached: {counted(report.delivery.put_off, 'digest')}")
    if stop.is_set() or (report.delivery and report.delivery.stopped):
        say(f"waiting for the next run: {counted(waiting, 'mail')}")
    if stop.is_set() or not report.is_complete:
        sys.exit(1)


def _schedule(app: App, stop: threading.Event, *, web: bool) -> None:
    from digestbot.cluster import serve_forever

    if not web:
        serve_forever(app.settings, stop=stop)
        return
    from digestbot.web.server import serve_in_thread

    pages = serve_in_thread(app.settings, "127.0.0.1", _own_port(app.settings.base_url))
    log.info("the pages are at %s; readers reach them at %s", pages.url, app.settings.base_url)
    try:
        serve_forever(app.settings, stop=stop)
    finally:
        pages.stop()


def _own_port(base_url: str) -> int:
    """The port of a base URL that names this machine itself; else the one that a proxy is pointed to."""
    parts = urlsplit(base_url)
    is_own = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    return (parts.port or 80) if is_own else 8025


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set, so that a pass ends at a safe point."""
    stop = threading.Event()

    def ask_to_stop(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    return stop


def _tell(report: RunReport, as_json: bool) -> None:
    from digestbot.cli.ingest import tell
    from digestbot.model import EntryState

    if as_json:
        print_json(report.to_json())
    for drop in report.drops.reports:
        tell(drop)
    digests = report.digests
    for said in (report.damaged or {}).values():
        say(f"no digest: {said}")
    say(f"digests: {digests.composed} composed, {digests.empty} empty, {digests.late} late")
    if report.delivery is not None:
        counts = ", ".join(
            f"{count} {state}" for state, count in sorted(report.delivery.counts.items()) if count
        )
        say(f"mails: {counts or 'none'}")
        odd = (EntryState.BOUNCED, EntryState.FAILED, EntryState.HELD)
        if found := [state for state in odd if report.delivery.counts.get(state)]:
            say(f"why: `digestbot outbox list {' '.join(found)}`")
        if report.delivery.stopped:
            say(f"delivery stopped: {report.delivery.stopped}")

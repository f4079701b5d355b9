"""`fetch ...`: a drop from a source, into the drop folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, say
from digestbot.errors import UsageError

if TYPE_CHECKING:
    from digestbot.fetching import Fetched
    from digestbot.storage.operation import OperationStore

MOST_HOURS = 24 * 7
every_option = click.option(
    "--every",
    "every_h",
    type=click.FloatRange(1, MOST_HOURS),
    metavar="HOURS",
    help="Again and again, until Ctrl-C.",
)


@click.group("fetch")
def fetch_command() -> None:
    """Write a drop from a source: arxiv or huggingface."""


@fetch_command.command("arxiv")
@click.argument("categories", nargs=-1, required=True)
@every_option
@json_option
@pass_app
def arxiv(app: App, categories: tuple[str, ...], every_h: float | None, as_json: bool) -> None:
    """Papers submitted to arXiv's CATEGORIES (such as cs.LG stat.ML) in the last three days."""
    from digestbot.drops.folder import DropFolder
    from digestbot.fetching import fetch_arxiv
    from digestbot.sources import Client, read_categories

    wanted = read_categories(categories)
    folder = DropFolder(app.settings.drops)
    _fetch(
        app,
        lambda marks: fetch_arxiv(folder, marks, wanted, now=app.now(), client=Client()),
        every_h,
        as_json,
    )


@fetch_command.command("huggingface")
@every_option
@json_option
@pass_app
def huggingface(app: App, every_h: float | None, as_json: bool) -> None:
    """Hugging Face's daily papers of the last three days."""
    from digestbot.drops.folder import DropFolder
    from digestbot.fetching import fetch_huggingface
    from digestbot.sources import Client

    folder = DropFolder(app.settings.drops)
    _fetch(
        app, lambda marks: fetch_huggingface(folder, marks, now=app.now(), client=Client()), every_h, as_json
    )


def _fetch(
    app: App, fetch: Callable[[OperationStore], Fetched], every_h: float | None, as_json: bool
) -> None:
    """Once, an outage being exit status 1; or for ever, an outage being a line and another try later."""
    from digestbot.sources import Outage

    if app.pinned_now and every_h:
        raise UsageError("--now is not for --every: it runs on real time")
    pause = threading.Event()
    while True:
        try:
            with app.storage() as storage:
                _tell(fetch(storage.operation), as_json)
        except Outage as outage:
            if every_h is None:
                raise
            say(str(outage))
        if every_h is None:
            return
        pause.wait(every_h * 3600)


def _tell(fetched: Fetched, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "source": fetched.source,
                "drops": [str(path) for path in fetched.drops],
                "empty": fetched.empty,
                "unchanged": fetched.unchanged,
            }
        )
    for path in fetched.drops:
        say(f"{path}: written; the next run reads it")
    if not fetched.drops:
        say(
            f"{fetched.source}: nothing new ({fetched.empty} answers without papers, {fetched.unchanged} unchanged)"
        )

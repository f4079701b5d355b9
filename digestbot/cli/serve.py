"""`serve`: the web pages."""

from __future__ import annotations

import logging

import click

from digestbot.cli.context import App, pass_app, say
from digestbot.errors import UsageError


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8025, show_default=True, type=click.IntRange(0, 65535), help="The port.")
@pass_app
def serve_command(app: App, host: str, port: int) -> None:
    """Serve the web pages until Ctrl-C. Mails are only queued: `run` or `worker` deliver them."""
    from digestbot.web.server import serve

    if app.pinned_now:
        raise UsageError("--now is not for `serve`: the pages run on real time")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(
        app.settings,
        host,
        port,
        tell=lambda url: say(f"the pages are at {url}; readers reach them at {app.settings.base_url}"),
    )

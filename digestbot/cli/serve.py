"""`serve`: the web pages."""

from __future__ import annotations

import logging

import click

from digestbot.cli.context import App, pass_app
from digestbot.errors import UsageError

log = logging.getLogger(__name__)


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8025, show_default=True, type=click.IntRange(0, 65535), help="The port.")
@pass_app
def serve_command(app: App, host: str, port: int) -> None:
    """Serve the web pages until Ctrl-C. Mails are only queued: `run` or `worker` deliver them."""
    from digestbot.logs import set_up_logs
    from digestbot.web.server import serve

    if app.pinned_now:
        raise UsageError("--now is not for `serve`: the pages run on real time")
    app.check_settings()
    set_up_logs(debug=app.debug)
    serve(
        app.settings,
        host,
        port,
        tell=lambda url: log.info(
            "the pages are at %s; readers reach them at %s", url, app.settings.base_url
        ),
    )

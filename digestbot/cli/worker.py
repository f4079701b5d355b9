"""`worker`: one worker of a cluster."""

from __future__ import annotations

import click

from digestbot.cli.context import App, pass_app
from digestbot.errors import UsageError


@click.command("worker")
@pass_app
def worker_command(app: App) -> None:
    """Compose and deliver what the schedulers (`digestbot run`) hand out, until Ctrl-C. Needs PostgreSQL."""
    from digestbot.cli.run import stop_on_signals
    from digestbot.cluster import work_forever
    from digestbot.desk import check_sending
    from digestbot.logs import set_up_logs

    if app.pinned_now:
        raise UsageError("--now is not for `worker`: it runs on real time")
    app.check_settings()
    check_sending(app.settings)
    set_up_logs(debug=app.debug)
    work_forever(app.settings, stop=stop_on_signals())

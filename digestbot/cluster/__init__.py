"""More than one machine: the same timetable, shared by all processes that are given one PostgreSQL."""

from __future__ import annotations

import threading

from digestbot import service
from digestbot.errors import SettingsError, UsageError
from digestbot.settings import Settings


def serve_forever(settings: Settings, *, stop: threading.Event) -> None:
    """What `digestbot run` does until `stop` is set: alone on SQLite, on PostgreSQL as one of the cluster's schedulers.

    Raises SettingsError, StorageError or TemplateError at its start.
    """
    if settings.sqlite_path is not None:
        service.serve_forever(settings, stop=stop)
    else:
        _join(settings, stop, schedules=True)


def work_forever(settings: Settings, *, stop: threading.Event) -> None:
    """What `digestbot worker` does: composes and delivers what schedulers hand out."""
    if settings.sqlite_path is not None:
        raise UsageError(
            "`worker` is for a cluster, which needs PostgreSQL in DIGESTBOT_DATABASE; with SQLite `run` does it all"
        )
    _join(settings, stop, schedules=False)


def _join(settings: Settings, stop: threading.Event, *, schedules: bool) -> None:
    try:
        from digestbot.cluster.node import Node
    except ModuleNotFoundError as error:
        raise SettingsError(
            [f"DIGESTBOT_DATABASE: PostgreSQL needs {error.name}: pip install 'digestbot[cluster]'"]
        ) from error
    Node(settings, stop, schedules=schedules).run()

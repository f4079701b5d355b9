"""Log lines: people's form on a terminal, JSON elsewhere. The only module that knows structlog; all others use `logging`.

Every line has a run id: the process's own, or inside `new_run()` that of the pass it belongs to. From INFO up no line
holds an address, whatever a server's text or an error repeats; values that a machine may want go into `extra`.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS_OF_OTHERS = {  # libraries that tell more than one line per event
    "apscheduler": logging.ERROR,
    "procrastinate": logging.WARNING,
    "uvicorn": logging.WARNING,
}
_ADDRESS = re.compile(r"[^\s<>\"'(),:;\[\]/]+@[^\s<>\"'(),:;\[\]/]+")


def set_up_logs(level: int = logging.INFO, *, debug: bool = False) -> None:
    """From now on the process logs to stderr. debug: all of digestbot's own lines, with tracebacks and addresses."""
    plain = not sys.stderr.isatty()
    shown: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if plain
        else structlog.dev.ConsoleRenderer(pad_event_to=40, pad_level=False),
    ]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_run(_new_id()),
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso" if plain else "%H:%M:%S", utc=plain),
        structlog.processors.format_exc_info if debug else _name_error,
        _tidy,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=shown))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    logging.getLogger("digestbot").setLevel(logging.DEBUG if debug else level)
    for name, others in LEVELS_OF_OTHERS.items():
        logging.getLogger(name).setLevel(others)


@contextmanager
def new_run(job: str) -> Iterator[None]:
    """Lines inside belong to one pass of `job`; threads see it where they run in a copy of the context."""
    with structlog.contextvars.bound_contextvars(run=_new_id(), job=job):
        yield


def _new_id() -> str:
    return secrets.token_hex(4)


def _with_run(process_id: str) -> Processor:
    """The process's id in lines that belong to no pass."""

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("run", process_id)
        return event

    return add


def _name_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The error in one line in place of its traceback."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def _tidy(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """No control characters, and from INFO up no addresses."""
    hide = event.get("level") != "debug"
    for name, value in event.items():
        if isinstance(value, str) and name != "exception":
            text = "".join(c if c.isprintable() else " " for c in value)
            event[name] = _ADDRESS.sub("(address)", text) if hide else text
    return event

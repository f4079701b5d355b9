"""The command line: `digestbot [--now INSTANT] COMMAND`. Commands are imported when they are called, not before."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime

import click

import digestbot
from digestbot.errors import DigestbotError, in_short

# name -> (module, one line of help); in the order of --help
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Show the main job end to end in a fresh folder."),
    "init": ("setup", "Write .env with a fresh secret and create the state folder."),
    "ingest": ("ingest", "Read drops of new papers into the catalogue."),
    "fetch": ("fetch", "Write a drop from arXiv or Hugging Face."),
    "drops": ("drops", "List drops; hold, release or withdraw one."),
    "papers": ("papers", "List the papers of the catalogue."),
    "subscribers": ("subscribers", "Add, change, list, import and export subscribers."),
    "suppressions": ("suppressions", "Show and edit the list of addresses never to be mailed."),
    "preview": ("preview", "Show the digest that somebody would get now; changes nothing."),
    "plan": ("plan", "Compare everybody's next digest with that under other settings or templates."),
    "run": ("run", "Ingest, compose what is due, deliver: once, or for ever as a scheduler."),
    "worker": ("worker", "Compose and deliver as one worker of a cluster (PostgreSQL)."),
    "serve": ("serve", "Serve the web pages; mails are only queued."),
    "explain": ("explain", "Say why a paper has its score, or why somebody got nothing."),
    "forecast": ("forecast", "Say what is due in the next 48 hours, and who would be late."),
    "bounce": ("bounce", "Read bounce, complaint and unsubscribe mails, and act on our own tags."),
    "rank": ("rank", "Rank papers of a file for profiles of a file; needs no database."),
    "outbox": ("outbox", "List the mails on their way out; release or drop held ones."),
    "status": ("status", "Count papers, subscribers and mails; show alarms and last runs."),
    "doctor": ("doctor", "Check settings, folders, database, mail server and keys; say what to mend."),
    "migrate": ("setup", "Bring the database to this version's schema."),
    "backup": ("backup", "Write a consistent copy of the database, also while digestbot runs."),
    "restore": ("backup", "Begin from a backup without sending anything twice that it knows of."),
}


class LazyGroup(click.Group):
    """Knows its commands' names and summaries, and imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"digestbot.cli.{COMMANDS[name][0]}")
        command = getattr(module, f"{name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def instant(text: str) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not an instant such as 2026-11-21T08:00:00Z") from None
    if not 1971 <= at.year <= 2999:
        raise click.BadParameter(f"{text!r} must lie between the years 1971 and 2999")
    return at.replace(microsecond=0)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(digestbot.__version__, prog_name="digestbot")
@click.option(
    "--now",
    type=instant,
    metavar="INSTANT",
    help="Decide and record everything as of this time (ISO 8601; UTC if no offset).",
)
@click.option("--debug", is_flag=True, help="Show tracebacks; `run` and `serve` log more, with addresses.")
@click.pass_context
def cli(ctx: click.Context, now: datetime | None, debug: bool) -> None:
    """Personal daily digests of new papers, chosen well and sent safely.

    New here? `digestbot demo` shows everything in a fresh folder, `digestbot init` begins for real.
    """
    from digestbot.cli.context import App

    ctx.obj = App(pinned_now=now, debug=debug)


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command line; no traceback without --debug. Exit status: 0 done, 1 in part, 2 wrong use.

    words: the arguments; None: those of the process.
    """
    words = sys.argv[1:] if words is None else words
    try:
        cli(list(words), standalone_mode=False, prog_name="digestbot")
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        _fail("stopped", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:  # `digestbot papers | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        _fail(*describe_error(error))


def describe_error(error: Exception) -> tuple[str, int]:
    """What to say of an error that ends a command, and its exit status."""
    if isinstance(error, DigestbotError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        wrong = isinstance(error, FileNotFoundError | FileExistsError | NotADirectoryError | PermissionError)
        return f"{error.filename or 'output'}: {error.strerror or error}", 2 if wrong else 1
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"{in_short(error.object)} is not UTF-8 text", 2
    return f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1  # a defect of ours


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        print(f"digestbot: {line}", file=sys.stderr)
    sys.exit(code)

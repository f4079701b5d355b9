"""docs/reference.md as the code has it. `python -m tests.reference` writes it; test_docs.py compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from digestbot.cli import COMMANDS, cli
from digestbot.model import EntryState, Status
from digestbot.web.health import METRICS

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
HEAD = """\
# Commands and metrics

Made from the code: `python -m tests.reference` writes this page. `digestbot [--now INSTANT] [--debug] COMMAND`; every
command has `--help`, those that report have `--json`. Exit status: 0 done, 1 done in part, 2 wrong use or settings and
nothing changed. The settings are in the [README](../README.md#settings).
"""


METRICS_HEAD = """
## Metrics

`GET /metrics` of `digestbot serve`, in Prometheus' text format; all are gauges, counted from the database at that moment.

| metric | labels | |
|---|---|---|
"""
LABELS = {
    "digestbot_subscribers": f"`status`: {', '.join(Status)}",
    "digestbot_outbox_entries": f"`state`: {', '.join(EntryState)}",
}


def reference() -> str:
    sections = "".join(f"\n{section}" for name in COMMANDS for section in _sections(name))
    metrics = [f"| `{name}` | {LABELS.get(name, '')} | {text} |\n" for name, text in METRICS.items()]
    return HEAD + sections + METRICS_HEAD + "".join(metrics)


def commands() -> dict[str, click.Command]:
    """All commands by their full names, `subscribers add` as well as `run`."""
    found: dict[str, click.Command] = {}
    context = click.Context(cli, info_name="digestbot")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": child for inner, child in command.commands.items()}
    return found


def _sections(name: str) -> Iterator[str]:
    for full, command in commands().items():
        if full == name or full.startswith(name + " "):
            yield _section(full, command)


def _section(name: str, command: click.Command) -> str:
    level = "###" if " " in name else "##"
    arguments = [
        p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)
    ]
    usage = " ".join(["digestbot", name, *(["COMMAND"] if isinstance(command, click.Group) else arguments)])
    lines = [f"{level} {name}", "", f"`{usage}`", "", _paragraphs(command.help or "")]
    options = [_option(p) for p in command.params if isinstance(p, click.Option)]
    if options:
        lines += ["", "| option | |", "|---|---|", *options]
    return "\n".join(lines) + "\n"


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(cli))}"
    return f"| {names}{value} | {option.help or ''} |".replace("|--", "--")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")

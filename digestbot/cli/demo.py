"""`demo`: the main job end to end, shown."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, json_option, pass_app, print_json, say
from digestbot.timestamps import timestamp

if TYPE_CHECKING:
    from digestbot.demo import DemoResult, DemoSlot


@click.command("demo")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("digestbot-demo"),
    show_default=True,
    help="Where it happens: a new or empty folder, or that of a former demo, which begins anew.",
)
@json_option
@pass_app
def demo_command(app: App, folder: Path, as_json: bool) -> None:
    """Show the main job end to end in a fresh folder: two days, three readers, real mails on a mail server of its own."""
    from digestbot.demo import START, run_demo

    result = run_demo(folder, say, start=app.pinned_now or START)
    if as_json:
        print_json(_document(result))
    else:
        click.echo("\n".join(_lines(result, width=shutil.get_terminal_size((110, 24)).columns)))
    if any(slot.papers and not slot.eml for slot in result.slots):
        say("not every digest reached the mail server; `digestbot outbox list` in the folder shows why")
        sys.exit(1)


def _document(result: DemoResult) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "drops": [
            {
                "path": drop.path,
                "format": drop.format,
                "new": drop.new,
                "known": drop.known,
                "updated": drop.updated,
            }
            for drop in result.drops
        ],
        "slots": [_slot_document(result, slot) for slot in result.slots],
    }


def _slot_document(result: DemoResult, slot: DemoSlot) -> dict[str, object]:
    return {
        "email": slot.subscriber.email,
        "slot": slot.slot.isoformat(),
        "at": timestamp(slot.at),
        "timezone": slot.subscriber.schedule.timezone,
        "state": slot.state,
        "papers": [
            {
                "id": paper.paper_id,
                "title": result.papers[paper.paper_id].record.title,
                "topic": paper.topic,
                "score": paper.score,
                "reasons": [f"{reason.kind}: {reason.detail}" for reason in paper.reasons],
            }
            for paper in slot.papers
        ],
        "cause": slot.cause,
        "best_score": slot.best_score,
        "eml": str(slot.eml) if slot.eml else None,
        "html": str(slot.html) if slot.html else None,
    }


def _lines(result: DemoResult, *, width: int) -> list[str]:
    lines: list[str] = []
    day = None
    for slot in result.slots:
        if slot.slot != day:
            day = slot.slot
            lines += ["", click.style(f"{day:%A, %-d %B}", bold=True)]
        lines += ["", *_slot_lines(result, slot, width)]
    return [*lines, "", *_farewell(result)]


def _farewell(result: DemoResult) -> list[str]:
    """Where the mails lie, and what to try next."""
    mails = sum(slot.eml is not None for slot in result.slots)
    lines = [f"{mails} mails lie in {result.folder / 'mails'}, each as .eml and .html"]
    page = next((slot.html for slot in result.slots if slot.html), None)
    quiet = next((slot for slot in result.slots if slot.cause), None)
    program = "digestbot" if shutil.which("digestbot") else f"{shlex.quote(sys.executable)} -m digestbot"
    if page:
        lines.append(f"  open one         {page}")
    lines.append(f"  look around      cd {shlex.quote(str(result.folder))} && {program} papers")
    if quiet:
        lines.append(f"  ask why nothing  {program} explain {quiet.subscriber.email} --date {quiet.slot}")
    return lines


def _slot_lines(result: DemoResult, slot: DemoSlot, width: int) -> list[str]:
    """Who, when and what for; then a line for each paper, or the reason why there is none."""
    from digestbot.wording import clean, clip_letters, percent, why

    who = slot.subscriber
    topics = ", ".join(topic.name for topic in who.preferences.topics)
    head = f"  {slot.at:%H:%M} {who.schedule.timezone}  {who.email} follows {topics}"
    if not slot.papers:
        best = f", best score {slot.best_score:.2f}" if slot.best_score is not None else ""
        return [head, f"     nothing: {slot.cause}{best}"]
    rows = [
        (percent(p.score), clean(result.papers[p.paper_id].record.title), why(p.reasons)) for p in slot.papers
    ]
    most = max(40, width - 14 - max(len(reason) for _, _, reason in rows))
    titles = [clip_letters(title, count=most) for _, title, _ in rows]
    column = max(map(len, titles))
    return [head] + [
        f"    {score:>5}  {title:<{column}}  {reason}"
        for (score, _, reason), title in zip(rows, titles, strict=True)
    ]

"""`plan`: what other settings, models or templates would change for everybody."""

from __future__ import annotations

from pathlib import Path

import click

from digestbot.cli.context import App, count_bar, json_option, pass_app, print_json


@click.command("plan")
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help="Another value of a setting. Repeatable."
)
@click.option(
    "--templates", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Other templates."
)
@json_option
@pass_app
def plan_command(app: App, changes: tuple[str, ...], templates: Path | None, as_json: bool) -> None:
    """Compare everybody's next digest with that under other settings, another model or templates. Writes nothing."""
    from digestbot.pipeline import ingest_drops
    from digestbot.planning import make_plan, other_settings

    other = other_settings(changes, templates)
    with app.desk(rehearsal=True) as desk, count_bar("comparing") as bar:
        ingest_drops(desk, app.now(), rehearsal=True)
        plan = make_plan(desk, other, app.now(), progress=bar)
    if as_json:
        print_json(plan.to_json())
        return
    for name, count in plan.to_json().items():
        if name == "examples":
            continue
        named = ", ".join(plan.examples.get(name, ())[:5])
        click.echo(f"{name.replace('_', ' '):14} {count}{'  ' + named if named else ''}")

"""`doctor`: what is well, and what to mend."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from digestbot.cli.context import App, json_option, pass_app, print_json

if TYPE_CHECKING:
    from digestbot.doctor import DnsRecord, Finding
    from digestbot.settings import Settings

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command("doctor")
@json_option
@pass_app
def doctor_command(app: App, as_json: bool) -> None:
    """Check settings, folders, database, clock, templates, ranker, sender, DKIM key and mail server.

    Says what to mend and which DNS records to set; exit status 1 if anything FAILs. Talks to nobody but the mail server,
    sends no mail and writes nothing.
    """
    from digestbot.doctor import Level, dns_records
    from digestbot.settings import read_settings

    settings = read_settings()  # not the app's, which says on stderr what is a finding here
    findings = _findings(settings, app.now())
    records = (
        []
        if any(f.check == "settings" and f.level is Level.FAIL for f in findings)
        else dns_records(settings)
    )
    if as_json:
        print_json(
            {"checks": [_form(f) for f in findings], "dns": [_record_form(record) for record in records]}
        )
    else:
        _tell(findings, records)
    if any(finding.level is Level.FAIL for finding in findings):
        sys.exit(1)


def _findings(settings: Settings, now: datetime) -> list[Finding]:
    from digestbot.doctor import Finding, Level, examine

    if settings.problems:
        return [
            Finding("settings", Level.FAIL, line, "mend it; the rest is looked at then")
            for line in settings.problems
        ]
    return [Finding("settings", Level.OK, "all can be read"), *examine(settings, now)]


def _tell(findings: list[Finding], records: list[DnsRecord]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
        click.echo(f"{level}  {finding.check:{width}}  {finding.said}")
        if finding.mend:
            click.echo(f"{'':4}  {'':{width}}  -> {finding.mend}")
    if records:
        click.echo(
            "\nDNS records for the domain (not looked up; a sending service names its own SPF `include:`):"
        )
    for record in records:
        click.echo(f"; {record.why}\n{record.name}. IN {record.kind} {record.value}")


def _form(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "level": finding.level.value, "said": finding.said, "mend": finding.mend}


def _record_form(record: DnsRecord) -> dict[str, str]:
    return {"name": record.name, "type": record.kind, "value": record.value, "why": record.why}

"""`doctor`: looks at everything a run needs, and says what to mend.

It asks nobody but the mail server of the settings, and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime

from digestbot.doctor import house, relay, sender
from digestbot.doctor.finding import Finding, Level, fail
from digestbot.doctor.sender import DnsRecord, dns_records
from digestbot.settings import Settings

__all__ = ["DnsRecord", "Finding", "Level", "dns_records", "examine"]


def examine(settings: Settings, now: datetime) -> list[Finding]:
    """All findings, in the order in which to mend them."""
    checks = (
        house.check_secret(settings),
        house.check_folders(settings),
        house.check_database(settings, now),
        house.check_clock(settings, now),
        house.check_templates(settings),
        house.check_ranker(settings),
        sender.check_links(settings),
        sender.check_addresses(settings),
        sender.check_dkim(settings),
        relay.check_relay(settings),
    )
    return list(dict.fromkeys(finding for check in checks for finding in _bearing(check)))


def _bearing(check: Iterable[Finding]) -> Iterator[Finding]:
    """A check's findings; a path that this user may not even look at is one, too, and ends no other check."""
    try:
        yield from check
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
        yield fail(
            "folders", said, f"see that it is open to the user who runs digestbot (now uid {os.getuid()})"
        )

"""The main job in a folder of its own: two invented days, three readers, and a mailbox that keeps what they get.

Nothing here is make-believe but the papers, the readers and the clock: drops, ranking, ledger and SMTP are those of
`run --once`, and all that is reported afterwards is read from the ledger.
"""

from __future__ import annotations

import email
import email.policy
import email.utils
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from digestbot.desk import Desk, open_desk
from digestbot.drops.folder import DropFolder
from digestbot.errors import UsageError
from digestbot.mailbox import MailboxServer, Received
from digestbot.model import (
    Cause,
    DigestPaper,
    DropReport,
    EntryState,
    OutboxEntry,
    Paper,
    PaperId,
    SlotRecord,
    Subscriber,
)
from digestbot.pipeline import run_once
from digestbot.report import RunReport
from digestbot.settings import Settings, load_settings
from digestbot.subscriptions import Office, new_subscriber

START = datetime(
    2026, 11, 16, 20, 0, tzinfo=UTC
)  # a Monday evening: before the next morning in all three places
DROPS = ("day-1.txt", "day-2.txt")  # in samples/, a day apart
READERS: tuple[dict[str, object], ...] = (
    {
        "email": "mira@example.org",
        "name": "Mira",
        "timezone": "Europe/Berlin",
        "send_at": "07:30",
        "topics": [
            {"name": "continual learning", "terms": ["continual learning", "catastrophic forgetting"]},
            "robot learning",
        ],
    },
    {
        "email": "tomas@example.net",
        "name": "Tomás",
        "timezone": "America/New_York",
        "send_at": "08:00",
        "topics": [{"name": "protein design", "terms": ["protein design", "enzyme design"]}],
    },
    {
        "email": "yui@example.com",
        "name": "Yui",
        "timezone": "Asia/Tokyo",
        "send_at": "08:00",
        "topics": ["symbolic regression"],
    },
)

_ZONES = {str(reader["email"]): ZoneInfo(str(reader["timezone"])) for reader in READERS}
_MARK = ".digestbot-demo"  # the file that says whose folder this is
_ENV = """\
# The settings of a demo. Its mail server ended with it, so a `run` in this folder delivers nothing.
DIGESTBOT_SECRET_KEY={secret}
DIGESTBOT_SMTP_URL={smtp_url}
DIGESTBOT_FROM=Paper Digest <digest@example.org>
DIGESTBOT_POSTAL_ADDRESS=Example Lab, 1 Example Street, Example Town
"""


@dataclass(frozen=True, slots=True)
class DemoSlot:
    """How one reader's digest of one local date ended, as the ledger has it."""

    subscriber: Subscriber
    slot: date
    at: datetime  # when it was decided, in the reader's time zone
    state: EntryState | None  # of the mail; None: there is none
    papers: tuple[DigestPaper, ...]
    cause: Cause | None  # why there is no mail
    best_score: float | None  # where there is no mail: the best that any paper reached
    eml: Path | None  # what the mail server got; None: nothing
    html: Path | None  # its HTML part


@dataclass(frozen=True, slots=True)
class DemoResult:
    folder: Path
    drops: tuple[DropReport, ...]
    slots: tuple[DemoSlot, ...]  # in the order of time
    papers: dict[PaperId, Paper]  # all that were sent


def run_demo(folder: Path, say: Callable[[str], None], *, start: datetime = START) -> DemoResult:
    """Begins anew in `folder`, which must be missing, empty or a former demo's; the first drop arrives at `start`.

    `say` is told what happens as it happens. Raises UsageError for a folder that cannot be used; nothing is changed then.
    """
    _clear(folder)
    mails = folder / "mails"
    mails.mkdir()
    with (
        MailboxServer(on_mail=lambda mail: _save(mail, mails)) as server,
        open_desk(_make_settings(folder, server.url)) as desk,
    ):
        _subscribe_readers(desk, start)
        for number, name in enumerate(DROPS):
            _live_a_day(desk, name, start + timedelta(days=number), say)
        return _result(desk, folder, mails)


# ---- the folder --------------------------------------------------------------------------------------------------


def _clear(folder: Path) -> None:
    """Makes the folder, or takes out what a former demo made in it, and nothing else."""
    try:
        if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and no former demo; name another folder with --dir")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).write_text("`digestbot demo` made this folder and begins anew in it.\n", "utf-8")
        (folder / ".env").unlink(missing_ok=True)
        for name in ("state", "mails"):
            if (folder / name).exists():
                shutil.rmtree(folder / name)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be used: {error.strerror or error}; name another folder with --dir"
        ) from error


def _make_settings(folder: Path, smtp_url: str) -> Settings:
    """Settings of the demo's own, which stay in its .env for those who look around afterwards."""
    env = folder / ".env"
    env.touch(mode=0o600)
    env.write_text(_ENV.format(secret=secrets.token_urlsafe(32), smtp_url=smtp_url), "utf-8")
    settings = load_settings(folder, environ={})
    return replace(settings, state=folder / settings.state)


def _path(mails: Path, day: date, address: str, suffix: str) -> Path:
    return mails / f"{day}-{address}{suffix}"


def _save(mail: Received, mails: Path) -> None:
    """Keeps a mail as it came, and its HTML part beside it, by the reader's local date."""
    message = email.message_from_bytes(mail.data, policy=email.policy.default)
    page = message.get_body(("html",))
    at = email.utils.parsedate_to_datetime(str(message["Date"]))
    for address in mail.recipients:
        day = at.astimezone(_ZONES[address]).date()
        _path(mails, day, address, ".eml").write_bytes(mail.data)
        if page:
            _path(mails, day, address, ".html").write_text(page.get_content(), "utf-8")


# ---- two days ----------------------------------------------------------------------------------------------------


def _subscribe_readers(desk: Desk, now: datetime) -> None:
    office = Office(desk.storage, desk.links, desk.mail_domain, now)
    for reader in READERS:
        office.subscribe(new_subscriber(reader, confirmed=True), how="demo")


def _live_a_day(desk: Desk, drop: str, now: datetime, say: Callable[[str], None]) -> None:
    """The drop arrives at `now`; then a pass at each instant of the next 24 h at which somebody's digest is due."""
    folder = DropFolder(desk.settings.drops)
    folder.make()
    (folder.incoming / drop).write_bytes(files("digestbot").joinpath("samples", drop).read_bytes())
    _pass(desk, now, say)
    while (due := desk.storage.subscribers.next_due_at()) and due < now + timedelta(days=1):
        _pass(desk, due, say)


def _pass(desk: Desk, now: datetime, say: Callable[[str], None]) -> None:
    report = RunReport(now)
    run_once(desk, report)
    if report.delivery and report.delivery.stopped:
        raise report.delivery.stopped
    read = [
        f"{Path(drop.path).name} is read: {drop.new} new, {drop.known} known" for drop in report.drops.reports
    ]
    sent = report.delivery.counts[EntryState.SENT] if report.delivery else 0
    due = [f"{report.digests.composed + report.digests.empty} due, {sent} sent"]
    say(f"{now:%a %d %b %H:%M} UTC  {'; '.join(read or due)}")


# ---- the ledger --------------------------------------------------------------------------------------------------


def _result(desk: Desk, folder: Path, mails: Path) -> DemoResult:
    storage = desk.storage
    entries = {
        (e.subscriber_id, e.digest.slot): e for e in storage.entries.list_entries(EntryState) if e.digest
    }
    slots = [
        _slot(subscriber, record, entries.get((subscriber.id, record.slot)), mails)
        for subscriber in storage.subscribers.everybody()
        for record in storage.slots.records(subscriber.id)
    ]
    shown = {paper.paper_id for slot in slots for paper in slot.papers}
    return DemoResult(
        folder=folder,
        drops=tuple(drop.report for drop in reversed(storage.drops.last())),
        slots=tuple(sorted(slots, key=lambda slot: (slot.at, slot.subscriber.id))),
        papers=storage.papers.papers(shown),
    )


def _slot(subscriber: Subscriber, record: SlotRecord, entry: OutboxEntry | None, mails: Path) -> DemoSlot:
    eml, html = (_path(mails, record.slot, subscriber.email, suffix) for suffix in (".eml", ".html"))
    return DemoSlot(
        subscriber=subscriber,
        slot=record.slot,
        at=record.at.astimezone(ZoneInfo(subscriber.schedule.timezone)),
        state=entry.state if entry else None,
        papers=entry.digest.papers if entry and entry.digest else (),
        cause=record.cause,
        best_score=record.best_score,
        eml=eml if eml.exists() else None,
        html=html if html.exists() else None,
    )

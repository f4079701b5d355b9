"""A copy of the database while it is in use, and a beginning from such a copy that mails nobody twice for one date."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from digestbot import schedule
from digestbot.errors import SettingsError, StorageError, UsageError
from digestbot.model import SlotOutcome, SlotRecord, Subscriber, SubscriberId
from digestbot.owner import life_of
from digestbot.schedule import Verdict
from digestbot.settings import Settings, parse_settings
from digestbot.storage import Storage, open_file, open_storage
from digestbot.storage.copies import copy_database, find_flaw
from digestbot.storage.moving import Progress, move
from digestbot.subscriptions import ended_slot, settle_due

BLOCK = 1000  # subscribers at a time
MADE_AT = "backup_at"  # fact: when the last backup was made


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. Papers mailed after `since` may be mailed again; what people did after it is not known."""

    since: datetime | None  # None: the backup's ledger was empty
    slots: int  # marked as done
    held: int  # entries that wait for the operator


def make_backup(settings: Settings, target: Path, now: datetime) -> int:
    """Writes a consistent copy to a new file of mode 0600, wholly or not at all; returns its size in bytes.

    The copy says that it was made at `now`. The database may be in use, and keeps its schema. Raises UsageError where
    the file exists or there is no database.
    """
    source = _sqlite_path(settings)
    if not source.exists():
        raise UsageError(f"{source}: there is no database yet, so there is nothing to back up")
    if os.path.lexists(target):
        raise UsageError(f"{target}: exists already, and a backup overwrites nothing")
    with open_file(source) as storage:
        if not storage.db.has_table("facts"):
            raise UsageError(f"{source}: is no database of digestbot's")
        storage.operation.set_fact(MADE_AT, str(int(now.timestamp())))
    with new_file(target) as part:
        copy_database(source, part)
    return target.stat().st_size


def restore(settings: Settings, backup: Path, now: datetime) -> Restored:
    """Makes the settings' database from a backup, wholly or not at all. Nothing of the past is sent from it unasked.

    All slots due up to `now` are marked as done, entries that had not ended are held. Raises UsageError where a database
    exists, or the backup is none of ours, damaged or of a newer schema.
    """
    target = _sqlite_path(settings)
    if os.path.lexists(target):
        raise UsageError(
            f"{target}: a database exists already, and a restore overwrites nothing: move it away, or set"
            " DIGESTBOT_STATE or DIGESTBOT_DATABASE"
        )
    _make_folder(target.parent)
    with new_file(target) as part:
        _copy_checked(backup, part)
        with open_file(part) as storage:
            storage.migrate()
            with storage.transaction():
                restored = _close_the_past(storage, now)
    return restored


def backup_made_at(storage: Storage) -> datetime | None:
    """When the last backup was made; None: never."""
    made_at = storage.operation.find_fact(MADE_AT)
    return datetime.fromtimestamp(int(made_at), UTC) if made_at else None


# ---- moving -------------------------------------------------------------------------------------------------------


def move_state(source: str, target: str, progress: Progress) -> dict[str, int]:
    """Moves a whole state from one database to another, by their URLs; returns the rows by table.

    Raises UsageError where the source does not exist or somebody delivers from it, or the target is in use.
    """
    old, new = _settings_of("--from", source), _settings_of("--to", target)
    if old.sqlite_path is not None and not old.sqlite_path.exists():
        raise UsageError(f"{old.sqlite_path}: there is no database")
    if source == target:
        raise UsageError("--from and --to name the same database")
    with open_storage(old) as first, open_storage(new) as second:
        living = [name for name in first.outbox.owners() if not life_of(name).is_over]
        if living:
            raise UsageError(
                f"mails are being sent from the old database (by {living[0]}): stop digestbot first"
            )
        with first.db.rehearsal(writing=True), first.transaction():  # nobody decides anything meanwhile
            return move(first.db, second.db, progress)


def _settings_of(option: str, url: str) -> Settings:
    try:
        return parse_settings({"DIGESTBOT_DATABASE": url})
    except SettingsError as error:
        raise UsageError(str(error).replace("DIGESTBOT_DATABASE", option)) from error


# ---- restoring ----------------------------------------------------------------------------------------------------


def _copy_checked(backup: Path, part: Path) -> None:
    try:
        copy_database(backup, part, at_rest=True)
        with open_file(part) as storage:
            flaw = find_flaw(storage.db)
    except StorageError as error:
        raise UsageError(f"{error}; nothing was restored") from error
    if flaw is not None:
        raise UsageError(f"{backup}: {flaw}; nothing was restored")


def _close_the_past(storage: Storage, now: datetime) -> Restored:
    known = [at for at in (backup_made_at(storage), storage.entries.last_recorded_at()) if at is not None]
    slots = 0
    while due := storage.subscribers.due(now, BLOCK):
        slots += _skip_due(storage, due, now)
    held = storage.entries.hold_unfinished("restored from a backup: perhaps sent since, perhaps not")
    return Restored(max(known, default=None), slots, held)


def _skip_due(storage: Storage, subscribers: list[Subscriber], now: datetime) -> int:
    """Ends all slots due up to now of a block of subscribers; returns how many slots."""
    settled = settle_due(storage, subscribers, now, max_lateness=timedelta(0))
    records = [_done(subscriber.id, due, verdict, now) for subscriber, due, verdict in settled.decisions]
    storage.outbox.record_slots(records)
    storage.subscribers.advance(settled.next_due)
    return len(records)


def _done(subscriber_id: SubscriberId, due: schedule.Due, verdict: Verdict, now: datetime) -> SlotRecord:
    if verdict is Verdict.PAUSED:
        return ended_slot(subscriber_id, due.slot, verdict, now)
    return SlotRecord(subscriber_id, due.slot, SlotOutcome.SKIPPED, now)


# ---- files --------------------------------------------------------------------------------------------------------


def _sqlite_path(settings: Settings) -> Path:
    if settings.sqlite_path is None:
        raise UsageError("backup and restore are for SQLite; for PostgreSQL use pg_dump and pg_restore")
    return settings.sqlite_path


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file of mode 0600 beside the target, which becomes the target at the end and never replaces another."""
    if not target.name:
        raise UsageError(f"{target}: is a folder; name a file")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        yield part
        os.link(part, target)
    except FileExistsError:
        raise UsageError(f"{target}: exists already, and nothing is overwritten") from None
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        for left in (part, *(part.with_name(part.name + end) for end in ("-wal", "-shm", "-journal"))):
            with suppress(OSError):
                left.unlink()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: the state folder cannot be made: {error.strerror}") from error

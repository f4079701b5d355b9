"""This machine: secret, folders, database, clock, templates, ranker."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from digestbot.alarms import LITTLE_SPACE_BYTES
from digestbot.backup import backup_made_at
from digestbot.desk import make_renderer
from digestbot.doctor.finding import Finding, fail, ok, warn
from digestbot.errors import DigestbotError, SettingsError, StorageError, TemplateError
from digestbot.links import Links, derive_key
from digestbot.model import Status
from digestbot.ranking.embedding import OnnxEmbedder
from digestbot.sample_mails import try_templates
from digestbot.settings import Settings
from digestbot.storage import Storage, check_schema, open_as_it_is
from digestbot.storage.copies import damage, find_flaw
from digestbot.templating import strangers
from digestbot.wording import counted
from digestbot.zone_rules import unknown_zones

RELEASED = datetime(2026, 1, 1, tzinfo=UTC)  # no clock is right that shows an earlier time
AHEAD = timedelta(hours=1)
STALE_BACKUP = timedelta(days=7)


def check_secret(settings: Settings) -> Iterator[Finding]:
    if not settings.secret_keys:
        mend = "`digestbot init` writes one into .env"
        yield fail("secret key", "DIGESTBOT_SECRET_KEY is not set: links cannot be signed", mend)
    else:
        keys = len(settings.secret_keys)
        yield ok("secret key", "set" if keys == 1 else f"set; {keys - 1} older ones still verify")
    env = Path(".env")
    if env.is_file() and env.stat().st_mode & 0o077:
        yield warn(".env", "can be read by others on this machine, and holds secrets", "chmod 600 .env")


def check_folders(settings: Settings) -> Iterator[Finding]:
    names = ("incoming", "done", "rejected", "held") if settings.drops.is_dir() else ()
    folders = [settings.state, *(settings.drops / name for name in names)]
    problems = [problem for folder in folders if (problem := _write_problem(folder))]
    for problem in problems:
        yield fail(
            "folders", problem, f"make it writable for the user who runs digestbot (now uid {os.getuid()})"
        )
    if not problems:
        yield ok("folders", f"{settings.state} and the drop folders in it can be written")
    free = shutil.disk_usage(_nearest(settings.state)).free
    if free < LITTLE_SPACE_BYTES:
        yield warn("disk", f"{free // 1_000_000:,} MB are free below {settings.state}", "make room")


def check_database(settings: Settings, now: datetime) -> Iterator[Finding]:
    path = settings.sqlite_path
    if path is not None and not path.exists():
        yield warn("database", f"{path} is not there yet", "`digestbot init` makes it")
        return
    try:
        with open_as_it_is(settings) as storage:
            yield from _database(path, storage, now)
    except SettingsError as error:
        yield fail("database", str(error), "install what it names, or set DIGESTBOT_DATABASE")
    except StorageError as error:
        mend = (
            "mend what it names; a backup only helps where the file itself is damaged"
            if path
            else "see that the server runs, and its log"
        )
        yield fail("database", str(error), mend)


def _database(path: Path | None, storage: Storage, now: datetime) -> Iterator[Finding]:
    """path: the SQLite file; None: it is PostgreSQL."""
    name = path or "PostgreSQL"
    version, newest = check_schema(storage)
    if path is None and version == 0:
        yield warn("database", "PostgreSQL answers, but the database is empty", "`digestbot init`")
        return
    flaw = find_flaw(storage.db) or (damage(storage.db) if path else None)
    if flaw is not None:
        yield fail("database", f"{name} {flaw}", "keep the file, and restore a backup")
        return
    if path and not os.access(path, os.W_OK):
        yield fail(
            "database",
            f"{path} cannot be written",
            f"give it to the user who runs digestbot (now uid {os.getuid()})",
        )
        return
    if version < newest:
        yield warn("database", f"{name} has schema {version}, {newest} is the newest", "`digestbot migrate`")
    else:
        yield ok("database", f"{name}: schema {version}" + (", quick check passed" if path else ""))
    for zone, people in unknown_zones(storage).items():
        said = f"{zone} cannot be read here: the digests of {counted(people, 'subscriber')} follow UTC"
        yield fail("time zones", said, "install tzdata anew, the system's or the Python package")
    if path and storage.subscribers.count_by_status()[Status.CONFIRMED]:
        yield _backup(backup_made_at(storage), now)


def _backup(made_at: datetime | None, now: datetime) -> Finding:
    mend = "`digestbot backup FILE` every night, or replicate the database"
    if made_at is None:
        return warn("backup", "none was made yet", mend)
    if now - made_at > STALE_BACKUP:
        return warn("backup", f"the last one is of {made_at:%Y-%m-%d}", mend)
    return ok("backup", f"the last one is of {made_at:%Y-%m-%d %H:%M} UTC")


def check_clock(settings: Settings, now: datetime) -> Iterator[Finding]:
    if now < RELEASED:
        yield fail(
            "clock", f"shows {now:%Y-%m-%d %H:%M} UTC, before this digestbot was made", "set it, and run NTP"
        )
        return
    newest = _newest_record(settings)
    if newest is not None and newest > now + AHEAD:
        said = f"shows {now:%Y-%m-%d %H:%M} UTC, but the ledger speaks of {newest:%Y-%m-%d %H:%M}"
        yield warn("clock", said, "see that it is right: it was set back, or --now was ahead")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M} UTC")


def _newest_record(settings: Settings) -> datetime | None:
    path = settings.sqlite_path
    if path is not None and not path.exists():
        return None
    try:
        with open_as_it_is(settings) as storage:
            return None if find_flaw(storage.db) else storage.entries.last_recorded_at()
    except (SettingsError, StorageError):
        return None  # said by check_database


def check_templates(settings: Settings) -> Iterator[Finding]:
    links = Links(
        settings.base_url, [derive_key(key) for key in settings.secret_keys or ("a key for samples",)]
    )
    try:
        renderer = make_renderer(settings, links)
        if settings.templates is None:  # of their own they were tried as the renderer was made
            try_templates(renderer)
    except TemplateError as error:
        yield fail("templates", str(error), "mend the file, or take it out of DIGESTBOT_TEMPLATES")
        return
    yield ok(
        "templates",
        f"all mails render{f', with those of {settings.templates}' if settings.templates else ''}",
    )
    for said in renderer.left_out():
        yield warn("templates", said, "write it where readers should find it")
    for path in strangers(settings.templates) if settings.templates else ():
        mend = "give it the name of a packaged template (docs/theming.md), or leave it if one of yours includes it"
        yield warn("templates", f"{path} replaces nothing", mend)


def check_ranker(settings: Settings) -> Iterator[Finding]:
    name = settings.embedding_model
    if name is None:
        yield ok("ranker", "lexical")
    elif not Path(name).expanduser().is_dir():
        said = f"DIGESTBOT_EMBEDDING_MODEL: {name} is no folder here; taken as a name on the hub, and not asked for"
        yield warn("ranker", said, "load it into a folder, and name that")
    else:
        try:
            vectors = OnnxEmbedder(Path(name).expanduser()).embed(["a sample"])
        except DigestbotError as error:
            yield fail("ranker", str(error), "load the model's folder anew")
        else:
            yield ok("ranker", f"{name}: {vectors.shape[1]} dimensions")


# ---- folders ------------------------------------------------------------------------------------------------------


def _write_problem(folder: Path) -> str | None:
    """Why nothing can be written to a folder that is there, or be made where it is missing; None: it can."""
    place = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"{place}: {error.strerror}" + (
            "" if place == folder.absolute() else f" ({folder} is missing)"
        )


def _nearest(path: Path) -> Path:
    """The path, or the first above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())

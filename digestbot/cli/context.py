"""What every command gets: the time, the settings, and how to print a report."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from digestbot.errors import UsageError

if TYPE_CHECKING:
    from digestbot.desk import Desk
    from digestbot.links import Links
    from digestbot.settings import Settings
    from digestbot.storage import Storage
    from digestbot.subscriptions import Office


@dataclass
class App:
    pinned_now: datetime | None = None
    debug: bool = False

    def now(self) -> datetime:
        """--now, else the real time, in whole seconds."""
        return self.pinned_now or datetime.now(UTC).replace(microsecond=0)

    @cached_property
    def settings(self) -> Settings:
        """Wrong ones stop a command where it reads them."""
        from digestbot.settings import read_settings

        settings = read_settings()
        for slip in settings.slips:
            say(f"digestbot: {slip}")
        return settings

    def check_settings(self) -> None:
        """For commands that use all settings, before they do anything. Raises SettingsError."""
        from digestbot.settings import load_settings

        load_settings()

    @contextmanager
    def storage(self) -> Iterator[Storage]:
        from digestbot.storage import open_storage

        with open_storage(self.settings) as storage:
            yield storage

    @contextmanager
    def rehearsal(self) -> Iterator[Storage]:
        """The storage for commands that change nothing."""
        from digestbot.storage import rehearse

        with rehearse(self.settings, writing=False) as storage:
            self._tell_where_nothing_is()
            yield storage

    @contextmanager
    def desk(self, *, rehearsal: bool = False) -> Iterator[Desk]:
        """What the pipeline works with, on the storage or on a rehearsal of it."""
        from digestbot.desk import open_desk

        with open_desk(self.settings, rehearsal=rehearsal) as desk:
            if rehearsal:
                self._tell_where_nothing_is()
            yield desk

    def _tell_where_nothing_is(self) -> None:
        """A command that only reads shows an empty state in a folder that has none: most likely a wrong folder."""
        path = self.settings.sqlite_path
        if path is not None and not path.exists():
            say(
                f"digestbot: {path}: there is no database yet; go to the folder that has one, or begin with `init`"
            )

    def links(self) -> Links:
        """Raises SettingsError where no secret key is set."""
        from digestbot.subscriptions import missing_secret

        found = self.find_links()
        if found is None:
            raise missing_secret()
        return found

    def find_links(self) -> Links | None:
        from digestbot.links import Links, derive_key

        keys = [derive_key(key) for key in self.settings.secret_keys]
        return Links(self.settings.base_url, keys) if keys else None

    def office(self, storage: Storage) -> Office:
        from digestbot.subscriptions import Office

        domain = self.settings.from_address.rpartition("@")[2]
        return Office(storage, self.find_links(), domain, self.now())


pass_app = click.make_pass_decorator(App)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there."
)


json_lines_option = click.option(
    "--json", is_flag=True, expose_value=False, help="Said or not: an export is JSON Lines."
)


def say(text: str) -> None:
    """Text for people: stderr, so that stdout stays a report."""
    click.echo(text, err=True)


def print_json(document: object) -> None:
    click.echo(json.dumps(document, ensure_ascii=False))


def print_json_lines(documents: Iterable[object]) -> None:
    for document in documents:
        print_json(document)


def table(rows: Sequence[tuple[object, ...]], header: tuple[str, ...]) -> str:
    """Aligned columns for people; control characters in cells are replaced. A cell of over 40 letters pads no other."""
    cells = [[_cell(value) for value in row] for row in [header, *rows]]
    widths = [min(40, max(len(row[i]) for row in cells)) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of another only at the end; where writing fails, that stays.

    A link stays one, and what is no plain file, such as /dev/null, is written as it is. Raises UsageError where it cannot
    be opened.
    """
    target = path.resolve()
    is_special = target.exists() and not target.is_file()
    part = target if is_special else target.with_name(f".digestbot-{os.getpid()}.part")
    try:
        file = part.open("wb")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
        if not is_special:
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
    finally:
        if not is_special:
            part.unlink(missing_ok=True)


@contextmanager
def file_bar(label: str) -> Iterator[Callable[[Path, int, int], None] | None]:
    """A bar on stderr that is told (file, bytes read, bytes altogether); None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with count_bar(label) as count:
        yield lambda path, done, whole: count(done, whole) if count else None


@contextmanager
def count_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr that is told (done, altogether); None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, update_min_steps=1) as bar:

        def show(done: int, whole: int) -> None:
            bar.length = max(whole, 1)
            bar.pos = min(done, bar.length)
            bar.update(0)

        yield show


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)

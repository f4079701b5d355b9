"""The state of digestbot behind one small face: stores over one database, transactions, and rehearsals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from digestbot.errors import SettingsError, StorageError
from digestbot.settings import Settings
from digestbot.storage.accounts import AccountStore
from digestbot.storage.bounces import BounceStore
from digestbot.storage.browsing import BrowseStore
from digestbot.storage.database import Database
from digestbot.storage.drops import DropStore
from digestbot.storage.entries import EntryStore
from digestbot.storage.limits import LimitStore
from digestbot.storage.migrations import migrate, schema_version, steps
from digestbot.storage.models import ModelStore
from digestbot.storage.operation import OperationStore
from digestbot.storage.outbox import OutboxStore
from digestbot.storage.papers import PaperStore
from digestbot.storage.recall import RecallStore
from digestbot.storage.slots import SlotStore
from digestbot.storage.subscribers import SubscriberStore
from digestbot.storage.suppressions import SuppressionStore
from digestbot.storage.transfer import TransferStore


class Storage:
    """What use cases work with. A method of a store is atomic; `transaction()` makes several of them so."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.papers = PaperStore(db)
        self.drops = DropStore(db)
        self.subscribers = SubscriberStore(db)
        self.suppressions = SuppressionStore(db)
        self.models = ModelStore(db)
        self.slots = SlotStore(db)
        self.outbox = OutboxStore(db)
        self.entries = EntryStore(db)
        self.limits = LimitStore(db)
        self.bounces = BounceStore(db)
        self.operation = OperationStore(db)
        self.recall = RecallStore(db)
        self.transfer = TransferStore(db)
        self.browsing = BrowseStore(db)
        self.accounts = AccountStore(db)

    def transaction(self) -> AbstractContextManager[None]:
        return self.db.transaction()

    def migrate(self) -> list[int]:
        """Brings the schema to the current version; returns the versions it went through."""
        return migrate(self.db)

    def close(self) -> None:
        self.db.close()


@contextmanager
def open_storage(settings: Settings) -> Iterator[Storage]:
    """The storage of the settings, for reading and writing; made where it does not exist yet."""
    path = settings.sqlite_path
    if path is not None:
        _make_folder(path.parent)
    with closing(Storage(_connect(settings))) as storage:
        storage.migrate()
        yield storage


def open_file(path: Path) -> AbstractContextManager[Storage]:
    """The storage in one SQLite file that exists, as it is: not migrated."""
    from digestbot.storage.sqlite import SqliteDatabase

    return closing(Storage(SqliteDatabase(path)))


def open_as_it_is(settings: Settings) -> AbstractContextManager[Storage]:
    """The storage of the settings, whatever its schema. A SQLite file must exist."""
    return closing(Storage(_connect(settings)))


@contextmanager
def rehearse(settings: Settings, *, writing: bool) -> Iterator[Storage]:
    """The storage as it is now, for doing things that never happened: whatever is done in it is undone at the end.

    Nothing is made on disk where no state exists yet. writing: for what may write, which is done in a private copy
    where that can be had.
    """
    path = settings.sqlite_path
    exists = path is None or path.exists()
    storage = Storage(_connect(settings, rehearsal=True) if exists else _in_memory())
    try:
        writing = writing or schema_version(storage.db) < steps(storage.db.dialect)[-1][0]
        if writing:
            storage.db.detach()
        with storage.db.rehearsal(writing=writing):
            storage.migrate()
            yield storage
    finally:
        storage.close()


def check_schema(storage: Storage) -> tuple[int, int]:
    """(the database's version, the newest this program knows)."""
    return schema_version(storage.db), steps(storage.db.dialect)[-1][0]


def _connect(settings: Settings, *, rehearsal: bool = False) -> Database:
    path = settings.sqlite_path
    if path is not None:
        from digestbot.storage.sqlite import SqliteDatabase

        return SqliteDatabase(path, guarded=rehearsal)
    try:
        from digestbot.storage.postgres import PostgresDatabase
    except ModuleNotFoundError as error:
        raise SettingsError(
            [f"DIGESTBOT_DATABASE: PostgreSQL needs {error.name}: pip install 'digestbot[cluster]'"]
        ) from error
    return PostgresDatabase(settings.database)


def _in_memory() -> Database:
    from digestbot.storage.sqlite import SqliteDatabase

    return SqliteDatabase(None)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: the state folder cannot be made: {error.strerror}") from error

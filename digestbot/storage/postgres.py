"""The database of a cluster: PostgreSQL through psycopg.

A thread's transaction holds a connection of its own; a statement outside of one borrows an idle connection. They are
opened as needed and need no threads, as psycopg_pool's do: a process has up to twenty storages, most with one connection.
"""

from __future__ import annotations

import re
import select
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumperUnknown

from digestbot.errors import SettingsError, StorageError
from digestbot.storage.database import Row, Value

BUSY_TIMEOUT_S = 60  # as SQLite waits
THINKING_S = 30  # at most, between two statements of a transaction: a process that is stopped in one holds up the others
_ALONE = "SELECT pg_advisory_xact_lock(7340033)"  # any number, the same in every digestbot
_PATIENT = "SET LOCAL idle_in_transaction_session_timeout = 0"  # a rehearsal thinks for long
_MEND = {  # the beginning of a SQLSTATE -> what to do
    "55P03": "; another process has held it for a minute: stop that one, or try again",
    "40": "; two processes were in each other's way: try again",
    "53": "; give the server more room, nothing is lost",
    "25006": "; it is a standby: name the primary in DIGESTBOT_DATABASE",
    "42501": "; give this user the right to create and change tables there",
}
_DDL = (  # SQLite's words -> PostgreSQL's; texts are compared by their bytes, as SQLite does
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
    (r"\bWITHOUT ROWID\b", ""),
)


class _Undo(Exception):
    """Ends a rehearsal."""


class _Thread(threading.local):
    """What one thread holds."""

    connection: psycopg.Connection[Row] | None = None
    depth = 0
    is_rehearsing = False


class PostgresDatabase:
    """A `Database` on a PostgreSQL server. `durable` is always so: a server that is killed loses what it has not
    written, unlike a process beside a file, and several connections share one write."""

    dialect = "postgres"

    def __init__(self, url: str) -> None:
        parts = _parts(url)
        self._url = url
        self._name = (
            f"PostgreSQL at {parts.get('host') or 'this machine'}, {parts.get('dbname') or 'the database'}"
        )
        self._idle: list[psycopg.Connection[Row]] = []
        self._is_closed = False
        self._thread = _Thread()
        self._give_back(self._connect())  # what is wrong is said at once

    # ---- statements ---------------------------------------------------------------------------------------------

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        with self._told(), self._connection() as connection:
            return connection.execute(_numbered(sql) if values else sql.encode(), values).rowcount

    def mark(self, sql: str, values: Sequence[Value] = ()) -> int:
        return self.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with self.transaction(alone=False), self._told(), self._connection() as connection:
            connection.cursor().executemany(_numbered(sql), rows)

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with self._told(), self._connection() as connection:
            return connection.execute(_numbered(sql) if values else sql.encode(), values).fetchall()

    def row(self, sql: str, values: Sequence[Value] = ()) -> Row | None:
        found = self.rows(sql, values)
        return found[0] if found else None

    # ---- transactions -------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, durable: bool = True, alone: bool = True) -> Iterator[None]:
        with self._level(f"BEGIN; {_ALONE}" if alone and durable else "BEGIN"):
            if self._thread.is_rehearsing and alone and durable:
                self.execute(_ALONE)
            yield

    @contextmanager
    def rehearsal(self, *, writing: bool) -> Iterator[None]:
        begin = "BEGIN" if writing else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        with suppress(_Undo), self._level(f"{begin}; {_PATIENT}"):
            self._thread.is_rehearsing = True
            try:
                yield
            finally:
                self._thread.is_rehearsing = False
            raise _Undo

    @contextmanager
    def _level(self, begin: str) -> Iterator[None]:
        """One level of transactions: the outermost is a real one, those inside are savepoints."""
        thread = self._thread
        if thread.connection is None:
            with self._connection() as connection:
                thread.connection = connection
                try:
                    yield from self._inside(connection, begin, "ROLLBACK", "COMMIT")
                finally:
                    thread.connection, thread.depth = None, 0
        else:
            name = f"level{thread.depth}"
            yield from self._inside(
                thread.connection, f"SAVEPOINT {name}", f"ROLLBACK TO {name}", f"RELEASE {name}"
            )

    def _inside(self, connection: psycopg.Connection[Row], begin: str, undo: str, end: str) -> Iterator[None]:
        with self._told():
            _run(connection, begin)
        self._thread.depth += 1
        try:
            yield
        except BaseException:
            if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                with suppress(psycopg.Error):  # the error that led here says more
                    _run(connection, undo)
            raise
        else:
            with self._told():
                _run(connection, end)
        finally:
            self._thread.depth -= 1

    # ---- connections --------------------------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Row]]:
        """That of this thread's transaction, else an idle one."""
        if self._thread.connection is not None:
            yield self._thread.connection
            return
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _take(self) -> psycopg.Connection[Row]:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect()
            if not connection.closed and not _is_readable(connection.fileno()):
                return connection
            connection.close()  # the server closed it, or is about to

    def _give_back(self, connection: psycopg.Connection[Row]) -> None:
        if self._is_closed or connection.info.transaction_status is not TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self) -> psycopg.Connection[Row]:
        with self._told():
            connection: psycopg.Connection[Row] = psycopg.connect(
                self._url,
                autocommit=True,
                cursor_factory=psycopg.RawCursor,
                connect_timeout=10,
                keepalives_idle=30,
                application_name="digestbot",
            )
            connection.adapters.register_dumper(str, _TextDumper)
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.adapters.register_loader("numeric", _NumericLoader)
            _run(connection, f"SET lock_timeout = '{BUSY_TIMEOUT_S}s'")
            _run(connection, f"SET idle_in_transaction_session_timeout = '{THINKING_S}s'")
        return connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the environment does to the database (lost, locked, disk full) is said in our words."""
        try:
            yield
        except psycopg.Error as error:
            state = error.sqlstate or ""
            mend = next((mend for begin, mend in _MEND.items() if state.startswith(begin)), "")
            is_ours = isinstance(error, psycopg.IntegrityError | psycopg.ProgrammingError | psycopg.DataError)
            if is_ours and not mend:
                raise
            raise StorageError(f"{self._name}: {_first_line(error)}{mend}") from error

    # ---- the dialect --------------------------------------------------------------------------------------------

    def has_table(self, name: str) -> bool:
        return (
            self.row(
                "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?",
                (name,),
            )
            is not None
        )

    def shape(self, table: str) -> tuple[list[str], list[str]]:
        names = self.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND table_name = ? AND is_generated = 'NEVER' ORDER BY ordinal_position",
            (table,),
        )
        keys = self.rows(
            "SELECT k.column_name FROM information_schema.key_column_usage k"
            " JOIN information_schema.table_constraints c USING (constraint_schema, constraint_name)"
            " WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_schema = current_schema() AND k.table_name = ?"
            " ORDER BY k.ordinal_position",
            (table,),
        )
        return [str(row[0]) for row in names], [str(row[0]) for row in keys]

    def skip_locked(self) -> str:
        return "FOR UPDATE SKIP LOCKED"

    def search_papers(self, columns: str, words: Sequence[str], limit: int) -> list[Row]:
        """Through a column that the server keeps (0002.postgres.sql)."""
        wanted = " & ".join(filter(None, map(_phrase, words)))
        if not wanted:
            return []
        return self.rows(
            f"SELECT {columns} FROM papers WHERE words @@ ?::tsquery AND first_seen IS NOT NULL"
            " ORDER BY id DESC LIMIT ?",
            (wanted, limit),
        )

    def ddl(self, statement: str) -> str:
        for ours, theirs in _DDL:
            statement = re.sub(ours, theirs, statement)
        return statement

    def suspend(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def resume(self) -> None:
        """Connections are made when they are needed."""

    def detach(self) -> None:
        """A copy of a server's database would take too long."""

    def close(self) -> None:
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


def _parts(url: str) -> dict[str, object]:
    """What a URL names. Raises SettingsError without showing it: what cannot be read may be a password."""
    parts: dict[str, object] = {}
    with suppress(psycopg.ProgrammingError):
        parts.update(conninfo_to_dict(url))
    if not parts or not re.fullmatch(r"[\d,]*", str(parts.get("port", ""))):
        expected = "postgresql://USER:PASSWORD@HOST:PORT/NAME, with special characters percent-encoded"
        raise SettingsError([f"DIGESTBOT_DATABASE: must be {expected}"])
    return parts


class _TextDumper(StrDumperUnknown):
    """PostgreSQL's text cannot hold NUL."""

    def dump(self, obj: str) -> bytes | bytearray | memoryview | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


class _NumericLoader(Loader):
    """Sums of whole numbers are whole numbers."""

    def load(self, data: bytes | bytearray | memoryview) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


@lru_cache(maxsize=2048)
def _numbered(sql: str) -> bytes:
    """`?` as `$1, $2, ...`; no statement with values has one in a literal."""
    first, *rest = sql.split("?")
    return (first + "".join(f"${n}{part}" for n, part in enumerate(rest, 1))).encode()


def _phrase(word: str) -> str:
    """A word's parts, one after the other, of which the last may be a beginning; '' where it is but signs."""
    parts = "".join(letter if letter.isalnum() else " " for letter in word.lower()).split()
    return f"({' <-> '.join(parts)}:*)" if parts else ""


def _run(connection: psycopg.Connection[Row], statements: str) -> None:
    connection.execute(statements.encode())


def _is_readable(descriptor: int) -> bool:
    """An idle connection has nothing to say but that it ends."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""The one place that builds the SQL engine, and what a transaction promises."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, ProgrammingError

from models.fence import pass_fence
from models.sqlite_file import BUSY_TIMEOUT_S, prepare, prepare_unfinished, read_json, write_json
from strongroom import durable
from strongroom.errors import (
    CatalogueBusy,
    ConfigurationError,
    DataFolderError,
    DiskFull,
    IntegrityError,
    PermissionRefused,
    StorageError,
    TransientIO,
)

_GLANCE_S = 0.01
_WRITERS = 0x5354524F4E47  # the advisory lock that makes PostgreSQL's writers queue: any number that nobody else uses


class Database:
    """A catalogue. Transactions are short and hold no file I/O: there is one writer at a time, in PostgreSQL as in SQLite.

    Commits read before they write (which revision is next, a library's sums). One writer makes that true without a second
    way to think about it; a commit takes milliseconds, and a batch is one commit.

    A process that forks makes its own Database afterwards; connections never cross a fork.
    """

    def __init__(self, url: str, *, unfinished: bool = False) -> None:
        """Open lazily: the first transaction connects. ``unfinished``: an SQLite file that is somebody's only once it is synced.

        Nobody else has such a file open, and who dies before it is finished begins it anew: it is written without a log, and
        not durable on commit.

        Raises:
            ConfigurationError: the URL names no database that can be used.
        """
        self.url = url
        try:
            self.engine = _build(url, unfinished=unfinished)
        except (ArgumentError, NoSuchModuleError, ValueError, ImportError) as error:
            raise ConfigurationError("STRONGROOM_DATABASE_URL cannot be used: sqlite and postgresql+psycopg are.") from error
        except DBAPIError as error:
            raise translated(error) from error
        self._snapshot: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}  # SQLAlchemy's options

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    def is_within(self, root: Path) -> bool:
        """Whether the database is a file below a folder."""
        return self.is_sqlite and Path(self.engine.url.database or "/").is_relative_to(root)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot."""
        with _translation(), self.engine.connect().execution_options(**self._snapshot) as connection:
            yield connection

    @contextmanager
    def write(self, name: str = "catalogue") -> Iterator[Connection]:
        """One transaction, durable when the block has been left; nothing of it happened when the block raises.

        Raises:
            CatalogueBusy: another writer held the database for BUSY_TIMEOUT_S, or the connection dropped.
            DiskFull, PermissionRefused: the database could not write.
            LeaseLost: this is the work of a job that is somebody else's by now (models/fence.py).
        """
        with _translation(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            pass_fence(connection)
            yield connection
            durable.step(f"{name}: commit")
        durable.step(f"{name}: committed")

    def can_write(self, within_s: float) -> bool:
        """Whether nobody holds the database's write lock for all of that time. Changes nothing, and costs no sync.

        Raises:
            StorageError: the database cannot be used at all.
        """
        # SQLite itself would look every tenth of a second only, and miss the gaps between others' short writes.
        tries_s = _GLANCE_S if self.is_sqlite else within_s
        deadline = time.monotonic() + within_s
        while not self._write_begins(tries_s):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_GLANCE_S)
        return True

    def _write_begins(self, wait_s: float) -> bool:
        try:
            with _translation(), self.engine.connect().execution_options(writes=True, wait_s=wait_s) as connection:
                connection.begin().rollback()
        except CatalogueBusy:
            return False
        return True

    def scrub(self) -> None:
        """Write the database anew, without the pages in which deleted rows may still be read.

        On PostgreSQL that is left to its VACUUM, and its own log is beyond reach.

        Raises:
            CatalogueBusy: a reader did not end within BUSY_TIMEOUT_S.
            DiskFull: it takes as much room as the database once more.
        """
        with _translation():
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                if not self.is_sqlite:
                    raw.rollback()
                    raw.driver_connection.autocommit = True  # type: ignore[union-attr] # psycopg's; VACUUM takes no transaction
                durable.step("catalogue: vacuum")
                cursor.execute("VACUUM")
                if self.is_sqlite and cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    raise CatalogueBusy("A reader keeps the catalogue's log from being emptied.")
            except sqlite3.Error as error:
                raise translated(OperationalError("VACUUM", None, error)) from error
            finally:
                raw.invalidate()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _build(url: str, *, unfinished: bool) -> Engine:
    backend = make_url(url).get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ValueError(f"{backend} was never tried")
    if backend != "sqlite":
        engine = create_engine(url, pool_pre_ping=True, pool_size=5)
        event.listen(engine, "begin", _begin_postgresql)
        return engine
    options = {"timeout": BUSY_TIMEOUT_S, "isolation_level": None}
    engine = create_engine(url, connect_args=options, pool_size=5, json_serializer=write_json, json_deserializer=read_json)
    event.listen(engine, "connect", prepare_unfinished if unfinished else prepare)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once: a reader that turns writer later would fail without waiting."""
    options = connection.get_execution_options()
    if "wait_s" not in options:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes", False) else "BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={options['wait_s'] * 1000:.0f}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("writes", False):
        wait = text("SELECT set_config('lock_timeout', :wait, true)")
        connection.execute(wait, {"wait": f"{options.get('wait_s', BUSY_TIMEOUT_S) * 1000:.0f}ms"})
        connection.execute(text("SELECT pg_advisory_xact_lock(:writers)"), {"writers": _WRITERS})


@contextmanager
def _translation() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise translated(error) from error


def translated(error: DBAPIError) -> StorageError:
    """Return the StorageError that says what to do about a database's error."""
    said = str(error.orig).lower()
    if error.connection_invalidated:
        return CatalogueBusy(f"The catalogue cannot be reached: {error.orig}.")
    for words, kind, what, hint in _MEANINGS:
        if any(word in said for word in words):
            return kind(f"{what}: {error.orig}.", hint)
    if _undefined(error):
        return DataFolderError("The catalogue lacks its tables.", _UPGRADE)
    if isinstance(error, OperationalError) and not isinstance(error.orig, sqlite3.Error):
        return CatalogueBusy("The database does not answer.", "Check that it runs and that STRONGROOM_DATABASE_URL is right.")
    return StorageError(f"The catalogue refused: {error.orig}.")


_UPGRADE = "`strongroom up` brings the catalogue to this release."
_UNHARMED = "`strongroom rebuild` makes it anew from segments/ and metadata/journal, which are not harmed by this."
_MEANINGS: tuple[tuple[tuple[str, ...], type[StorageError], str, str | None], ...] = (
    (("locked", "busy", "lock timeout"), CatalogueBusy, "The catalogue is busy", None),
    (("is full", "no space left"), DiskFull, "The catalogue cannot grow", None),
    (("readonly", "unable to open", "permission denied"), PermissionRefused, "The catalogue cannot be used", None),
    (("disk i/o error",), TransientIO, "The catalogue cannot be read or written", None),
    (("malformed", "not a database"), IntegrityError, "The catalogue is damaged", _UNHARMED),
    (("no such table", "no such column"), DataFolderError, "The catalogue lacks its tables", _UPGRADE),
)
"""What databases say, SQLite's sqlite3_errstr() above all, and what it means here."""


def _undefined(error: DBAPIError) -> bool:
    original: Any = error.orig  # psycopg's errors carry SQLSTATE; sqlite3's do not
    return isinstance(error, ProgrammingError) and getattr(original, "sqlstate", "") in {"42P01", "42703"}

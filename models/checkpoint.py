"""What has been committed is moved from SQLite's log into the catalogue, so that the log takes no room."""

from __future__ import annotations

from contextlib import closing, suppress

from sqlalchemy.exc import DBAPIError

from models.database import Database
from models.sqlite_file import BUSY_TIMEOUT_S

_PATIENCE_MS = 200


def fold_log(database: Database) -> None:
    """Empty the write-ahead log if nobody is reading from it; else it stays, and goes the next time. PostgreSQL needs no such."""
    if not database.is_sqlite:
        return
    with suppress(DBAPIError), closing(database.engine.raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
        cursor.close()

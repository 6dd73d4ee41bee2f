"""How an SQLite file is opened, and the JSON in it."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

BUSY_TIMEOUT_S = 30
"""How long a transaction waits for others, on any database."""


def prepare(connection: sqlite3.Connection, _record: object) -> None:
    """FULL, because WAL with NORMAL loses acknowledged commits when the power goes (sqlite.org/pragma.html)."""
    cursor = connection.cursor()
    _use_wal(cursor)
    # Each commit is synced in the WAL, whatever its length. What a batch touches all over the indexes is copied to the database
    # once for several batches: at SQLite's own 1000 pages it was every second one. 4000 are 16 MB of disk.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY", "cache_size=-8000", "wal_autocheckpoint=4000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def prepare_unfinished(connection: sqlite3.Connection, _record: object) -> None:
    """Write each page once: a log is for those who must find the file whole after a crash. A savepoint needs the memory alone."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "foreign_keys=ON", "temp_store=MEMORY", "cache_size=-8000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Turn a new database to WAL. While another process does the same SQLite answers "locked" at once, whatever its timeout."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def read_json(text: str) -> Any:  # whatever was written
    """Most versions have no details: a fifth of the time of a long list went into reading that."""
    return {} if text == "{}" else json.loads(text)


def write_json(value: Any) -> str:  # whatever is to be written
    """Nor is that written anew for each of them."""
    return "{}" if value == {} else json.dumps(value)

"""The ledger read from outside, by plain SQL: not by the code that is on trial."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ENDED = ("done", "failed", "quarantined", "cancelled")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says about one job."""

    job_id: str
    kind: str
    state: str
    attempts: int
    owner: str
    error: str | None

    @property
    def pid(self) -> int:
        """The process that runs it (an owner is ``host:pid:...``)."""
        return int(self.owner.split(":")[1])


_COLUMNS = "job_id, kind, state, attempts, owner, error"


class Book:
    """The ledger of a data folder whose catalogue is SQLite. Looks only."""

    def __init__(self, data: Path) -> None:
        self._path = data / "metadata" / "catalogue.db"
        self._connection: sqlite3.Connection | None = None

    def entry(self, job_id: str) -> Entry | None:
        """Return a job's row."""
        return next(self._entries("WHERE job_id = ?", job_id), None)

    def running(self, kind: str = "store") -> list[Entry]:
        """Return the jobs that somebody runs, or died running."""
        return list(self._entries("WHERE state = 'running' AND kind = ? AND owner <> ''", kind))

    def every(self, kind: str = "store") -> list[Entry]:
        """Return every job of a kind."""
        return list(self._entries("WHERE kind = ?", kind))

    def counts(self, kind: str = "store") -> dict[str, int]:
        """Return how many jobs are in each state."""
        rows = self._open().execute("SELECT state, count(*) FROM job WHERE kind = ? GROUP BY state", (kind,))
        return {str(state): int(count) for state, count in rows}

    def _entries(self, where: str, *values: object) -> Iterator[Entry]:
        query = f"SELECT {_COLUMNS} FROM job {where}"  # noqa: S608  # the text is this module's own
        for row in self._open().execute(query, values).fetchall():
            yield Entry(*row)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA query_only = ON")
        return self._connection

    def close(self) -> None:
        """Let go of the catalogue."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def ended(counts: dict[str, int]) -> int:
    """Return how many of the counted jobs have ended."""
    return sum(counts.get(state, 0) for state in ENDED)


def opened(data: Path) -> closing[Book]:
    """Return a book that is closed with its block."""
    return closing(Book(data))


def accepted_files(data: Path) -> int:
    """Return how many accepted jobs lie in the inbox."""
    return sum(1 for _ in (data / "inbox").glob("*.inbox"))

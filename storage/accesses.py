"""Access counts that cost a read nothing: noted in memory, written together now and then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import Connection

from models.accesses import add_accesses

LIMIT = 50_000
"""Revisions that are noted between two writes. Reads of more are not counted: counts are for people and policies, no promise."""


def _now() -> datetime:
    return datetime.now(UTC)


class Accesses:
    """Counts the reads of one process. Calls may come from several threads."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._lock = Lock()
        self._reads: dict[str, tuple[int, datetime]] = {}

    def __len__(self) -> int:
        return len(self._reads)

    def note(self, version_id: str) -> None:
        """Count a read of a revision."""
        now = self._clock()
        with self._lock:
            count, _ = self._reads.get(version_id, (0, now))
            if count or len(self._reads) < LIMIT:
                self._reads[version_id] = (count + 1, now)

    def flush_access(self, connection: Connection) -> int:
        """Write what was noted since the last time into the caller's transaction; return of how many revisions.

        When the statement fails they are noted still; when the transaction fails later they are lost.
        """
        with self._lock:
            reads, self._reads = self._reads, {}
        try:
            add_accesses(connection, ((version_id, count, at) for version_id, (count, at) in reads.items()))
        except BaseException:
            self._take_back(reads)
            raise
        return len(reads)

    def _take_back(self, reads: dict[str, tuple[int, datetime]]) -> None:
        with self._lock:
            for version_id, (count, at) in reads.items():
                more, later = self._reads.get(version_id, (0, at))
                self._reads[version_id] = (count + more, max(at, later))

"""Which holders of a lease are gone: the dead dropped a lock, which tells at once; the frozen do not renew."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from models.database import Database
from models.leases import LEASE, RENEWAL, Fate, expired_leases
from models.ledger import JobRow
from tasks.owner import Presence


class Watch:
    """One process's view of everybody's leases.

    SQLite has one host and no clock of its own: there a lease is over when its renewal counter stood still for LEASE on this
    process's monotonic clock. On PostgreSQL the database's clock counts.
    """

    def __init__(self, database: Database, presence: Presence, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._presence, self._clock = database, presence, clock
        self._seen: dict[str, tuple[int, int, float]] = {}
        self._looked = clock()

    def gone(self, rows: Sequence[JobRow]) -> dict[str, Fate]:
        """Return which of these running jobs, all that there are, have lost their holder, and how. Call it every few seconds."""
        frozen = self._standing_still(rows) if self._database.is_sqlite else self._expired()
        fates = {row.job_id: self._presence.fate(row.owner) for row in rows}
        fates |= {name: "dead" for name in frozen if fates.get(name) == "alive"}
        return {name: fate for name, fate in fates.items() if fate != "alive"}

    def _standing_still(self, rows: Sequence[JobRow]) -> list[str]:
        now = self._clock()
        if now - self._looked > LEASE.total_seconds() - RENEWAL.total_seconds():
            self._seen.clear()  # this process stood still itself: what it saw before tells nothing
        self._looked = now
        self._seen = {row.job_id: self._sight(row, now) for row in rows}
        return [name for name, (_, _, since) in self._seen.items() if now - since > LEASE.total_seconds()]

    def _sight(self, row: JobRow, now: float) -> tuple[int, int, float]:
        before = self._seen.get(row.job_id)
        if before is not None and before[:2] == (row.token, row.renewals):
            return before
        return (row.token, row.renewals, now)

    def _expired(self) -> list[str]:
        with self._database.read() as connection:
            return expired_leases(connection)

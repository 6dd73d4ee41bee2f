"""Which holders of a lease are gone: the dead dropped a lock, which tells at once; the frozen do not renew."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from models.database import Database
from models.leases import LEASE, RENEWAL, Fate, expired_leases
from models.ledger import JobRow
from tasks.owner import Presence

PROBE_S = 1.0
"""Whoever cannot write within this time, between others' short writes, is held up by one that takes long."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was seen of a lease, and how long it has stood still while it could have been renewed."""

    token: int
    renewals: int
    still_s: float = 0.0


class Watch:
    """One process's view of everybody's leases.

    SQLite has one host and no clock of its own: there a lease is over when its renewal counter stood still for LEASE on this
    process's monotonic clock. On PostgreSQL the database's clock counts. While one writer holds up all others nobody can renew:
    that time counts against nobody, and whoever waited is given the time of a renewal when it is over.
    """

    def __init__(self, database: Database, presence: Presence, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._presence, self._clock = database, presence, clock
        self._seen: dict[str, _Sight] = {}
        self._looked = clock()
        self._could_write = False
        self._writable_s = 0.0

    def gone(self, rows: Sequence[JobRow]) -> dict[str, Fate]:
        """Return which of these running jobs, all that there are, have lost their holder, and how. Call it every few seconds."""
        counted_s = self._counted_s(rows)
        frozen = self._standing_still(rows, counted_s) if self._database.is_sqlite else self._expired()
        fates = {row.job_id: self._presence.fate(row.owner) for row in rows}
        fates |= {name: "dead" for name in frozen if fates.get(name) == "alive"}
        return {name: fate for name, fate in fates.items() if fate != "alive"}

    def _counted_s(self, rows: Sequence[JobRow]) -> float:
        """Return how much of the time since the last look counts: who holds a lease could have renewed it."""
        now = self._clock()
        passed_s, self._looked = now - self._looked, now
        if passed_s > LEASE.total_seconds() - RENEWAL.total_seconds():
            self._seen.clear()  # this process stood still itself: what it saw before tells nothing
            self._could_write = False
        could_write = bool(rows) and self._database.can_write(PROBE_S)
        # At both ends: who was held up shortly before this look may not have come to renew yet.
        held_up = not (could_write and self._could_write)
        self._could_write = could_write
        self._writable_s = 0.0 if held_up else self._writable_s + passed_s
        return 0.0 if held_up else passed_s

    def _standing_still(self, rows: Sequence[JobRow], counted_s: float) -> list[str]:
        self._seen = {row.job_id: self._sight(row, counted_s) for row in rows}
        return [name for name, sight in self._seen.items() if sight.still_s > LEASE.total_seconds()]

    def _sight(self, row: JobRow, counted_s: float) -> _Sight:
        before = self._seen.get(row.job_id)
        if before is not None and (before.token, before.renewals) == (row.token, row.renewals):
            return replace(before, still_s=before.still_s + counted_s)
        return _Sight(row.token, row.renewals)

    def _expired(self) -> list[str]:
        if self._writable_s <= RENEWAL.total_seconds():
            return []
        with self._database.read() as connection:
            return expired_leases(connection)

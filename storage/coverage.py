"""The coverage promise: every segment is read within so many days. How far it is kept, and when what is due will be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from models.database import Database
from models.findings import Observation
from models.scrubbing import measure_coverage

RATE_OVER = timedelta(days=7)
"""The present rate is that of the last week."""
WARN = 0.9
"""Before the promise breaks: what was read longest ago has waited for this part of the period."""

State = Literal["kept", "in danger", "broken"]


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """How far everything has been read. Sizes are bytes of segments; ages count from the last reading, else from the store."""

    state: State
    days: int
    segments: int
    size_bytes: int
    never_checked: int
    suspects: int
    oldest_unchecked_age_s: float
    debt_segments: int
    debt_bytes: int
    """What should have been read by now."""
    rate_bytes_per_day: float
    done_at: datetime | None
    """When everything will have been read once more at the present rate; None when nothing was read lately."""

    @property
    def is_kept(self) -> bool:
        """Whether every segment was read in time."""
        return self.state != "broken"


def report_coverage(database: Database, days: int, now: datetime) -> CoverageReport:
    """Return how far the promise of so many days is kept.

    It is in danger when something has waited for nine tenths of the time, or when the present rate does not suffice.
    """
    period = timedelta(days=days)
    with database.read() as connection:
        found = measure_coverage(connection, now, period, now - RATE_OVER)
    age = now - found.oldest_at if found.oldest_at else timedelta(0)
    rate = found.read_bytes / (RATE_OVER / timedelta(days=1))
    done_at = now + timedelta(days=found.size_bytes / rate) if rate else None
    return CoverageReport(
        _state(age, period, rate, found.size_bytes),
        days,
        found.segments,
        found.size_bytes,
        found.never,
        found.suspects,
        max(0.0, age.total_seconds()),
        found.overdue,
        found.overdue_bytes,
        rate,
        done_at,
    )


def observe_coverage(oldest_at: datetime | None, days: int, now: datetime) -> list[Observation]:
    """Return what is wrong when the promise is in danger or broken. ``oldest_at``: when what has waited longest was read."""
    if oldest_at is None or now - oldest_at <= timedelta(days=days) * WARN:
        return []
    waited = (now - oldest_at).days
    return [Observation("coverage_late", "", "", f"a segment was not read for {waited} days, and within {days} is promised")]


def _state(age: timedelta, period: timedelta, rate: float, size_bytes: int) -> State:
    if age > period:
        return "broken"
    too_slow = age > RATE_OVER and rate * (period / timedelta(days=1)) < size_bytes
    return "in danger" if age > period * WARN or too_slow else "kept"

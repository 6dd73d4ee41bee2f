"""Which segment is read next, and when each was read last: the place that sweeps of all workers keep in the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, text, update

from models.parts import in_parts
from models.tables import Segment, table_of

_SEGMENT = table_of(Segment)
_COLUMNS = _SEGMENT.c
_COUNTS = 8
_IS_SUSPECT = text("segment.suspect")
"""As the partial index has it: SQLite does not see that ``suspect = 1`` is the same."""
_ROWS = 1000
"""Rows of one look: more than fit into a batch, unless all of them are tiny."""


@dataclass(frozen=True, slots=True)
class DueSegment:
    """A segment to be read."""

    segment_sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Due:
    """What is due beside what was never read: what was last read before ``before``, and suspects read before that other time."""

    before: datetime
    suspects_before: datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """How long ago segments were read. Bytes of segments; times of the one that has waited longest."""

    oldest_at: datetime | None
    segments: int
    size_bytes: int
    never: int
    never_bytes: int
    suspects: int
    overdue: int
    overdue_bytes: int
    read_bytes: int
    """What was read lately."""


def claim_batch(connection: Connection, most_bytes: int, due: Due, now: datetime, until: datetime) -> list[DueSegment]:
    """Take the next segments, of about so many bytes, for oneself until then: suspects, new ones, then those read longest ago.

    Nobody else is given them, unless the time is over or they were recorded. In a write transaction: there is one writer at a
    time, which makes the comparison and the claim one step.
    """
    batch = next_batch(connection, most_bytes, due, now)
    for names in in_parts(one.segment_sha256 for one in batch):
        connection.execute(update(_SEGMENT).where(_COLUMNS.segment_sha256.in_(names)).values(claimed_until=until))
    return batch


def next_batch(connection: Connection, most_bytes: int, due: Due, now: datetime) -> list[DueSegment]:
    """Return what ``claim_batch`` would take."""
    batch: dict[str, DueSegment] = {}
    size = 0
    read_at = _COLUMNS.checked_at
    for condition, order in (
        (and_(_IS_SUSPECT, or_(read_at.is_(None), read_at < due.suspects_before)), _COLUMNS.segment_sha256),
        (read_at.is_(None), None),
        (read_at < due.before, read_at),
    ):
        for one in _look(connection, condition, order, now):
            if one.segment_sha256 not in batch:
                if batch and size + one.size_bytes > most_bytes:
                    return list(batch.values())
                batch[one.segment_sha256] = one
                size += one.size_bytes
    return list(batch.values())


def _look(
    connection: Connection,
    condition: ColumnElement[bool],
    order: ColumnElement[datetime] | ColumnElement[str] | None,
    now: datetime,
) -> Iterable[DueSegment]:
    free = or_(_COLUMNS.claimed_until.is_(None), _COLUMNS.claimed_until < now)
    query = select(_COLUMNS.segment_sha256, _COLUMNS.size_bytes).where(condition, free, ~_COLUMNS.condemned).limit(_ROWS)
    rows = connection.execute(query if order is None else query.order_by(order))
    return [DueSegment(row[0], row[1]) for row in rows]


def record_read(connection: Connection, good: Collection[str], bad: Collection[str], at: datetime) -> None:
    """Record what was read: good ones are suspects no more, bad ones are. Both are free for everybody."""
    for names in in_parts(good):
        done = {"checked_at": at, "checked_bad": 0, "suspect": False, "claimed_until": None}
        connection.execute(update(_SEGMENT).where(_COLUMNS.segment_sha256.in_(names)).values(done))
    for names in in_parts(bad):
        damaged = update(_SEGMENT).where(_COLUMNS.segment_sha256.in_(names))
        connection.execute(damaged.values(checked_at=at, checked_bad=_COLUMNS.checked_bad + 1, suspect=True, claimed_until=None))


def suspects(connection: Connection) -> list[str]:
    """Return the segments that were found damaged, or that somebody could not read, and that nobody has found whole since."""
    return list(connection.scalars(select(_COLUMNS.segment_sha256).where(_IS_SUSPECT, ~_COLUMNS.condemned)))


def mark_suspect(connection: Connection, names: Sequence[str]) -> None:
    """Have the next sweep read these first."""
    for part in in_parts(names):
        connection.execute(update(_SEGMENT).where(_COLUMNS.segment_sha256.in_(part)).values(suspect=True, checked_at=None))


def measure_coverage(connection: Connection, now: datetime, period: timedelta, since: datetime) -> Coverage:
    """Return how far everything has been read. ``overdue``: longer ago than ``period``, or that old and never read."""
    last = func.coalesce(_COLUMNS.checked_at, _COLUMNS.created_at)
    size, never, late = _COLUMNS.size_bytes, _COLUMNS.checked_at.is_(None), last < now - period
    sums = (
        func.count(),
        func.sum(size),
        func.count().filter(never),
        func.sum(size).filter(never),
        func.count().filter(_COLUMNS.suspect),
        func.count().filter(late),
        func.sum(size).filter(late),
        func.sum(size).filter(_COLUMNS.checked_at >= since),
        func.min(last),
    )
    row = connection.execute(select(*sums).where(~_COLUMNS.condemned)).one()
    segments, *sizes = (int(row[at] or 0) for at in range(_COUNTS))
    return Coverage(row[_COUNTS], segments, *sizes)

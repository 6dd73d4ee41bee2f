"""Pruning of history: which ended jobs and past slots go. In portions, so that no transaction is long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, or_, select

from models.ledger import ENDED, State
from models.parts import in_parts
from models.schedule import find_schedules, last_slots
from models.tables import Job, Slot, table_of

_JOB = table_of(Job)
_SLOT = table_of(Slot)

PORTION = 500
"""Rows of one transaction: 10 to 40 ms in a history of a million."""
_STEP = 25_000

PROTECTED = timedelta(hours=12)
"""An ended job stays so long, whatever the policy: its row is what makes a second delivery of its message harmless."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended."""

    finished_at: datetime
    job_id: str
    state: State


def end_of_history(connection: Connection, now: datetime, days: int, jobs: int) -> datetime:
    """Return the time before which ended jobs go: those older than ``days``, and all but the newest ``jobs``."""
    by_age = now - timedelta(days=days)
    by_count = _nth_newest(connection, jobs)
    return min(now - PROTECTED, by_age if by_count is None else max(by_age, by_count))


def _nth_newest(connection: Connection, jobs: int) -> datetime | None:
    """Return when the job ended that comes after the newest ``jobs``.

    Step by step, as no statement may hold anybody up. A step passes over jobs that ended together with its last: too few go.
    """
    before: datetime | None = None
    for begin in range(0, jobs + 1, _STEP):
        query = select(_JOB.c.finished_at).where(_JOB.c.finished_at.is_not(None)).order_by(_JOB.c.finished_at.desc())
        if before is not None:
            query = query.where(_JOB.c.finished_at < before)
        before = connection.scalar(query.offset(min(_STEP, jobs + 1 - begin) - 1).limit(1))
        if before is None:
            return None
    return before


def ended_before(connection: Connection, before: datetime, past: Ended | None = None) -> list[Ended]:
    """Return the oldest jobs that ended before then, at most PORTION; those that come after ``past`` when it is given."""
    columns = (_JOB.c.finished_at, _JOB.c.job_id, _JOB.c.state)
    query = select(*columns).where(_JOB.c.finished_at < before).order_by(*columns[:2]).limit(PORTION)
    if past is not None:
        later = or_(_JOB.c.finished_at > past.finished_at, _JOB.c.job_id > past.job_id)
        query = query.where(and_(_JOB.c.finished_at >= past.finished_at, later))
    return [Ended(*row) for row in connection.execute(query)]


def remove_jobs(connection: Connection, job_ids: Sequence[str], before: datetime) -> int:
    """Remove those jobs; return how many that were. One that was set going again meanwhile stays.

    Looked at first, then removed by name alone: SQLite would look through all of history for a condition on times.
    """
    removed = 0
    for part in in_parts(job_ids):
        query = select(_JOB.c.job_id, _JOB.c.state, _JOB.c.finished_at).where(_JOB.c.job_id.in_(part))
        over = [name for name, state, ended in connection.execute(query) if state in ENDED and ended and ended < before]
        removed += connection.execute(delete(_JOB).where(_JOB.c.job_id.in_(over))).rowcount
    return removed


def remove_slots(connection: Connection, before: datetime) -> int:
    """Remove slots from before then, at most PORTION of a schedule; return how many that were. A schedule keeps its last."""
    removed = 0
    for name in find_schedules(connection):
        newest = [slot.slot_at for slot in last_slots(connection, name, 1)]
        mine = (_SLOT.c.schedule == name) & (_SLOT.c.slot_at < min([before, *newest]))
        old = list(connection.scalars(select(_SLOT.c.slot_at).where(mine).order_by(_SLOT.c.slot_at).limit(PORTION)))
        if old:
            removed += connection.execute(delete(_SLOT).where(mine, _SLOT.c.slot_at <= old[-1])).rowcount
    return removed

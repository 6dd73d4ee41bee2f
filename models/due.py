"""What is due: jobs whose holder is gone, jobs whose time has come, jobs whose message was lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, or_, select, update

from models.leases import Fate
from models.ledger import COLUMNS, JobRow
from models.parts import in_parts
from models.tables import Job, table_of

_JOB = table_of(Job)
_WAITING = ("queued", "retrying", "parked")

PATIENCE = timedelta(seconds=20)
"""How long a message that was sent again may wait in its queue before it is sent once more; each time twice as long."""

SETTLED = timedelta(seconds=3)
"""A message that was sent this long ago and is not in its queue, nor its job begun, is lost."""

AT_ONCE = 1000
_DOUBLINGS = 8


def running_jobs(connection: Connection) -> list[JobRow]:
    """Return the jobs that somebody holds a lease of."""
    return [JobRow(*row) for row in connection.execute(select(*COLUMNS).where(_JOB.c.state == "running"))]


def take_back(connection: Connection, rows: Iterable[JobRow], fate: Callable[[JobRow], Fate], now: datetime) -> list[JobRow]:
    """Take these leases from their holders and have their jobs sent at once; return those that were still held.

    The token grows, so that a holder that was only frozen can commit nothing when it wakes. The first retry has no back-off.
    """
    taken: list[JobRow] = []
    for row in rows:
        held = (_JOB.c.job_id == row.job_id) & (_JOB.c.token == row.token) & (_JOB.c.state == "running")
        values = {"state": "queued", "owner": "", "token": _JOB.c.token + 1, "due_at": now, "sent_at": now}
        if fate(row) == "stopped":
            values["attempts"] = _JOB.c.attempts - 1
        if connection.execute(update(_JOB).where(held).values(values)).rowcount:
            taken.append(row)
    return taken


def is_due(connection: Connection, now: datetime, free_queues: Collection[str]) -> bool:
    """Whether ``take_due`` would find anything. A look that takes no lock."""
    return connection.scalar(select(_JOB.c.job_id).where(_due(now, free_queues)).limit(1)) is not None


def take_due(connection: Connection, now: datetime, free_queues: Collection[str]) -> list[JobRow]:
    """Return at most AT_ONCE jobs that are to be sent now, oldest first; whoever asks next does not get them for a while.

    Those are jobs whose time has come, and those whose message must be lost since it was sent a while ago and its queue is
    empty (``free_queues``).
    """
    query = select(*COLUMNS).where(_due(now, free_queues)).order_by(_JOB.c.created_at, _JOB.c.job_id).limit(AT_ONCE)
    rows = [JobRow(*row) for row in connection.execute(query)]
    for sends in sorted({min(row.sends, _DOUBLINGS) for row in rows}):
        names = [row.job_id for row in rows if min(row.sends, _DOUBLINGS) == sends]
        values = {"state": "queued", "due_at": now + PATIENCE * 2**sends, "sent_at": now, "sends": _JOB.c.sends + 1}
        for part in in_parts(names):
            connection.execute(update(_JOB).where(_JOB.c.job_id.in_(part)).values(values))
    return rows


def send_later(connection: Connection, job_ids: Sequence[str], due_at: datetime) -> None:
    """Undo ``take_due`` for jobs that could not be sent after all."""
    for part in in_parts(job_ids):
        untouched = _JOB.c.job_id.in_(part) & (_JOB.c.state == "queued")
        connection.execute(update(_JOB).where(untouched).values(due_at=due_at, sends=_JOB.c.sends - 1))


def _due(now: datetime, free_queues: Collection[str]) -> ColumnElement[bool]:
    time_has_come = _JOB.c.state.in_(_WAITING) & (_JOB.c.due_at <= now)
    if not free_queues:
        return time_has_come
    lost = (_JOB.c.state == "queued") & _JOB.c.queue.in_(sorted(free_queues)) & (_JOB.c.sent_at <= now - SETTLED)
    return or_(time_has_come, lost)

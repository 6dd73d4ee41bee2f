"""Questions that people ask the ledger. Each takes milliseconds, however long the history is: none counts or reads to the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from sqlalchemy import Connection, func, literal, or_, select, tuple_

from models.database import Database
from models.ledger import ACTIVE, COLUMNS, JobRow, State
from models.parts import in_parts
from models.tables import Job, table_of
from strongroom.errors import MessageTooNew

_JOB = table_of(Job)
STATES: tuple[State, ...] = get_args(State)

PORTION = 1000
"""Rows of one read, when all are asked for."""

COUNTED = 10_000
"""Nobody counts further than this: more than so many is what people want to know then."""


def newest_jobs(
    connection: Connection,
    states: Sequence[State] = (),
    kind: str | None = None,
    limit: int = 100,
    behind: JobRow | None = None,
) -> list[JobRow]:
    """Return jobs, newest first: in the given states and of the kind, when such are given, and ``behind`` a job in that order."""
    newest = select(*COLUMNS).order_by(_JOB.c.created_at.desc(), _JOB.c.job_id.desc()).limit(limit)
    if kind is not None:
        newest = newest.where(_JOB.c.kind == kind)
    if behind is not None:
        place = tuple_(literal(behind.created_at, _JOB.c.created_at.type), literal(behind.job_id, _JOB.c.job_id.type))
        newest = newest.where(tuple_(_JOB.c.created_at, _JOB.c.job_id) < place)
    if not states:
        return [JobRow(*row) for row in connection.execute(newest)]
    # One query a state, each along the index: a list of states would have the database sort all that it finds.
    found = [JobRow(*row) for state in states for row in connection.execute(newest.where(_JOB.c.state == state))]
    return sorted(found, key=lambda row: (row.created_at, row.job_id), reverse=True)[:limit]


def each_job(database: Database, states: Sequence[State] = (), kind: str | None = None) -> Iterator[JobRow]:
    """Yield all jobs as ``newest_jobs`` lists them, in constant memory, and in short reads: whoever takes them may be slow."""
    last: JobRow | None = None
    while True:
        with database.read() as connection:
            rows = newest_jobs(connection, states, kind, PORTION, last)
        yield from rows
        if len(rows) < PORTION:
            return
        last = rows[-1]


def count_states(connection: Connection, at_most: int = COUNTED) -> dict[State, int]:
    """Return how many jobs are in each state that any is in. ``at_most`` + 1 stands for more than ``at_most``."""
    counts = {state: _count(connection, state, at_most) for state in STATES}
    return {state: count for state, count in counts.items() if count}


def count_active(connection: Connection) -> int:
    """Return how many jobs are to be done here. Those that only a newer worker understands are not: they may wait for weeks."""
    active = select(func.count()).select_from(_JOB).where(_JOB.c.state.in_(ACTIVE))
    return (connection.scalar(active) or 0) - len(for_newer_workers(connection))


def for_newer_workers(connection: Connection) -> set[str]:
    """Return the jobs that are parked until a newer worker takes them."""
    # Not asked for in SQL: PostgreSQL refuses to look into JSON that holds a NUL anywhere.
    parked = connection.execute(select(_JOB.c.job_id, _JOB.c.error).where(_JOB.c.state == "parked"))
    return {job_id for job_id, error in parked if (error or {}).get("code") == MessageTooNew.code}


def states_of(connection: Connection, job_ids: Iterable[str]) -> dict[str, State]:
    """Return the states of those jobs that the ledger knows."""
    found: dict[str, State] = {}
    for part in in_parts(job_ids):
        found.update(
            (row[0], row[1]) for row in connection.execute(select(_JOB.c.job_id, _JOB.c.state).where(_JOB.c.job_id.in_(part)))
        )
    return found


def count_ahead(connection: Connection, row: JobRow, at_most: int = COUNTED) -> int:
    """Return how many queued jobs of the same queue go before this one: of higher priority, or of the same and older."""
    older = (_JOB.c.priority == row.priority) & (_JOB.c.created_at < row.created_at)
    ahead = (_JOB.c.state == "queued") & (_JOB.c.queue == row.queue) & or_(_JOB.c.priority < row.priority, older)
    some = select(literal(1)).select_from(_JOB).where(ahead, _JOB.c.job_id != row.job_id).limit(at_most + 1).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def running_beside(connection: Connection, row: JobRow, limit: int = 100) -> list[JobRow]:
    """Return the other jobs that run in this job's queue, or are of its kind, longest running first."""
    beside = or_(_JOB.c.queue == row.queue, _JOB.c.kind == row.kind)
    query = select(*COLUMNS).where(_JOB.c.state == "running", _JOB.c.job_id != row.job_id, beside)
    return [JobRow(*one) for one in connection.execute(query.order_by(_JOB.c.started_at).limit(limit))]


def _count(connection: Connection, state: State, at_most: int) -> int:
    some = select(literal(1)).select_from(_JOB).where(_JOB.c.state == state).limit(at_most + 1).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0

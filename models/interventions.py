"""What a person changes in the ledger: a job is begun anew, given up, or what was kept of it is let go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from models.ledger import ACTIVE, JobRow, NewJob, State, find_jobs, queue_jobs
from models.parts import in_parts
from models.tables import Job, table_of

_JOB = table_of(Job)

RETRIABLE: frozenset[State] = frozenset({"failed", "quarantined", "cancelled"})
"""States that a job can be begun anew from, since its payload was kept."""

DISCARDED = "discarded"
"""In the outcome of a job: who let its payload go, and when."""

_ANEW: Mapping[str, Any] = {
    "state": "queued",
    "attempts": 0,
    "owner": "",
    "sends": 0,
    "renewals": 0,
    "sent_at": None,
    "expires_at": None,
    "started_at": None,
    "finished_at": None,
    "progress": None,
    "outcome": None,
    "suspects": None,
}


def begin_anew(connection: Connection, job_ids: Iterable[str], due_at: datetime) -> dict[str, JobRow]:
    """Queue jobs that ended without success as if nobody had tried them; return those that were, as they were before.

    They are sent at ``due_at``. The token grows: whoever held one before can say nothing about it. The error stays to be read
    until the job has ended again. Jobs that are active, done or discarded stay as they are.
    """
    rows = {name: row for name, row in find_jobs(connection, job_ids).items() if can_begin_anew(row)}
    for part in in_parts(rows):
        values = {**_ANEW, "token": _JOB.c.token + 1, "due_at": due_at}
        connection.execute(update(_JOB).where(_JOB.c.job_id.in_(part)).values(values))
    return rows


def can_begin_anew(row: JobRow) -> bool:
    """Whether a job ended without success and was not discarded."""
    return row.state in RETRIABLE and DISCARDED not in (row.outcome or {})


def make_due(connection: Connection, job_ids: Iterable[str], now: datetime) -> None:
    """Have jobs that were begun anew, and that nobody has taken up yet, sent at once."""
    for part in in_parts(job_ids):
        untaken = _JOB.c.job_id.in_(part) & (_JOB.c.state == "queued") & (_JOB.c.attempts == 0)
        connection.execute(update(_JOB).where(untaken).values(due_at=now))


def cancel_jobs(
    connection: Connection, job_ids: Sequence[str], unknown: Sequence[NewJob], error: Mapping[str, Any], now: datetime
) -> dict[str, JobRow]:
    """End jobs that have not ended as cancelled, running ones too; return those that were ended, as they were before.

    ``unknown`` are accepted jobs that the ledger may not have heard of: they are entered first. The token grows, so that the
    holder of a lease can commit nothing any more.
    """
    queue_jobs(connection, unknown, now, now)
    wanted = {*job_ids, *(job.job_id for job in unknown)}
    rows = {name: row for name, row in find_jobs(connection, wanted).items() if row.state in ACTIVE}
    for part in in_parts(rows):
        values: dict[str, Any] = {"state": "cancelled", "owner": "", "token": _JOB.c.token + 1, "finished_at": now}
        values |= {"due_at": None, "error": dict(error)}
        connection.execute(update(_JOB).where(_JOB.c.job_id.in_(part)).values(values))
    return rows


def discard_jobs(connection: Connection, job_ids: Iterable[str], by: str, now: datetime) -> dict[str, JobRow]:
    """Record that what was kept of jobs is let go, by whom and when; return those whose it is, as they were before.

    A message that was kept in the row goes with it. Files are the caller's. Called twice the first record stays.
    """
    rows = {name: row for name, row in find_jobs(connection, job_ids).items() if row.state in RETRIABLE}
    for row in rows.values():
        if DISCARDED not in (row.outcome or {}):
            said = {**(row.outcome or {}), DISCARDED: {"by": by, "at": now.isoformat()}}
            values = {"outcome": said, "payload": "" if row.payload.startswith("{") else row.payload, "token": _JOB.c.token + 1}
            connection.execute(update(_JOB).where(_JOB.c.job_id == row.job_id).values(values))
    return rows


def failed_ids(connection: Connection, kind: str | None = None) -> list[str]:
    """Return the jobs that failed or are in quarantine and were not discarded, oldest first; only of one kind if given."""
    query = select(_JOB.c.job_id, _JOB.c.outcome).where(_JOB.c.state.in_(("failed", "quarantined"))).order_by(_JOB.c.created_at)
    if kind is not None:
        query = query.where(_JOB.c.kind == kind)
    return [name for name, outcome in connection.execute(query) if DISCARDED not in (outcome or {})]

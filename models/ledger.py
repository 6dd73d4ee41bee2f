"""The ledger of jobs: each job has a row, from the moment it is heard of. Who runs one is in leases.py, what is due in due.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, insert, select

from models.parts import in_parts
from models.tables import Job, table_of
from strongroom.routes import PRIORITIES

_JOB = table_of(Job)
_STATE = select(_JOB.c.state).where(_JOB.c.job_id == bindparam("job_id"))
"""Built once: each message of a busy queue asks it."""

State = Literal["queued", "running", "retrying", "parked", "done", "failed", "quarantined", "cancelled"]
ACTIVE: tuple[State, ...] = ("queued", "running", "retrying", "parked")
ENDED: frozenset[State] = frozenset({"done", "failed", "quarantined", "cancelled"})


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a job and to say how it ended. ``token`` fences off everybody who held it before."""

    job_id: str
    token: int


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the ledger knows it: see models.tables.Job. Times are UTC."""

    job_id: str
    kind: str
    subject: str
    state: State
    priority: int
    asked_by: str
    attempts: int
    queue: str
    owner: str
    token: int
    renewals: int
    expires_at: datetime | None
    progress: Mapping[str, Any] | None  # JSON: done, total, unit
    payload: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    sent_at: datetime | None
    sends: int
    outcome: Mapping[str, Any] | None  # JSON: the receipt's counts
    error: Mapping[str, Any] | None  # JSON: contracts.ErrorInfo
    suspects: Mapping[str, Any] | None = None  # JSON: tasks.suspects
    needs_bytes: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED

    @property
    def lease(self) -> Lease:
        """The lease that is in force, if it is running."""
        return Lease(self.job_id, self.token)


COLUMNS = [_JOB.c[name] for name in JobRow.__slots__]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as it is first heard of. ``accepted_at`` is when it was asked for, if that is known.

    ``asked_by`` is producer, schedule, or such as person:ada@host; what the job changes is told of them in the audit trail.
    ``needs_bytes``: the most that it may add to what is on the disk while it runs.
    """

    job_id: str
    kind: str
    payload: str = ""
    subject: str = ""
    asked_by: str = "producer"
    queue: str = ""
    priority: int = PRIORITIES["normal"]
    accepted_at: datetime | None = None
    needs_bytes: int = 0


def first_row(job: NewJob, state: State, now: datetime) -> dict[str, Any]:
    """Return the columns of a new job's row."""
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "subject": job.subject,
        "state": state,
        "priority": job.priority,
        "asked_by": job.asked_by,
        "attempts": 0,
        "queue": job.queue,
        "owner": "",
        "token": 0,
        "renewals": 0,
        "payload": job.payload,
        "created_at": job.accepted_at or now,
        "sends": 0,
        "needs_bytes": job.needs_bytes,
    }


def queue_jobs(connection: Connection, jobs: Sequence[NewJob], now: datetime, due_at: datetime) -> list[str]:
    """Enter those jobs that the ledger has never heard of as queued, to be sent (again) at ``due_at``; return their ids."""
    there = find_jobs(connection, [job.job_id for job in jobs])
    new = {job.job_id: job for job in jobs if job.job_id not in there}
    if new:
        rows = [first_row(job, "queued", now) | {"due_at": due_at, "sent_at": now} for job in new.values()]
        connection.execute(insert(_JOB), rows)
    return list(new)


def record_failed(connection: Connection, job: NewJob, error: Mapping[str, Any], now: datetime) -> JobRow:
    """Enter a job that fails before it could begin; return its row, which is another's if the ledger knew the id already.

    One that waits with this very message (it was sent again) fails as well: it would fail for ever.
    """
    queue_jobs(connection, [job], now, now)
    ended = {"state": "failed", "attempts": _JOB.c.attempts + 1, "finished_at": now, "due_at": None, "error": dict(error)}
    waits = _JOB.c.state.in_(("queued", "retrying", "parked")) & (_JOB.c.payload == job.payload)
    connection.execute(_JOB.update().where((_JOB.c.job_id == job.job_id) & waits).values(ended))
    return find_jobs(connection, [job.job_id])[job.job_id]


def park_job(connection: Connection, job: NewJob, error: Mapping[str, Any], now: datetime, due_at: datetime) -> None:
    """Have a job that nobody here can begin wait until ``due_at``. One that runs or has ended stays as it is.

    The token grows: whoever would take along what nobody has tried must leave it to those who understand it.
    """
    queue_jobs(connection, [job], now, due_at)
    values = {"state": "parked", "due_at": due_at, "error": dict(error), "token": _JOB.c.token + 1}
    idle = (_JOB.c.job_id == job.job_id) & _JOB.c.state.in_(("queued", "retrying", "parked"))
    connection.execute(_JOB.update().where(idle).values(values))


def state_of(connection: Connection, job_id: str) -> State | None:
    """Return a job's state; None when the ledger has never heard of it. For a third of what the whole row takes."""
    state: State | None = connection.execute(_STATE, {"job_id": job_id}).scalar()
    return state


def find_jobs(connection: Connection, job_ids: Iterable[str]) -> dict[str, JobRow]:
    """Return the rows of those jobs that the ledger knows."""
    found: dict[str, JobRow] = {}
    for part in in_parts(job_ids):
        rows = connection.execute(select(*COLUMNS).where(_JOB.c.job_id.in_(part)))
        found.update((row[0], JobRow(*row)) for row in rows)
    return found

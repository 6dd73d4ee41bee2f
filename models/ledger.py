"""The ledger of jobs: each job has a row, and what it did is recorded in the commit that did it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from models.tables import Job, table_of

_JOB = table_of(Job)

State = Literal["queued", "running", "retrying", "parked", "done", "failed", "quarantined", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "quarantined", "cancelled"})


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the ledger knows it. Times are UTC; ``owner`` names the process that runs it."""

    job_id: str
    kind: str
    subject: str
    state: State
    priority: int
    asked_by: str
    attempts: int
    owner: str
    payload: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    outcome: Mapping[str, Any] | None  # JSON: the receipt's counts
    error: Mapping[str, Any] | None  # JSON: contracts.ErrorInfo

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED


_COLUMNS = [_JOB.c[name] for name in JobRow.__slots__]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as it is first heard of."""

    job_id: str
    kind: str
    payload: str = ""
    subject: str = ""
    asked_by: str = "producer"


def begin_attempts(
    connection: Connection, jobs: Sequence[NewJob], owner: str, now: datetime, is_alive: Callable[[str], bool]
) -> dict[str, JobRow]:
    """Count one more attempt of each job and make ``owner`` its runner, before anything of it runs.

    Counting first is what stops a job that kills its worker. Returns the rows of the jobs that are ``owner``'s now; a job that
    has ended, or that a living process runs already, is not among them.
    """
    there = find_jobs(connection, [job.job_id for job in jobs])
    fresh = _insert_new(connection, [job for job in jobs if job.job_id not in there], owner, now)
    again = [name for name, row in there.items() if not row.ended and not (row.state == "running" and is_alive(row.owner))]
    if again:
        values = {"state": "running", "owner": owner, "started_at": now, "due_at": None, "attempts": _JOB.c.attempts + 1}
        connection.execute(update(_JOB).where(_JOB.c.job_id.in_(again)).values(values))
    return find_jobs(connection, fresh + again)


def begin_new(connection: Connection, jobs: Sequence[NewJob], owner: str, now: datetime) -> set[str]:
    """Make ``owner`` the runner of those jobs that the ledger has never heard of; return their ids."""
    there = find_jobs(connection, [job.job_id for job in jobs])
    return set(_insert_new(connection, [job for job in jobs if job.job_id not in there], owner, now))


def _insert_new(connection: Connection, jobs: Sequence[NewJob], owner: str, now: datetime) -> list[str]:
    if jobs:
        connection.execute(insert(_JOB), [_first_row(job, owner, now) for job in jobs])
    return [job.job_id for job in jobs]


def _first_row(job: NewJob, owner: str, now: datetime) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "payload": job.payload,
        "subject": job.subject,
        "asked_by": job.asked_by,
        "state": "running",
        "owner": owner,
        "attempts": 1,
        "created_at": now,
        "started_at": now,
    }


def end_job(  # the columns of one update
    connection: Connection,
    job_id: str,
    state: State,
    now: datetime,
    *,
    subject: str | None = None,
    outcome: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Record how a job ended. Called in the transaction of the work's own rows, so that both are true or neither."""
    values: dict[str, Any] = {"state": state, "finished_at": now, "outcome": outcome, "error": error}
    if subject is not None:
        values["subject"] = subject
    connection.execute(update(_JOB).where(_JOB.c.job_id == job_id).values(values))


def postpone_job(
    connection: Connection, job_id: str, due_at: datetime, error: Mapping[str, Any], *, counted: bool = True
) -> None:
    """Record that a job failed in a way that waiting can heal, and when it runs again.

    Not ``counted``: the job is innocent (the disk is full), it is parked and its attempt does not bring it nearer to quarantine.
    """
    values: dict[str, Any] = {"state": "retrying", "due_at": due_at, "error": error, "owner": ""}
    if not counted:
        values |= {"state": "parked", "attempts": _JOB.c.attempts - 1}
    connection.execute(update(_JOB).where(_JOB.c.job_id == job_id).values(values))


def queue_again(connection: Connection, now: datetime, patience: timedelta, is_alive: Callable[[str], bool]) -> list[JobRow]:
    """Take the jobs that nobody runs though they should run, mark them queued, and return them, to be sent again.

    Those are jobs whose time has come, and running ones whose process is gone. A job that was sent again is left alone for
    ``patience``: its message may wait in a long queue.
    """
    running = select(*_COLUMNS).where(_JOB.c.state == "running")
    due = select(*_COLUMNS).where(_JOB.c.state.in_(("queued", "retrying", "parked")), _JOB.c.due_at <= now).limit(1000)
    lost = [row for row in (JobRow(*found) for found in connection.execute(running)) if not is_alive(row.owner)]
    lost += [JobRow(*found) for found in connection.execute(due)]
    if lost:
        values = {"state": "queued", "owner": "", "due_at": now + patience}
        connection.execute(update(_JOB).where(_JOB.c.job_id.in_([row.job_id for row in lost])).values(values))
    return lost


def find_jobs(connection: Connection, job_ids: Iterable[str]) -> dict[str, JobRow]:
    """Return the rows of those jobs that the ledger knows."""
    rows = connection.execute(select(*_COLUMNS).where(_JOB.c.job_id.in_(list(job_ids))))
    return {row[0]: JobRow(*row) for row in rows}


def list_jobs(connection: Connection, states: Sequence[State] = (), limit: int = 100) -> Iterator[JobRow]:
    """Yield jobs, newest first; only those in the given states when any are given."""
    query = select(*_COLUMNS).order_by(_JOB.c.created_at.desc(), _JOB.c.job_id.desc()).limit(limit)
    if states:
        query = query.where(_JOB.c.state.in_(states))
    for row in connection.execute(query):
        yield JobRow(*row)

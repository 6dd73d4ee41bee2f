"""Leases: the right to do a job, taken by compare-and-set, renewed by heartbeats, checked in the commit that ends the job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update

from models.ledger import JobRow, Lease, NewJob, State, find_jobs, first_row
from models.tables import Job, table_of

_JOB = table_of(Job)

LEASE = timedelta(seconds=10)
RENEWAL = timedelta(seconds=3)
"""A holder that did not renew for LEASE is taken for frozen. Three renewals may go wrong in between."""

Fate = Literal["alive", "dead", "stopped"]
"""What became of a holder. One that was stopped by its operator did not fail: that counts as no attempt."""


class LeaseLost(Exception):
    """Somebody else may do the job by now: what was to be committed with it must not be."""


def take_leases(
    connection: Connection,
    jobs: Sequence[NewJob],
    owner: str,
    now: datetime,
    fate: Callable[[JobRow], Fate],
    limits: Mapping[str, int] | None = None,
) -> dict[str, JobRow]:
    """Give ``owner`` the lease of each job that is to be done and that nobody living holds, and count one more attempt.

    Counting first is what stops a job that kills its worker. Returns the rows of the jobs that are ``owner``'s now. Of a kind
    in ``limits`` no more than so many run at once; those beyond it stay queued, without a message, until ``due.take_waiting``
    takes them: when there is room.
    """
    there = find_jobs(connection, [job.job_id for job in jobs])
    fates = {name: fate(row) if row.state == "running" else "dead" for name, row in there.items() if not row.ended}
    free = [job for job in jobs if job.job_id not in there or fates.get(job.job_id, "alive") != "alive"]
    mine = _within_limits(connection, free, there, now, limits or {})
    fresh = [job for job in mine if job.job_id not in there]
    again = [job.job_id for job in mine if job.job_id in there]
    _begin_first(connection, fresh, owner, now)
    _begin_again(connection, [name for name in again if fates[name] == "dead"], owner, now, counted=1)
    _begin_again(connection, [name for name in again if fates[name] == "stopped"], owner, now, counted=0)
    for job in mine:
        if job.job_id in there and there[job.job_id].needs_bytes != job.needs_bytes:
            connection.execute(update(_JOB).where(_JOB.c.job_id == job.job_id).values(needs_bytes=job.needs_bytes))
    return find_jobs(connection, [job.job_id for job in mine])


def take_new(connection: Connection, jobs: Sequence[NewJob], owner: str, now: datetime) -> dict[str, Lease]:
    """Give ``owner`` the leases of those jobs that nobody has tried yet; return these.

    One that a person sent again has no attempts, but a token: it may have killed its worker before.
    """
    columns = _JOB.c
    known = select(columns.job_id, columns.state, columns.token).where(columns.job_id.in_([job.job_id for job in jobs]))
    untried = {name: state == "queued" and token == 0 for name, state, token in connection.execute(known)}
    fresh = [job for job in jobs if job.job_id not in untried]
    again = [job for job in jobs if untried.get(job.job_id)]
    _begin_first(connection, fresh, owner, now)
    _begin_again(connection, [job.job_id for job in again], owner, now, counted=1)
    for job in again:
        connection.execute(update(_JOB).where(columns.job_id == job.job_id).values(needs_bytes=job.needs_bytes))
    return {job.job_id: Lease(job.job_id, token=1) for job in (*fresh, *again)}


def tried_jobs(connection: Connection, job_ids: Sequence[str]) -> set[str]:
    """Return those of these jobs that ``take_new`` would not take."""
    columns = _JOB.c
    tried = (columns.state != "queued") | (columns.token != 0)
    return set(connection.scalars(select(columns.job_id).where(columns.job_id.in_(job_ids), tried)))


def renew_leases(
    connection: Connection, owners: Collection[str], progress: Mapping[str, Mapping[str, Any]], now: datetime
) -> None:
    """Renew what these runs hold, and record how far jobs (by id) have come. What was lost meanwhile stays lost."""
    held = (_JOB.c.state == "running") & _JOB.c.owner.in_(sorted(owners))
    values = {"renewals": _JOB.c.renewals + 1, "expires_at": _expiry(connection, now)}
    connection.execute(update(_JOB).where(held).values(values))
    for job_id, done in progress.items():
        connection.execute(update(_JOB).where(held & (_JOB.c.job_id == job_id)).values(progress=dict(done)))


def end_job(  # the columns of one update
    connection: Connection,
    lease: Lease,
    state: State,
    now: datetime,
    *,
    subject: str | None = None,
    outcome: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Record how a job ended. Called in the transaction of the work's own rows, so that both are true or neither.

    Raises:
        LeaseLost: the lease is no longer in force: the transaction must be given up.
    """
    values: dict[str, Any] = {"state": state, "finished_at": now, "outcome": outcome, "error": error, "due_at": None}
    if subject is not None:
        values["subject"] = subject
    if not _update_held(connection, lease, values):
        raise LeaseLost(lease.job_id)


def require_lease(connection: Connection, lease: Lease) -> None:
    """Make sure that the lease is in force, or that its holder has ended the job: what is left to tidy up then is still its own.

    Raises:
        LeaseLost: it is not.
    """
    mine = (_JOB.c.job_id == lease.job_id) & (_JOB.c.token == lease.token) & _JOB.c.state.in_(("running", "done"))
    if connection.scalar(select(_JOB.c.job_id).where(mine)) is None:
        raise LeaseLost(lease.job_id)


def note_suspects(connection: Connection, lease: Lease, suspects: Mapping[str, Any]) -> None:
    """Note what is about to be tried, so that whoever comes after a death knows what it died of.

    Raises:
        LeaseLost: the lease is no longer in force.
    """
    if not _update_held(connection, lease, {"suspects": dict(suspects)}):
        raise LeaseLost(lease.job_id)


def postpone_job(
    connection: Connection, lease: Lease, due_at: datetime, error: Mapping[str, Any], *, counted: bool = True
) -> bool:
    """Record that a job failed in a way that waiting can heal, and when it runs again; False when the lease was lost.

    Not ``counted``: the job is innocent (the disk is full), it is parked and its attempt does not bring it nearer to quarantine.
    """
    values: dict[str, Any] = {"state": "retrying", "due_at": due_at, "error": dict(error), "owner": ""}
    if not counted:
        values |= {"state": "parked", "attempts": _JOB.c.attempts - 1}
    return _update_held(connection, lease, values)


def give_back(connection: Connection, leases: Iterable[Lease], now: datetime) -> None:
    """Return jobs that were not even tried: they are queued, due at once, and nothing is counted."""
    for lease in leases:
        _update_held(connection, lease, {"state": "queued", "owner": "", "due_at": now, "attempts": _JOB.c.attempts - 1})


def expired_leases(connection: Connection) -> list[str]:
    """Return the jobs whose lease has run out by the database's own clock: PostgreSQL's, which is the same for every worker."""
    over = _JOB.c.expires_at < func.clock_timestamp()
    return list(connection.scalars(select(_JOB.c.job_id).where(_JOB.c.state == "running", over)))


def _begin_first(connection: Connection, jobs: Sequence[NewJob], owner: str, now: datetime) -> None:
    if jobs:
        begun = {"owner": owner, "started_at": now, "attempts": 1, "token": 1}
        rows = [first_row(job, "running", now) | begun for job in jobs]
        connection.execute(insert(_JOB).values(expires_at=_expiry(connection, now)), rows)


def _begin_again(connection: Connection, names: Sequence[str], owner: str, now: datetime, counted: int) -> None:
    if not names:
        return
    values: dict[str, Any] = {
        "attempts": _JOB.c.attempts + counted,
        "token": _JOB.c.token + 1,
        "due_at": None,
        "renewals": 0,
        "sends": 0,
    }
    values |= {"state": "running", "progress": None, "owner": owner, "started_at": now, "expires_at": _expiry(connection, now)}
    connection.execute(update(_JOB).where(_JOB.c.job_id.in_(names)).values(values))


def _expiry(connection: Connection, now: datetime) -> ColumnElement[Any] | datetime:
    if connection.dialect.name == "postgresql":
        return func.clock_timestamp() + text(f"interval '{LEASE.total_seconds():.0f} seconds'")
    return now + LEASE


def _update_held(connection: Connection, lease: Lease, values: Mapping[str, Any]) -> bool:
    return connection.execute(update(_JOB).where(_held(lease)).values(values)).rowcount == 1


def _held(lease: Lease) -> ColumnElement[bool]:
    return (_JOB.c.job_id == lease.job_id) & (_JOB.c.token == lease.token) & (_JOB.c.state == "running")


def _within_limits(
    connection: Connection, jobs: Sequence[NewJob], there: Mapping[str, JobRow], now: datetime, limits: Mapping[str, int]
) -> list[NewJob]:
    """Return the jobs that may run now, and have the others wait."""
    limited = {job.kind for job in jobs} & limits.keys()
    if not limited:
        return list(jobs)
    ours = [job.job_id for job in jobs]
    running = select(_JOB.c.kind).where(_JOB.c.state == "running", _JOB.c.kind.in_(limited), _JOB.c.job_id.not_in(ours))
    count = Counter(connection.scalars(running))
    allowed: list[NewJob] = []
    for job in jobs:
        if job.kind in limited and count[job.kind] >= limits[job.kind]:
            _wait_for_room(connection, job, there.get(job.job_id), now)
        else:
            count[job.kind] += 1
            allowed.append(job)
    return allowed


def _wait_for_room(connection: Connection, job: NewJob, row: JobRow | None, now: datetime) -> None:
    values = {"due_at": None, "sent_at": None}
    if row is None:
        connection.execute(insert(_JOB), first_row(job, "queued", now) | values)
    else:
        connection.execute(update(_JOB).where(_JOB.c.job_id == job.job_id).values({**values, "state": "queued", "owner": ""}))

"""Admission: what running jobs are promised of the disk's free space, and which jobs wait until there is room for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from models.ledger import COLUMNS, JobRow
from models.parts import in_parts
from models.tables import Job, Segment, Version, table_of
from models.upkeep_tables import RemovedVersion

_JOB, _VERSION, _SEGMENT, _REMOVED = table_of(Job), table_of(Version), table_of(Segment), table_of(RemovedVersion)

_RUNNING = select(_JOB.c.needs_bytes, _JOB.c.progress).where(_JOB.c.state == "running", _JOB.c.needs_bytes > 0)

AT_ONCE = 1000

_LOOKED_AT = 2_000
"""Among how many of those that wait longest ``sent_again`` looks."""


def promised_bytes(connection: Connection) -> int:
    """Return what the running jobs may still need of the disk; a job that says how far it has come needs the rest only.

    To be asked in the transaction that admits a job: there is one writer at a time, so that no two are promised the same bytes.
    """
    return sum(_rest(needs, progress) for needs, progress in connection.execute(_RUNNING))


def _rest(needs_bytes: int, progress: Mapping[str, Any] | None) -> int:
    done, total = (progress or {}).get("done") or 0, (progress or {}).get("total") or 0
    return needs_bytes if total <= 0 else int(needs_bytes * (1 - min(1.0, done / total)))


def added_bytes(connection: Connection, since: datetime) -> int:
    """Return the bytes of the segments that were written since then and are there."""
    columns = _SEGMENT.c
    return int(connection.scalar(select(func.sum(columns.size_bytes)).where(columns.created_at >= since)) or 0)


def parked_jobs(connection: Connection, limit: int = AT_ONCE, *, accepted_before: datetime | None = None) -> list[JobRow]:
    """Return the jobs that are parked, those accepted first before the others; with a time, those accepted until then."""
    query = select(*COLUMNS).where(_JOB.c.state == "parked").order_by(_JOB.c.created_at, _JOB.c.job_id).limit(limit)
    if accepted_before is not None:
        query = query.where(_JOB.c.created_at <= accepted_before)
    return [JobRow(*row) for row in connection.execute(query)]


def sent_again(connection: Connection, limit: int = AT_ONCE, *, accepted_before: datetime | None = None) -> list[JobRow]:
    """Return the jobs that were tried before and have a message under way; a parked one is such a job once it has been woken."""
    inner = select(*COLUMNS).where(_JOB.c.state == "queued")
    if accepted_before is not None:
        inner = inner.where(_JOB.c.created_at <= accepted_before)
    oldest = inner.order_by(_JOB.c.created_at, _JOB.c.job_id).limit(_LOOKED_AT).subquery()
    query = select(oldest).where(oldest.c.token > 0).order_by(oldest.c.created_at, oldest.c.job_id).limit(limit)
    return [JobRow(*row) for row in connection.execute(query)]


def wake_jobs(connection: Connection, job_ids: Collection[str], now: datetime) -> int:
    """Have parked jobs be due at once; return how many were parked still."""
    woken = 0
    for part in in_parts(job_ids):
        late = _JOB.c.job_id.in_(part) & (_JOB.c.state == "parked") & (_JOB.c.due_at > now)
        woken += connection.execute(update(_JOB).where(late).values(due_at=now)).rowcount
    return woken


def used_bytes(connection: Connection, library_id: str | None = None) -> int:
    """Return the stored bytes of a library's versions, older revisions included; of all libraries' without one.

    What is removed does not count, though it can come back. What two versions share counts twice.
    """
    total = select(func.sum(_VERSION.c.compressed_size_bytes))
    return int(connection.scalar(total if library_id is None else total.where(_VERSION.c.library_id == library_id)) or 0)


def returnable_bytes(connection: Connection, library_id: str | None = None) -> int:
    """Return the same of what is removed and can come back at once. Neither removing nor bringing back changes the sum."""
    columns = _REMOVED.c
    total = select(func.sum(columns.compressed_size_bytes)).where(columns.purged_at.is_(None))
    return int(connection.scalar(total if library_id is None else total.where(columns.library_id == library_id)) or 0)


def used_by_library(connection: Connection) -> dict[str, int]:
    """Return the same for each library that has any version, by name."""
    name = _VERSION.c.library_id
    query = select(name, func.sum(_VERSION.c.compressed_size_bytes)).group_by(name).order_by(name)
    return {row[0]: int(row[1]) for row in connection.execute(query)}

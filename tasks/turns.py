"""Turns: a job that has waited long for room, on the disk or under a quota, is not overtaken for ever by those that need less.

Every other ten minutes belong to those that have waited for ten: what they need is kept for them, and whoever was accepted later
gets only what is left beside it. In between everybody goes who fits. So a job that never fits holds nobody up for longer than
that, and what comes free bit by bit comes together for the one that needs much. What needs nothing (cleanup, the sweep, reading)
always goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from models.admission import parked_jobs, sent_again
from models.ledger import JobRow, find_jobs
from strongroom.contracts import DocumentReceipt
from strongroom.errors import NotEnoughSpace, QuotaExceeded
from tasks.services import Services

PATIENCE = timedelta(minutes=10)
"""Who was accepted longer ago and is parked still has a turn."""
TURN = timedelta(minutes=10)
_LONGEST = 100
"""How many of those that wait are looked at: each lease and each commit asks while there are any."""

GROWTH = "growth"
"""In an error's context: by how many stored bytes the job would make each library grow."""

Name = str | None
"""A library; None for all together."""


def is_turn(now: datetime) -> bool:
    """Whether these ten minutes belong to those that wait.

    By one clock for all: turns of each job's own would add up, and two jobs that never fit could hold up the others for ever.
    """
    return now.timestamp() // TURN.total_seconds() % 2 == 1


def kept_bytes(services: Services, connection: Connection, now: datetime, mine: JobRow | None = None) -> int:
    """Return what of the disk is kept for jobs that have a turn and were accepted before this one, or before any newcomer."""
    waiting = [row for row in _having_turn(connection, now, NotEnoughSpace.code) if mine is None or _is_before(row, mine)]
    return sum(row.needs_bytes for row in waiting if may_fit(services, row)) if waiting else 0


def leave_room(
    services: Services, connection: Connection, stored: Mapping[str, Sequence[DocumentReceipt]], now: datetime
) -> None:
    """Have jobs wait when one would take room under a quota that is kept. In the transaction that ``stored`` their documents.

    Raises:
        QuotaExceeded: one would; the context says by how much it would make each library grow.
    """
    growth = {job_id: grown for job_id, receipts in stored.items() if (grown := growth_of(receipts))}
    if not growth or not services.engine.options.quotas:
        return
    waiting = _having_turn(connection, now, QuotaExceeded.code)
    if waiting:
        for job_id, mine in find_jobs(connection, growth).items():
            _leave_room(services, connection, waiting, mine, growth[job_id])


def _leave_room(
    services: Services, connection: Connection, waiting: Sequence[JobRow], mine: JobRow, growth: Mapping[str, int]
) -> None:
    first, kept = "", Counter[Name]()
    for row in waiting:
        if _is_before(row, mine) and may_fit(services, row):
            first = first or row.job_id
            kept.update(wanted_by(row))
    if not services.engine.allowance.has_room(connection, {name: kept[name] for name in (*growth, None) if kept[name]}):
        words = f"What is left under a quota is kept for jobs that have waited for long, the first of them {first}."
        raise QuotaExceeded(words, _NEXT, {GROWTH: dict(growth)})


_NEXT = (
    "It goes on by itself within ten minutes. `strongroom cleanup` makes room for both; `strongroom jobs cancel` gives one up."
)


def has_turn(row: JobRow, now: datetime) -> bool:
    """Whether what this job that waits for room needs is kept for it now, if it may fit."""
    return is_turn(now) and row.created_at <= now - PATIENCE


def may_fit(services: Services, row: JobRow) -> bool:
    """Whether it makes sense to keep anything for a parked job.

    Accepted documents must fit on the disk, or under the limit, as it is. A backup or a compression must fit beside what is there
    now: each night has another, which is no reason for documents to wait.
    """
    if _code(row) == QuotaExceeded.code:
        return services.engine.allowance.could_have_room(wanted_by(row))
    governor = services.engine.governor
    return row.needs_bytes <= (governor.most_bytes() if row.kind == "store" else governor.room_bytes())


def wanted_by(row: JobRow) -> Counter[Name]:
    """Return by how much a job that is parked for a quota would make its libraries, and all together, grow."""
    growth: Mapping[str, int] = (row.error or {}).get("context", {}).get(GROWTH, {})
    wanted: Counter[Name] = Counter({None: sum(growth.values())})
    wanted.update(growth)
    return wanted


def growth_of(receipts: Sequence[DocumentReceipt]) -> Counter[str]:
    """Return by how many stored bytes these documents have made each library grow."""
    growth: Counter[str] = Counter()
    for one in receipts:
        if one.status == "stored" and one.library_id is not None:
            growth[one.library_id] += one.stored_bytes or 0
    return growth


def _having_turn(connection: Connection, now: datetime, code: str) -> list[JobRow]:
    """Return them oldest first. One that was woken is among them until it runs: its message may be behind those of others."""
    if not is_turn(now):
        return []
    long_ago = now - PATIENCE
    waiting = [
        *parked_jobs(connection, _LONGEST, accepted_before=long_ago),
        *sent_again(connection, _LONGEST, accepted_before=long_ago),
    ]
    return sorted((row for row in waiting if _code(row) == code), key=place_in_line)


def place_in_line(row: JobRow) -> tuple[datetime, str]:
    """Return what jobs are let in by: those accepted first before the others."""
    return row.created_at, row.job_id


def _is_before(one: JobRow, other: JobRow) -> bool:
    return place_in_line(one) < place_in_line(other)


def _code(row: JobRow) -> str:
    return str((row.error or {}).get("code", ""))

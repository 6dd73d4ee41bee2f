"""What is due: jobs whose holder is gone, jobs whose time has come, jobs whose message was lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, update

from models.leases import Fate
from models.ledger import ACTIVE, COLUMNS, JobRow
from models.parts import in_parts
from models.tables import Job, table_of

_JOB = table_of(Job)
_WAITING = ("queued", "retrying", "parked")

PATIENCE = timedelta(seconds=20)
"""How long the message of a job that was begun before may be on its way before it is sent once more; twice as long each time."""

SAFETY = timedelta(minutes=10)
"""The same for a job that nobody has begun: its queue may be long, and what is lost is seen by the length of the queue."""

SETTLED = timedelta(seconds=3)
"""A message that was sent this long ago is in its queue, or its job has begun; else it is lost."""

FURTHEST = 2 * SAFETY
"""Nothing is ever put off for so long: such a time was written before the clock was set back."""

_WITHOUT_ROOM = (_JOB.c.state == "queued") & _JOB.c.due_at.is_(None)
"""A job that was one too many of its kind (leases.take_leases): it has no message, and needs none before there is room."""

AT_ONCE = 1000
_DOUBLINGS = 2


def running_jobs(connection: Connection) -> list[JobRow]:
    """Return the jobs that somebody holds a lease of."""
    return [JobRow(*row) for row in connection.execute(select(*COLUMNS).where(_JOB.c.state == "running"))]


def take_back(connection: Connection, rows: Iterable[JobRow], fate: Callable[[JobRow], Fate], now: datetime) -> list[JobRow]:
    """Take these leases from their holders and have their jobs sent at once; return those that were still held, and not renewed.

    The token grows, so that a holder that was only frozen can commit nothing when it wakes. The first retry has no back-off.
    """
    taken: list[JobRow] = []
    for row in rows:
        as_seen = (_JOB.c.token == row.token) & (_JOB.c.renewals == row.renewals)
        held = (_JOB.c.job_id == row.job_id) & as_seen & (_JOB.c.state == "running")
        values = {"state": "queued", "owner": "", "token": _JOB.c.token + 1, "due_at": now, "sent_at": now}
        if fate(row) == "stopped":
            values["attempts"] = _JOB.c.attempts - 1
        if connection.execute(update(_JOB).where(held).values(values)).rowcount:
            taken.append(row)
    return taken


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the ledger says of one queue: how many active stores (each has a file), and jobs with a message there."""

    active_stores: int = 0
    queued: int = 0


def count_waiting(connection: Connection, now: datetime) -> dict[str, Waiting]:
    """Return what waits, by queue."""
    columns = _JOB.c
    # Grouped by kind, not asked for one: SQLite would go through the whole history of that kind.
    active_jobs = select(columns.queue, columns.kind, func.count()).where(columns.state.in_(ACTIVE))
    rows = connection.execute(active_jobs.group_by(columns.queue, columns.kind))
    active = {queue: int(count) for queue, kind, count in rows if kind == "store"}
    queued = select(columns.queue, func.count()).where(_sent(now)).group_by(columns.queue)
    waiting = {row[0]: int(row[1]) for row in connection.execute(queued)}
    return {queue: Waiting(active.get(queue, 0), waiting.get(queue, 0)) for queue in active.keys() | waiting.keys()}


def is_due(connection: Connection, now: datetime) -> bool:
    """Whether ``take_due`` would find anything. A look that takes no lock."""
    return connection.scalar(select(_JOB.c.job_id).where(_due(now)).limit(1)) is not None


def take_due(connection: Connection, now: datetime) -> list[JobRow]:
    """Return at most AT_ONCE jobs whose time to be sent has come, oldest first. Whoever asks next does not get them."""
    query = select(*COLUMNS).where(_due(now)).order_by(_JOB.c.created_at, _JOB.c.job_id).limit(AT_ONCE)
    return _taken(connection, query, now)


def take_lost(connection: Connection, now: datetime, queue: str, count: int) -> list[JobRow]:
    """Return that many of the jobs whose message should be in this queue, but AT_ONCE at most; those sent longest ago first."""
    sent = _sent(now) & (_JOB.c.queue == queue)
    query = select(*COLUMNS).where(sent).order_by(_JOB.c.sent_at, _JOB.c.job_id).limit(min(count, AT_ONCE))
    return _taken(connection, query, now)


def waiting_with_room(connection: Connection, limits: Mapping[str, int]) -> list[str]:
    """Return jobs that were one too many of their kind and might begin now: as many as there is room for, those first in line.

    What runs of a kind takes room, and what has a message in a queue. A kind that has no limit any more has room for all.
    """
    limited = _JOB.c.kind.in_(list(limits))
    there = ((_JOB.c.state == "running") | ((_JOB.c.state == "queued") & _JOB.c.due_at.is_not(None))) & limited
    count = {
        row[0]: int(row[1]) for row in connection.execute(select(_JOB.c.kind, func.count()).where(there).group_by(_JOB.c.kind))
    }
    rooms = [(_JOB.c.kind == kind, limit - count.get(kind, 0)) for kind, limit in limits.items()]
    return [name for kind, room in [*rooms, (~limited, AT_ONCE)] for name in _first(connection, kind, room)]


def _first(connection: Connection, of_kind: ColumnElement[bool], room: int) -> list[str]:
    if room <= 0:
        return []
    query = select(_JOB.c.job_id).where(_WITHOUT_ROOM, of_kind).order_by(_JOB.c.priority, _JOB.c.created_at, _JOB.c.job_id)
    return list(connection.scalars(query.limit(min(room, AT_ONCE))))


def take_waiting(connection: Connection, job_ids: Iterable[str], now: datetime) -> list[JobRow]:
    """Return those of these jobs that still wait for room, as ``take_due`` does."""
    parts = in_parts(job_ids)
    return [
        row for part in parts for row in _taken(connection, select(*COLUMNS).where(_JOB.c.job_id.in_(part), _WITHOUT_ROOM), now)
    ]


def _taken(connection: Connection, query: Select[Any], now: datetime) -> list[JobRow]:
    rows = [JobRow(*row) for row in connection.execute(query)]
    waits: dict[timedelta, list[str]] = defaultdict(list)
    for row in rows:
        waits[PATIENCE * 2 ** min(row.sends, _DOUBLINGS) if row.token else SAFETY].append(row.job_id)
    for wait, names in waits.items():
        values = {"state": "queued", "due_at": now + wait, "sent_at": now, "sends": _JOB.c.sends + 1}
        for part in in_parts(names):
            connection.execute(update(_JOB).where(_JOB.c.job_id.in_(part)).values(values))
    return rows


def send_later(connection: Connection, job_ids: Sequence[str], due_at: datetime) -> None:
    """Undo ``take_due`` for jobs that could not be sent after all."""
    for part in in_parts(job_ids):
        untouched = _JOB.c.job_id.in_(part) & (_JOB.c.state == "queued")
        connection.execute(update(_JOB).where(untouched).values(due_at=due_at, sends=_JOB.c.sends - 1))


def _due(now: datetime) -> ColumnElement[bool]:
    return _JOB.c.state.in_(_WAITING) & ((_JOB.c.due_at <= now) | (_JOB.c.due_at > now + FURTHEST))


def _sent(now: datetime) -> ColumnElement[bool]:
    sent_at = _JOB.c.sent_at  # in the future when the clock was set back since
    return (_JOB.c.state == "queued") & ((sent_at <= now - SETTLED) | (sent_at > now + SETTLED))

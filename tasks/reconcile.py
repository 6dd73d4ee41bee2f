"""Reconciling: what was accepted and is not being done is sent again. Every worker process does it; it needs no queue."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import structlog

from models.due import (
    AT_ONCE,
    SETTLED,
    Waiting,
    count_waiting,
    is_due,
    running_jobs,
    send_later,
    take_back,
    take_due,
    take_lost,
    take_waiting,
    waiting_with_room,
)
from models.ledger import JobRow, NewJob, find_jobs, queue_jobs
from strongroom.errors import BrokerUnavailable, StorageError
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, store_queue
from tasks.accepted import JOB_FILE, SUFFIX, accepted_at
from tasks.routes import QUEUES, TASKS
from tasks.services import Services
from tasks.unreadable import record_unreadable
from tasks.watch import Watch

log = structlog.get_logger()

OVERLOOKED = timedelta(minutes=10)
"""Age at which an unknown inbox file becomes a row though as many messages wait as jobs: some may be of other jobs."""
_LOOKED_AT = 20_000
"""How many names of the inbox one look takes."""

_SENDING_S = 2.0
"""No further portion is begun after so long."""

_File = tuple[str, os.stat_result]


def take_back_leases(services: Services, watch: Watch) -> int:
    """Take back the leases of those who are gone; return how many.

    Every process looks every two seconds, whoever else does: else it sees no standstill.
    """
    with services.database.read() as connection:
        rows = running_jobs(connection)
    gone = watch.gone(rows)
    if not gone:
        return 0
    with services.database.write("ledger") as connection:
        lost = [row for row in rows if row.job_id in gone]
        taken = take_back(connection, lost, lambda row: gone[row.job_id], datetime.now(UTC))
    for owner in {row.owner for row in taken}:
        services.presence.accuse(owner)
    return len(taken)


def run_reconcile(services: Services, clock: Callable[[], float] = time.monotonic) -> int:
    """Enter accepted files that the ledger does not know, and send what is due or lost; return how many messages were sent.

    As many messages are lost as there are fewer in a queue than jobs that wait for it. Those longest under way are sent again:
    one too many does no harm, and each makes the queue longer, so that this ends by itself.

    Safe in any number of processes at once: each step is a compare-and-set in the ledger. Of a flood it sends what takes a few
    seconds, and the next call goes on: whoever calls it looks for lost leases in between.

    Raises:
        BrokerUnavailable: nothing can be sent now; what is due stays due.
    """
    return send_waiting(services) + _reconcile(services, datetime.now(UTC), clock)


def send_waiting(services: Services) -> int:
    """Send jobs that were one too many of their kind, as many as there is room for by now; return how many.

    Raises:
        BrokerUnavailable: as ``run_reconcile``.
    """
    with services.database.read() as connection:
        names = waiting_with_room(connection, services.limits)
    if not names:
        return 0
    with services.database.write("ledger") as connection:
        rows = take_waiting(connection, names, datetime.now(UTC))
    return _send(services, rows)


def _reconcile(services: Services, now: datetime, clock: Callable[[], float]) -> int:
    try:
        record_unreadable(services)
    except StorageError as error:  # what cannot be read holds up nothing that can
        log.warning("messages that nobody can read are not recorded yet", error=error.message)
    files = _settled_files(services, now)
    with services.database.read() as connection:
        due, waiting = is_due(connection, now), count_waiting(connection, now)
    if not files and not due and not any(one.queued for one in waiting.values()):
        return 0
    lengths = services.broker.waiting((SHORT_QUEUE, LONG_QUEUE))
    left = _enter(services, _lost_files(files, waiting, lengths, now), now)
    sent = send_due(services, now, clock) if due or files else 0
    for queue, length in lengths.items():
        sent += _send_lost(services, queue, waiting.get(queue, Waiting()).queued - length, now)
    return sent + _ring_again(services, left)


def send_due(services: Services, now: datetime | None = None, clock: Callable[[], float] = time.monotonic) -> int:
    """Send the jobs whose time has come, for a few seconds at most; return how many.

    Raises:
        BrokerUnavailable: as ``run_reconcile``.
    """
    sent, until, now = 0, clock() + _SENDING_S, now or datetime.now(UTC)
    while True:
        with services.database.read() as connection:
            if not is_due(connection, now):
                return sent
        with services.database.write("ledger") as connection:
            rows = take_due(connection, now)
        sent += _send(services, rows)
        if len(rows) < AT_ONCE or clock() >= until:
            return sent


def _send_lost(services: Services, queue: str, count: int, now: datetime) -> int:
    if count <= 0:
        return 0
    with services.database.write("ledger") as connection:
        rows = take_lost(connection, now, queue, count)
    return _send(services, rows)


def _send(services: Services, rows: Sequence[JobRow]) -> int:
    sent = 0
    for number, row in enumerate(rows):
        try:
            sent += _send_one(services, row)
        except BrokerUnavailable:
            with services.database.write("ledger") as connection:
                send_later(connection, [late.job_id for late in rows[number:]], datetime.now(UTC))
            raise
    return sent


def _send_one(services: Services, row: JobRow) -> bool:
    """Send the message that starts a job. One of a kind that only a newer release has is left to that."""
    if row.kind not in TASKS:
        log.warning("a job of a kind that this release does not have is left to a newer worker", job=row.job_id, kind=row.kind)
        return False
    services.broker.send(TASKS[row.kind], _message(row), queue=row.queue or QUEUES[row.kind], priority=row.priority)
    return True


def _message(row: JobRow) -> Mapping[str, Any]:
    """Return what the message says: the name of the job's file, or what a raw message said, checked again on arrival."""
    if not row.payload.startswith("{"):
        return {"inbox": row.payload or f"{row.job_id}{SUFFIX}"}
    message: dict[str, Any] = json.loads(row.payload)
    return message


def _settled_files(services: Services, now: datetime) -> list[_File]:
    """Return the accepted files whose own message should have been heard or be in a queue by now, the oldest first."""
    found: list[_File] = []
    with os.scandir(services.inbox) as entries:
        for entry in islice(entries, _LOOKED_AT):
            if JOB_FILE.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # done meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if _age(status, now) > SETTLED:
                        found.append((entry.name, status))
    return sorted(found, key=lambda one: one[1].st_mtime_ns)


def _lost_files(
    files: Sequence[_File], waiting: Mapping[str, Waiting], lengths: Mapping[str, int], now: datetime
) -> Iterator[tuple[Sequence[_File], int]]:
    """Yield files, oldest first, and how many of those among them that the ledger does not know have lost their message."""
    for queue, may_wait_in in ((SHORT_QUEUE, (SHORT_QUEUE,)), (LONG_QUEUE, (SHORT_QUEUE, LONG_QUEUE))):
        mine = [one for one in files if store_queue(one[1].st_size) == queue]
        unknown = len(mine) - waiting.get(queue, Waiting()).active_stores
        lost = unknown - sum(lengths[name] for name in may_wait_in)
        yield mine, max(lost, 0)
        old = [one for one in mine if _age(one[1], now) > OVERLOOKED]
        yield old, len(old)


def _age(status: os.stat_result, now: datetime) -> timedelta:
    """Return how old a file is; how far in the future its time is, when it was written before the clock was set back."""
    return timedelta(seconds=abs(now.timestamp() - status.st_mtime))


def _enter(services: Services, portions: Iterable[tuple[Sequence[_File], int]], now: datetime) -> list[str]:
    """Enter lost files as jobs that are due; return those whose job has ended already."""
    left: list[str] = []
    for files, count in portions:
        wanted = min(count, AT_ONCE)
        for start in range(0, len(files), AT_ONCE):
            if wanted <= 0:
                break
            unknown, ended = _unknown(services, files[start : start + AT_ONCE])
            left += ended
            with services.database.write("ledger") as connection:
                queue_jobs(connection, [_job_of(one, now) for one in unknown[:wanted]], now, now)
            wanted -= len(unknown)
    return list(dict.fromkeys(left))


def _unknown(services: Services, files: Sequence[_File]) -> tuple[list[_File], list[str]]:
    with services.database.read() as connection:
        known = find_jobs(connection, [name.removesuffix(SUFFIX) for name, _ in files])
    rows = {f"{job_id}{SUFFIX}": row for job_id, row in known.items()}
    return [one for one in files if one[0] not in rows], [name for name, _ in files if name in rows and rows[name].ended]


def _job_of(file: _File, now: datetime) -> NewJob:
    name, status = file
    since = accepted_at(status, now)
    return NewJob(name.removesuffix(SUFFIX), "store", name, queue=store_queue(status.st_size), accepted_at=since)


def _ring_again(services: Services, names: Sequence[str]) -> int:
    """Ring for files whose job has ended: whoever did it died before it had told the producer and let the file go."""
    for name in names:
        services.broker.send(STORE_TASK, {"inbox": name}, queue=SHORT_QUEUE)
    return len(names)

"""Reconciling: what was accepted and is not being done is sent again. Every worker process does it; it needs no queue."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import structlog

from models.due import AT_ONCE, SETTLED, is_due, running_jobs, send_later, take_back, take_due
from models.ledger import JobRow, NewJob, find_jobs, queue_jobs
from strongroom.errors import BrokerUnavailable, StorageError
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, store_queue
from tasks.accepted import JOB_FILE, SUFFIX
from tasks.services import QUEUES, TASKS, Services
from tasks.unreadable import record_unreadable
from tasks.watch import Watch

log = structlog.get_logger()

OVERLOOKED = timedelta(seconds=60)
"""Age at which an unknown inbox file becomes a row though messages wait in its queue: its own may never have been sent."""
_LOOKED_AT = 20_000
"""How many names of the inbox one look takes."""


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
        return len(take_back(connection, lost, lambda row: gone[row.job_id], datetime.now(UTC)))


def run_reconcile(services: Services) -> int:
    """Enter accepted files that the ledger does not know, and send what is due; return how many messages were sent.

    Safe in any number of processes at once: each step is a compare-and-set in the ledger.

    Raises:
        BrokerUnavailable: nothing can be sent now; what is due stays due.
    """
    now = datetime.now(UTC)
    try:
        record_unreadable(services)
    except StorageError as error:  # what cannot be read holds up nothing that can
        log.warning("messages that nobody can read are not recorded yet", error=error.message)
    files = _settled(services, now)
    if not files and not _any_waits(services, now):
        return 0
    free = services.broker.free((SHORT_QUEUE, LONG_QUEUE))
    left = _enter(services, files, free, now)
    return _send_due(services, free, now) + _ring_again(services, left)


def _any_waits(services: Services, now: datetime) -> bool:
    with services.database.read() as connection:
        return is_due(connection, now, (SHORT_QUEUE, LONG_QUEUE))


def _send_due(services: Services, free: Collection[str], now: datetime) -> int:
    sent = 0
    while True:
        with services.database.read() as connection:
            if not is_due(connection, now, free):
                return sent
        with services.database.write("ledger") as connection:
            rows = take_due(connection, now, free)
        sent += _send(services, rows)
        if len(rows) < AT_ONCE:
            return sent


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


def _settled(services: Services, now: datetime) -> list[tuple[str, os.stat_result]]:
    """Return the accepted files whose own message should have been heard by now, and that the ledger does not have as active."""
    names = _settled_names(services, now)
    found: list[tuple[str, os.stat_result]] = []
    for part in iter(lambda: list(islice(names, AT_ONCE)), []):
        with services.database.read() as connection:
            known = find_jobs(connection, [name.removesuffix(SUFFIX) for name, _ in part])
        active = {f"{job_id}{SUFFIX}" for job_id, row in known.items() if not row.ended}
        found += [one for one in part if one[0] not in active]
        if len(found) >= AT_ONCE:
            break
    return sorted(found, key=lambda one: one[1].st_mtime_ns)


def _settled_names(services: Services, now: datetime) -> Iterator[tuple[str, os.stat_result]]:
    before = (now - SETTLED).timestamp()
    with os.scandir(services.inbox) as entries:
        for entry in islice(entries, _LOOKED_AT):
            if JOB_FILE.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # done meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if status.st_mtime < before:
                        yield entry.name, status


def _enter(services: Services, files: Sequence[tuple[str, os.stat_result]], free: Collection[str], now: datetime) -> list[str]:
    """Enter the files that the ledger has never heard of as jobs that are due; return those whose job has ended already.

    Left alone are those whose message may still wait in a queue, unless they have lain there for long.
    """
    lost = [one for one in files if _may_wait_in(one[1]) <= set(free) or one[1].st_mtime < (now - OVERLOOKED).timestamp()]
    jobs = [
        NewJob(
            name.removesuffix(SUFFIX),
            "store",
            name,
            queue=store_queue(status.st_size),
            accepted_at=min(now, datetime.fromtimestamp(status.st_mtime, UTC)),
        )
        for name, status in lost
    ]
    if not jobs:
        return []
    with services.database.write("ledger") as connection:
        there = find_jobs(connection, [job.job_id for job in jobs])
        queue_jobs(connection, jobs, now, now)
    return [job.payload for job in jobs if job.job_id in there and there[job.job_id].ended]


def _may_wait_in(status: os.stat_result) -> set[str]:
    return {SHORT_QUEUE} if store_queue(status.st_size) == SHORT_QUEUE else {SHORT_QUEUE, LONG_QUEUE}


def _ring_again(services: Services, names: Sequence[str]) -> int:
    """Ring for files whose job has ended: whoever did it died before it had told the producer and let the file go."""
    for name in names:
        services.broker.send(STORE_TASK, {"inbox": name}, queue=SHORT_QUEUE)
    return len(names)

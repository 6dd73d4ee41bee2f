"""The task ``strongroom.reconcile``: what was accepted and is not being done is sent again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from models.ledger import JobRow, find_jobs, queue_again
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK, store_queue
from tasks.accepted import JOB_FILE, SUFFIX
from tasks.services import Services

PATIENCE = timedelta(seconds=20)
"""How long a message that was sent again may wait in its queue before it is sent once more: a job runs again within 30 s."""
SETTLED_S = 3.0
"""Age of an inbox file that the ledger does not know, after which its message is thought lost if its queue is empty."""
_AT_ONCE = 1000


def run_reconcile(services: Services) -> int:
    """Send again what nobody does though it was accepted; return how many jobs that were. Safe to run anywhere, at any time."""
    now = datetime.now(UTC)
    with services.database.write("ledger") as connection:
        lost = queue_again(connection, now, PATIENCE, services.presence.is_alive)
    for row in lost:
        _send_again(services, row)
    unheard = _unheard(services, now)
    for name in unheard:
        services.send(STORE_TASK, {"inbox": name}, queue=SHORT_QUEUE)
    return len(lost) + len(unheard)


def _send_again(services: Services, row: JobRow) -> None:
    if row.kind == "store":
        services.send(STORE_TASK, {"inbox": row.payload}, queue=SHORT_QUEUE)
    else:
        arguments: dict[str, Any] = json.loads(row.payload)  # JSON of the message, checked again on arrival
        services.send(VERIFY_TASK, arguments, queue=LONG_QUEUE)


def _unheard(services: Services, now: datetime) -> list[str]:
    """Return accepted files whose message was lost: their producer died before it sent it, or the broker forgot it.

    Only of a size whose queue is empty: else their message may still wait there.
    """
    free = {queue for queue in (SHORT_QUEUE, LONG_QUEUE) if services.waiting(queue) == 0}
    names: list[str] = []
    with os.scandir(services.inbox) as entries:
        for entry in entries:
            if JOB_FILE.fullmatch(entry.name) and _is_unheard(entry, now, free):
                names.append(entry.name)
            if len(names) == _AT_ONCE:
                break
    with services.database.read() as connection:
        known = find_jobs(connection, [name.removesuffix(SUFFIX) for name in names])
    running = {row.payload for row in known.values() if not row.ended}
    return [name for name in names if name not in running]


def _is_unheard(entry: os.DirEntry[str], now: datetime, free: set[str]) -> bool:
    with suppress(FileNotFoundError):  # done meanwhile
        status = entry.stat(follow_symlinks=False)
        may_wait_in = {SHORT_QUEUE} if store_queue(status.st_size) == SHORT_QUEUE else {SHORT_QUEUE, LONG_QUEUE}
        return may_wait_in <= free and status.st_mtime < now.timestamp() - SETTLED_S
    return False

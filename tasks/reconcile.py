"""The task ``strongroom.reconcile``: what was accepted and is not being done is sent again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from models.ledger import JobRow, find_jobs, queue_again
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK
from tasks.accepted import SUFFIX
from tasks.owner import is_alive
from tasks.services import Services

PATIENCE = timedelta(seconds=60)
"""How long a message that was sent again may wait in its queue before it is sent once more."""
SETTLED_S = 3.0
"""Age of an inbox file that the ledger does not know, after which its message is thought lost if the queues are empty."""
_AT_ONCE = 1000


def run_reconcile(services: Services) -> int:
    """Send again what nobody does though it was accepted; return how many jobs that were. Safe to run anywhere, at any time."""
    now = datetime.now(UTC)
    with services.database.write("ledger") as connection:
        lost = queue_again(connection, now, PATIENCE, is_alive)
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
        arguments: dict[str, Any] = orjson.loads(row.payload)  # JSON of the message, checked again on arrival
        services.send(VERIFY_TASK, arguments, queue=LONG_QUEUE)


def _unheard(services: Services, now: datetime) -> list[str]:
    """Return accepted files whose message was lost: their producer died before it sent it, or the broker forgot it."""
    if services.waiting(SHORT_QUEUE) or services.waiting(LONG_QUEUE):
        return []
    oldest_fresh = now.timestamp() - SETTLED_S
    names: list[str] = []
    with os.scandir(services.inbox) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and entry.stat(follow_symlinks=False).st_mtime < oldest_fresh:
                names.append(entry.name)
            if len(names) == _AT_ONCE:
                break
    with services.database.read() as connection:
        known = find_jobs(connection, [name.removesuffix(SUFFIX) for name in names])
    running = {row.payload for row in known.values() if not row.ended}
    return [name for name in names if name not in running]

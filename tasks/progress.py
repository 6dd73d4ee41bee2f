"""How far long jobs have come: the heartbeat writes it into the ledger, and Flower shows it as the state PROGRESS.

Whoever says so is told, too, when the job is not his any more: it was cancelled, or given to another worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from models.leases import require_lease
from models.ledger import Lease
from strongroom.errors import StorageError
from tasks.services import Services

Show = Callable[[str], None]
"""Takes a line for people, such as ``42 % of 3.1 GB``."""

SHOWN_APART_S = 2.0
ASKED_APART_S = 1.0


@contextmanager
def reported(services: Services, lease: Lease, show: Show) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes how many bytes of how many are done. Cheap: it may be called for every piece of work.

    It raises LeaseLost within ASKED_APART_S of the job's loss, so that a cancelled job gives its slot back.
    """
    shown_s, asked_s = 0.0, time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown_s, asked_s
        services.progress[lease.job_id] = {"done": done, "total": total, "unit": "bytes"}
        now_s = time.monotonic()
        if now_s - asked_s >= ASKED_APART_S:
            asked_s = now_s
            _ask(services, lease)
        if now_s - shown_s >= SHOWN_APART_S:
            shown_s = now_s
            show(f"{100 * done // max(total, 1)} % of {total / 1e6:,.1f} MB")

    try:
        yield report
    finally:
        services.progress.pop(lease.job_id, None)


def _ask(services: Services, lease: Lease) -> None:
    # A ledger that cannot be read is no loss of the lease: the fence around each write knows better.
    with suppress(StorageError), services.database.read() as connection:
        require_lease(connection, lease)

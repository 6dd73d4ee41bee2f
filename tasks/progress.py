"""How far long jobs have come: the heartbeat writes it into the ledger, and Flower shows it as the state PROGRESS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.services import Services

Show = Callable[[str], None]
"""Takes a line for people, such as ``42 % of 3.1 GB``."""

SHOWN_APART_S = 2.0


@contextmanager
def reported(services: Services, job_id: str, show: Show) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes how many bytes of how many are done. Cheap: it may be called for every piece of work."""
    shown_s = 0.0

    def report(done: int, total: int) -> None:
        nonlocal shown_s
        services.progress[job_id] = {"done": done, "total": total, "unit": "bytes"}
        now_s = time.monotonic()
        if now_s - shown_s >= SHOWN_APART_S:
            shown_s = now_s
            show(f"{100 * done // max(total, 1)} % of {total / 1e6:,.1f} MB")

    try:
        yield report
    finally:
        services.progress.pop(job_id, None)

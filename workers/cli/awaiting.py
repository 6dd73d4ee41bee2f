"""Waiting for a job that a command has queued, with a bar that follows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from strongroom.errors import StorageError, WaitTimeout
from tasks.routes import QUEUES, TASKS
from workers.cli.output import progress_bar
from workers.cli.styled import in_percent
from workers.cli.who import asker
from workers.garbage import held

if TYPE_CHECKING:
    from config.settings import Settings
    from models.database import Database
    from models.ledger import JobRow

_SHORTEST_S, _LONGEST_S, _GROWTH = 0.02, 1.0, 1.3
"""Between two looks: no more than a third of the time that the job has taken is lost by not looking."""
_PATIENCE_S = 15.0
"""A job that is parked may wait for a person: whoever waits for it is told, and does not sit there until the time is over."""


def queue_and_wait(
    settings: Settings, kind: str, said: Mapping[str, Any], timeout_s: float | None, what: str, *, shown: bool
) -> dict[str, Any]:
    """Queue a job of this kind; with a timeout wait for its end and return its outcome, too, as JSON with ``job_id``.

    ``said`` is what its message says. The engine is not needed for that, and not imported.

    Raises:
        DataFolderError: there is no data folder, or it is not of this release.
        WaitTimeout: it has not ended by then.
        StorageError: it failed, or is parked: it goes on by itself when what it waits for is there.
    """
    with held():
        from models.schedule import Plan  # noqa: PLC0415 - see output.engine_on
        from tasks.entering import queue_now  # noqa: PLC0415 - the same
        from workers.jobs_ledger import open_ledger  # noqa: PLC0415 - the same

    plan = Plan(kind, kind, TASKS[kind], QUEUES[kind], said, None)
    with open_ledger(settings) as ledger:
        job_id = queue_now(ledger.database, ledger.run, plan, asker(), datetime.now(UTC))
        if timeout_s is None:
            return {"job_id": job_id}
        row = wait_for_end(ledger.database, job_id, timeout_s, what, shown=shown)
    if row.state != "done":
        said_why = dict(row.error or {}).get("message", f"The job is {row.state}.")
        raise StorageError(f"Job {job_id}: {said_why}", f"`strongroom jobs why {job_id}` says more.")
    return {"job_id": job_id, **dict(row.outcome or {})}


def wait_for_end(
    database: Database, job_id: str, timeout_s: float, what: str, *, shown: bool, patience_s: float = _PATIENCE_S
) -> JobRow:
    """Return the row of a job that has ended.

    Raises:
        WaitTimeout: it has not ended by then.
        StorageError: it has been parked for longer than the patience lasts; the message says what it waits for.
    """
    from models.ledger import find_jobs  # noqa: PLC0415 - see output.engine_on

    deadline, pause, parked_at = time.monotonic() + timeout_s, _SHORTEST_S, float("inf")
    with progress_bar(what, in_percent, shown=shown) as tick:
        while True:
            with database.read() as connection:
                row = find_jobs(connection, [job_id])[job_id]
            if row.ended:
                return row
            if row.state == "parked":
                parked_at = min(parked_at, time.monotonic())
                if time.monotonic() - parked_at >= patience_s:
                    raise _parked(row)
            if time.monotonic() >= deadline:
                raise WaitTimeout(f"Job {job_id} had not ended after {timeout_s:g} s.", f"`strongroom jobs why {job_id}`")
            if row.progress:
                tick(row.progress.get("done", 0), row.progress.get("total"))
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * _GROWTH, _LONGEST_S)


def _parked(row: JobRow) -> StorageError:
    error = dict(row.error or {})
    hint = f"{error.get('hint', '')} The job goes on by itself then; `strongroom jobs cancel {row.job_id}` gives it up."
    return StorageError(f"Job {row.job_id} waits: {error.get('message', 'it is parked.')}", hint.strip())

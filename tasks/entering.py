"""Jobs that are entered in the ledger before there is a message of them: a schedule's, and what a person asks for."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from models.database import Database
from models.ledger import NewJob, queue_jobs
from models.schedule import Plan
from strongroom.numbering import said_priority
from strongroom.routes import PRIORITIES
from tasks.bell import ring


def queue_now(database: Database, run: Path, plan: Plan, asked_by: str, now: datetime) -> str:
    """Enter the job of a schedule beside its slots, because a person asks for it; return its id. Workers send its message.

    ``asked_by`` names the person, such as person:ada@host. The bell in the folder ``run`` is rung, so that they do it at once.

    Raises:
        StorageError: the ledger cannot be reached.
    """
    job_id = f"{plan.name}-{uuid.uuid4().hex[:12]}"
    with database.write("schedule") as connection:
        queue_jobs(connection, [planned_job(plan, job_id, asked_by)], now, now)
    ring(run)
    return job_id


def planned_job(plan: Plan, job_id: str, asked_by: str) -> NewJob:
    """Return the job of a schedule as the ledger takes it."""
    payload = json.dumps(planned_message(plan, job_id))
    return NewJob(job_id, plan.kind, payload, plan.name, asked_by, plan.queue, PRIORITIES["normal"])


def planned_message(plan: Plan, job_id: str) -> dict[str, Any]:
    """Return the message of such a job."""
    return {**said_priority("normal"), "request_id": job_id, **plan.arguments}

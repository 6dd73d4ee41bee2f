"""The task ``strongroom.prune``: old rows of the ledger and of the schedules go."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.leases import LeaseLost, end_job
from models.ledger import JobRow, NewJob
from models.prune import Ended, end_of_history, ended_before, remove_jobs, remove_slots
from strongroom.errors import InvalidMessage, StorageError
from strongroom.numbering import FIRST_CONTRACT, refuse_newer
from tasks.accepted import SUFFIX, claim
from tasks.ending import fail, postpone, worn_out
from tasks.messages import job_id_of, refuse_message
from tasks.retry import in_process
from tasks.services import QUEUES, Services
from tasks.unreadable import MESSAGE, UNREAD

log = structlog.get_logger()

_PAUSE_S = 0.01
"""Between two portions: whoever waits to write gets his turn."""

_SUBJECT = "history"


class PruneMessage(BaseModel):
    """The arguments of ``strongroom.prune``: how much history is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    days: int = Field(90, ge=1)
    jobs: int = Field(1_000_000, ge=1)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, and how many jobs stay though they are old, since their payload is still there."""

    jobs: int = 0
    slots: int = 0
    kept: int = 0


def run_prune(services: Services, fields: Mapping[str, Any], message_id: str) -> None:
    """Carry out one ``strongroom.prune`` message; its outcome is in the ledger afterwards.

    Raises:
        StorageError: the ledger cannot be reached; the message must come again.
    """
    try:
        message = _parse(fields)
    except InvalidMessage as error:
        refuse_message(services, "prune", fields, message_id, error)
        return
    job_id = job_id_of(message.request_id, message_id)
    job = NewJob(job_id, "prune", json.dumps({**fields, "request_id": job_id}), _SUBJECT, queue=QUEUES["prune"])
    with services.presence.at_work() as owner:
        row = in_process(lambda: claim(services, owner, job))
        if row is not None:
            _run(services, row, message)


def prune(services: Services, now: datetime, days: int, jobs: int) -> Pruned:
    """Remove what the policy says, in short transactions; a crash in between leaves the rest to the next time.

    A job stays as long as its payload is in the inbox or among the failed: somebody may send it again, and its row says why it
    is there.
    """
    with services.database.read() as connection:
        before = end_of_history(connection, now, days, jobs)
    removed, kept, past = 0, 0, None
    while portion := _portion(services, before, past):
        going = [one.job_id for one in portion if not _has_payload(services, one)]
        removed += _remove(services, going, before)
        kept += len(portion) - len(going)
        past = portion[-1]
        time.sleep(_PAUSE_S)
    return Pruned(removed, _prune_slots(services, now - timedelta(days=days)), kept)


def _portion(services: Services, before: datetime, past: Ended | None) -> list[Ended]:
    with services.database.read() as connection:
        return ended_before(connection, before, past)


def _remove(services: Services, job_ids: list[str], before: datetime) -> int:
    with services.database.write("prune") as connection:
        return remove_jobs(connection, job_ids, before)


def _prune_slots(services: Services, before: datetime) -> int:
    total = 0
    while True:
        with services.database.write("prune") as connection:
            removed = remove_slots(connection, before)
        if not removed:
            return total
        total += removed
        time.sleep(_PAUSE_S)


def _has_payload(services: Services, job: Ended) -> bool:
    if (services.inbox / f"{job.job_id}{SUFFIX}").exists():
        return True
    return job.state != "done" and any((services.failed / f"{job.job_id}{end}").exists() for end in (SUFFIX, MESSAGE, UNREAD))


def _parse(fields: Mapping[str, Any]) -> PruneMessage:
    refuse_newer(fields.get("contract"))
    try:
        return PruneMessage.model_validate(dict(fields))
    except ValidationError as error:
        raise InvalidMessage("; ".join(f"{fault['loc']}: {fault['msg']}" for fault in error.errors()[:5])) from None


def _run(services: Services, row: JobRow, message: PruneMessage) -> None:
    if row.attempts > services.max_attempts:
        fail(services, row.lease, worn_out(row), state="quarantined", receipt=False)
        return
    try:
        pruned = prune(services, datetime.now(UTC), message.days, message.jobs)
    except StorageError as error:
        if error.retryable:
            postpone(services, row.lease, row.attempts, error)
        else:
            fail(services, row.lease, error, receipt=False)
    except Exception as error:
        log.exception("pruning failed in a way nobody thought of", job=row.job_id)
        postpone(services, row.lease, row.attempts, StorageError(f"An unexpected error: {error!r}."))
    else:
        outcome = {"jobs_removed": pruned.jobs, "slots_removed": pruned.slots, "jobs_kept": pruned.kept}
        with suppress(LeaseLost), services.database.write("ledger") as connection:
            end_job(connection, row.lease, "done", datetime.now(UTC), subject=_SUBJECT, outcome=outcome)

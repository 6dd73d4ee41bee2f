"""The task ``strongroom.verify``: read stored bytes again, compare, record what was found. Never repairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from models.leases import LeaseLost, end_job
from models.ledger import JobRow, Lease, NewJob
from strongroom.contracts import VerifyMessage, VerifyReceipt, parse_message
from strongroom.errors import InvalidMessage, StorageError
from strongroom.routes import PRIORITIES
from tasks.accepted import claim
from tasks.ending import fail, postpone, worn_out
from tasks.messages import job_id_of, refuse_message
from tasks.progress import Show, reported
from tasks.retry import in_process
from tasks.services import QUEUES, Services

log = structlog.get_logger()

_TOLD = 1000
"""How many damaged versions the ledger names."""


def run_verify(services: Services, fields: Mapping[str, Any], message_id: str, show: Show = lambda _line: None) -> None:
    """Carry out one ``strongroom.verify`` message; its outcome is in the ledger afterwards. ``show`` is told how far it has come.

    Raises:
        StorageError: the ledger cannot be reached; the message must come again.
    """
    try:
        message = parse_message(VerifyMessage, dict(fields))
    except InvalidMessage as error:
        refuse_message(services, "verify", fields, message_id, error)
        return
    job_id = job_id_of(message.request_id, message_id)
    payload, priority = json.dumps({**fields, "request_id": job_id}), PRIORITIES[message.priority]
    job = NewJob(job_id, "verify", payload, _subject(message), queue=QUEUES["verify"], priority=priority)
    with services.presence.at_work() as owner:
        row = in_process(lambda: claim(services, owner, job))
        if row is not None:
            _run(services, row, message, show)


def _run(services: Services, row: JobRow, message: VerifyMessage, show: Show) -> None:
    if row.attempts > services.max_attempts:
        fail(services, row.lease, worn_out(row), state="quarantined", receipt=False)
        return
    try:
        with reported(services, row.job_id, show) as progress:
            receipt = services.engine.verify(message.library_id, message.version, progress)
    except StorageError as error:
        if error.retryable:
            postpone(services, row.lease, row.attempts, error)
        else:
            fail(services, row.lease, error, receipt=False)
    except Exception as error:
        log.exception("a verification failed in a way nobody thought of", job=row.job_id)
        postpone(services, row.lease, row.attempts, StorageError(f"An unexpected error: {error!r}."))
    else:
        _end(services, row.lease, message, receipt)


def _end(services: Services, lease: Lease, message: VerifyMessage, receipt: VerifyReceipt) -> None:
    outcome = receipt.model_copy(update={"request_id": lease.job_id, "damaged": receipt.damaged[:_TOLD]}).model_dump()
    outcome["damaged_versions"] = len(receipt.damaged)
    with suppress(LeaseLost), services.database.write("ledger") as connection:
        end_job(connection, lease, "done", datetime.now(UTC), subject=_subject(message), outcome=outcome)


def _subject(message: VerifyMessage) -> str:
    return " ".join(part for part in (message.library_id, message.version) if part) or "everything"

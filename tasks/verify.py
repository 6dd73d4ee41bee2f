"""The task ``strongroom.verify``: read stored bytes again, compare, record what was found. Never repairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from models.ledger import JobRow, end_job
from strongroom.contracts import VerifyMessage, VerifyReceipt, parse_message
from strongroom.errors import InvalidMessage, StorageError
from tasks.accepted import claim
from tasks.ending import fail, postpone, worn_out
from tasks.messages import job_id_of, refuse_message
from tasks.retry import in_process
from tasks.services import Services

log = structlog.get_logger()

_TOLD = 1000
"""How many damaged versions the ledger names."""


def run_verify(services: Services, fields: Mapping[str, Any], message_id: str) -> None:
    """Carry out one ``strongroom.verify`` message; its outcome is in the ledger afterwards.

    Raises:
        StorageError: the ledger cannot be reached; the message must come again.
    """
    try:
        message = parse_message(VerifyMessage, dict(fields))
    except InvalidMessage as error:
        refuse_message(services, "verify", fields, message_id, error)
        return
    job_id = job_id_of(message.request_id, message_id)
    payload = json.dumps({**fields, "request_id": job_id})
    with services.presence.at_work() as owner:
        row = in_process(lambda: claim(services, owner, job_id, payload, "verify"))
        if row is not None:
            _run(services, row, message)


def _run(services: Services, row: JobRow, message: VerifyMessage) -> None:
    if row.attempts > services.max_attempts:
        fail(services, row.job_id, worn_out(row), state="quarantined", receipt=False)
        return
    try:
        receipt = services.engine.verify(message.library_id, message.version)
    except StorageError as error:
        if error.retryable:
            postpone(services, row, error)
        else:
            fail(services, row.job_id, error, receipt=False)
    except Exception as error:
        log.exception("a verification failed in a way nobody thought of", job=row.job_id)
        postpone(services, row, StorageError(f"An unexpected error: {error!r}."))
    else:
        _end(services, row.job_id, message, receipt)


def _end(services: Services, job_id: str, message: VerifyMessage, receipt: VerifyReceipt) -> None:
    outcome = receipt.model_copy(update={"request_id": job_id, "damaged": receipt.damaged[:_TOLD]}).model_dump()
    outcome["damaged_versions"] = len(receipt.damaged)
    subject = " ".join(part for part in (message.library_id, message.version) if part) or "everything"
    with services.database.write("ledger") as connection:
        end_job(connection, job_id, "done", datetime.now(UTC), subject=subject, outcome=outcome)

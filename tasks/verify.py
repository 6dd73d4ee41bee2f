"""The task ``strongroom.verify``: read stored bytes again, compare, record what was found. Never repairs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from models.ledger import end_job
from strongroom.contracts import VerifyMessage, VerifyReceipt, parse_message
from strongroom.errors import InvalidMessage, StorageError
from tasks.accepted import claim
from tasks.ending import fail, postpone
from tasks.retry import in_process
from tasks.services import Services
from tasks.store import refuse_message, worn_out

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
    job_id = message.request_id or message_id
    payload = orjson.dumps({**dict(fields), "request_id": job_id}).decode()
    row = in_process(lambda: claim(services, job_id, payload, "verify"))
    if row is None:
        return
    if row.attempts > services.max_attempts:
        fail(services, job_id, worn_out(services), state="quarantined", receipt=False)
        return
    try:
        receipt = services.engine.verify(message.library_id, message.version)
    except StorageError as error:
        if error.retryable:
            postpone(services, row, error)
        else:
            fail(services, job_id, error, receipt=False)
        return
    _end(services, job_id, message, receipt)


def _end(services: Services, job_id: str, message: VerifyMessage, receipt: VerifyReceipt) -> None:
    outcome = receipt.model_copy(update={"request_id": job_id, "damaged": receipt.damaged[:_TOLD]}).model_dump()
    outcome["damaged_versions"] = len(receipt.damaged)
    subject = " ".join(part for part in (message.library_id, message.version) if part) or "everything"
    with services.database.write("ledger") as connection:
        end_job(connection, job_id, "done", datetime.now(UTC), subject=subject, outcome=outcome)

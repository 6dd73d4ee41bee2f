"""What all jobs but a store have in common: a message becomes a job, its work is done under a lease, its end is recorded once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from models.fence import fenced
from models.leases import LeaseLost, require_lease
from models.ledger import JobRow, NewJob
from strongroom.contracts import parse_message
from strongroom.errors import InvalidMessage, StorageError
from strongroom.routes import PRIORITIES, Priority
from tasks.accepted import claim
from tasks.ending import fail, try_again, worn_out
from tasks.kinds import Kind, M, Running
from tasks.messages import job_id_of, refuse_message
from tasks.plain import plain
from tasks.progress import Show, reported
from tasks.retry import in_process
from tasks.routes import QUEUES
from tasks.services import Services

log = structlog.get_logger()


def run_job(
    kind: Kind[M], services: Services, fields: Mapping[str, Any], message_id: str, show: Show = lambda _line: None
) -> None:
    """Carry out one message of this kind; what became of it is in the ledger afterwards. ``show`` is told how far it has come.

    Raises:
        StorageError: the ledger cannot be reached; the message must come again.
    """
    try:
        message: M = parse_message(kind.message, dict(fields))  # type: ignore[type-var]  # every such message is a model
    except InvalidMessage as error:
        refuse_message(services, kind.name, fields, message_id, error)
        return
    job = replace(_job(kind, message, fields, message_id), needs_bytes=in_process(lambda: kind.peak(services, message)))
    with services.presence.at_work() as owner:
        row = in_process(lambda: claim(services, owner, job))
        if row is not None:
            _run(kind, services, row, message, show)


def _job(kind: Kind[M], message: M, fields: Mapping[str, Any], message_id: str) -> NewJob:
    job_id = job_id_of(message.request_id, message_id)
    priority: Priority = getattr(message, "priority", "normal")
    payload, subject = json.dumps({**fields, "request_id": job_id}), plain(kind.subject(message))
    return NewJob(job_id, kind.name, payload, subject, queue=QUEUES[kind.name], priority=PRIORITIES[priority])


def _run(kind: Kind[M], services: Services, row: JobRow, message: M, show: Show) -> None:
    if row.attempts > services.max_attempts:
        fail(services, row.lease, worn_out(row), state="quarantined", receipt=False)
        return
    lease = row.lease
    try:
        with reported(services, lease, show) as progress, fenced(services.database.engine, lambda one: require_lease(one, lease)):
            kind.work(Running(services, row, progress), message)
    except LeaseLost:
        log.warning("the lease was lost meanwhile: nothing was recorded", job=row.job_id, kind=kind.name)
    except StorageError as error:
        if error.retryable:
            try_again(services, row, error, receipt=False)
        else:
            fail(services, row.lease, error, receipt=False)
    except Exception as error:
        log.exception("a job failed in a way nobody thought of", job=row.job_id, kind=kind.name)
        try_again(services, row, StorageError(f"An unexpected error: {error!r}."), receipt=False)

"""What all jobs but a store have in common: a message becomes a job, its work is done under a lease, its end is recorded once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import structlog
from sqlalchemy import Connection

from models.fence import fenced
from models.leases import LeaseLost, end_job, require_lease
from models.ledger import JobRow, NewJob
from strongroom.contracts import parse_message
from strongroom.errors import InvalidMessage, StorageError
from strongroom.routes import PRIORITIES, Priority
from tasks.accepted import claim
from tasks.ending import fail, try_again, worn_out
from tasks.messages import job_id_of, refuse_message
from tasks.plain import plain
from tasks.progress import Show, reported
from tasks.retry import in_process
from tasks.routes import QUEUES
from tasks.services import Services

log = structlog.get_logger()


class JobMessage(Protocol):
    """What the message of any job has. ``priority`` may be absent: then it is normal."""

    @property
    def request_id(self) -> str | None:
        """Names the job."""


M = TypeVar("M", bound=JobMessage)


@dataclass(frozen=True, slots=True)
class Running:
    """A job that this process holds the lease of."""

    services: Services
    row: JobRow
    progress: Callable[[int, int], None]
    """Takes how many bytes of how many are done. Cheap."""

    def end(self, connection: Connection, outcome: Mapping[str, Any], *, subject: str | None = None) -> None:
        """Record that the job is done, in the transaction of the work's own rows.

        Raises:
            LeaseLost: somebody else does it by now: the transaction must be given up.
        """
        end_job(connection, self.row.lease, "done", datetime.now(UTC), subject=subject, outcome=outcome)

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Record that the job is done, when its work has no rows of its own or is harmless to do twice.

        Raises:
            LeaseLost: somebody else does it by now.
        """
        with self.services.database.write("ledger") as connection:
            self.end(connection, outcome)


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """A kind of job: its message, what it is about, and its work, which ends the job by ``end`` or ``finish``.

    The work runs behind a fence: once the lease is lost, the next transaction or the next word about progress raises LeaseLost.
    So it may be cut short between any two of its transactions, as by a crash.
    """

    name: str
    message: type[M]
    subject: Callable[[M], str]
    work: Callable[[Running, M], None]
    peak: Callable[[Services, M], int] = lambda _services, _message: 0
    """The most that the job adds to what is on the disk while it runs, in bytes. It begins when that much is free."""


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

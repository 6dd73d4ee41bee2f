"""Messages of ``strongroom.store``: which job one rings for, what it carries itself, and what is kept of one that is refused."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from models.ledger import JobRow, NewJob, find_jobs, park_job, record_failed
from strongroom.contracts import DocumentOptions, ErrorInfo, InlineDocument, StoreMessage, StoreReceipt, parse_message
from strongroom.errors import InvalidDocument, InvalidMessage, MessageTooNew
from strongroom.inbox import InboxWriter
from strongroom.outgoing import json_bytes
from strongroom.result import Problem
from strongroom.routes import PRIORITIES, store_queue
from tasks.accepted import JOB_ID, SUFFIX, accepted_at
from tasks.ending import NEWER_WORKER, keep, tell
from tasks.retry import in_process
from tasks.routes import QUEUES
from tasks.services import Services

_OPTIONS = frozenset(DocumentOptions.model_fields)
_INLINE = frozenset(InlineDocument.model_fields)

_Inline = list[tuple[bytes, DocumentOptions]]


def job_id_of(asked_for: object, message_id: str) -> str:
    """Return the id of a message's job: the one it asks for, else the message's own.

    The id becomes the name of a file, and a producer may give its messages any id: one that is no such name is hashed.
    """
    for name in (asked_for, message_id):
        if isinstance(name, str) and JOB_ID.fullmatch(name):
            return name
    return hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()


def accept_message(services: Services, fields: Mapping[str, Any], message_id: str) -> NewJob | None:
    """Return the job that a message rings for, after staging what it carries itself; None when that job has ended.

    Raises:
        InvalidMessage: it does not follow the contract.
        StorageError: the ledger or the inbox cannot be reached: the message must come again.
    """
    message = parse_message(StoreMessage, dict(fields))
    documents = _carried(message)
    if message.inbox is not None:
        return _store_job(services, message.inbox, message)
    job_id = job_id_of(message.request_id, message_id)
    job = _store_job(services, f"{job_id}{SUFFIX}", message)
    if (services.inbox / job.payload).exists():
        return job
    with services.database.read() as connection:
        row = find_jobs(connection, [job_id]).get(job_id)
    if row is not None and row.ended:
        return None
    with InboxWriter(services.inbox, job_id, receipt=message.receipt) as writer:
        for data, options in documents:
            writer.add(data, "message", options)
        writer.commit()
    return job


def _store_job(services: Services, payload: str, message: StoreMessage) -> NewJob:
    job = NewJob(payload.removesuffix(SUFFIX), "store", payload, queue=QUEUES["store"], priority=PRIORITIES[message.priority])
    with suppress(FileNotFoundError):
        status = (services.inbox / payload).lstat()
        return replace(job, queue=store_queue(status.st_size), accepted_at=accepted_at(status, datetime.now(UTC)))
    return job


def _carried(message: StoreMessage) -> _Inline:
    alone = message.model_dump(include=set(_INLINE), exclude_defaults=True)
    if (message.inbox is not None) + bool(message.documents) + bool(alone) > 1:
        raise InvalidMessage("A message has an inbox file, or documents, or the fields of one document: it is not guessed which.")
    if message.inbox is not None:
        return []
    return [(_bytes_of(one), _options_of(one)) for one in message.documents or [InlineDocument(**alone)]]


def _bytes_of(document: InlineDocument) -> bytes:
    """Return the document as it is stored. What JSON or UTF-8 cannot hold stays in it, to be refused by its own code."""
    if document.text is not None and document.content is None:
        return document.text.encode("utf-8", "surrogatepass")
    if document.content is None or document.text is not None:
        raise InvalidMessage("A document in a message needs either text or content.")
    with _deep():
        return json.dumps(document.content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _options_of(document: InlineDocument) -> DocumentOptions:
    said = document.model_dump(include=set(_OPTIONS))
    try:
        json_bytes(said)
    except InvalidDocument as error:
        raise InvalidMessage(f"What a message says about its document cannot be kept. {error.message}") from None
    return DocumentOptions(**said)


def refuse_message(services: Services, kind: str, fields: Mapping[str, Any], message_id: str, error: InvalidMessage) -> None:
    """Record a message that is not understood as a failed job; keep what it said, and the inbox file that it named.

    One that follows a newer contract is no failure: it is parked, and offered again until a newer worker takes it.

    Raises:
        StorageError: the ledger cannot be reached: the message must come again.
    """
    job_id = job_id_of(_asked_for(fields), message_id)
    info = ErrorInfo.of(Problem.of(error))
    if isinstance(error, MessageTooNew):
        job = NewJob(job_id, kind, _as_text({**fields, "request_id": job_id}), queue=QUEUES[kind])
        in_process(lambda: _park(services, job, info))
        return
    row = in_process(lambda: _record_failed(services, NewJob(job_id, kind, _as_text(fields)), info))
    if row.state == "failed" and row.outcome is None:  # by this delivery, or by one before it that died here
        if fields.get("receipt") is True:
            tell(services, StoreReceipt(request_id=job_id, state="failed", error=info))
        keep(services, job_id)


def _park(services: Services, job: NewJob, info: ErrorInfo) -> None:
    now = datetime.now(UTC)
    with services.database.write("ledger") as connection:
        park_job(connection, job, info.model_dump(), now, now + NEWER_WORKER)


def _record_failed(services: Services, job: NewJob, info: ErrorInfo) -> JobRow:
    with services.database.write("ledger") as connection:
        return record_failed(connection, job, info.model_dump(), datetime.now(UTC))


def _asked_for(fields: Mapping[str, Any]) -> object:
    inbox = fields.get("inbox")
    return inbox.removesuffix(SUFFIX) if isinstance(inbox, str) else fields.get("request_id")


def _as_text(fields: Mapping[str, Any]) -> str:
    with _deep():
        return json.dumps(dict(fields), default=repr)


@contextmanager
def _deep() -> Iterator[None]:
    """Have the stack reach for what it reached for when the message was parsed, further up."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)

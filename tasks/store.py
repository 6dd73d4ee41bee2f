"""The task ``strongroom.store``: accepted files become stored documents, each with exactly one effect.

Every store goes through the inbox, those of raw messages too: the file there is the job, the message only a doorbell. A worker
that was rung for a small job takes other waiting ones along, so that many messages share one durability barrier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import accumulate, pairwise
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection

from models.ledger import JobRow, find_jobs
from strongroom.contracts import DocumentOptions, DocumentReceipt, InlineDocument, StoreMessage, parse_message
from strongroom.errors import BrokerUnavailable, InvalidMessage, PayloadDamaged, PayloadMissing, StorageError
from strongroom.inbox import InboxWriter
from strongroom.routes import LONG_QUEUE
from tasks.accepted import SUFFIX, Accepted, claim, take_along
from tasks.ending import end_stored, fail, hand_back, postpone
from tasks.retry import in_process
from tasks.services import TREE_TASK, Services

SHOWN_AT_ONCE = 64
"""Documents of a store that are in the tree before their receipts are given; more than that follow in the background."""

log = structlog.get_logger()


def run_store(services: Services, fields: Mapping[str, Any], message_id: str) -> None:
    """Carry out one ``strongroom.store`` message. Returns when the message may be acknowledged: the ledger knows the rest.

    Raises:
        StorageError: the ledger cannot be reached; the message must come again.
    """
    try:
        job_id = _job_of(services, fields, message_id)
    except InvalidMessage as error:
        refuse_message(services, "store", fields, message_id, error)
        return
    if job_id is not None:
        with ExitStack() as files:
            _run(services, job_id, files)


def refuse_message(services: Services, kind: str, fields: Mapping[str, Any], message_id: str, error: InvalidMessage) -> None:
    """Record a message that cannot be understood as a failed job, and keep what it said."""
    said = orjson.dumps(dict(fields), default=repr).decode()
    if in_process(lambda: claim(services, message_id, said, kind)) is not None:
        fail(services, message_id, error, receipt=False)


def worn_out(services: Services) -> StorageError:
    """Return what is said of a job that was tried too often."""
    return StorageError(
        f"The job was tried {services.max_attempts} times and never ended.",
        "It may kill its worker: look at the worker's log before you send it again. Its payload is kept in inbox/failed.",
    )


def _job_of(services: Services, fields: Mapping[str, Any], message_id: str) -> str | None:
    """Return the job that a message rings for, after staging what it carries itself; None when that has ended already."""
    message = parse_message(StoreMessage, dict(fields))
    if message.inbox is not None:
        return message.inbox.removesuffix(SUFFIX)
    job_id = message.request_id or message_id
    if (services.inbox / f"{job_id}{SUFFIX}").exists():
        return job_id
    with services.database.read() as connection:
        row = find_jobs(connection, [job_id]).get(job_id)
    if row is not None and row.ended:
        return None
    documents = message.documents or [InlineDocument(**message.model_dump(include=set(InlineDocument.model_fields)))]
    with InboxWriter(services.inbox, job_id, receipt=message.receipt) as writer:
        for document in documents:
            options = DocumentOptions(**document.model_dump(include=set(DocumentOptions.model_fields)))
            writer.add(_text_of(document), "message", options)
        writer.commit()
    return job_id


def _text_of(document: InlineDocument) -> bytes:
    if document.text is not None and document.content is None:
        return document.text.encode("utf-8", "surrogatepass")  # half a pair is refused with the document, by its own code
    if document.content is not None and document.text is None:
        return orjson.dumps(document.content)
    raise InvalidMessage("A document in a message needs either text or content.")


def _run(services: Services, job_id: str, files: ExitStack) -> None:
    path = services.inbox / f"{job_id}{SUFFIX}"
    accepted: Accepted | None = None
    fault: StorageError | None = None
    try:
        accepted = files.enter_context(Accepted(path))
    except (PayloadMissing, PayloadDamaged) as error:
        fault = error
    row = in_process(lambda: claim(services, job_id, path.name))
    if row is None:
        if accepted is not None:
            _finish_ended(services, accepted)
    elif row.attempts > services.max_attempts:
        fail(services, job_id, worn_out(services), state="quarantined")
    elif accepted is None:
        assert fault is not None
        fail(services, job_id, fault)
    else:
        _store(services, row, accepted, files)


def _finish_ended(services: Services, accepted: Accepted) -> None:
    """Do what a worker left undone that died between its commit and the end. Storing again finds everything there."""
    with services.database.read() as connection:
        row = find_jobs(connection, [accepted.job_id]).get(accepted.job_id)
    if row is not None and row.ended:
        hand_back(services, accepted, services.engine.store(accepted.documents))


def _store(services: Services, row: JobRow, first: Accepted, files: ExitStack) -> None:
    """Store the documents of this job, and of waiting ones, with one barrier and one commit that ends their jobs too."""
    together = [first]
    try:
        if row.attempts == 1:
            together += in_process(lambda: take_along(services, first, files))
        receipts = in_process(lambda: _store_together(services, together))
        _show(services, [receipt for part in receipts for receipt in part])
    except Exception as error:
        if not isinstance(error, StorageError):
            log.exception("a store failed in a way nobody thought of", job=row.job_id)
        _postpone(services, together, error)
        return
    for accepted, part in zip(together, receipts, strict=True):
        hand_back(services, accepted, part)


def _store_together(services: Services, together: list[Accepted]) -> list[list[DocumentReceipt]]:
    bounds = list(pairwise(accumulate((len(one.documents) for one in together), initial=0)))

    def record(connection: Connection, receipts: Sequence[DocumentReceipt]) -> None:
        for accepted, (start, end) in zip(together, bounds, strict=True):
            end_stored(connection, accepted.job_id, receipts[start:end])

    documents = [document for accepted in together for document in accepted.documents]
    receipts = services.engine.store(documents, record)
    return [receipts[start:end] for start, end in bounds]


def _show(services: Services, receipts: Sequence[DocumentReceipt]) -> None:
    if len(receipts) <= SHOWN_AT_ONCE:
        services.engine.show(receipts)
    elif services.engine.options.tree != "none":
        with suppress(BrokerUnavailable):  # beat rings for the tree as well
            services.send(TREE_TASK, {}, queue=LONG_QUEUE)


def _postpone(services: Services, together: Sequence[Accepted], error: Exception) -> None:
    """Have the jobs that did not end tried again, whatever the error was: none is left running for ever."""
    known = error if isinstance(error, StorageError) else StorageError(f"An unexpected error: {error!r}.")
    with services.database.read() as connection:
        rows = find_jobs(connection, [accepted.job_id for accepted in together])
    for row in rows.values():
        if not row.ended:
            postpone(services, row, known)

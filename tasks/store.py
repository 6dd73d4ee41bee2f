"""The task ``strongroom.store``: accepted files become stored documents, each with exactly one effect.

Every store goes through the inbox, those of raw messages too: the file there is the job, the message only a doorbell. A worker
that was rung for a small job takes other waiting ones along, so that many messages share one durability barrier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import structlog
from sqlalchemy import Connection

from models.leases import LeaseLost, give_back
from models.ledger import JobRow, Lease, NewJob
from strongroom.contracts import DocumentReceipt
from strongroom.errors import BrokerUnavailable, InvalidMessage, PayloadDamaged, PayloadMissing, QuotaExceeded, StorageError
from strongroom.routes import LONG_QUEUE
from tasks.accepted import SUFFIX, Accepted, claim, take_along
from tasks.admission import needs_of_store, refuse_over_quota
from tasks.ending import bring_back, end_stored, fail, hand_back, postpone, try_again, worn_out
from tasks.finish import finish_ended, was_taken_along
from tasks.messages import accept_message, refuse_message
from tasks.retry import in_process
from tasks.routes import TREE_TASK
from tasks.services import Services
from tasks.suspects import store_one_by_one
from tasks.turns import leave_room

SHOWN_AT_ONCE = 64
"""Documents of a store that are in the tree before their receipts are given; more than that follow in the background."""

log = structlog.get_logger()


def run_store(services: Services, fields: Mapping[str, Any], message_id: str) -> None:
    """Carry out one ``strongroom.store`` message. Returns when the message may be acknowledged: the ledger knows the rest.

    Raises:
        StorageError: the ledger or the inbox cannot be reached: the message must come again.
    """
    try:
        job = accept_message(services, fields, message_id)
    except InvalidMessage as error:
        refuse_message(services, "store", fields, message_id, error)
        return
    except StorageError:
        raise
    except Exception as error:
        log.exception("a message failed in a way nobody thought of", message=message_id)
        refuse_message(services, "store", fields, message_id, InvalidMessage(f"The message broke its worker: {error!r}."))
        return
    if job is not None and not was_taken_along(services, job.job_id):
        with services.presence.at_work() as owner, ExitStack() as files:
            _run(services, owner, job, files)


def _run(services: Services, owner: str, job: NewJob, files: ExitStack) -> None:
    """Count the attempt, then look at the payload: whatever that does to this process has been counted."""
    job = replace(job, needs_bytes=needs_of_store(services, job.payload))
    row = in_process(lambda: claim(services, owner, job))
    if row is None:
        finish_ended(services, job.job_id, files)
    elif row.attempts > services.max_attempts:
        fail(services, row.lease, worn_out(row), state="quarantined")
    else:
        _store(services, row, files)


def _store(services: Services, row: JobRow, files: ExitStack) -> None:
    """Store the documents of this job, and of waiting ones, with one barrier and one commit that ends their jobs too."""
    together: dict[Accepted, Lease] = {}
    try:
        first = files.enter_context(_open(services, row))
        together[first] = row.lease
        if row.attempts == row.token == 1:  # a person may have sent again what killed its worker before
            together |= in_process(lambda: take_along(services, row.owner, first, files))
        if row.attempts > 1 and len(first.documents) > 1:
            receipts = [store_one_by_one(services, row, first)]
        else:
            together, receipts = _stored(services, row, together)
    except (PayloadMissing, PayloadDamaged) as error:
        fail(services, row.lease, error)
    except LeaseLost as lost:
        log.warning("nothing was stored: the lease was lost meanwhile", job=str(lost))
        _give_back(services, together.values())
    except Exception as error:
        if not isinstance(error, StorageError):
            log.exception("a store failed in a way nobody thought of", job=row.job_id)
        _postpone(services, row, together.values(), error)
    else:
        _show(services, [receipt for part in receipts for receipt in part])
        for accepted, part in zip(together, receipts, strict=True):
            _hand_back(services, accepted, part)


def _open(services: Services, row: JobRow) -> Accepted:
    path = services.inbox / f"{row.job_id}{SUFFIX}"
    try:
        return Accepted(path)
    except PayloadMissing:
        if not bring_back(services, row.job_id):
            raise
        return Accepted(path)


def _stored(
    services: Services, row: JobRow, together: dict[Accepted, Lease]
) -> tuple[dict[Accepted, Lease], list[list[DocumentReceipt]]]:
    """Store the documents of these jobs; return which of them have ended, and their receipts.

    Raises:
        QuotaExceeded: a job that is alone has no room under a quota. It has stored nothing.
    """
    try:
        return together, in_process(partial(_store_together, services, together))
    except QuotaExceeded:
        if len(together) == 1:
            raise
    ended: dict[Accepted, list[DocumentReceipt]] = {}
    for accepted, lease in together.items():  # each by itself: one without room keeps no other from being stored
        try:
            ended[accepted] = in_process(partial(_store_together, services, {accepted: lease}))[0]
        except QuotaExceeded as error:
            postpone(services, lease, row.attempts, error)
    return {accepted: together[accepted] for accepted in ended}, list(ended.values())


def _store_together(services: Services, together: Mapping[Accepted, Lease]) -> list[list[DocumentReceipt]]:
    bounds = list(pairwise(accumulate((len(one.documents) for one in together), initial=0)))

    def record(connection: Connection, receipts: Sequence[DocumentReceipt]) -> None:
        stored = {lease.job_id: receipts[start:end] for lease, (start, end) in zip(together.values(), bounds, strict=True)}
        for lease in together.values():
            refuse_over_quota(stored[lease.job_id])
            end_stored(connection, lease, stored[lease.job_id])
        leave_room(services, connection, stored, services.clock())

    documents = [document for accepted in together for document in accepted.documents]
    receipts = services.engine.store(documents, record)
    return [receipts[start:end] for start, end in bounds]


def _show(services: Services, receipts: Sequence[DocumentReceipt]) -> None:
    """Show the documents in the tree. They are stored whatever becomes of that: beat rings for the tree as well."""
    try:
        if len(receipts) <= SHOWN_AT_ONCE:
            services.engine.show(receipts)
        elif services.engine.options.tree != "none":
            with suppress(BrokerUnavailable):
                services.broker.send(TREE_TASK, {}, queue=LONG_QUEUE)
    except (StorageError, OSError) as error:
        log.warning("stored, and not in the tree yet", error=str(error))


def _hand_back(services: Services, accepted: Accepted, receipts: Sequence[DocumentReceipt]) -> None:
    try:
        hand_back(services, accepted, lambda: receipts, failed=any(one.status == "failed" for one in receipts))
    except StorageError as error:  # the job has ended; the reconciler finds its file still there and sends it again
        log.warning("stored, and its producer not told yet", job=accepted.job_id, error=error.message)


def _give_back(services: Services, leases: Iterable[Lease]) -> None:
    """Let others do the jobs that were to be stored together with one whose lease was lost: they were not even tried."""
    with services.database.write("ledger") as connection:
        give_back(connection, leases, datetime.now(UTC))


def _postpone(services: Services, row: JobRow, leases: Iterable[Lease], error: Exception) -> None:
    """Have the jobs that did not end tried again, whatever the error was: none is left running for ever."""
    known = error if isinstance(error, StorageError) else StorageError(f"An unexpected error: {error!r}.")
    try_again(services, row, known)
    for lease in dict.fromkeys(leases):
        if lease != row.lease:
            postpone(services, lease, row.attempts, known)

"""How jobs end: what the ledger records, what the producer is told, and where the payload goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection

from models.leases import LeaseLost, end_job, postpone_job
from models.ledger import JobRow, Lease, State
from strongroom import durable
from strongroom.contracts import DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.disposal import dispose
from strongroom.errors import DiskFull, MessageTooNew, QuotaExceeded, StorageError, TargetUnreachable
from strongroom.inbox import write_receipt
from strongroom.result import Problem
from tasks.accepted import SUFFIX, Accepted
from tasks.admission import LOOK_AGAIN
from tasks.plain import plain
from tasks.retry import delay_before
from tasks.services import Services

_TOLD = 100
"""How many failed documents of one job the ledger names; the receipt names all."""

_KEPT = "Its payload is kept in inbox/failed."

_INNOCENT_DELAY = 4
"""A job that waits for space on the disk waits as if for its fourth attempt: up to 8 seconds."""

NEWER_WORKER = timedelta(seconds=30)
"""How often a job that only a newer worker understands is offered again."""

TARGET_AGAIN = timedelta(seconds=30)
"""How often a place of backups that does not answer is asked again: once its disk is mounted, the night's job goes on."""


def end_stored(connection: Connection, lease: Lease, receipts: Sequence[DocumentReceipt]) -> None:
    """Record the end of a store job, in the transaction that stored its documents.

    Raises:
        LeaseLost: the job is somebody else's by now: the transaction must be given up.
    """
    failed = [(position, one) for position, one in enumerate(receipts) if one.error is not None]
    counts = {name: sum(one.status == name for one in receipts) for name in ("stored", "unchanged", "failed")}
    outcome: dict[str, Any] = dict(counts)  # JSON: counts, and a list when some failed
    if failed:
        outcome["failures"] = [{"position": position, "file": one.name, **_error(one)} for position, one in failed[:_TOLD]]
    error = _error(failed[0][1]) if failed else None
    state: State = "failed" if failed else "done"
    end_job(connection, lease, state, datetime.now(UTC), subject=_subject(receipts), outcome=outcome, error=error)


def _error(receipt: DocumentReceipt) -> dict[str, Any]:
    return receipt.error.model_dump() if receipt.error else {}


def _subject(receipts: Sequence[DocumentReceipt]) -> str:
    if len(receipts) != 1:
        return f"{len(receipts)} documents"
    one = receipts[0]
    return plain(f"{one.library_id} {one.version}" if one.library_id else one.name)


def hand_back(services: Services, accepted: Accepted, receipts: Callable[[], Sequence[DocumentReceipt]], *, failed: bool) -> None:
    """Tell the producer what became of a job that has ended, if it asked for that, then let its payload go.

    The payload is kept when a document failed. May run twice: whatever a crash between the commit and here left undone is done
    by the next delivery.

    Raises:
        StorageError: the inbox cannot be written; the payload stays where it is.
    """
    if accepted.manifest.receipt:
        state: Literal["failed", "done"] = "failed" if failed else "done"
        tell(services, StoreReceipt(request_id=accepted.job_id, state=state, documents=list(receipts())))
    durable.step("inbox: let go")
    if failed:
        keep(services, accepted.job_id)
    else:
        with durable.os_errors("cannot let go of a payload"):
            dispose(services.inbox, accepted.path)


def fail(
    services: Services,
    lease: Lease,
    error: StorageError,
    *,
    state: Literal["failed", "quarantined"] = "failed",
    receipt: bool = True,
) -> None:
    """Record that a job as a whole cannot be done, tell the producer, keep its payload. Does nothing when the lease was lost."""
    info = ErrorInfo.of(Problem.of(error))
    with suppress(LeaseLost):
        with services.database.write("ledger") as connection:
            end_job(connection, lease, state, datetime.now(UTC), error=info.model_dump())
        if receipt:
            tell(services, StoreReceipt(request_id=lease.job_id, state=state, error=info))
        keep(services, lease.job_id)


def postpone(services: Services, lease: Lease, attempts: int, error: StorageError) -> None:
    """Record that a job is to be tried again, and when; the reconciler sends it then. Nothing, when the lease was lost."""
    counted = _is_counted(error)
    known = {MessageTooNew: NEWER_WORKER, QuotaExceeded: LOOK_AGAIN, TargetUnreachable: TARGET_AGAIN}.get(type(error))
    due_at = datetime.now(UTC) + (known or _delay(attempts, counted=counted))
    info: Mapping[str, Any] = ErrorInfo.of(Problem.of(error)).model_dump()  # JSON
    with services.database.write("ledger") as connection:
        postpone_job(connection, lease, due_at, info, counted=counted)


def try_again(services: Services, row: JobRow, error: StorageError, *, receipt: bool = True) -> None:
    """Have a job tried again that failed just now, or put it into quarantine when that was its last attempt."""
    if row.attempts < services.max_attempts or not _is_counted(error):
        postpone(services, row.lease, row.attempts, error)
        return
    said = f"The job was tried {row.attempts} times and never ended. The last error: {error.message}"
    fail(services, row.lease, type(error)(said, f"{error.hint} {_KEPT}", error.context), state="quarantined", receipt=receipt)


def _is_counted(error: StorageError) -> bool:
    return not isinstance(error, DiskFull | MessageTooNew | QuotaExceeded | TargetUnreachable)


def _delay(attempts: int, *, counted: bool) -> timedelta:
    return delay_before(attempts if counted else _INNOCENT_DELAY)


def worn_out(row: JobRow) -> StorageError:
    """Return what is said of a job that was tried too often."""
    tried = f"The job was tried {row.attempts - 1} times and never ended."
    if row.error is not None:
        return StorageError(f"{tried} The last error: {row.error['message']}", f"{row.error['hint']} {_KEPT}")
    return StorageError(tried, f"It may kill its worker: look at the worker's log before you send it again. {_KEPT}")


def tell(services: Services, receipt: StoreReceipt) -> None:
    """Put a receipt where its producer waits for it.

    Raises:
        StorageError: the inbox cannot be written.
    """
    with durable.os_errors("cannot write a receipt"):
        write_receipt(services.inbox, receipt)


def keep(services: Services, job_id: str) -> None:
    """Move a job's payload to where a person finds it: nothing that was accepted is thrown away.

    Raises:
        StorageError: the inbox cannot be written.
    """
    path = services.inbox / f"{job_id}{SUFFIX}"
    with durable.os_errors("cannot keep a payload"), suppress(FileNotFoundError):
        services.failed.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(services.failed / path.name)


def bring_back(services: Services, job_id: str) -> bool:
    """Put the payload of a job that is to be done after all back into the inbox; False when it was not kept.

    A person sent the job again, and the command died before it had moved the file.

    Raises:
        StorageError: the inbox cannot be written.
    """
    kept = services.failed / f"{job_id}{SUFFIX}"
    with durable.os_errors("cannot bring back a payload"), suppress(FileNotFoundError):
        durable.rename(kept, services.inbox / kept.name, "inbox")
        durable.fsync_folder(services.inbox, "inbox")
        return True
    return False

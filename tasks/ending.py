"""How jobs end: what the ledger records, what the producer is told, and where the payload goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from models.ledger import JobRow, State, end_job, postpone_job
from strongroom import durable
from strongroom.contracts import DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.errors import DiskFull, StorageError
from strongroom.inbox import write_receipt
from strongroom.result import Problem
from tasks.accepted import Accepted
from tasks.retry import delay_before
from tasks.services import Services

_TOLD = 100
"""How many failed documents of one job the ledger names; the receipt names all."""


def end_stored(connection: Connection, job_id: str, receipts: Sequence[DocumentReceipt]) -> None:
    """Record the end of a store job, in the transaction that stored its documents."""
    failed = [one for one in receipts if one.error is not None]
    counts = {name: sum(one.status == name for one in receipts) for name in ("stored", "unchanged", "failed")}
    outcome: dict[str, Any] = dict(counts)  # JSON: counts, and a list when some failed
    if failed:
        outcome["failures"] = [{"file": one.name, **_error(one)} for one in failed[:_TOLD]]
    error = _error(failed[0]) if failed else None
    state: State = "failed" if failed else "done"
    end_job(connection, job_id, state, datetime.now(UTC), subject=_subject(receipts), outcome=outcome, error=error)


def _error(receipt: DocumentReceipt) -> dict[str, Any]:
    return receipt.error.model_dump() if receipt.error else {}


def _subject(receipts: Sequence[DocumentReceipt]) -> str:
    if len(receipts) != 1:
        return f"{len(receipts)} documents"
    one = receipts[0]
    return f"{one.library_id} {one.version}" if one.library_id else one.name


def hand_back(services: Services, accepted: Accepted, receipts: Sequence[DocumentReceipt]) -> None:
    """Tell the producer what became of a job that has ended, then let its payload go; keep it when a document failed.

    May run twice: whatever a crash between the commit and here left undone is done by the next delivery.
    """
    failed = any(one.status == "failed" for one in receipts)
    if accepted.manifest.receipt:
        told = StoreReceipt(request_id=accepted.job_id, state="failed" if failed else "done", documents=list(receipts))
        write_receipt(services.inbox, told)
    durable.step("inbox: let go")
    if failed:
        _keep(services, accepted.path)
    else:
        accepted.path.unlink(missing_ok=True)


def fail(
    services: Services,
    job_id: str,
    error: StorageError,
    *,
    state: Literal["failed", "quarantined"] = "failed",
    receipt: bool = True,
) -> None:
    """Record that a job as a whole cannot be done, keep its payload, tell the producer."""
    info = ErrorInfo.of(Problem.of(error))
    with services.database.write("ledger") as connection:
        end_job(connection, job_id, state, datetime.now(UTC), error=info.model_dump())
    if receipt:
        write_receipt(services.inbox, StoreReceipt(request_id=job_id, state=state, error=info))
    _keep(services, services.inbox / f"{job_id}.inbox")


def postpone(services: Services, row: JobRow, error: StorageError) -> None:
    """Record that a job is to be tried again, and when; the reconciler sends it then."""
    now = datetime.now(UTC)
    counted = not isinstance(error, DiskFull)
    due_at = now + delay_before(row.attempts if counted else 5)
    info: Mapping[str, Any] = ErrorInfo.of(Problem.of(error)).model_dump()  # JSON
    with services.database.write("ledger") as connection:
        postpone_job(connection, row.job_id, due_at, info, counted=counted)


def _keep(services: Services, path: Path) -> None:
    """Move a payload to where a person finds it: nothing that was accepted is thrown away."""
    services.failed.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        path.rename(services.failed / path.name)

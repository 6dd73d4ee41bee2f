"""What is left to do for a job that has ended: its worker died, or was killed, before the producer was told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection

from models.catalogue import list_versions
from models.ledger import ENDED, JobRow, find_jobs, state_of
from models.rows import StoredVersion
from storage.documents import DocumentScanner, Limits, unpack
from storage.intake import Incoming, Named, name_of
from strongroom.contracts import DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.errors import MessageTooNew, PayloadDamaged, PayloadMissing, StorageError, VersionExists
from strongroom.result import Problem
from tasks.accepted import SUFFIX, Accepted
from tasks.ending import hand_back, keep, tell
from tasks.services import Services

HANDING_BACK = timedelta(seconds=10)
"""Far more than a living worker takes between its commit and the end."""


def was_taken_along(services: Services, job_id: str) -> bool:
    """Whether a message rings for a job that another one took along and that is over: nothing is left to be done.

    Most messages of a busy queue are such: one look at the inbox and one at the ledger, no transaction that writes.
    """
    if os.path.lexists(services.inbox / f"{job_id}{SUFFIX}"):
        return False
    with services.database.read() as connection:
        return state_of(connection, job_id) in ENDED


def finish_ended(services: Services, job_id: str, files: ExitStack) -> None:
    """Tell the producer of a job that has ended, and let its payload go, unless somebody is about to.

    Stores nothing: the job had its effect, and what came after it must not be undone.
    """
    path = services.inbox / f"{job_id}{SUFFIX}"
    with services.database.read() as connection:
        row = find_jobs(connection, [job_id]).get(job_id)
    if row is None or not row.ended or not _was_left(services, row) or not os.path.lexists(path):
        return
    try:
        accepted = files.enter_context(Accepted(path)) if row.outcome is not None else None
    except (PayloadMissing, PayloadDamaged):
        accepted = None
    except MessageTooNew:
        return  # a newer worker did it, and one will tell its producer
    if accepted is None:
        _finish_failed(services, row)
    else:
        hand_back(services, accepted, lambda: _recall(services, row, accepted), failed=row.state != "done")


def _was_left(services: Services, row: JobRow) -> bool:
    """Whether nobody is about to hand the job back: its worker is gone, or has had ample time."""
    ended = row.finished_at or row.created_at
    return not services.presence.is_alive(row.owner) or abs(datetime.now(UTC) - ended) > HANDING_BACK


def _finish_failed(services: Services, row: JobRow) -> None:
    if row.error is not None:
        state: Literal["failed", "quarantined"] = "quarantined" if row.state == "quarantined" else "failed"
        tell(services, StoreReceipt(request_id=row.job_id, state=state, error=ErrorInfo(**row.error)))
    keep(services, row.job_id)


def _recall(services: Services, row: JobRow, accepted: Accepted) -> list[DocumentReceipt]:
    """Return what the job's receipt said: the failures from the ledger, the rest from the catalogue, found by content."""
    failures: Sequence[Mapping[str, Any]] = (row.outcome or {}).get("failures", [])
    known = {one["position"]: ErrorInfo(**{name: one[name] for name in ErrorInfo.model_fields}) for one in failures}
    receipts: list[DocumentReceipt] = []
    for position, document in enumerate(accepted.documents):
        error = known.get(position)
        if error is None:
            receipts.append(recall(services, row, document))
        else:
            receipts.append(DocumentReceipt(name=document.name, status="failed", error=error))
    return receipts


def recall(services: Services, row: JobRow, document: Incoming) -> DocumentReceipt:
    """Return what the receipt of a document said that this job stored before: found in the catalogue by its content."""
    try:
        named, content_sha256 = _recognise(document, services.engine.options.limits)
        with services.database.read() as connection:
            found = _revision(connection, named, content_sha256)
        if found is None:
            raise VersionExists(f"{named.library_id} {named.version} is stored with other content.")
    except StorageError as error:
        return DocumentReceipt(name=document.name, status="failed", error=ErrorInfo.of(Problem.of(error)))
    return DocumentReceipt(
        name=document.name,
        status="stored" if row.started_at is None or found.created_at >= row.started_at else "unchanged",
        library_id=found.library_id,
        version=found.version,
        revision=found.revision,
        content_sha256=content_sha256,
        size_bytes=found.place.size_bytes,
        stored_bytes=found.place.length,
    )


def _recognise(document: Incoming, limits: Limits) -> tuple[Named, str]:
    scanner, digest = DocumentScanner(limits), hashlib.sha256()
    with document.open() as source:
        for piece in unpack(source, limits):
            scanner.feed(piece)
            digest.update(piece)
    return name_of(document.options, scanner.finish()), digest.hexdigest()


def _revision(connection: Connection, named: Named, content_sha256: str) -> StoredVersion | None:
    for one in list_versions(connection, named.library_id, named.version, history=True):
        if one.place.content_sha256 == content_sha256:
            return one
    return None

"""What a person does about jobs: begin them anew, cancel them, discard what was kept of them. Needs no running service.

Each change is made in the ledger first, and then on the files: the ledger says what was wanted, and a second call, or a worker,
brings the files after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.interventions import begin_anew, cancel_jobs, discard_jobs, make_due
from models.ledger import JobRow, find_jobs
from models.parts import in_parts
from storage.engine import Engine
from strongroom import durable
from strongroom.contracts import ErrorInfo, StoreReceipt
from strongroom.errors import Cancelled, StorageError
from strongroom.inbox import InboxFile, write_receipt
from strongroom.result import Problem
from tasks.accepted import JOB_ID, SUFFIX
from tasks.bell import ring
from workers import kept
from workers.accepted_files import as_new, find_unentered
from workers.objections import changed_meanwhile, unknown_job, why_not_cancelled, why_not_discarded, why_not_retried

HEAD_START = timedelta(seconds=10)
"""A job that is begun anew is not sent before its file is back. Should this process die in between, it is sent after this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: the jobs that were changed, and for each other one what stood against it."""

    changed: list[str] = field(default_factory=list)
    refused: dict[str, StorageError] = field(default_factory=dict)


def known_jobs(engine: Engine, job_ids: Sequence[str]) -> dict[str, JobRow]:
    """Return rows of jobs, accepted files that the ledger does not know among them. A word that is no id names none."""
    names = [name for name in job_ids if JOB_ID.fullmatch(name)]
    with engine.database.read() as connection:
        rows = find_jobs(connection, names)
    files = (find_unentered(engine.folder.inbox, name) for name in names if name not in rows)
    found = {row.job_id: row for row in files if row}
    gone = [name for name in names if name not in rows and name not in found]
    if gone:  # a worker may have done one of them between the two looks
        with engine.database.read() as connection:
            rows |= find_jobs(connection, gone)
    return found | rows


def retry(engine: Engine, job_ids: Sequence[str]) -> Answer:
    """Begin jobs anew that ended without success: as if nobody had tried them, with the payload that was kept.

    A crash loses nothing: the payload is in one of its two places. Called again it goes on where it was cut off.

    Raises:
        StorageError: the ledger or the inbox cannot be written.
    """
    answer, inbox = Answer(), engine.folder.inbox
    for part in in_parts(dict.fromkeys(job_ids)):
        rows = known_jobs(engine, part)
        left = [name for name in part if _is_left(inbox, name, rows.get(name))]
        answer.refused.update(_refusals(part, rows, left, lambda row: why_not_retried(inbox, row)))
        wanted = [name for name in part if name not in answer.refused and name not in left]
        with engine.database.write("retry") as connection:
            begun = begin_anew(connection, wanted, datetime.now(UTC) + HEAD_START)
        kept.put_back(inbox, [*begun, *left])
        with engine.database.write("retry, due") as connection:
            make_due(connection, [*begun, *left], datetime.now(UTC))
        answer.changed.extend(name for name in part if name in begun or name in left)
        answer.refused.update({name: changed_meanwhile(name) for name in wanted if name not in begun})
    ring(engine.folder.run)
    return answer


def cancel(engine: Engine, job_ids: Sequence[str], by: str) -> Answer:
    """End jobs that have not ended, running ones too: their holder can commit nothing any more. Their payload is kept.

    A producer that asked for a receipt gets one. Called again it does what a crash left undone.

    Raises:
        StorageError: the ledger or the inbox cannot be written.
    """
    answer, inbox = Answer(), engine.folder.inbox
    info = ErrorInfo.of(Problem.of(Cancelled(f"The job was cancelled by {by}.")))
    for part in in_parts(dict.fromkeys(job_ids)):
        rows = known_jobs(engine, part)
        answer.refused.update(_refusals(part, rows, (), why_not_cancelled))
        wanted = [name for name in part if name not in answer.refused]
        new = [as_new(rows[name]) for name in wanted if kept.waits(inbox, name)]
        with engine.database.write("cancel") as connection:
            cancel_jobs(connection, wanted, new, info.model_dump(), datetime.now(UTC))
            now = find_jobs(connection, wanted)
        ended = [name for name in wanted if name in now and now[name].state == "cancelled"]
        for name in ended:
            _tell(engine, now[name])
        kept.keep(inbox, ended)
        answer.changed.extend(ended)
        answer.refused.update(_refusals([name for name in wanted if name not in ended], now, (), why_not_cancelled))
    return answer


def discard(engine: Engine, job_ids: Sequence[str], by: str) -> Answer:
    """Remove what was kept of jobs that ended without success, for good. Their rows stay, and say by whom and when.

    Called again it removes what a crash left.

    Raises:
        StorageError: the ledger or the inbox cannot be written.
    """
    answer = Answer()
    for part in in_parts(dict.fromkeys(job_ids)):
        rows = known_jobs(engine, part)
        answer.refused.update(_refusals(part, rows, (), why_not_discarded))
        wanted = [name for name in part if name not in answer.refused]
        with engine.database.write("discard") as connection:
            gone = discard_jobs(connection, wanted, by, datetime.now(UTC))
        kept.remove(engine.folder.inbox, gone)
        answer.changed.extend(gone)
        answer.refused.update({name: changed_meanwhile(name) for name in wanted if name not in gone})
    return answer


def _refusals(
    job_ids: Sequence[str], rows: Mapping[str, JobRow], passed: Collection[str], reason: Callable[[JobRow], StorageError | None]
) -> Iterator[tuple[str, StorageError]]:
    for name in job_ids:
        error = reason(rows[name]) if name in rows else unknown_job(name)
        if error is not None and name not in passed:
            yield name, error


def _is_left(inbox: Path, job_id: str, row: JobRow | None) -> bool:
    """Whether a kept file only has to go back: somebody died while retrying its job, or the ledger is older than it."""
    if not JOB_ID.fullmatch(job_id) or (row is not None and row.state != "queued"):
        return False
    return kept.is_kept(inbox, job_id) and not kept.waits(inbox, job_id)


def _tell(engine: Engine, row: JobRow) -> None:
    """Put a receipt where the producer waits for it, if it asked for one. Its state is failed: receipts know no other."""
    if row.error is not None and _asks_for_receipt(engine, row):
        with durable.os_errors("cannot write a receipt"):
            write_receipt(engine.folder.inbox, StoreReceipt(request_id=row.job_id, state="failed", error=ErrorInfo(**row.error)))


def _asks_for_receipt(engine: Engine, row: JobRow) -> bool:
    inbox = engine.folder.inbox
    if kept.waits(inbox, row.job_id):
        try:
            with InboxFile(inbox / f"{row.job_id}{SUFFIX}") as file:
                return file.manifest.receipt
        except StorageError:
            return True  # it cannot be known: better one too many than a producer that waits for ever
    return row.kind == "store" and row.payload.startswith("{") and '"receipt": true' in row.payload

"""Accepted jobs that the ledger does not know yet: a complete file of the inbox is a job, whoever has heard of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from models.database import Database
from models.ledger import ENDED, JobRow, NewJob
from models.listing import for_newer_workers, states_of
from strongroom import durable
from strongroom.errors import StorageError
from strongroom.inbox import InboxFile
from strongroom.routes import PRIORITIES, store_queue
from tasks.accepted import JOB_FILE, JOB_ID, SUFFIX
from tasks.plain import plain

LOOKED_AT = 2000
"""How many names of the inbox a look takes that must be quick."""

_AT_ONCE = 500
_NAMED = 3


def unentered(database: Database, inbox: Path, look_at: int = LOOKED_AT) -> list[JobRow]:
    """Return a row for each accepted file that the ledger does not know, newest first. They are not opened."""
    names = list(islice(_names(inbox), look_at))
    with database.read() as connection:
        known = states_of(connection, names)
    rows = (_row_of(inbox / f"{name}{SUFFIX}") for name in names if name not in known)
    return sorted((row for row in rows if row is not None), key=lambda row: (row.created_at, row.job_id), reverse=True)


def each_unentered(database: Database, inbox: Path) -> Iterator[JobRow]:
    """Yield what ``unentered`` returns, of the whole inbox. Of each file its name and time are kept in memory, no more."""
    found: list[tuple[int, str]] = []
    names = _names(inbox)
    for part in iter(lambda: list(islice(names, _AT_ONCE)), []):
        with database.read() as connection:
            known = states_of(connection, part)
        for name in part:
            if name not in known:
                with suppress(FileNotFoundError):  # done meanwhile
                    found.append(((inbox / f"{name}{SUFFIX}").stat(follow_symlinks=False).st_mtime_ns, name))
    for _, name in sorted(found, reverse=True):
        row = _row_of(inbox / f"{name}{SUFFIX}")
        if row is not None:
            yield row


def find_unentered(inbox: Path, job_id: str) -> JobRow | None:
    """Return a row for the accepted file of that id, opened; None when there is none."""
    row = _row_of(inbox / f"{job_id}{SUFFIX}") if JOB_ID.fullmatch(job_id) else None
    return opened(inbox, row) if row else None


def opened(inbox: Path, row: JobRow) -> JobRow:
    """Return the row with what the file says about itself. One that cannot be read stays what its name says."""
    with suppress(StorageError), InboxFile(inbox / row.payload) as file:
        documents = file.manifest.documents
        names = ", ".join(one.name or "a document" for one in documents)
        return replace(
            row,
            subject=plain(names) if len(documents) <= _NAMED else f"{len(documents)} documents",
            priority=PRIORITIES[file.manifest.priority],
            queue=store_queue(max((one.length for one in documents), default=0)),
        )
    return row


def count_waiting(database: Database, inbox: Path) -> int:
    """Return how many files of the inbox are jobs that are to be done here, known to the ledger or not.

    Of very many those are counted that were come across first. One that only a newer worker understands does not count, as for
    ``listing.count_active``: it is parked.
    """
    names = _names(inbox)
    for part in iter(lambda: list(islice(names, _AT_ONCE)), []):
        with database.read() as connection:
            known = states_of(connection, part)
            later = known.keys() & for_newer_workers(connection)
        left = set(part) - later
        count = sum(known.get(name) not in ENDED and os.path.lexists(inbox / f"{name}{SUFFIX}") for name in left)
        if count:
            return count
    return 0


def as_new(row: JobRow) -> NewJob:
    """Return what the ledger is to be told about such a file."""
    return NewJob(row.job_id, row.kind, row.payload, row.subject, "producer", row.queue, row.priority, row.created_at)


def _names(inbox: Path) -> Iterator[str]:
    with durable.os_errors("cannot look into the inbox"), os.scandir(inbox) as entries:
        for entry in entries:
            if JOB_FILE.fullmatch(entry.name):
                yield entry.name.removesuffix(SUFFIX)


def _row_of(path: Path) -> JobRow | None:
    try:
        status = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    accepted_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return JobRow(
        job_id=path.stem,
        kind="store",
        subject="",
        state="queued",
        priority=PRIORITIES["normal"],
        asked_by="producer",
        attempts=0,
        queue=store_queue(status.st_size),
        owner="",
        token=0,
        renewals=0,
        expires_at=None,
        progress=None,
        payload=path.name,
        created_at=accepted_at,
        started_at=None,
        finished_at=None,
        due_at=None,
        sent_at=None,
        sends=0,
        outcome=None,
        error=None,
    )

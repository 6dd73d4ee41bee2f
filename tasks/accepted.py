"""Accepted jobs: complete files of the inbox, opened once, and which of them this process runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from models.admission import promised_bytes
from models.leases import take_leases, take_new, tried_jobs
from models.ledger import JobRow, Lease, NewJob
from storage.intake import GZIP_MAGIC, Incoming, claimed_by
from strongroom.contracts import DocumentOptions, StagedDocument
from strongroom.errors import PayloadDamaged, StorageError
from strongroom.inbox import InboxFile
from strongroom.routes import PRIORITIES, SHORT_QUEUE
from tasks.admission import admit, needs_of_store
from tasks.services import Services
from tasks.turns import kept_bytes

TOGETHER_FILES = 63
TOGETHER_BYTES = 8 << 20
"""How much waiting work a worker takes along: it shares one durability barrier, and fits in memory."""

_LOOKED_AT = 2_000
"""How many names are looked at for that."""

SUFFIX = ".inbox"
JOB_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{7,63}")
JOB_FILE = re.compile(JOB_ID.pattern + re.escape(SUFFIX))
"""What a job's file is called. Anything else in the inbox is somebody else's and is left alone."""
_OPTIONS = frozenset(DocumentOptions.model_fields)
_NOTHING_SAID = DocumentOptions()


class Accepted:
    """One accepted job and its open file.

    Raises:
        PayloadMissing: the file is not there.
        PayloadDamaged: it does not hold what was accepted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job_id = path.stem
        self._file = InboxFile(path)
        self.manifest = self._file.manifest
        try:
            if self.manifest.request_id != self.job_id:
                raise PayloadDamaged(f"{path.name} holds the job {self.manifest.request_id}: it was renamed.")
            self.documents = self._documents()
        except BaseException:
            self._file.close()
            raise

    def _documents(self) -> list[Incoming]:
        return [self._incoming(staged) for staged in self.manifest.documents]

    def _incoming(self, staged: StagedDocument) -> Incoming:
        trailer = self._file.trailer_if(GZIP_MAGIC, staged)
        claimed = staged.length if trailer is None else claimed_by(trailer, staged.length)
        return Incoming(staged.name, staged.length, claimed, partial(self._file.open, staged), _options_of(staged), staged.sha256)

    @property
    def sent_bytes(self) -> int:
        """The bytes of all documents as sent."""
        return sum(one.sent_bytes for one in self.documents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._file.close()


def _options_of(staged: StagedDocument) -> DocumentOptions:
    said = staged.model_fields_set & _OPTIONS
    return DocumentOptions.model_construct(**{name: getattr(staged, name) for name in said}) if said else _NOTHING_SAID


def accepted_at(status: os.stat_result, now: datetime) -> datetime:
    """Return when a file of the inbox was accepted; not later than now, whatever the producer's clock said."""
    return min(now, datetime.fromtimestamp(status.st_mtime, UTC))


def claim(services: Services, owner: str, job: NewJob) -> JobRow | None:
    """Count an attempt and take the job's lease; None when it has ended, somebody else does it, or it has to wait.

    It waits, parked, when too little space is free for what it needs.
    """
    with services.database.write("ledger") as connection:
        now, fate = datetime.now(UTC), services.presence.fate
        taken = take_leases(connection, [job], owner, now, lambda row: fate(row.owner), services.limits)
        row = taken.get(job.job_id)
        return row if row is not None and admit(services, connection, row, services.clock()) else None


def take_along(services: Services, owner: str, first: Accepted, files: ExitStack) -> dict[Accepted, Lease]:
    """Open and claim other small jobs that wait in the inbox and that nobody has tried yet.

    A job that was tried before runs alone: if it kills its worker, it takes no other along. One whose file goes meanwhile, since
    its producer took it back, is stored all the same: it is open. Where stores are limited each waits for a message of its own.
    """
    if "store" in services.limits:
        return {}
    room = TOGETHER_BYTES - first.sent_bytes
    found = [(files.enter_context(one), status) for one, status in _waiting(services, first.path.name, room)]
    if not found:
        return {}
    waiting, statuses = zip(*found, strict=True)
    needs = [needs_of_store(services, one.path.name) for one in waiting]
    now = datetime.now(UTC)
    with services.database.write("ledger") as connection:
        taken = promised_bytes(connection) + kept_bytes(services, connection, services.clock())
        fits = services.engine.governor.fitting(needs, taken)
        jobs = [
            NewJob(
                one.job_id,
                "store",
                one.path.name,
                queue=SHORT_QUEUE,
                priority=PRIORITIES[one.manifest.priority],
                accepted_at=accepted_at(status, now),
                needs_bytes=needed,
            )
            for one, status, needed, there_is_room in zip(waiting, statuses, needs, fits, strict=True)
            if there_is_room
        ]
        mine = take_new(connection, jobs, owner, now)
    return {one: mine[one.job_id] for one in waiting if one.job_id in mine}


def _waiting(services: Services, but: str, room: int) -> Iterator[tuple[Accepted, os.stat_result]]:
    """Yield what may be taken along. The ledger is asked first: jobs that were tried before gather at the front of the folder."""
    found = 0
    with os.scandir(services.inbox) as entries:
        names = (entry for entry in islice(entries, _LOOKED_AT) if entry.name != but and JOB_FILE.fullmatch(entry.name))
        while portion := list(islice(names, TOGETHER_FILES)):
            for entry in _untried(services, portion):
                if found == TOGETHER_FILES or room <= 0:
                    return
                with suppress(StorageError, OSError):  # its own message tells what is wrong with it
                    status = entry.stat(follow_symlinks=False)
                    if status.st_size <= room:
                        yield Accepted(Path(entry.path)), status
                        room -= status.st_size
                        found += 1


def _untried(services: Services, entries: Sequence[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    with services.database.read() as connection:
        tried = tried_jobs(connection, [entry.name.removesuffix(SUFFIX) for entry in entries])
    return [entry for entry in entries if entry.name.removesuffix(SUFFIX) not in tried]

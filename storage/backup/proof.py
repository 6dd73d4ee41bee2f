"""Proof: one backup is restored into scratch space, read through the public interface, and compared with what was promised."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from models.backups import live_records
from models.database import Database
from models.drills import digest_of_tables, records_until
from models.migrate import is_known
from storage.backup.manifest import Manifest
from storage.backup.repository import Repository
from storage.backup.restore import Restore
from storage.info import VersionInfo
from storage.layout import DataFolder
from storage.progress import Progress
from storage.rebuild import rebuild
from storage.sync_manager import SyncStorageManager
from strongroom.errors import BackupDamaged, StorageError

READ_AT_MOST = 20_000
"""Documents that are read: all of a smaller backup, else so many by lot. Every stored byte was hashed by the restore itself."""
UNDER_WAY = timedelta(hours=1)
"""Revisions that are that much older than a snapshot were committed by then: their time is that of the store's beginning."""
_TOLD = 20


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of one backup. ``rto_s``: from nothing to the first document that was read; ``checked``: how many were.

    ``damaged``: it does not hold what its manifest promises.
    """

    backup_id: str
    documents: int
    checked: int
    restored_bytes: int
    rto_s: float
    seconds: float
    problems: tuple[str, ...]
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Prove:
    """Proves one backup. ``live``: the catalogue that the backup was taken of, for the newest one."""

    repository: Repository
    manifest: Manifest
    live: Database | None
    progress: Progress
    read_at_most: int = READ_AT_MOST

    def run(self, scratch: Path, now: datetime) -> Proof:
        """Restore to ``scratch``, which must not be there yet, and compare.

        Raises:
            Transient: the target or the disk does not answer now: nothing is said of the backup.
        """
        started_s = time.monotonic()
        problems, rto_s, checked, size, damaged = [*self._unknown()], 0.0, 0, 0, False
        try:
            restored = Restore(self.repository, self.manifest, self.progress).run(scratch, now)
            size = restored.restored_bytes
            problems += restored.differences
            with SyncStorageManager(scratch) as manager:
                wanted = _chosen(manager, self.manifest.counts.documents, self.read_at_most)
                for one in wanted:
                    problems += _compared(manager, one)
                    rto_s = rto_s or time.monotonic() - started_s
                    checked += 1
            rto_s = rto_s or time.monotonic() - started_s
            problems += self._against_live(scratch)
            problems += differences_when_rebuilt(scratch, now)
        except StorageError as error:
            if error.retryable:
                raise
            problems.append(error.message)
            damaged = isinstance(error, BackupDamaged)
        documents, seconds = self.manifest.counts.documents, round(time.monotonic() - started_s, 3)
        told = tuple(problems[:_TOLD])
        return Proof(self.manifest.backup_id, documents, checked, size, round(rto_s, 3), seconds, told, damaged)

    def _unknown(self) -> Iterator[str]:
        if self.manifest.format < 1:
            yield f"It has format {self.manifest.format}, which no release wrote."
        if not is_known(self.manifest.schema):
            yield f"Its catalogue was of revision {self.manifest.schema}, which this release does not know."

    def _against_live(self, scratch: Path) -> Iterator[str]:
        """Compare with what the live catalogue has of that time: each revision is there, with its content."""
        if self.live is None:
            return
        restored, missing = Database(_url(scratch)), 0
        try:
            with self.live.read() as live, restored.read() as back:
                for records in records_until(live, self.manifest.as_of - UNDER_WAY):
                    missing += len(set(records) - live_records(back, records))
        finally:
            restored.close()
        if missing:
            yield f"{missing} revisions that the catalogue had when the backup was taken are not in it."


def _chosen(manager: SyncStorageManager, documents: int, at_most: int) -> Iterator[VersionInfo]:
    """Yield the documents to read: all, or about as many as are wanted by lot, of whatever library."""
    chooser = random.SystemRandom()
    for library_id in manager.list_libraries():
        for one in manager.list_versions(library_id):
            if documents <= at_most or chooser.random() * documents < at_most:
                yield one


def _compared(manager: SyncStorageManager, one: VersionInfo) -> Iterator[str]:
    content = manager.get_documentation_bytes(one.library_id, one.version)
    if len(content) != one.file_size_bytes or f"{hashlib.sha256(content).hexdigest()}" != one.content_sha256.split(":")[-1]:
        yield f"{one.library_id} {one.version} is not what was stored."


def differences_when_rebuilt(scratch: Path, now: datetime) -> Iterator[str]:
    """Drop the catalogue of a folder, make it anew from the disk alone, and yield in what it differs."""
    folder = DataFolder(scratch)
    before = _tables(scratch)
    for path in folder.metadata.glob("catalogue.db*"):
        path.unlink()
    rebuilt = rebuild(folder, _url(scratch), now)
    yield from (f"rebuilt: {one.code}: {one.message}" for one in rebuilt.findings)
    after = _tables(scratch)
    for name, (count, digest) in before.items():
        if after[name] != (count, digest):
            yield f"The catalogue that was made anew differs in the table {name}: {after[name][0]} rows, and there were {count}."


def _tables(scratch: Path) -> dict[str, tuple[int, str]]:
    database = Database(_url(scratch))
    try:
        with database.read() as connection:
            return digest_of_tables(connection)
    finally:
        database.close()


def _url(scratch: Path) -> str:
    return f"sqlite:///{DataFolder(scratch).metadata / 'catalogue.db'}"

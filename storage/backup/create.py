"""Create: a backup is a snapshot, the segments that the target lacks, lists of what lies where, and at last a manifest.

Until the manifest is there nothing claims to be a backup. Whatever goes wrong before leaves packs that the next run goes on with.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from models.backups import BackupRow, begin_backup, end_backup, give_up_backups
from models.changes import epoch, forget_changes, note_anew
from storage.backup.copying import Copying, Progress
from storage.backup.doomed import doomed_packs
from storage.backup.lacking import Lacking, keep_lacking, keep_mended, look_at
from storage.backup.lists import Entry, read_lists
from storage.backup.manifest import Kind, Manifest, new_backup_id, remove_manifest, write_manifest
from storage.backup.packs import PACK_BYTES, PackWriter
from storage.backup.parents import Parents
from storage.backup.readers import told_readers
from storage.backup.repository import Repository
from storage.backup.resume import Kept, doom_spare, kept_packs
from storage.backup.snapshot import Snapshot, take_snapshot
from storage.backup.untold import Records
from storage.backup.unusable import keep_unusable, marked
from storage.backup.verify import Verified, remember
from storage.backup.waste import is_wasteful
from storage.backup.writing import Basis, Writing
from storage.engine import Engine
from storage.progress import silent
from strongroom import durable
from strongroom.errors import BackupDamaged, BackupError, IntegrityError, StorageError

ROUNDS = 3
"""Snapshots that one run takes: after damage that could be repaired, or when copying took too long, it begins again."""
LONGEST = timedelta(hours=12)
"""A manifest builds on no snapshot that is older: a prune deletes packs that nothing refers to after 24 hours."""
_TOLD = 20


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Create:
    """Takes backups of one folder into one repository. Any number may run at once; each is a backup of its own.

    ``by`` is who asks for them, such as person:ada: what is repaired first is told of them.
    """

    engine: Engine
    repository: Repository
    progress: Progress = silent
    clock: Callable[[], datetime] = _now
    pack_bytes: int = PACK_BYTES
    by: str = "schedule"

    def run(self, *, full: bool = False, without: Set[str] = frozenset()) -> Manifest:
        """Take a backup: incremental behind the newest one that is whole, full when there is none or when it is asked for.

        ``without`` are packs of a run that did not come to its end which this one must not go on with.

        A newer one whose manifest cannot be used is passed over: the new one says so, and it is a finding. On return the new one
        is durable, and what it added was read back. Called again after it failed, or was killed, it goes on.

        Raises:
            BackupError: something that is stored is damaged, and could not be repaired.
            StorageError: the target, the catalogue or the operating system refused. There is no new backup then.
        """
        began, started_s = self.clock(), time.monotonic()
        row = BackupRow(
            new_backup_id(self.repository, began), self.repository.target.url, "full" if full else "incremental", "running", began
        )
        with kept_packs(self.engine.folder, self.repository, without) as kept:
            self._begin(row, alone=kept.lasting)
            try:
                manifest = self._rounds(row.backup_id, kept, full=full, started_s=started_s)
            except StorageError as error:
                self._end(replace(row, state="failed", finished_at=self.clock(), error=error.message))
                raise
            doom_spare(self.repository, kept, manifest, self.clock())
            kept.forget()
        self._end(as_row(manifest, self.repository.target.url, began))
        keep_mended(self.engine, self.clock())
        return manifest

    def _rounds(self, backup_id: str, kept: Kept, *, full: bool, started_s: float) -> Manifest:
        damaged: dict[str, str] = {}
        spoiled: dict[str, str] = {}
        for _ in range(ROUNDS):
            round_ = _Round(self, backup_id, kept, self.clock(), spoiled)
            try:
                manifest, damaged = round_.run(full=full, started_s=started_s)
            finally:
                round_.spool.unlink(missing_ok=True)
            if manifest is not None:
                return manifest
            if damaged:
                self.engine.repair.see_to(sorted(damaged), look_at(self.engine, damaged).findings, self.by)
            kept.recall_again(self.repository)
        if damaged:
            lacking = look_at(self.engine, damaged)
            keep_lacking(self.engine, lacking, self.clock())
            raise _lacks(damaged, lacking)
        raise BackupError(f"{round_.missed}, again and again.", "Run it again: what was copied stays.")

    def _begin(self, row: BackupRow, *, alone: bool) -> None:
        with self.engine.database.write("backup") as connection:
            if alone:
                give_up_backups(connection, row.target, "It did not come to its end.")
            if not epoch(connection):
                note_anew(connection, row.started_at)
            begin_backup(connection, row)

    def _end(self, row: BackupRow) -> None:
        with self.engine.database.write("backup") as connection:
            end_backup(connection, row)
            forget_changes(connection, self.clock())


class _Round:
    """One snapshot and what becomes of it."""

    def __init__(self, create: Create, backup_id: str, kept: Kept, now: datetime, spoiled: dict[str, str]) -> None:
        self._create, self._backup_id, self._kept, self._now, self._spoiled = create, backup_id, kept, now, spoiled
        self._engine, self._repository = create.engine, create.repository
        self.spool = self._engine.folder.tmp / f"{secrets.token_hex(12)}.backup"
        self.missed = ""
        """Why there is no manifest, though nothing was damaged."""

    def run(self, *, full: bool, started_s: float) -> tuple[Manifest | None, dict[str, str]]:
        """Return the manifest of the backup, or none, and what was found damaged."""
        parents = Parents(self._repository, self._engine.database)
        parent = None if full else parents.newest()
        keep_unusable(self._engine, self._repository, parents.passed_over, None if full else parents.strangers, self._now)
        if parent is not None and is_wasteful(parent):
            parent = None
        basis = Basis(parent)
        snapshot = self._snapshot(parent, anew=basis.anew)
        if parent is not None and (snapshot.compare or basis.anew):
            try:
                basis.entries = read_lists(self._repository, parent.lists)
            except BackupDamaged as error:
                self._spoil(parent, error)
                self.missed = error.message.removesuffix(".")
                return None, {}
        if snapshot.compare:
            assert basis.entries is not None
            names = {one.segment_sha256 for one in snapshot.segments}
            snapshot.gone = sorted(basis.entries.keys() - names)
            snapshot.segments = [one for one in snapshot.segments if not self._is_in(basis.entries, one.segment_sha256)]
        copying = self._copy(snapshot)
        if copying.damaged:
            return None, copying.damaged
        if self._create.clock() - self._now > LONGEST:
            self.missed = f"Copying took longer than {LONGEST}"
            return None, {}
        writing = Writing(self._repository, self._engine.folder.tmp, self._kept, self._create.pack_bytes)
        manifest = writing.manifest(self._backup_id, basis, snapshot, copying, self.spool)
        passed_over = {**parents.passed_over, **self._spoiled}
        marks = {**manifest.marks, **marked(passed_over, manifest.parent), **told_readers(self._repository)}
        took_s = round(time.monotonic() - started_s, 3)
        manifest = replace(manifest, finished_at=self._create.clock(), seconds=took_s, marks=marks)
        write_manifest(self._repository, manifest)
        if self._is_sound(manifest):
            return manifest, {}
        self.missed = "What it builds on is being erased from the backups"
        return None, {}

    def _is_sound(self, manifest: Manifest) -> bool:
        """Whether what the backup needs stays, now that it is there; else it goes again: an erasure from backups waits for none.

        That dooms packs first, and looks for manifests then (``storage.erase.from_backups``): one of the two sees the other.
        """
        try:
            if doomed_packs(self._repository).isdisjoint(manifest.packs):
                return True
        except StorageError:
            with suppress(StorageError):  # nobody knows: then it is none
                remove_manifest(self._repository, self._backup_id)
            raise
        remove_manifest(self._repository, self._backup_id)
        return False

    def _spoil(self, parent: Manifest, error: BackupDamaged) -> None:
        """Note that a backup was found damaged, as a verification would: the next round builds on none that shares with it."""
        self._spoiled[parent.backup_id] = error.message
        found = Verified(parent.backup_id, (error.message,), len(parent.packs), 0)
        remember(self._engine.database, found, self._now, as_row(parent, self._repository.target.url, parent.as_of))

    def _is_in(self, entries: Mapping[str, Entry], name: str) -> bool:
        """Tell whether a backup has a segment, and its index as it is now: an index may have been made again, or tell less."""
        try:
            with durable.os_errors("cannot read an index"):
                data = self._engine.folder.index(name).read_bytes()
        except StorageError:  # the copy says what is wrong, or finds it in the trash
            return False
        return name in entries and entries[name].index.sha256 == hashlib.sha256(data).hexdigest()

    def _snapshot(self, parent: Manifest | None, *, anew: bool) -> Snapshot:
        folder, database = self._engine.folder, self._engine.database
        try:
            return take_snapshot(folder, database, parent, self._now, self.spool, anew=anew)
        except IntegrityError as error:
            if error.context.get("damage") != "journal_damaged":
                raise
        from storage.mend_journal import mend_journal  # noqa: PLC0415 - seldom, and 20 modules

        mend_journal(folder, database, self._now)
        return take_snapshot(folder, database, parent, self._now, self.spool, anew=anew)

    def _copy(self, snapshot: Snapshot) -> Copying:
        records = Records(self._now)
        with PackWriter(self._repository, self._engine.folder.tmp, self._kept.keep, self._create.pack_bytes) as packs:
            copying = Copying(self._engine.folder, packs, self._kept, records, self._create.progress)
            copying.run(snapshot.segments, self._now)
        with self._engine.database.read() as connection:
            snapshot.untold += [one for one in records.untold(connection) if one not in snapshot.untold]
        return copying


def _lacks(damaged: Mapping[str, str], lacking: Lacking) -> BackupError:
    names, versions = sorted(damaged)[:_TOLD], lacking.versions[:_TOLD]
    more = len(lacking.versions) - len(versions)
    hurt = f" Hurt: {', '.join(versions)}{f', and {more} more' if more else ''}." if versions else ""
    count = f"{len(damaged)} segment{'' if len(damaged) == 1 else 's'}"
    said = f"{count} cannot be backed up whole: {'; '.join(damaged[name] for name in names)}{hurt}"
    hint = "Store again what is hurt, or give it up: `strongroom erase`. Backups that there are stay as they are."
    return BackupError(said, hint, {"segments": names, "versions": list(versions)})


def as_row(manifest: Manifest, target: str, began: datetime) -> BackupRow:
    """Return what the catalogue remembers of a backup."""
    kind: Kind = manifest.kind
    told = (manifest.finished_at, manifest.counts.documents, manifest.new_bytes, manifest.seconds)
    return BackupRow(manifest.backup_id, target, kind, "done", began, *told)

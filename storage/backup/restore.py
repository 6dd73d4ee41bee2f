"""Restore: a backup becomes a data folder that a service can run on.

All of it is made in ``.restoring`` within the new folder, and moved up at the end, the mark of a data folder last: what is half
restored is no data folder for anybody. Called again after a crash, it takes up what is there and proves to be whole.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from models.backup_rows import count_on, empty_the_rest, in_order, load_rows
from models.backups import count_everything
from models.database import Database
from models.rebuild import has_no_tables, is_empty
from models.tables import Version
from storage.backup.lists import read_item, read_lists
from storage.backup.manifest import Counts, Manifest
from storage.backup.repository import Repository
from storage.backup.stage import MARK, STAGE, alone_in, fsync_below, move_up, taken_over, written_out_beside
from storage.backup.unpack import Progress, unpack_segments, write_journal
from storage.layout import DataFolder
from storage.progress import silent
from storage.rebuild import Rebuilt, rebuild
from strongroom import durable
from strongroom.errors import DataFolderError

ROW_BYTES = 30_000
"""A revision's row takes about as long as so many bytes take to be unpacked: bytes alone are not what is left."""
_WHERE = "tmp/restored-to"


@dataclass(frozen=True, slots=True)
class Restored:
    """A folder that was restored. ``differences``: in what it is not what the manifest promised; empty when it is."""

    backup_id: str
    as_of: datetime
    folder: Path
    counts: Counts
    restored_bytes: int
    seconds: float
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """Restores one backup. ``database_url`` None: the catalogue becomes SQLite in the folder."""

    repository: Repository
    manifest: Manifest
    progress: Progress = silent
    database_url: str | None = None

    def run(self, to: Path, now: datetime) -> Restored:
        """Make a data folder of the backup at ``to``, which must be empty or not there yet. Durable on return.

        Raises:
            DataFolderError: something else is there, or the database holds documents.
            BackupDamaged: the backup does not hold what it promised; there is no data folder then.
            DiskFull, TransientIO, PermissionRefused: the operating system refused; calling again goes on.
        """
        to = to.absolute().resolve()
        with alone_in(to):
            return self._run(to, now)

    def _run(self, to: Path, now: datetime) -> Restored:
        started_s = time.monotonic()
        folder = DataFolder(to / STAGE)
        resumed = self._begin(to, folder)
        self._refuse_documents(folder, resumed=resumed)
        entries = read_lists(self.repository, self.manifest.lists)
        with durable.os_errors("cannot restore"):
            _clear(folder, entries.keys())
        rows = self.manifest.counts.revisions * ROW_BYTES
        size = unpack_segments(self.repository, entries, folder, lambda done, all_: self.progress(done, all_ + rows))
        write_journal(self.repository, self.manifest, folder.journal)
        with written_out_beside(folder.segments) as until_written_out:
            with durable.os_errors("cannot restore"):
                fsync_below(folder.root, but=folder.segments)  # where it restores to is known before a database holds any of it
            folder.create()
            half = rows // 2
            rebuilt = rebuild(
                folder, self._url(folder), now, lambda done, all_: self.progress(size + half * done // (all_ or 1), size + rows)
            )
            counts = self._load(self._url(folder))
            self.progress(size + rows, size + rows)
            with durable.os_errors("cannot restore"):
                until_written_out()
                move_up(folder.root, to)
                (to / _WHERE).unlink(missing_ok=True)  # until then a rerun may empty that database
        seconds = round(time.monotonic() - started_s, 3)
        return Restored(
            self.manifest.backup_id, self.manifest.as_of, to, counts, size, seconds, self._differences(rebuilt, counts)
        )

    def _begin(self, to: Path, folder: DataFolder) -> bool:
        """Make the folder; return whether an earlier run had begun."""
        with durable.os_errors(f"cannot restore to {to}"):
            there = taken_over(to, STAGE)
            durable.make_folder(folder.root, "restore")
            for name in there - {STAGE}:  # a run that died while it moved things up
                (to / name).rename(folder.root / name)
            durable.make_folder(folder.metadata, "restore")
            for number in range(256):
                (folder.segments / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        return STAGE in there

    def _refuse_documents(self, folder: DataFolder, *, resumed: bool) -> None:
        """Make sure that a database of somebody else's is not emptied."""
        if self.database_url is None:
            return
        note, shown = folder.root / _WHERE, make_url(self.database_url).render_as_string()
        if resumed and note.exists() and note.read_text(encoding="utf-8") == shown:
            return
        database = Database(self.database_url)
        try:
            if _holds_documents(database):
                raise DataFolderError(f"The database {shown} holds documents.", "Name an empty database: this one is left alone.")
        finally:
            database.close()
        with durable.os_errors("cannot restore"):
            durable.make_folder(note.parent, "restore")
            note.write_text(shown, encoding="utf-8")

    def _url(self, folder: DataFolder) -> str:
        return self.database_url or f"sqlite:///{folder.metadata / 'catalogue.db'}"

    def _load(self, url: str) -> Counts:
        """Load what only the catalogue knew, and count what there is."""
        database = Database(url)
        try:
            with database.write("restore") as connection:
                empty_the_rest(connection)
                for table in in_order({dump.table for dump in self.manifest.rows}):
                    for dump in self.manifest.rows:
                        if dump.table == table:
                            load_rows(connection, table, read_item(self.repository, dump.ref))
                count_on(connection)
            with database.read() as connection:
                return Counts(**asdict(count_everything(connection)))
        finally:
            database.close()

    def _differences(self, rebuilt: Rebuilt, counts: Counts) -> tuple[str, ...]:
        found = [f"{one.code}: {one.message}" for one in rebuilt.findings]
        promised, has = asdict(self.manifest.counts), asdict(counts)
        found += [
            f"{has[name]} {name.replace('_', ' ')}, and there were {count}"
            for name, count in promised.items()
            if has[name] != count
        ]
        return tuple(found)


def _holds_documents(database: Database) -> bool:
    if has_no_tables(database):
        return False
    with database.read() as connection:
        return not is_empty(connection, Version)


def _clear(folder: DataFolder, wanted: Collection[str]) -> None:
    """Remove what an earlier run left that does not belong to this backup, and what is made anew in any case."""
    for path in folder.metadata.iterdir():
        path.unlink() if not path.is_dir() else shutil.rmtree(path)
    (folder.root / MARK).unlink(missing_ok=True)
    for path in folder.segments.glob("??/*"):
        if path.name.removesuffix(".index") not in wanted:
            path.unlink()

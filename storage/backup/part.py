"""A part of a backup: one library, or one version of it, becomes a data folder of its own.

All indexes are read, and of the segments only those that hold something of it. They become a data folder in which the catalogue
finds what there was; from there the part goes by the way of an export into a new one. So what is shared with other libraries, or
refers to other contents, comes along, and nothing else does.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from models.backups import count_everything
from models.catalogue import list_versions, places_of
from models.chronicle import removed_versions
from models.names import real_name
from models.rows import Place
from storage.backup.lists import Entry, read_lists
from storage.backup.manifest import Counts, Manifest
from storage.backup.past import Past, bring_past
from storage.backup.repository import Repository
from storage.backup.restore import Restored
from storage.backup.stage import PART_STAGE as STAGE
from storage.backup.stage import alone_in, move_up, taken_over, write_out
from storage.backup.unpack import Item, Progress, unpack, write_journal
from storage.bring_in import import_file
from storage.engine import Engine
from storage.events import Event
from storage.export import export
from storage.index import VersionRecord
from storage.layout import DataFolder
from storage.progress import silent
from storage.rebuild import rebuild
from storage.trail import Actor
from strongroom import durable
from strongroom.errors import NotFound


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A part as a file, and its past; so many bytes of the backup were unpacked for it."""

    file: Path
    size_bytes: int
    past: tuple[VersionRecord | Event, ...]


@dataclass(frozen=True, slots=True)
class RestorePart:
    """Restores a library of a backup, or one ``version`` of it, with its revisions, names and history."""

    repository: Repository
    manifest: Manifest
    library_id: str
    version: str | None = None
    progress: Progress = silent

    def run(self, to: Path, actor: Actor, now: datetime) -> Restored:
        """Make a data folder of it at ``to``, which must be empty or not there yet. Durable on return.

        Revisions keep their numbers and times, and what was done to them is told: removals, too, of which those come along that
        can still be undone. Killed, it leaves no data folder; called again it begins anew.

        Raises:
            NotFound: the backup does not have it.
            DataFolderError: something else is there.
            BackupDamaged: the backup does not hold what it promised; there is no data folder then.
            DiskFull, TransientIO, PermissionRefused: the operating system refused.
        """
        to = to.absolute().resolve()
        with alone_in(to):
            return self._run(to, actor, now)

    def _run(self, to: Path, actor: Actor, now: datetime) -> Restored:
        started_s = time.monotonic()
        stage = self._begin(to)
        try:
            new, size, differences = self._bring(stage, actor, now)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        with Engine(new).open() as engine, engine.database.read() as connection:
            counts = Counts(**asdict(count_everything(connection)))
        with durable.os_errors("cannot restore"):
            shutil.rmtree(stage / "then")
            durable.step("restore: sync")
            write_out(new)
            move_up(new, to)
            stage.rmdir()
        seconds = round(time.monotonic() - started_s, 3)
        return Restored(self.manifest.backup_id, self.manifest.as_of, to, counts, size, seconds, differences)

    def _begin(self, to: Path) -> Path:
        """Make the stage; what a run that was killed had made is removed, since all there is in the folder is that run's."""
        stage = to / STAGE
        with durable.os_errors(f"cannot restore to {to}"):
            for name in sorted(taken_over(to, STAGE), key=lambda name: name == STAGE):
                shutil.rmtree(to / name)
            durable.make_folder(stage, "restore")
        return stage

    def _bring(self, stage: Path, actor: Actor, now: datetime) -> tuple[Path, int, tuple[str, ...]]:
        new = stage / "new"
        part = self.unpacked(stage / "then", actor, now)
        with Engine(new).create() as engine:
            import_file(engine, part.file, actor, as_it_was=True)
            folder = engine.folder
        return new, part.size_bytes, bring_past(folder, part.past, now)

    def unpacked(self, then: Path, actor: Actor, now: datetime, *, bare: bool = False) -> Unpacked:
        """Make ``then`` a data folder that holds the part, and export that. ``bare``: what is current, without its past."""
        folder = DataFolder(then)
        file = folder.tmp / "part.tar"
        entries = read_lists(self.repository, self.manifest.lists)
        with durable.os_errors("cannot restore"):
            _lay_out(folder, entries)
        size = unpack(self.repository, (Item(one.index, folder.index(name)) for name, one in entries.items()), self.progress)
        write_journal(self.repository, self.manifest, folder.journal)
        folder.create()
        rebuild(folder, f"sqlite:///{folder.metadata / 'catalogue.db'}", now)
        with Engine(folder.root).open() as engine:
            with engine.database.read() as connection:
                names = self._needed(connection, removed=not bare) & entries.keys()
            past = () if bare else tuple(Past(folder, engine.database, self.library_id, self.version).told())
            wanted = [Item(entries[name].segment, folder.segment(name)) for name in sorted(names)]
            size += unpack(self.repository, wanted, self.progress)
            export(engine.archive, self.library_id, file, actor, version=self.version, bare=bare, removed=not bare)
        return Unpacked(file, size, past)

    def _needed(self, connection: Connection, *, removed: bool) -> set[str]:
        """Return the segments that hold the revisions, and what those refer to."""
        library_id = real_name(connection, self.library_id)
        places = [one.place for one in list_versions(connection, library_id, self.version, history=True)]
        if not places:
            what = f"{self.library_id} {self.version}" if self.version else self.library_id
            raise NotFound(f"{what} is not in the backup {self.manifest.backup_id}.", "`strongroom backup list` shows others.")
        places += [one.place for one in removed_versions(connection, library_id, self.version)] if removed else []
        return {one.segment_sha256 for one in _with_bases(connection, places)}


def _with_bases(connection: Connection, places: Iterable[Place]) -> Iterable[Place]:
    todo, seen = list(places), set[str]()
    while todo:
        place = todo.pop()
        yield place
        base = place.reference_sha256
        if base is not None and base not in seen:
            seen.add(base)
            todo += places_of(connection, base)


def _lay_out(folder: DataFolder, entries: Mapping[str, Entry]) -> None:
    """Make the folders, and for each segment a file of its size that holds nothing: the catalogue is made of the indexes."""
    durable.make_folder(folder.metadata, "restore")
    for number in range(256):
        (folder.segments / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    for name, entry in entries.items():
        with folder.segment(name).open("wb") as file:
            file.truncate(entry.segment.size_bytes)

"""Backups as holders: which of them keep what is erased, told by themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from models.database import Database
from storage.backup.place import Place
from storage.erase.holders import Holding
from storage.erase.packs import Survey, Surveyed
from storage.erase.scope import Scope
from storage.layout import DataFolder
from strongroom.errors import NotFound, StorageError

_GOES = "`strongroom backup erase` removes it, behind a new backup without; else it goes when retention lets go of it"
_BY_HAND = "Use the key or the release that made it; or remove the file backups/ID.json at the target"


@dataclass(frozen=True, slots=True)
class BackupHolders:
    """The backups of one place, asked for what is in this data folder, or was."""

    place: Place
    folder: DataFolder
    database: Database

    def holding(self, scope: Scope, contents: Collection[str]) -> Iterator[Holding]:
        """Yield each backup that holds some of it, the newest first; a place that cannot be asked may hold all of it."""
        try:
            found = Survey(self.place.open(), self.folder, self.database, scope, contents).run()
        except NotFound:
            return
        except StorageError as error:
            yield Holding(self.place.url, f"It cannot be asked: {error.message}", error.hint)
        else:
            yield from holding_backups(found, self.place.url)


def holding_backups(found: Surveyed, url: str) -> Iterator[Holding]:
    """Yield the backups that hold something of it, or may."""
    for backup_id, said in found.going.items():
        yield Holding(f"backup {backup_id} in {url}", said, f"{_GOES}.")
    for backup_id, said in found.unusable.items():
        words = f"Its manifest cannot be used, nobody knows what it holds: {said}"
        yield Holding(f"backup {backup_id} in {url}", words, f"{_BY_HAND}.")

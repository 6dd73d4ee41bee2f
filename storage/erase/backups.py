"""Backups as holders: which of them keep a segment with what is erased, told by their own lists."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from models.database import Database
from models.sweeping import known_segments
from storage.backup.lists import Entry, read_lists
from storage.backup.manifest import Manifest, manifests
from storage.backup.place import Place
from storage.backup.repository import Repository
from storage.erase.holders import Holding
from storage.erase.needles import DIGEST
from strongroom.errors import NotFound, StorageError

_REMEDY = "It goes when retention lets go of this backup; nothing in a backup is ever changed."


@dataclass(slots=True)
class BackupHolders:
    """The backups of one place. Segments that this folder has not any more are looked up in their indexes there."""

    place: Place
    database: Database
    _told: dict[str, frozenset[str]] = field(default_factory=dict)

    def holding(self, segments: Collection[str], contents: Collection[str]) -> Iterator[Holding]:
        """Yield each backup that holds some of it, the newest first; a place that cannot be asked may hold all of it."""
        if not contents:
            return
        try:
            repository = self.place.open()
            for backup_id, manifest in manifests(repository):
                found = self._holding(repository, manifest, set(segments), contents)
                if found is not None:
                    yield Holding(f"backup {backup_id} in {self.place.url}", found, _REMEDY)
        except NotFound:
            return
        except StorageError as error:
            yield Holding(self.place.url, f"It cannot be asked: {error.message}", error.hint)

    def _holding(self, repository: Repository, manifest: object, segments: set[str], contents: Collection[str]) -> str | None:
        if not isinstance(manifest, Manifest):
            return "Its manifest cannot be used: nobody knows what it holds."
        entries = read_lists(repository, manifest.lists)
        with self.database.read() as connection:
            strange = entries.keys() - segments - known_segments(connection, entries.keys())
        count = len(entries.keys() & segments)
        count += sum(not self._contents(repository, entries[name]).isdisjoint(contents) for name in strange)
        return f"{count} of its segments hold something of it" if count else None

    def _contents(self, repository: Repository, entry: Entry) -> frozenset[str]:
        """Return every digest that the index of a segment names."""
        if entry.name not in self._told:
            data = repository.item(entry.index)
            self._told[entry.name] = frozenset(found[0].decode() for found in DIGEST.finditer(data))
        return self._told[entry.name]

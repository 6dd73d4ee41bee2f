"""A backup as a source of repairs: a content that is damaged in the data folder, as the newest backup that has it holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from models.catalogue import places_of
from models.database import Database
from models.rows import Place as At
from storage.backup.lists import find_entry
from storage.backup.manifest import Manifest, manifests
from storage.backup.place import Place
from storage.backup.repository import Repository
from storage.codecs import decode
from storage.damage import plain_of
from storage.fetches import Wanted
from storage.layout import DataFolder
from storage.read import READABLE_DEPTH
from strongroom.errors import IntegrityError, StorageError

_LOOKED_AT = 8
"""Backups that are looked through for a content: what none of them has was gone before them."""


@dataclass(frozen=True, slots=True)
class BackupSource:
    """Finds contents in backups; nothing is asked of the target before something is wanted."""

    folder: DataFolder
    database_url: str
    place: Place

    def __call__(self, wanted: Wanted) -> Iterator[bytes] | None:
        """Return a content's plain bytes; None when no backup has it, or none can be reached. They are not proven."""
        database = Database(self.database_url)
        try:
            with database.read() as connection:
                places = places_of(connection, wanted.content_sha256)
            if places:
                return self._look(database, self.place.open(), places, READABLE_DEPTH)
        except StorageError:  # a target that does not answer has nothing
            return None
        finally:
            database.close()
        return None

    def _look(self, database: Database, repository: Repository, places: Sequence[At], depth: int) -> Iterator[bytes] | None:
        found = (one for _, one in manifests(repository) if isinstance(one, Manifest))
        for manifest in islice(found, _LOOKED_AT):
            for place in places:
                entry = find_entry(repository, manifest.lists, place.segment_sha256)
                if entry is not None:
                    at = entry.segment.offset + place.offset
                    stored = repository.part(entry.segment.pack, at, place.length)
                    return decode(stored, place.codec, self._reference(database, repository, place, depth))
        return None

    def _reference(self, database: Database, repository: Repository, place: At, depth: int) -> bytes | None:
        if place.reference_sha256 is None:
            return None
        base = self._base(database, repository, place.reference_sha256, depth)
        return base[place.reference_offset : place.reference_offset + place.reference_length]

    def _base(self, database: Database, repository: Repository, content_sha256: str, depth: int) -> bytes:
        """Return a content that another one refers to: from the data folder, else from a backup. What is wrong fits nothing."""
        with suppress(IntegrityError):  # whole itself, and refers to what is not
            whole = plain_of(self.folder, database, content_sha256)
            if whole is not None:
                return b"".join(whole)
        with database.read() as connection:
            places = places_of(connection, content_sha256)
        return b"".join((self._look(database, repository, places, depth - 1) if depth else None) or ())

"""What the disk remembers of a revision: the record that an index or the journal has of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from models.catalogue import known_places, places_of
from models.database import Database
from models.mending import Holder
from models.rows import StoredVersion
from storage.events import read_events
from storage.index import VersionRecord, read_index
from storage.layout import DataFolder
from strongroom.errors import IntegrityError


def find_record(folder: DataFolder, database: Database, stored: StoredVersion) -> VersionRecord:
    """Return the record of a revision, whose order and facts about its library the catalogue does not have in full.

    Where the disk has none any more, one is made of what the catalogue has: it orders by its name then.

    Raises:
        TransientIO, PermissionRefused: the operating system refused.
    """
    name = (stored.library_id, stored.version, stored.created_at)
    for record in _records(folder, database, stored):
        if (record.library_id, record.version, record.stored_at) == name:
            return record
    return VersionRecord(*name[:2], stored.place.content_sha256, stored.created_at, source=stored.source, details=stored.details)


def find_records(folder: DataFolder, database: Database, revisions: Sequence[Holder]) -> list[VersionRecord]:
    """Return the record of each of these revisions, as ``find_record``: each index is read once, and the journal.

    Raises:
        TransientIO, PermissionRefused: the operating system refused.
    """
    wanted = {(one.library_id, one.version, one.stored_at): one for one in revisions}
    with database.read() as connection:
        places = known_places(connection, {one.content_sha256 for one in revisions})
    found: dict[tuple[str, str, datetime], VersionRecord] = {}
    for record in _told({place.segment_sha256 for place in places.values()}, folder):
        key = (record.library_id, record.version, record.stored_at)
        if key in wanted:
            found[key] = record
    return [found.get(key) or _of_catalogue(one) for key, one in wanted.items()]


def _told(segments: Collection[str], folder: DataFolder) -> Iterator[VersionRecord]:
    yield from (event for event in read_events(folder.journal) if isinstance(event, VersionRecord))
    for name in sorted(segments):
        try:
            yield from read_index(folder.index(name)).versions
        except IntegrityError:  # verify reports it
            continue


def _of_catalogue(one: Holder) -> VersionRecord:
    return VersionRecord(one.library_id, one.version, one.content_sha256, one.stored_at, source=one.source, details=one.details)


def _records(folder: DataFolder, database: Database, stored: StoredVersion) -> Iterator[VersionRecord]:
    """Yield the records of the segments that hold the content, then the journal's, which may be long."""
    with database.read() as connection:
        places = places_of(connection, stored.place.content_sha256)
    for place in places:
        try:
            yield from read_index(folder.index(place.segment_sha256)).versions
        except IntegrityError:  # verify reports it
            continue
    yield from (event for event in read_events(folder.journal) if isinstance(event, VersionRecord))

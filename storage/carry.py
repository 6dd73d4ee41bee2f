"""What a segment's index alone tells of versions that live on elsewhere: it is told again before the index goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from models.catalogue import known_places
from models.database import Database
from models.sweeping import live_records
from storage.events import append_events
from storage.index import VersionRecord, read_index
from storage.layout import DataFolder
from storage.paths import tree_path
from storage.retelling import read_if_whole
from strongroom.errors import IntegrityError


@dataclass(slots=True)
class Carried:
    """The segments that may go, and those that must stay since their index cannot be read: nobody knows what it told."""

    free: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def needed_records(folder: DataFolder, database: Database, segment_sha256: str) -> list[VersionRecord]:
    """Return what an index tells of revisions that are stored, or removed and not purged.

    Raises:
        IntegrityError: the index is missing or damaged.
    """
    told = read_index(folder.index(segment_sha256)).versions
    keys = {(tree_path(one.library_id, one.version), one.stored_at) for one in told}
    if not keys:
        return []
    with database.read() as connection:
        live = live_records(connection, keys)
    return [one for one in told if (tree_path(one.library_id, one.version), one.stored_at) in live]


def carry_over(folder: DataFolder, database: Database, names: Sequence[str]) -> Carried:
    """Have the journal tell what only the indexes of these segments tell of living versions. Durable on return.

    Told twice is harmless: a record with the content of the current revision changes nothing.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    carried = Carried()
    records: list[VersionRecord] = []
    for name in names:
        try:
            records += [one for one in needed_records(folder, database, name) if not _told_elsewhere(folder, database, one, name)]
            carried.free.append(name)
        except IntegrityError:
            carried.unreadable.append(name)
    if records:
        append_events(folder.journal, records)
    return carried


def with_replaced(folder: DataFolder, names: Iterable[str]) -> list[str]:
    """Return these segments and those that they have replaced and that are there still: who replaces them replaces those, too."""
    found: set[str] = set()
    for name in names:
        index = read_if_whole(folder.index(name))
        found |= {name, *(one for one in (index.replaces if index is not None else ()) if folder.segment(one).exists())}
    return sorted(found)


def _told_elsewhere(folder: DataFolder, database: Database, record: VersionRecord, name: str) -> bool:
    """Whether the index beside the content tells of the version too: whoever wrote the content anew may have seen to it."""
    with database.read() as connection:
        place = known_places(connection, [record.content_sha256]).get(record.content_sha256)
    if place is None or place.segment_sha256 == name:
        return False
    try:
        return record in read_index(folder.index(place.segment_sha256)).versions
    except IntegrityError:
        return False

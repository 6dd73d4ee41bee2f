"""Every revision that a library ever had, as far as the catalogue still knows: stored ones and removed ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, literal, null, select

from models.catalogue import LISTED, known_places
from models.mending import Holder, library_holders
from models.rows import Place, StoredVersion
from models.tables import Version, table_of
from models.upkeep_tables import RemovedVersion

_VERSION, _REMOVED = table_of(Version), table_of(RemovedVersion)
_BOTH = ("version", "revision", "file_path", "content_sha256", "file_size_bytes", "compressed_size_bytes", "created_at")
_MORE = ("download_source", "access_count", "last_accessed")
_GONE = ("removed_at", "removed_by", "why")


@dataclass(frozen=True, slots=True)
class RevisionTold:
    """One revision. ``removed_at`` is None for one that is stored; it may come back until ``purged_at``."""

    version: str
    revision: int
    file_path: str
    content_sha256: str
    size_bytes: int
    stored_bytes: int
    stored_at: datetime
    source: str
    access_count: int
    last_accessed: datetime | None
    current: bool
    removed_at: datetime | None
    removed_by: str
    removed_why: str
    purged_at: datetime | None


def list_revisions(connection: Connection, library_id: str, version: str | None = None) -> list[RevisionTold]:
    """Return the revisions of a library, or of a version of it: the stored ones, versions newest first, then the removed ones."""
    columns, gone = _VERSION.c, _REMOVED.c
    stored = select(*(columns[name] for name in (*_BOTH, *_MORE)), columns.current, null(), literal(""), literal(""), null())
    stored = stored.where(columns.library_id == library_id).order_by(*LISTED, columns.revision.desc())
    removed = select(
        *(gone[name] for name in (*_BOTH, *_MORE)), literal(value=False), *(gone[name] for name in _GONE), gone.purged_at
    )
    removed = removed.where(gone.library_id == library_id)
    removed = removed.order_by(gone.order_key.desc(), gone.order_rank.desc(), gone.version, gone.revision.desc())
    if version is not None:
        stored, removed = stored.where(columns.version == version), removed.where(gone.version == version)
    queries: tuple[Select[Any], ...] = (stored, removed)  # any row shape: that of RevisionTold
    return [RevisionTold(*row) for query in queries for row in connection.execute(query)]


def removed_versions(connection: Connection, library_id: str, version: str | None = None) -> list[StoredVersion]:
    """Return the removed revisions of a library, or of a version, that can be brought back: those whose contents have a place."""
    mine = [one for one in library_holders(connection, library_id) if one.removed and version in {None, one.version}]
    places = known_places(connection, {one.content_sha256 for one in mine})
    return [_as_stored(one, places[one.content_sha256]) for one in mine if one.content_sha256 in places]


def _as_stored(one: Holder, place: Place) -> StoredVersion:
    named = ("", one.library_id, one.version, one.revision)
    order = (one.file_path, one.stored_at, one.order_rank, one.order_key)
    return StoredVersion(*named, False, False, *order, False, one.source, one.details, place)

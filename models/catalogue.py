"""What is stored: the queries that read the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, or_, select, update
from sqlalchemy.sql import ColumnElement

from models.database import Database
from models.parts import in_parts
from models.rows import LIBRARY_FACTS, LibraryRow, Place, StoredVersion
from models.tables import Library, Segment, StoredObject, Version, table_of

_LIBRARY, _VERSION, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Library, Version, Segment, StoredObject))
_PLACE = [_OBJECT.c[name] for name in Place.__slots__]
_KNOWN_PLACES = (  # built once: building it anew costs as much as a look-up of a hundred contents
    select(*_PLACE)
    .join(_SEGMENT, _SEGMENT.c.segment_sha256 == _OBJECT.c.segment_sha256)
    .where(_OBJECT.c.content_sha256.in_(bindparam("contents", expanding=True)), ~_SEGMENT.c.condemned)
    .order_by(_OBJECT.c.object_id)
)
_FETCHED = 500  # rows held in memory of a long answer
NEWEST_FIRST = (_VERSION.c.order_rank.desc(), _VERSION.c.order_key.desc(), _VERSION.c.created_at.desc())
LISTED = (_VERSION.c.order_key.desc(), _VERSION.c.order_rank.desc(), _VERSION.c.created_at.desc())
"""How people read versions: by number alone, so that a pre-release stands below its release and above older ones."""
_IS_LATEST = or_(_LIBRARY.c.latest_held == "", _VERSION.c.version == _LIBRARY.c.latest_held)
"""The first by NEWEST_FIRST for which this holds: the newest, unless a person named another version."""
_ONE_BY_ONE = (_VERSION.c.version_id, _OBJECT.c.object_id.desc())
"""Keeps the places of one version together, the newest first: it was written because the others are worse or damaged."""


def known_places(connection: Connection, contents: Iterable[str]) -> dict[str, Place]:
    """Return the newest place of each content, of those that are stored; condemned segments do not count."""
    found: dict[str, Place] = {}
    for part in in_parts(sorted(set(contents))):
        found.update((row[0], Place(*row)) for row in connection.execute(_KNOWN_PLACES, {"contents": part}))
    return found


def find_place(database: Database, content_sha256: str) -> Place | None:
    """Return the newest place of a content, in a transaction of its own; None when it is not stored."""
    with database.read() as connection:
        return known_places(connection, [content_sha256]).get(content_sha256)


def find_version(connection: Connection, library_id: str, file_path: str | None = None) -> StoredVersion | None:
    """Return the current revision of the version with this path in the tree; of the library's latest one without a path."""
    columns = _VERSION.c
    query = _versions(columns.library_id == library_id, columns.current)
    query = query.where(_IS_LATEST).order_by(*NEWEST_FIRST) if file_path is None else query.where(columns.file_path == file_path)
    row = connection.execute(query.order_by(*_ONE_BY_ONE).limit(1)).first()
    return _stored_version(row) if row else None


def list_versions(
    connection: Connection, library_id: str | None = None, version: str | None = None, *, history: bool = False
) -> Iterator[StoredVersion]:
    """Yield the current revisions, libraries by name, versions as ``LISTED``; with ``history`` the older revisions too."""
    conditions: list[ColumnElement[bool]] = []
    if not history:
        conditions.append(_VERSION.c.current)
    if library_id is not None:
        conditions.append(_VERSION.c.library_id == library_id)
    if version is not None:
        conditions.append(_VERSION.c.version == version)
    order = (_VERSION.c.library_id, *LISTED, _VERSION.c.revision.desc(), *_ONE_BY_ONE)
    query = _versions(*conditions).order_by(*order)
    return _one_place_each(connection.execute(query.execution_options(yield_per=_FETCHED)))


def versions_in_segment(connection: Connection, segment_sha256: str) -> list[StoredVersion]:
    """Return every revision, current or not, that has a place in a segment, whether that is its newest place or not."""
    return [_stored_version(row) for row in connection.execute(_versions(_OBJECT.c.segment_sha256 == segment_sha256))]


def versions_of(connection: Connection, contents: Collection[str]) -> list[StoredVersion]:
    """Return every revision, current or not, that holds one of these contents, with the newest place of each."""
    found: list[StoredVersion] = []
    for part in in_parts(sorted(contents)):
        query = _versions(_VERSION.c.content_sha256.in_(part)).order_by(*_ONE_BY_ONE)
        found += _one_place_each(connection.execute(query))
    return found


def list_libraries(connection: Connection, library_ids: Collection[str] | None = None) -> Iterator[LibraryRow]:
    """Yield the libraries by name; those named, when some are."""
    query = select(_LIBRARY).order_by(_LIBRARY.c.library_id)
    if library_ids is not None:
        query = query.where(_LIBRARY.c.library_id.in_(library_ids))
    for row in connection.execute(query.execution_options(yield_per=_FETCHED)).mappings():
        yield LibraryRow(
            row["library_id"],
            {name: row[name] for name in LIBRARY_FACTS},
            row["total_versions"],
            row["latest_version"],
            row["total_size_bytes"],
            row["compressed_size_bytes"],
            row["created_at"],
            row["updated_at"],
        )


def list_segments(connection: Connection, after: str = "", limit: int | None = None) -> list[tuple[str, int]]:
    """Return digest and size in bytes of the segments behind ``after`` that are not condemned, by digest (the order on disk)."""
    name = _SEGMENT.c.segment_sha256
    query = select(name, _SEGMENT.c.size_bytes).where(~_SEGMENT.c.condemned, name > after).order_by(name).limit(limit)
    return [(row[0], row[1]) for row in connection.execute(query)]


def segment_bytes(connection: Connection) -> int:
    """Return the bytes of all segments that are not condemned."""
    return int(connection.scalar(select(func.sum(_SEGMENT.c.size_bytes)).where(~_SEGMENT.c.condemned)) or 0)


def list_places(connection: Connection, segment_sha256: str) -> list[Place]:
    """Return the places that the catalogue knows in a segment."""
    return [Place(*row) for row in connection.execute(select(*_PLACE).where(_OBJECT.c.segment_sha256 == segment_sha256))]


def places_of(connection: Connection, content_sha256: str) -> list[Place]:
    """Return every place of a content, the newest first."""
    query = select(*_PLACE).where(_OBJECT.c.content_sha256 == content_sha256).order_by(_OBJECT.c.object_id.desc())
    return [Place(*row) for row in connection.execute(query)]


def versions_without_place(connection: Connection) -> list[tuple[str, str, int]]:
    """Return library, version and revision of what has no place: none, if all is well."""
    columns = _VERSION.c
    placed = select(_OBJECT.c.object_id).where(_OBJECT.c.content_sha256 == columns.content_sha256)
    query = select(columns.library_id, columns.version, columns.revision).where(~placed.exists())
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def count_versions(connection: Connection) -> int:
    """Return how many current versions there are."""
    return int(connection.scalar(select(func.sum(_LIBRARY.c.total_versions))) or 0)


def totals(connection: Connection) -> tuple[int, int, int, int]:
    """Return how many libraries and versions there are, and their plain and stored bytes."""
    columns = _LIBRARY.c
    sums = (func.sum(columns.total_versions), func.sum(columns.total_size_bytes), func.sum(columns.compressed_size_bytes))
    row = connection.execute(select(func.count(), *sums).select_from(_LIBRARY)).one()
    return int(row[0]), int(row[1] or 0), int(row[2] or 0), int(row[3] or 0)


def outside_tree(connection: Connection, limit: int) -> list[StoredVersion]:
    """Return current versions that the tree does not show yet, oldest first."""
    query = _versions(_VERSION.c.current, ~_VERSION.c.in_tree).order_by(*_ONE_BY_ONE).limit(limit)
    return list(_one_place_each(connection.execute(query)))


def unshown(connection: Connection, file_paths: Collection[str]) -> list[StoredVersion]:
    """Return those of these versions that the tree does not show yet."""
    found: list[StoredVersion] = []
    for part in in_parts(sorted(file_paths)):
        query = _versions(_VERSION.c.file_path.in_(part), _VERSION.c.current, ~_VERSION.c.in_tree).order_by(*_ONE_BY_ONE)
        found += _one_place_each(connection.execute(query))
    return found


def still_current(connection: Connection, version_ids: Iterable[str]) -> set[str]:
    """Return those of these revisions that are their version's current one."""
    found: set[str] = set()
    for part in in_parts(version_ids):
        query = select(_VERSION.c.version_id).where(_VERSION.c.version_id.in_(part), _VERSION.c.current)
        found.update(connection.scalars(query))
    return found


def mark_in_tree(connection: Connection, version_ids: Iterable[str]) -> None:
    """Record that the tree shows these versions."""
    for part in in_parts(version_ids):
        connection.execute(update(_VERSION).where(_VERSION.c.version_id.in_(part)).values(in_tree=True))


def forget_tree(connection: Connection, *, but_latest: bool = False) -> None:
    """Record that the tree shows nothing, or each library's latest version alone: the others are to be shown anew."""
    query = update(_VERSION).where(_VERSION.c.current)
    if but_latest:
        latest = select(_LIBRARY.c.latest_version).where(_LIBRARY.c.library_id == _VERSION.c.library_id)
        query = query.where(_VERSION.c.version != latest.scalar_subquery())
    connection.execute(query.values(in_tree=False))


def _versions(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Select versions with their library's latest and the place of their bytes (any row shape: built by _stored_version)."""
    columns = _VERSION.c
    return (
        select(
            columns.version_id,
            columns.library_id,
            columns.version,
            columns.revision,
            columns.current,
            and_(columns.current, columns.version == _LIBRARY.c.latest_version),
            columns.file_path,
            columns.created_at,
            columns.order_rank,
            columns.order_key,
            columns.in_tree,
            columns.download_source,
            columns.details,
            *_PLACE,
        )
        .join(_LIBRARY, _LIBRARY.c.library_id == columns.library_id)
        .join(_OBJECT, _OBJECT.c.content_sha256 == columns.content_sha256)
        .where(*conditions)
    )


def _stored_version(row: Row[Any]) -> StoredVersion:
    return StoredVersion(*(*row[:_FACTS], Place(*row[_FACTS:])))


_FACTS = StoredVersion.__slots__.index("place")


def _one_place_each(rows: Iterable[Row[Any]]) -> Iterator[StoredVersion]:
    """A content may lie in several places: the first is the newest, and enough."""
    previous = ""
    for row in rows:
        if row[0] != previous:
            previous = row[0]
            yield _stored_version(row)

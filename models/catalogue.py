"""What is stored: the queries that read the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select, update
from sqlalchemy.sql import ColumnElement

from models.rows import LIBRARY_FACTS, LibraryRow, Place, StoredVersion
from models.tables import Library, Segment, StoredObject, Version, table_of

_LIBRARY, _VERSION, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Library, Version, Segment, StoredObject))
_PLACE = [_OBJECT.c[name] for name in Place.__slots__]
_BATCH = 500
_NEWEST_FIRST = (_VERSION.c.order_rank.desc(), _VERSION.c.order_key.desc(), _VERSION.c.created_at.desc())


def known_places(connection: Connection, contents: Iterable[str]) -> dict[str, Place]:
    """Return where each content lies, of those that are stored; condemned segments do not count."""
    wanted = sorted(set(contents))
    found: dict[str, Place] = {}
    for start in range(0, len(wanted), _BATCH):
        query = (
            select(*_PLACE)
            .join(_SEGMENT, _SEGMENT.c.segment_sha256 == _OBJECT.c.segment_sha256)
            .where(_OBJECT.c.content_sha256.in_(wanted[start : start + _BATCH]), ~_SEGMENT.c.condemned)
        )
        for row in connection.execute(query):
            found.setdefault(row[0], Place(*row))
    return found


def find_version(connection: Connection, library_id: str, file_path: str | None = None) -> StoredVersion | None:
    """Return the current revision of the version with this path in the tree; of the library's latest one without a path."""
    columns = _VERSION.c
    query = _versions(columns.library_id == library_id, columns.current)
    query = query.order_by(*_NEWEST_FIRST) if file_path is None else query.where(columns.file_path == file_path)
    row = connection.execute(query.limit(1)).first()
    return _stored_version(row) if row else None


def list_versions(
    connection: Connection, library_id: str | None = None, version: str | None = None, *, history: bool = False
) -> Iterator[StoredVersion]:
    """Yield the current revisions, libraries by name, versions newest first; with ``history`` the older revisions too."""
    conditions: list[ColumnElement[bool]] = []
    if not history:
        conditions.append(_VERSION.c.current)
    if library_id is not None:
        conditions.append(_VERSION.c.library_id == library_id)
    if version is not None:
        conditions.append(_VERSION.c.version == version)
    query = _versions(*conditions).order_by(_VERSION.c.library_id, *_NEWEST_FIRST, _VERSION.c.revision.desc())
    return _one_place_each(connection.execution_options(yield_per=_BATCH).execute(query))


def versions_in_segment(connection: Connection, segment_sha256: str) -> list[StoredVersion]:
    """Return every revision, current or not, whose bytes lie in a segment."""
    return [_stored_version(row) for row in connection.execute(_versions(_OBJECT.c.segment_sha256 == segment_sha256))]


def list_libraries(connection: Connection, library_ids: Collection[str] | None = None) -> Iterator[LibraryRow]:
    """Yield the libraries by name; those named, when some are."""
    query = select(_LIBRARY).order_by(_LIBRARY.c.library_id)
    if library_ids is not None:
        query = query.where(_LIBRARY.c.library_id.in_(library_ids))
    for row in connection.execution_options(yield_per=_BATCH).execute(query).mappings():
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


def list_segments(connection: Connection) -> list[tuple[str, int]]:
    """Return digest and size in bytes of every segment that is not condemned, by digest (the order on disk)."""
    query = select(_SEGMENT.c.segment_sha256, _SEGMENT.c.size_bytes).where(~_SEGMENT.c.condemned)
    return [(row[0], row[1]) for row in connection.execute(query.order_by(_SEGMENT.c.segment_sha256))]


def list_places(connection: Connection, segment_sha256: str) -> list[Place]:
    """Return the places that the catalogue knows in a segment."""
    return [Place(*row) for row in connection.execute(select(*_PLACE).where(_OBJECT.c.segment_sha256 == segment_sha256))]


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
    query = _versions(_VERSION.c.current, ~_VERSION.c.in_tree).order_by(_VERSION.c.version_id).limit(limit)
    return [_stored_version(row) for row in connection.execute(query)]


def unshown(connection: Connection, file_paths: Collection[str]) -> list[StoredVersion]:
    """Return those of these versions that the tree does not show yet."""
    query = _versions(_VERSION.c.file_path.in_(file_paths), _VERSION.c.current, ~_VERSION.c.in_tree)
    return [_stored_version(row) for row in connection.execute(query)]


def mark_in_tree(connection: Connection, version_ids: Iterable[str]) -> None:
    """Record that the tree shows these versions."""
    wanted = list(version_ids)
    for start in range(0, len(wanted), _BATCH):
        part = wanted[start : start + _BATCH]
        connection.execute(update(_VERSION).where(_VERSION.c.version_id.in_(part)).values(in_tree=True))


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
    facts, place = tuple(row)[:_FACTS], Place(*tuple(row)[_FACTS:])
    return StoredVersion(**dict(zip(_NAMES, facts, strict=True)), place=place)


_NAMES = tuple(name for name in StoredVersion.__slots__ if name != "place")
_FACTS = len(_NAMES)


def _one_place_each(rows: Iterable[Row[Any]]) -> Iterator[StoredVersion]:
    """A content that two stores wrote at once lies in two places: the first is enough."""
    previous = ""
    for row in rows:
        if row[0] != previous:
            previous = row[0]
            yield _stored_version(row)

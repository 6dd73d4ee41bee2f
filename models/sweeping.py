"""What a sweep asks the catalogue: what nothing names any more. Each question is bounded, whatever the catalogue's size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update

from models.changes import note_change
from models.parts import in_parts
from models.rows import Place
from models.tables import Segment, StoredObject, Version, table_of
from models.upkeep_tables import RemovedVersion

_VERSION, _REMOVED, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Version, RemovedVersion, Segment, StoredObject))
_NOT_PURGED = _REMOVED.c.purged_at.is_(None)
_OTHER = _OBJECT.alias("other")
_LIVE = or_(
    exists().where(_VERSION.c.content_sha256 == _OBJECT.c.content_sha256),
    exists().where(and_(_REMOVED.c.content_sha256 == _OBJECT.c.content_sha256, _NOT_PURGED)),
    exists().where(_OTHER.c.reference_sha256 == _OBJECT.c.content_sha256),
)
"""Whether a version names an object's content, or a removed one that can still come back, or another object needs it.

That other may be dead itself: then it goes first, and what it needs in the next sweep.
"""

_NEEDED = exists().where(_OBJECT.c.segment_sha256 == _SEGMENT.c.segment_sha256, _LIVE)

BATCH_SEGMENTS, BATCH_OBJECTS = 500, 4000
"""What is looked at with one query: some 20 ms."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A segment that was looked at, and how much of it is needed, in stored bytes."""

    segment_sha256: str
    size_bytes: int
    objects: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """A removed revision whose grace period is over."""

    version_id: str
    file_path: str
    library_id: str
    version: str
    stored_at: datetime
    revision: int


def to_purge(connection: Connection, before: datetime, limit: int) -> list[Overdue]:
    """Return revisions that were removed before then and that the tree shows no more, the oldest first."""
    columns = _REMOVED.c
    told = ("version_id", "file_path", "library_id", "version", "created_at", "revision")
    query = select(*(columns[name] for name in told)).where(_NOT_PURGED, columns.removed_at < before, ~columns.in_tree)
    return [Overdue(*row) for row in connection.execute(query.order_by(columns.removed_at).limit(limit))]


def purge(connection: Connection, revisions: Sequence[Overdue], at: datetime) -> None:
    """Give removed revisions up for good. A row stays where it has its version's highest number, which is not given again.

    Such a row says no more than a rebuild finds in the journal, when nothing else is left of the revision.
    """
    number = {"purged_at": at, "current": False, "order_rank": 0, "order_key": "", "download_source": "", "details": {}}
    number |= {"file_size_bytes": 0, "compressed_size_bytes": 0, "access_count": 0, "last_accessed": None}
    for part in in_parts(one.version_id for one in revisions):
        connection.execute(update(_REMOVED).where(_REMOVED.c.version_id.in_(part)).values(number))
    for file_paths in in_parts(sorted({one.file_path for one in revisions})):
        superseded = _superseded(connection, file_paths)
        connection.execute(delete(_REMOVED).where(_REMOVED.c.version_id.in_(superseded)))


def _superseded(connection: Connection, file_paths: Sequence[str]) -> list[str]:
    """Return the purged revisions of versions that have a higher number, stored or removed."""
    highest: dict[str, int] = {}
    for table in (_VERSION, _REMOVED):
        numbers = select(table.c.file_path, func.max(table.c.revision)).where(table.c.file_path.in_(file_paths))
        for path, number in connection.execute(numbers.group_by(table.c.file_path)):
            highest[path] = max(number, highest.get(path, 0))
    purged = select(_REMOVED.c.version_id, _REMOVED.c.file_path, _REMOVED.c.revision)
    rows = connection.execute(purged.where(_REMOVED.c.file_path.in_(file_paths), ~_NOT_PURGED))
    return [version_id for version_id, path, number in rows if number < highest[path]]


def next_segments(connection: Connection, after: str) -> list[str]:
    """Return the next segments behind ``after``, by digest: as many as one query may look at."""
    columns = _SEGMENT.c
    query = select(columns.segment_sha256, columns.object_count)
    query = query.where(columns.segment_sha256 > after).order_by(columns.segment_sha256).limit(BATCH_SEGMENTS)
    names: list[str] = []
    objects = 0
    for name, count in connection.execute(query):
        objects += count
        if names and objects > BATCH_OBJECTS:
            break
        names.append(name)
    return names


def count_segments(connection: Connection) -> int:
    """Return how many segments there are."""
    return int(connection.scalar(select(func.count()).select_from(_SEGMENT)) or 0)


def look_at(connection: Connection, names: Sequence[str], older_than: datetime) -> list[Looked]:
    """Return how much is needed of those of these segments that a sweep may take: neither young, nor pinned, nor condemned."""
    live = func.sum(_OBJECT.c.length).filter(_LIVE)
    query = select(_SEGMENT.c.segment_sha256, _SEGMENT.c.size_bytes, func.count(_OBJECT.c.object_id), live)
    query = query.outerjoin(_OBJECT, _OBJECT.c.segment_sha256 == _SEGMENT.c.segment_sha256)
    query = query.where(_SEGMENT.c.segment_sha256.in_(names), _may_go(older_than)).group_by(
        _SEGMENT.c.segment_sha256, _SEGMENT.c.size_bytes
    )
    return [
        Looked(row[0], row[1], row[2], int(row[3] or 0)) for row in connection.execute(query.order_by(_SEGMENT.c.segment_sha256))
    ]


def condemn_dead(connection: Connection, names: Sequence[str], older_than: datetime) -> list[str]:
    """Condemn those of these segments of which nothing is needed, and return them. In the caller's write transaction."""
    condemned: list[str] = []
    for part in in_parts(names):
        query = select(_SEGMENT.c.segment_sha256).where(_SEGMENT.c.segment_sha256.in_(part), _may_go(older_than), ~_NEEDED)
        dead = list(connection.scalars(query))
        connection.execute(update(_SEGMENT).where(_SEGMENT.c.segment_sha256.in_(dead)).values(condemned=True))
        condemned += dead
    return condemned


def condemned_segments(connection: Connection, limit: int) -> list[str]:
    """Return segments that are condemned and whose file may still be in its place.

    One that holds the only copy of something cannot be: should it be all the same, it stays.
    """
    other, its_segment = _OBJECT.alias(), _SEGMENT.alias()
    elsewhere = exists().where(
        other.c.content_sha256 == _OBJECT.c.content_sha256,
        its_segment.c.segment_sha256 == other.c.segment_sha256,
        ~its_segment.c.condemned,
    )
    only_copy = exists().where(_OBJECT.c.segment_sha256 == _SEGMENT.c.segment_sha256, _LIVE, ~elsewhere)
    query = select(_SEGMENT.c.segment_sha256).where(_SEGMENT.c.condemned, ~only_copy)
    return list(connection.scalars(query.order_by(_SEGMENT.c.segment_sha256).limit(limit)))


def forget_segments(connection: Connection, names: Iterable[str]) -> None:
    """Remove the rows of segments whose files are gone, and of what they held."""
    for part in in_parts(names):
        connection.execute(delete(_OBJECT).where(_OBJECT.c.segment_sha256.in_(part)))
        connection.execute(delete(_SEGMENT).where(_SEGMENT.c.segment_sha256.in_(part)))
        note_change(connection, part, "gone")


def known_segments(connection: Connection, names: Iterable[str]) -> set[str]:
    """Return those of these segments that the catalogue knows, condemned ones too."""
    found: set[str] = set()
    for part in in_parts(names):
        found.update(connection.scalars(select(_SEGMENT.c.segment_sha256).where(_SEGMENT.c.segment_sha256.in_(part))))
    return found


def live_records(connection: Connection, told: Iterable[tuple[str, datetime]]) -> set[tuple[str, datetime]]:
    """Return those of these (path in the tree, time stored) that are revisions, stored or removed and not purged."""
    wanted = set(told)
    found: set[tuple[str, datetime]] = set()
    for paths in in_parts(sorted({path for path, _ in wanted})):
        for table, condition in ((_VERSION, None), (_REMOVED, _NOT_PURGED)):
            query = select(table.c.file_path, table.c.created_at).where(table.c.file_path.in_(paths))
            rows = connection.execute(query if condition is None else query.where(condition))
            found.update((row[0], row[1]) for row in rows)
    return found & wanted


def named_contents(connection: Connection, contents: Iterable[str]) -> set[str]:
    """Return those of these contents that a revision has, a stored one or a removed one that can still come back."""
    found: set[str] = set()
    for part in in_parts(sorted(set(contents))):
        found.update(connection.scalars(select(_VERSION.c.content_sha256).where(_VERSION.c.content_sha256.in_(part))))
        found.update(
            connection.scalars(select(_REMOVED.c.content_sha256).where(_REMOVED.c.content_sha256.in_(part), _NOT_PURGED))
        )
    return found


def live_places(connection: Connection, segment_sha256: str) -> list[Place]:
    """Return the places in a segment that are needed, in the order of the file."""
    columns = [_OBJECT.c[name] for name in Place.__slots__]
    query = select(*columns).where(_OBJECT.c.segment_sha256 == segment_sha256, _LIVE)
    return [Place(*row) for row in connection.execute(query.order_by(_OBJECT.c.offset))]


def replace_segments(connection: Connection, names: Sequence[str], copied: Collection[str], older_than: datetime) -> bool:
    """Condemn segments whose needed contents were ``copied``, and forget their places.

    Returns False, with nothing done, when one of them may not go any more, or when something else in them is needed by now: a
    store may have found its content there meanwhile. In the write transaction that adds the new places.
    """
    columns = _SEGMENT.c
    may = set(connection.scalars(select(columns.segment_sha256).where(columns.segment_sha256.in_(names), _may_go(older_than))))
    needed = connection.scalars(select(_OBJECT.c.content_sha256).where(_OBJECT.c.segment_sha256.in_(names), _LIVE))
    if may != set(names) or not set(needed) <= set(copied):
        return False
    connection.execute(delete(_OBJECT).where(_OBJECT.c.segment_sha256.in_(names)))
    connection.execute(update(_SEGMENT).where(columns.segment_sha256.in_(names)).values(condemned=True))
    return True


def _may_go(older_than: datetime) -> ColumnElement[bool]:
    columns = _SEGMENT.c
    return and_(~columns.condemned, columns.pins == 0, columns.created_at < older_than)

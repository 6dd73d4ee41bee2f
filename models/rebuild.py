"""Rows for a catalogue that is made anew, in bulk: nothing is looked up, since nothing is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, inspect, select, text, update
from sqlmodel import SQLModel

from models.bulk import Adder, Row
from models.commit import VERSION_COLUMNS
from models.database import Database
from models.parts import in_parts
from models.rows import LIBRARY_FACTS, Place
from models.tables import Library, Segment, StoredObject, Version, table_of
from models.upkeep_tables import Alias, Audit, Label, Pin, RemovedVersion

MADE_ANEW: tuple[type[SQLModel], ...] = (Alias, Label, Pin, RemovedVersion, Version, Library, StoredObject, Segment)
"""What the disk tells, in an order in which it may be deleted."""

_SEGMENT, _OBJECT = table_of(Segment), table_of(StoredObject)
_VERSION = table_of(Version)
_COPIED_ROWS = 1000
_CONTENT, _IN = Place.__slots__.index("content_sha256"), Place.__slots__.index("segment_sha256")
_OF_SEGMENT = ("created_at", "checked_at", "checked_bad", "suspect", "codec_advice", "pins")
_OF_VERSION = ("access_count", "last_accessed")


_SUMS = ("total_versions", "total_size_bytes", "compressed_size_bytes")
_LATEST = ("latest_version", "latest_rank", "latest_key", "latest_at", "latest_held", "latest_held_at")

SEGMENTS = Adder(Segment, "segment_sha256", "size_bytes", "object_count", "created_at")
OBJECTS = Adder(StoredObject, *Place.__slots__)
LIBRARIES = Adder(Library, "library_id", "created_at", "updated_at", *_SUMS, *_LATEST, *LIBRARY_FACTS)
VERSIONS = Adder(Version, *VERSION_COLUMNS)
REMOVED = Adder(RemovedVersion, *VERSION_COLUMNS, "removed_at", "removed_by", "why", "plan_id", "purged_at")
PINS = Adder(Pin, "library_id", "version", "at", "by", "why")
LABELS = Adder(Label, "library_id", "label", "version", "at", "by", "why")
ALIASES = Adder(Alias, "alias", "library_id", "at", "by", "why", "in_tree")
AUDITS = Adder(Audit, "at", "by", "action", "library_id", "version", "why", "details")


def has_no_tables(database: Database) -> bool:
    """Whether a database is blank."""
    with database.read() as connection:
        return not inspect(connection).get_table_names()


def empty_catalogue(connection: Connection) -> None:
    """Delete what the disk tells; the ledger of jobs, the schedules and the audit trail stay."""
    for kind in MADE_ANEW:
        connection.execute(delete(table_of(kind)))


_INDEXES = text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql > '' ORDER BY rowid")


def without_indexes(connection: Connection, kind: type[SQLModel]) -> Callable[[], None]:
    """Take the indexes off an empty table, until what is returned is called: sorted once, they cost a third.

    Not on PostgreSQL: there it would lock out those who read.
    """
    if connection.dialect.name != "sqlite":
        return lambda: None
    indexes = list(connection.execute(_INDEXES, {"table": table_of(kind).name}))
    for name, _ in indexes:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')

    def put_on() -> None:
        for _, statement in indexes:
            connection.exec_driver_sql(statement)

    return put_on


def is_empty(connection: Connection, kind: type[SQLModel]) -> bool:
    """Whether a table has no row."""
    return connection.execute(select(table_of(kind)).limit(1)).first() is None


def newest_places_last(connection: Connection, replaced: Collection[tuple[str, str]] = ()) -> None:
    """Number the places of contents that have several by the time of their segments: the newest is the one that is read.

    Before these come those that were ``replaced``, by content and segment: whatever the times say.
    """
    several = select(_OBJECT.c.content_sha256).group_by(_OBJECT.c.content_sha256).having(func.count() > 1)
    contents = list(connection.scalars(several))
    columns = [_OBJECT.c[name] for name in Place.__slots__]
    for part in in_parts(contents):
        wanted = _OBJECT.c.content_sha256.in_(part)
        query = select(*columns).join(_SEGMENT, _SEGMENT.c.segment_sha256 == _OBJECT.c.segment_sha256).where(wanted)
        rows = [tuple(row) for row in connection.execute(query.order_by(_SEGMENT.c.created_at, _SEGMENT.c.segment_sha256))]
        rows.sort(key=lambda row: (row[_CONTENT], row[_IN]) not in replaced)
        connection.execute(delete(_OBJECT).where(wanted))
        OBJECTS.add(connection, rows)


def sizes_of_contents(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return for each content its plain bytes and the stored ones of its newest place."""
    columns = _OBJECT.c
    query = select(columns.content_sha256, columns.size_bytes, columns.length).order_by(columns.object_id)
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class Learnt:
    """What only a catalogue knows of what lies on the disk: when segments came and were checked, how often versions were read."""

    segments: Sequence[Mapping[str, Any]]  # columns of several types
    versions: Sequence[Mapping[str, Any]]


def what_was_learnt(connection: Connection) -> Learnt:
    """Return what a catalogue has learnt, which no file tells."""
    segments = select(_SEGMENT.c.segment_sha256.label("of"), *(_SEGMENT.c[name] for name in _OF_SEGMENT))
    versions = select(_VERSION.c.file_path.label("of"), *(_VERSION.c[name] for name in ("content_sha256", *_OF_VERSION)))
    return Learnt(
        [dict(row) for row in connection.execute(segments).mappings()],
        [dict(row) for row in connection.execute(versions.where(_VERSION.c.access_count > 0, _VERSION.c.current)).mappings()],
    )


def tell_of_segments(connection: Connection, learnt: Learnt) -> None:
    """Have segments that are there know it."""
    told: dict[str, Any] = {name: bindparam(name) for name in _OF_SEGMENT}
    if learnt.segments:
        connection.execute(update(_SEGMENT).where(_SEGMENT.c.segment_sha256 == bindparam("of")).values(told), learnt.segments)


def tell_of_versions(connection: Connection, learnt: Learnt) -> None:
    """Have versions that have the same content know it."""
    told: dict[str, Any] = {name: bindparam(name) for name in _OF_VERSION}
    same = (_VERSION.c.file_path == bindparam("of")) & (_VERSION.c.content_sha256 == bindparam("content")) & _VERSION.c.current
    if learnt.versions:
        values = [
            {"content": one["content_sha256"], **{name: one[name] for name in ("of", *_OF_VERSION)}} for one in learnt.versions
        ]
        connection.execute(update(_VERSION).where(same).values(told), values)


def copy_the_rest(old: Database, connection: Connection) -> int:
    """Copy what only a catalogue knows (jobs, schedules, the audit trail, findings) from another one; return how many rows.

    Raises:
        StorageError: the other one cannot be read.
    """
    made_anew = {table_of(kind).name for kind in MADE_ANEW}
    copied = 0
    with old.read() as source:
        for table in SQLModel.metadata.sorted_tables:
            if table.name in made_anew:
                continue
            result = source.execute(select(table).execution_options(yield_per=_COPIED_ROWS)).mappings()
            for rows in result.partitions(_COPIED_ROWS):
                connection.execute(insert(table), [dict(row) for row in rows])
                copied += len(rows)
    return copied


def known_revisions(old: Database) -> Iterator[tuple[str, str, int, str]]:
    """Yield library, version, revision and content of all that a catalogue has stored.

    Raises:
        StorageError: it cannot be read.
    """
    columns = table_of(Version).c
    query = select(columns.library_id, columns.version, columns.revision, columns.content_sha256)
    with old.read() as connection:
        for row in connection.execute(query.execution_options(yield_per=_COPIED_ROWS)):
            yield row[0], row[1], row[2], row[3]


def library_row(
    library_id: str,
    times: tuple[datetime, datetime],
    sums: tuple[int, int, int],
    latest: Sequence[Any],  # columns of several types
    facts: Mapping[str, str | int | float],
) -> Row:
    """Return what LIBRARIES takes."""
    told = [facts.get(name, None if name in _NUMBERS else "") for name in LIBRARY_FACTS]
    return (library_id, *times, *sums, *latest, *told)


_NUMBERS = ("trust_score", "star_count")

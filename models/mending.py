"""What a repair asks the catalogue, and what it tells it: who needs which bytes, and where they lie from now on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from models.changes import note_change
from models.parts import in_parts
from models.rows import Place
from models.sweeping import live_places
from models.tables import Library, Segment, StoredObject, Version, table_of
from models.upkeep_tables import Audit, RemovedVersion

_VERSION, _REMOVED, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Version, RemovedVersion, Segment, StoredObject))
_LIBRARY = table_of(Library)
_FETCHED = 500
_NOT_PURGED = _REMOVED.c.purged_at.is_(None)
_TOLD = ("library_id", "version", "revision", "content_sha256", "created_at", "order_rank", "order_key", "file_path")
_TOLD_TOO = ("download_source", "details", "current")


@dataclass(frozen=True, slots=True)
class Holder:
    """A revision that needs a content: stored, or removed and not purged."""

    library_id: str
    version: str
    revision: int
    content_sha256: str
    stored_at: datetime
    order_rank: int
    order_key: str
    file_path: str
    source: str
    details: Mapping[str, Any]  # the producer's: any JSON
    current: bool
    removed: bool


def _holder(row: Row[Any], *, removed: bool) -> Holder:
    return Holder(**dict(zip((*_TOLD[:4], "stored_at", *_TOLD[5:], "source", *_TOLD_TOO[1:]), row, strict=True)), removed=removed)


def holders(connection: Connection, contents: Collection[str]) -> list[Holder]:
    """Return every revision that needs one of these contents, by library, version and number."""
    found: list[Holder] = []
    for part in in_parts(sorted(contents)):
        for table, removed in ((_VERSION, False), (_REMOVED, True)):
            query = select(*(table.c[name] for name in (*_TOLD, *_TOLD_TOO))).where(table.c.content_sha256.in_(part))
            rows = connection.execute(query.where(_NOT_PURGED) if removed else query)
            found += [_holder(row, removed=removed) for row in rows]
    return sorted(found, key=lambda one: (one.library_id, one.version, one.revision))


def library_holders(connection: Connection, library_id: str) -> list[Holder]:
    """Return every revision of a library that is stored, or removed and not purged, by version and number."""
    found: list[Holder] = []
    for table, removed in ((_VERSION, False), (_REMOVED, True)):
        query = select(*(table.c[name] for name in (*_TOLD, *_TOLD_TOO))).where(table.c.library_id == library_id)
        rows = connection.execute(query.where(_NOT_PURGED) if removed else query)
        found += [_holder(row, removed=removed) for row in rows]
    return sorted(found, key=lambda one: (one.version, one.revision))


def is_known(connection: Connection, segment_sha256: str) -> bool:
    """Whether the catalogue has a segment and does not want to be rid of it."""
    query = select(_SEGMENT.c.segment_sha256).where(_SEGMENT.c.segment_sha256 == segment_sha256, ~_SEGMENT.c.condemned)
    return connection.scalar(query) is not None


def came(connection: Connection, segment_sha256: str) -> datetime | None:
    """Return when a segment came, if the catalogue knows it."""
    return connection.scalar(select(_SEGMENT.c.created_at).where(_SEGMENT.c.segment_sha256 == segment_sha256))


def is_pinned(connection: Connection, segment_sha256: str) -> bool:
    """Whether something needs a segment's bytes though no row may name them."""
    return bool(connection.scalar(select(_SEGMENT.c.pins).where(_SEGMENT.c.segment_sha256 == segment_sha256)))


def forget_segment(connection: Connection, segment_sha256: str, elsewhere: Collection[str]) -> bool:
    """Forget a segment and its places when all that is needed of it is among the contents that lie ``elsewhere``."""
    if is_pinned(connection, segment_sha256):
        return False
    if {place.content_sha256 for place in live_places(connection, segment_sha256)} - set(elsewhere):
        return False
    connection.execute(delete(_OBJECT).where(_OBJECT.c.segment_sha256 == segment_sha256))
    connection.execute(delete(_SEGMENT).where(_SEGMENT.c.segment_sha256 == segment_sha256))
    note_change(connection, [segment_sha256], "gone")
    return True


def forget_places(connection: Connection, segment_sha256: str, contents: Collection[str]) -> None:
    """Forget that these contents lie in a segment: they lie elsewhere, too, and there they are whole."""
    for part in in_parts(sorted(contents)):
        mine = (_OBJECT.c.segment_sha256 == segment_sha256) & _OBJECT.c.content_sha256.in_(part)
        connection.execute(delete(_OBJECT).where(mine))


def correct_place(connection: Connection, place: Place) -> None:
    """Have a content lie in its segment where ``place`` says, whatever the catalogue said before."""
    mine = (_OBJECT.c.content_sha256 == place.content_sha256) & (_OBJECT.c.segment_sha256 == place.segment_sha256)
    connection.execute(delete(_OBJECT).where(mine))
    connection.execute(insert(_OBJECT), {name: getattr(place, name) for name in Place.__slots__})


def show_again(connection: Connection, contents: Collection[str]) -> None:
    """Have the tree show again the current revisions that have these contents."""
    for part in in_parts(sorted(contents)):
        mine = _VERSION.c.content_sha256.in_(part) & _VERSION.c.current
        connection.execute(update(_VERSION).where(mine).values(in_tree=False))


def show_paths_again(connection: Connection, file_paths: Collection[str]) -> None:
    """Have the tree show the current revisions with these paths again."""
    for part in in_parts(sorted(file_paths)):
        mine = _VERSION.c.file_path.in_(part) & _VERSION.c.current
        connection.execute(update(_VERSION).where(mine).values(in_tree=False))


def audit_repair(connection: Connection, at: datetime, by: str, repaired: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
    """Record where the bytes of versions, given by library and version, came from."""
    rows = [
        {
            "at": at,
            "by": by,
            "action": "repaired",
            "library_id": library_id,
            "version": version,
            "why": "",
            "details": dict(details),
        }
        for library_id, version, details in repaired
    ]
    if rows:
        connection.execute(insert(table_of(Audit)), rows)


def content_of(connection: Connection, library_id: str, version: str, revision: int) -> str:
    """Return the content of a revision that is stored."""
    columns = _VERSION.c
    named = (columns.library_id == library_id) & (columns.version == version) & (columns.revision == revision)
    return str(connection.scalar(select(columns.content_sha256).where(named)))


def libraries_at(connection: Connection, file_paths: Collection[str]) -> set[str]:
    """Return the libraries of the versions with these paths."""
    found: set[str] = set()
    for part in in_parts(sorted(file_paths)):
        found.update(connection.scalars(select(_VERSION.c.library_id).where(_VERSION.c.file_path.in_(part))))
    return found


def every_holder(connection: Connection) -> Iterator[Holder]:
    """Yield every revision that is stored, or removed and not purged."""
    for table, removed in ((_VERSION, False), (_REMOVED, True)):
        query = select(*(table.c[name] for name in (*_TOLD, *_TOLD_TOO)))
        query = query.where(_NOT_PURGED) if removed else query
        for row in connection.execute(query.execution_options(yield_per=_FETCHED)):
            yield _holder(row, removed=removed)


@dataclass(frozen=True, slots=True)
class RemovedRow:
    """A removal, in the words of the journal's entry."""

    library_id: str
    version: str
    stored_at: datetime
    revision: int
    at: datetime
    by: str
    why: str
    plan_id: str
    content_sha256: str


def removed_rows(connection: Connection) -> list[RemovedRow]:
    """Return every removal that the catalogue knows of."""
    names = ("library_id", "version", "created_at", "revision", "removed_at", "removed_by", "why", "plan_id", "content_sha256")
    return [RemovedRow(*row) for row in connection.execute(select(*(_REMOVED.c[name] for name in names)))]


def purged_rows(connection: Connection) -> list[tuple[tuple[str, str, datetime], int, datetime]]:
    """Return library, version and time of each revision that only keeps its number, that number, and when it was given up."""
    columns = _REMOVED.c
    query = select(columns.library_id, columns.version, columns.created_at, columns.revision, columns.purged_at)
    return [((row[0], row[1], row[2]), row[3], row[4]) for row in connection.execute(query.where(~_NOT_PURGED))]


def held_latest(connection: Connection) -> dict[str, tuple[str, datetime]]:
    """Return what ``latest`` means by hand, and since when, by library."""
    columns = _LIBRARY.c
    query = select(columns.library_id, columns.latest_held, columns.latest_held_at).where(columns.latest_held != "")
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}

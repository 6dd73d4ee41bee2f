"""What compress asks the catalogue, and its commit: other encodings take the place of those that are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, and_, bindparam, delete, func, select, true, update

from models.catalogue import NEWEST_FIRST, known_places
from models.commit import Outdated, add_segment
from models.parts import in_parts
from models.rows import NewSegment, Place
from models.tables import Library, Segment, StoredObject, Version, table_of
from models.upkeep_tables import RemovedVersion

_LIBRARY, _VERSION, _SEGMENT, _OBJECT, _REMOVED = (
    table_of(kind) for kind in (Library, Version, Segment, StoredObject, RemovedVersion)
)

Shown = Literal["all", "latest", "none"]
"""Which versions the tree shows."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A content of a library, and its newest place. ``kept``: other programs read it, or it is the latest: it needs no other.

    ``alone``: its segment holds nothing else. ``extra`` counts its other places.
    """

    place: Place
    kept: bool
    alone: bool
    extra: int


def library_names(connection: Connection, after: str = "", limit: int = 1000) -> list[str]:
    """Return the libraries behind ``after``, by name."""
    name = _LIBRARY.c.library_id
    return list(connection.scalars(select(name).where(name > after).order_by(name).limit(limit)))


def library_bytes(connection: Connection, library_id: str | None) -> int:
    """Return the plain bytes of a library's current versions; of all libraries' without one."""
    query = select(func.sum(_LIBRARY.c.total_size_bytes))
    return int(connection.scalar(query if library_id is None else query.where(_LIBRARY.c.library_id == library_id)) or 0)


def fast_bytes(connection: Connection) -> int:
    """Return the stored bytes of all that is encoded as it was on arrival."""
    return int(connection.scalar(select(func.sum(_OBJECT.c.length)).where(_OBJECT.c.effort == 0)) or 0)


def library_contents(connection: Connection, library_id: str, shown: Shown) -> list[Stored]:
    """Return what a library's revisions hold, each content once: versions newest first, in each the newest revision first."""
    columns = _VERSION.c
    query = select(columns.content_sha256).where(columns.library_id == library_id)
    contents = list(dict.fromkeys(connection.scalars(query.order_by(*NEWEST_FIRST, columns.revision.desc()))))
    places = known_places(connection, contents)
    kept = _kept(connection, contents, shown)
    counts = _place_counts(connection, contents)
    crowded = _crowded(connection, {place.segment_sha256 for place in places.values()})
    return [
        Stored(places[one], one in kept, places[one].segment_sha256 not in crowded, counts.get(one, 1) - 1)
        for one in contents
        if one in places
    ]


def _kept(connection: Connection, contents: Sequence[str], shown: Shown) -> set[str]:
    """Return those of these contents that some library's tree shows, or that are some library's latest."""
    columns = _VERSION.c
    query = select(columns.content_sha256).where(columns.current, columns.content_sha256.in_(bindparam("part", expanding=True)))
    if shown != "all":
        is_latest = and_(_LIBRARY.c.library_id == columns.library_id, _LIBRARY.c.latest_version == columns.version)
        query = query.join(_LIBRARY, is_latest)
    found: set[str] = set()
    for part in in_parts(contents):
        found.update(connection.scalars(query, {"part": part}))
    return found


def _place_counts(connection: Connection, contents: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in in_parts(contents):
        query = select(_OBJECT.c.content_sha256, func.count()).where(_OBJECT.c.content_sha256.in_(part))
        found.update((row[0], row[1]) for row in connection.execute(query.group_by(_OBJECT.c.content_sha256)))
    return found


def _crowded(connection: Connection, names: Collection[str]) -> set[str]:
    """Return those of these segments that hold more than one object."""
    found: set[str] = set()
    for part in in_parts(sorted(names)):
        query = select(_SEGMENT.c.segment_sha256).where(_SEGMENT.c.segment_sha256.in_(part), _SEGMENT.c.object_count > 1)
        found.update(connection.scalars(query))
    return found


def dependents(connection: Connection, content_sha256: str) -> list[Place]:
    """Return the objects that refer to a content."""
    columns = [_OBJECT.c[name] for name in Place.__slots__]
    return [Place(*row) for row in connection.execute(select(*columns).where(_OBJECT.c.reference_sha256 == content_sha256))]


def referring_contents(connection: Connection, contents: Collection[str]) -> set[str]:
    """Return the contents that refer to any of these, directly or not."""
    found: set[str] = set()
    wanted = set(contents)
    while wanted:
        more: set[str] = set()
        for part in in_parts(sorted(wanted)):
            more.update(connection.scalars(select(_OBJECT.c.content_sha256).where(_OBJECT.c.reference_sha256.in_(part))))
        wanted = more - found
        found |= more
    return found


def unfounded_contents(connection: Connection) -> set[str]:
    """Return the contents that refer to one which has no place."""
    base = _OBJECT.alias()
    there = select(base.c.content_sha256).where(base.c.content_sha256 == _OBJECT.c.reference_sha256)
    query = select(_OBJECT.c.content_sha256).where(_OBJECT.c.reference_sha256.is_not(None), ~there.exists())
    return set(connection.scalars(query))


def replace_places(connection: Connection, segments: Sequence[NewSegment], shown: Shown, now: datetime) -> set[str]:
    """Add segments of other encodings and drop every older place of their contents; return the segments that these were in.

    Sums follow, and the tree shows the kept ones anew. In the caller's write transaction, as a store's commit.

    Raises:
        Outdated: what one of them refers to is nowhere, or a segment is about to be swept. The transaction must be given up.
    """
    places = {place.content_sha256: place for segment in segments for place in segment.places}
    needed = {place.reference_sha256 for place in places.values() if place.reference_sha256} - places.keys()
    if needed - known_places(connection, needed).keys():
        raise Outdated
    for segment in segments:
        add_segment(connection, segment, now)
    emptied = _drop_old(connection, places, {segment.segment_sha256 for segment in segments})
    _tell_lengths(connection, places.values())
    for part in in_parts(sorted(_kept(connection, sorted(places), shown))):
        showing = update(_VERSION).where(_VERSION.c.content_sha256.in_(part), _VERSION.c.current, _VERSION.c.in_tree)
        connection.execute(showing.values(in_tree=False))
    return emptied


def _drop_old(connection: Connection, contents: Iterable[str], new: Collection[str]) -> set[str]:
    emptied: set[str] = set()
    for part in in_parts(sorted(contents)):
        old = and_(_OBJECT.c.content_sha256.in_(part), _OBJECT.c.segment_sha256.not_in(new))
        emptied.update(connection.scalars(select(_OBJECT.c.segment_sha256).where(old)))
        connection.execute(delete(_OBJECT).where(old))
    return emptied


def _tell_lengths(connection: Connection, places: Iterable[Place]) -> None:
    """Have versions, removed ones too, and the libraries' sums say how many bytes are stored now."""
    lengths = {place.content_sha256: place.length for place in places}
    values = [{"content": content, "length": length} for content, length in lengths.items()]
    if not values:
        return
    for table, wanted in ((_VERSION, true()), (_REMOVED, _REMOVED.c.purged_at.is_(None))):
        told = update(table).where(table.c.content_sha256 == bindparam("content"), wanted)
        connection.execute(told.values(compressed_size_bytes=bindparam("length")), values)
    libraries: set[str] = set()
    for part in in_parts(sorted(lengths)):
        libraries.update(connection.scalars(select(_VERSION.c.library_id).where(_VERSION.c.content_sha256.in_(part))))
    mine = and_(_VERSION.c.library_id == _LIBRARY.c.library_id, _VERSION.c.current)
    total = select(func.coalesce(func.sum(_VERSION.c.compressed_size_bytes), 0)).where(mine).scalar_subquery()
    for part in in_parts(sorted(libraries)):
        connection.execute(update(_LIBRARY).where(_LIBRARY.c.library_id.in_(part)).values(compressed_size_bytes=total))

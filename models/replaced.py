"""Places that are replaced, and lie there still: a catalogue that is made anew forgets them, as the old one did.

Compress, compaction and repairs write a content into a new segment and drop its older places. The older segment stays while
something else in it is needed, and its index goes on to tell of the content.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select

from models.parts import in_parts
from models.rows import Place
from models.tables import Segment, StoredObject, table_of

_SEGMENT, _OBJECT = table_of(Segment), table_of(StoredObject)
_COLUMNS = [_OBJECT.c[name] for name in Place.__slots__]

Replaced = tuple[str, str]
"""A content, and a segment in which its place counts no more."""


def segments_of(connection: Connection, contents: Collection[str]) -> dict[str, set[str]]:
    """Return the segments in which each of these contents has a place."""
    found: dict[str, set[str]] = {}
    columns = _OBJECT.c
    for part in in_parts(sorted(contents)):
        query = select(columns.content_sha256, columns.segment_sha256).where(columns.content_sha256.in_(part))
        for content, segment in connection.execute(query):
            found.setdefault(content, set()).add(segment)
    return found


def not_before(connection: Connection, now: datetime, names: Iterable[str]) -> datetime:
    """Return a time for what replaces places in these segments: now, or when the last of them came if that was later."""
    times = [now]
    for part in in_parts(sorted(names)):
        query = select(func.max(_SEGMENT.c.created_at)).where(_SEGMENT.c.segment_sha256.in_(part))
        times += [came for came in connection.scalars(query) if came is not None]
    return max(times)


def replaced_places(connection: Connection, told: Iterable[tuple[str, Collection[str]]]) -> set[Replaced]:
    """Return the places that were replaced, from the segments that say so and those that each of them names.

    What came later than whoever says so was written once more afterwards, and replaced that one in its turn.
    """
    found: set[Replaced] = set()
    for segment, names in told:
        mine = select(_OBJECT.c.content_sha256).where(_OBJECT.c.segment_sha256 == segment)
        said = select(_SEGMENT.c.created_at).where(_SEGMENT.c.segment_sha256 == segment).scalar_subquery()
        for part in in_parts(sorted(names)):
            query = select(_OBJECT.c.content_sha256, _OBJECT.c.segment_sha256)
            query = query.join(_SEGMENT, _SEGMENT.c.segment_sha256 == _OBJECT.c.segment_sha256)
            query = query.where(_SEGMENT.c.segment_sha256.in_(part), _SEGMENT.c.created_at <= said)
            query = query.where(_OBJECT.c.content_sha256.in_(mine))
            found.update((row[0], row[1]) for row in connection.execute(query))
    return found


Places = Mapping[str, Place]
"""The newest place of each content."""


def drop_replaced(connection: Connection, replaced: Collection[Replaced], can_read: Callable[[Place, Places], bool]) -> int:
    """Forget places that were replaced, where their content can be read without them; return how many.

    ``can_read`` tells whether it can from a place, when what that refers to lies where it is told: whoever wrote what replaces
    them may have died before he read it back or before his commit, and damage is for a repair to judge.
    """
    contents = {content for content, _ in replaced}
    newest = _newest(connection, contents)
    sound = {one for one in contents if (one, newest[one].segment_sha256) not in replaced}
    good = {one for one in sound if can_read(newest[one], newest)}
    doomed = [{"content": content, "segment": segment} for content, segment in replaced if content in good]
    mine = (_OBJECT.c.content_sha256 == bindparam("content")) & (_OBJECT.c.segment_sha256 == bindparam("segment"))
    if doomed:
        connection.execute(delete(_OBJECT).where(mine), doomed)
    return len(doomed)


def _newest(connection: Connection, contents: Collection[str]) -> dict[str, Place]:
    """Return the newest place of each of these contents, of what that refers to, and so on."""
    found: dict[str, Place] = {}
    wanted, looked_for = set(contents), set[str]()
    while wanted:
        looked_for |= wanted
        more: set[str] = set()
        for part in in_parts(sorted(wanted)):
            query = select(*_COLUMNS).where(_OBJECT.c.content_sha256.in_(part)).order_by(_OBJECT.c.object_id)
            places = {row[0]: Place(*row) for row in connection.execute(query)}
            more.update(place.reference_sha256 for place in places.values() if place.reference_sha256 is not None)
            found |= places
        wanted = more - looked_for
    return found

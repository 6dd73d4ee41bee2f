"""Whether the catalogue agrees with itself: sums, latest versions, current revisions. Each look is one statement."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select

from models.tables import Job, Library, Segment, StoredObject, Version, table_of
from models.upkeep_tables import RemovedVersion

_LIBRARY, _VERSION, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Library, Version, Segment, StoredObject))
_REMOVED, _JOB = table_of(RemovedVersion), table_of(Job)
_FETCHED = 1000


def wrong_sums(connection: Connection) -> list[str]:
    """Return the libraries whose sums are not those of their current versions."""
    columns, library = _VERSION.c, _LIBRARY.c
    sums = (
        select(
            columns.library_id,
            func.count().label("versions"),
            func.sum(columns.file_size_bytes).label("plain"),
            func.sum(columns.compressed_size_bytes).label("stored"),
        )
        .where(columns.current)
        .group_by(columns.library_id)
        .subquery()
    )
    differ = or_(
        library.total_versions != func.coalesce(sums.c.versions, 0),
        library.total_size_bytes != func.coalesce(sums.c.plain, 0),
        library.compressed_size_bytes != func.coalesce(sums.c.stored, 0),
    )
    query = select(library.library_id).outerjoin(sums, sums.c.library_id == library.library_id).where(differ)
    return list(connection.scalars(query.order_by(library.library_id)))


def wrong_latest(connection: Connection) -> list[str]:
    """Return the libraries whose latest version is none of their current versions."""
    columns, library = _VERSION.c, _LIBRARY.c
    mine = and_(columns.library_id == library.library_id, columns.current)
    named = select(columns.version_id).where(mine, columns.version == library.latest_version)
    some = select(columns.version_id).where(mine)
    query = select(library.library_id).where(some.exists(), ~named.exists())
    return list(connection.scalars(query.order_by(library.library_id)))


def wrong_current(connection: Connection) -> list[tuple[str, str]]:
    """Return library and version of those whose current revision is not the newest one, or that have none or several."""
    columns = _VERSION.c
    newest = func.max(columns.revision)
    current = func.max(columns.revision).filter(columns.current)
    query = select(func.min(columns.library_id), func.min(columns.version)).group_by(columns.file_path)
    query = query.having(or_(func.count().filter(columns.current) != 1, current != newest))
    return [(row[0], row[1]) for row in connection.execute(query)]


def segments_known(connection: Connection) -> dict[str, tuple[int, bool]]:
    """Return size in bytes of every segment, and whether it is condemned."""
    columns = _SEGMENT.c
    return {
        row[0]: (row[1], row[2])
        for row in connection.execute(select(columns.segment_sha256, columns.size_bytes, columns.condemned))
    }


def several_places(connection: Connection) -> tuple[int, int]:
    """Return how many contents lie in several segments, and the stored bytes that this takes beyond one of each."""
    columns = _OBJECT.c
    several = select((func.sum(columns.length) - func.min(columns.length)).label("more"))
    several = several.join(_SEGMENT, _SEGMENT.c.segment_sha256 == columns.segment_sha256).where(~_SEGMENT.c.condemned)
    found = several.group_by(columns.content_sha256).having(func.count() > 1).subquery()
    row = connection.execute(select(func.count(), func.coalesce(func.sum(found.c.more), 0)).select_from(found)).one()
    return int(row[0]), int(row[1])


def revisions_told(connection: Connection) -> Iterator[tuple[str, str, datetime, str, int]]:
    """Yield library, version, time, content and number of every revision that is stored."""
    columns = _VERSION.c
    query = select(columns.library_id, columns.version, columns.created_at, columns.content_sha256, columns.revision)
    for row in connection.execute(query.execution_options(yield_per=_FETCHED)):
        yield row[0], row[1], row[2], row[3], row[4]


def contents_known(connection: Connection) -> set[tuple[str, str, str]]:
    """Return library, version and content of every revision that is stored, or removed."""
    known: set[tuple[str, str, str]] = set()
    for table in (_VERSION, _REMOVED):
        query = select(table.c.library_id, table.c.version, table.c.content_sha256)
        known.update((row[0], row[1], row[2]) for row in connection.execute(query.execution_options(yield_per=_FETCHED)))
    return known


def waiting_payloads(connection: Connection) -> list[tuple[str, str]]:
    """Return id and file of the jobs that wait for their turn with a file in the inbox."""
    columns = _JOB.c
    query = select(columns.job_id, columns.payload).where(columns.state.in_(("queued", "retrying", "parked")))
    return [(row[0], row[1]) for row in connection.execute(query.where(columns.payload.like("%.inbox")))]


def longest_unread(connection: Connection) -> datetime | None:
    """Return when the segment that has waited longest was read last, or written if it never was; None when there is none."""
    columns = _SEGMENT.c
    last = func.min(func.coalesce(columns.checked_at, columns.created_at))
    return connection.execute(select(last).where(~columns.condemned)).scalar()


def last_stored(connection: Connection) -> datetime | None:
    """Return when the last revision was stored, by the clock of whoever stored it."""
    return connection.execute(select(func.max(_VERSION.c.created_at))).scalar()

"""What a backup asks the catalogue, and what the catalogue remembers of backups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text, update

from models.backup_tables import Backup
from models.parts import in_parts
from models.tables import Library, Segment, Version, table_of
from models.upkeep_tables import RemovedVersion

_SEGMENT, _VERSION, _LIBRARY, _BACKUP = (table_of(kind) for kind in (Segment, Version, Library, Backup))
_REMOVED = table_of(RemovedVersion)
_KNOWN = (_SEGMENT.c.segment_sha256, _SEGMENT.c.size_bytes, _SEGMENT.c.created_at)
_ROWS = 5000


@dataclass(frozen=True, slots=True)
class KnownSegment:
    """A segment as the catalogue has it."""

    segment_sha256: str
    size_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sums:
    """Everything counted. ``documents`` are current versions."""

    libraries: int
    documents: int
    revisions: int
    segments: int
    segment_bytes: int


@dataclass(frozen=True, slots=True)
class BackupRow:
    """A backup as the catalogue remembers it."""

    backup_id: str
    target: str
    kind: str
    state: str
    started_at: datetime
    finished_at: datetime | None = None
    documents: int = 0
    new_bytes: int = 0
    seconds: float = 0.0
    verdict: str = ""
    verified_at: datetime | None = None
    error: str = ""


def count_everything(connection: Connection) -> Sums:
    """Count what is stored. Documents are summed over the libraries; revisions and segments by an index."""
    libraries, documents = connection.execute(select(func.count(), func.sum(_LIBRARY.c.total_versions))).one()
    revisions = connection.scalar(select(func.count()).select_from(_VERSION)) or 0
    segments, size = connection.execute(select(func.count(), func.sum(_SEGMENT.c.size_bytes))).one()
    return Sums(libraries, int(documents or 0), revisions, segments, int(size or 0))


def segments_named(connection: Connection, names: Iterable[str]) -> dict[str, KnownSegment]:
    """Return those of these segments that there are."""
    found: dict[str, KnownSegment] = {}
    for part in in_parts(sorted(names)):
        query = select(*_KNOWN).where(_SEGMENT.c.segment_sha256.in_(part))
        found.update((row[0], KnownSegment(*row)) for row in connection.execute(query))
    return found


def every_segment(connection: Connection) -> Iterator[KnownSegment]:
    """Yield all segments in the order of their making, which is about that of the disk."""
    columns = _SEGMENT.c
    query = select(*_KNOWN).order_by(columns.created_at, columns.segment_sha256)
    for row in connection.execute(query.execution_options(yield_per=_ROWS)):
        yield KnownSegment(*row)


def hold_still(connection: Connection) -> None:
    """Begin to see one state of the catalogue: databases do so at the first query, and not when a transaction begins."""
    connection.execute(text("SELECT count(*) FROM alembic_version"))


def begin_backup(connection: Connection, row: BackupRow) -> None:
    """Note that a backup has begun."""
    connection.execute(insert(_BACKUP), {name: getattr(row, name) for name in BackupRow.__slots__})


def end_backup(connection: Connection, row: BackupRow) -> None:
    """Note how a backup ended, or what is known of one that another folder made."""
    values = {name: getattr(row, name) for name in BackupRow.__slots__}
    done = connection.execute(update(_BACKUP).where(_BACKUP.c.backup_id == row.backup_id).values(values))
    if not done.rowcount:
        connection.execute(insert(_BACKUP), values)


def note_verdict(connection: Connection, backup_id: str, verdict: str, at: datetime) -> bool:
    """Note what a verification said of a backup; return whether the catalogue remembers that one."""
    mine = _BACKUP.c.backup_id == backup_id
    return bool(connection.execute(update(_BACKUP).where(mine).values(verdict=verdict, verified_at=at)).rowcount)


def note_proven(connection: Connection, backup_id: str, at: datetime) -> None:
    """Note that a restore gave back everything, unless all of it was read and something was not whole."""
    mine = (_BACKUP.c.backup_id == backup_id) & (_BACKUP.c.verdict != "damaged")
    connection.execute(update(_BACKUP).where(mine).values(verdict="good", verified_at=at))


def remembered_backups(connection: Connection, limit: int = 1000) -> list[BackupRow]:
    """Return the backups that the catalogue remembers, those that failed too, the newest first."""
    columns = [_BACKUP.c[name] for name in BackupRow.__slots__]
    query = select(*columns).order_by(_BACKUP.c.started_at.desc()).limit(limit)
    return [BackupRow(*row) for row in connection.execute(query)]


def live_records(connection: Connection, told: Iterable[tuple[str, str, datetime]]) -> set[tuple[str, str, datetime]]:
    """Return those of these (content, version, time stored) that are revisions, stored or removed, of whatever library."""
    wanted = set(told)
    found: set[tuple[str, str, datetime]] = set()
    for contents in in_parts(sorted({content for content, _, _ in wanted})):
        for table in (_VERSION, _REMOVED):
            columns = (table.c.content_sha256, table.c.version, table.c.created_at)
            rows = connection.execute(select(*columns).where(table.c.content_sha256.in_(contents)))
            found.update((row[0], row[1], row[2]) for row in rows)
    return found & wanted


def give_up_backups(connection: Connection, target: str, error: str) -> None:
    """Note that the backups to a target that seem to run do not: whoever made them died."""
    mine = (_BACKUP.c.target == target) & (_BACKUP.c.state == "running")
    connection.execute(update(_BACKUP).where(mine).values(state="failed", error=error))


def note_removed(connection: Connection, backup_ids: Iterable[str]) -> None:
    """Note that backups are gone."""
    for part in in_parts(sorted(backup_ids)):
        connection.execute(update(_BACKUP).where(_BACKUP.c.backup_id.in_(part)).values(state="removed"))

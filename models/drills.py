"""Drills: what came of them, and what is compared in one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlmodel import SQLModel

from models.alarms import AHEAD
from models.backup_tables import Drill
from models.tables import Library, Segment, StoredObject, Version, table_of
from models.upkeep_tables import Alias, Label, Pin, RemovedVersion

_DRILL, _VERSION = table_of(Drill), table_of(Version).c
_ROWS = 1000
_REVISION = (
    *("library_id", "version", "revision", "current", "order_rank", "order_key", "file_path", "file_size_bytes"),
    *("compressed_size_bytes", "content_sha256", "created_at", "details"),
)
_TOLD: Mapping[type[SQLModel], tuple[str, ...]] = MappingProxyType(  # all but numbers of rows, and what was only of its time
    {
        Library: ("library_id", "total_versions", "total_size_bytes", "compressed_size_bytes", "latest_version", "updated_at"),
        Version: _REVISION,
        RemovedVersion: (*_REVISION, "removed_at", "removed_by", "why", "plan_id"),
        Segment: ("segment_sha256", "size_bytes", "object_count"),
        StoredObject: ("content_sha256", "size_bytes", "codec", "segment_sha256", "offset", "length", "stored_sha256", "blocks"),
        Pin: ("library_id", "version", "at", "by", "why"),
        Label: ("library_id", "label", "version", "at", "by", "why"),
        Alias: ("alias", "library_id", "at", "by", "why"),
    }
)


@dataclass(frozen=True, slots=True)
class DrillRow:
    """A drill as the catalogue has it. ``details``: its problems, and what was done with each backup."""

    drill_id: str
    backup_id: str
    at: datetime
    verdict: str
    rto_s: float
    rpo_s: float
    checked: int
    details: Mapping[str, Any]  # JSON


def add_drill(connection: Connection, row: DrillRow) -> None:
    """Note what came of a drill."""
    connection.execute(insert(_DRILL), {name: getattr(row, name) for name in DrillRow.__slots__})


def last_drills(connection: Connection, limit: int = 1, now: datetime | None = None) -> list[DrillRow]:
    """Return the last drills, the newest first; with ``now`` none of a time to come, as ``alarms.last_good_backup``."""
    query = select(*(_DRILL.c[name] for name in DrillRow.__slots__)).order_by(_DRILL.c.at.desc()).limit(limit)
    if now is not None:
        query = query.where(_DRILL.c.at <= now + AHEAD)
    return [DrillRow(*row) for row in connection.execute(query)]


def records_until(connection: Connection, at: datetime) -> Iterator[list[tuple[str, str, datetime]]]:
    """Yield content, version and time of all revisions that were stored until then, a thousand at a time."""
    query = select(_VERSION.content_sha256, _VERSION.version, _VERSION.created_at).where(_VERSION.created_at <= at)
    for rows in connection.execute(query.execution_options(yield_per=_ROWS)).partitions(_ROWS):
        yield [(row[0], row[1], row[2]) for row in rows]


def digest_of_tables(connection: Connection) -> dict[str, tuple[int, str]]:
    """Return for each table that the disk tells its count of rows, and a digest of them in whatever order. Constant memory."""
    return {table_of(kind).name: _digest(connection, kind, names) for kind, names in _TOLD.items()}


def _digest(connection: Connection, kind: type[SQLModel], names: Sequence[str]) -> tuple[int, str]:
    count = total = 0
    query = select(*(table_of(kind).c[name] for name in names))
    for row in connection.execute(query.execution_options(yield_per=_ROWS)):
        # The sum of the digests does not depend on the order: sorting millions of rows would cost more than reading them.
        total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest())
        count += 1
    return count, f"{total % (1 << 256):064x}"

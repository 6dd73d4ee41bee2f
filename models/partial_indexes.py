"""Indexes of some of a table's rows, beside the tables: only who compares them with a database needs to know them.

Their conditions are options of a database's own, and SQLAlchemy imports all that it knows of PostgreSQL and its drivers when one
of these is named: 10 ms of each process that has the tables.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, text
from sqlmodel import SQLModel

from models.tables import Job, Segment, StoredObject, Version, table_of
from models.upkeep_tables import FindingRow, RemovedVersion


def _index(name: str, kind: type[SQLModel], columns: str, where: str, lite: str | None = None, *, unique: bool = False) -> None:
    """Add an index. SQLite compares a flag that PostgreSQL names: ``lite``, where it is another condition."""
    named: list[Column[object]] = [table_of(kind).c[column] for column in columns.split()]
    Index(name, *named, unique=unique, sqlite_where=text(lite or where), postgresql_where=text(where))


_index("version_outside_tree", Version, "version_id", "NOT in_tree", "in_tree = 0")
_index("version_read", Version, "last_accessed", "last_accessed IS NOT NULL")
_index("segment_suspect", Segment, "segment_sha256", "suspect")
_index("segment_condemned", Segment, "segment_sha256", "condemned", "condemned = 1")
_index("object_reference", StoredObject, "reference_sha256", "reference_sha256 IS NOT NULL")
_index("job_active", Job, "state due_at", "state IN ('queued', 'running', 'retrying', 'parked')")
_index("job_waiting", Job, "queue priority created_at", "state = 'queued'")
_index("removed_in_tree", RemovedVersion, "version_id", "in_tree", "in_tree = 1")
_index("finding_open", FindingRow, "code subject path", "closed_at IS NULL", unique=True)

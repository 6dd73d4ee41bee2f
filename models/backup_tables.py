"""Tables of backups: those that were taken, the drills that proved them, and what changed between them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.columns import BYTES, JSON, TEXT, TIME


class Backup(SQLModel, table=True):
    """A backup as this folder remembers it; the truth is its manifest at the target.

    ``state``: running, done or failed. ``verdict``: empty until somebody verified it, then good or damaged.
    """

    __tablename__ = "backup"
    __table_args__ = (Index("backup_by_time", "started_at"),)

    backup_id: str = Field(primary_key=True, sa_type=TEXT)
    target: str = Field(sa_type=TEXT)
    kind: str = Field(sa_type=TEXT)
    state: str = Field(sa_type=TEXT)
    started_at: datetime = Field(sa_type=TIME)
    finished_at: datetime | None = Field(None, sa_type=TIME)
    documents: int = Field(0, sa_type=BYTES)
    new_bytes: int = Field(0, sa_type=BYTES)
    seconds: float = 0.0
    verdict: str = Field("", sa_type=TEXT)
    verified_at: datetime | None = Field(None, sa_type=TIME)
    error: str = Field("", sa_type=TEXT)


class Drill(SQLModel, table=True):
    """A drill: a backup was restored to scratch space and compared. ``rto_s``, ``rpo_s``: how long it took, how old it was."""

    __tablename__ = "drill"
    __table_args__ = (Index("drill_by_time", "at"),)

    drill_id: str = Field(primary_key=True, sa_type=TEXT)
    backup_id: str = Field(sa_type=TEXT)
    at: datetime = Field(sa_type=TIME)
    verdict: str = Field(sa_type=TEXT)
    rto_s: float = 0.0
    rpo_s: float = 0.0
    checked: int = Field(0, sa_type=BYTES)
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, nullable=False)


class SegmentChange(SQLModel, table=True):
    """A segment came, changed or went; in the order of the commits, since there is one writer at a time.

    An incremental backup looks at what is behind the last number that the one before it saw. ``what``: added, changed (its index
    tells more than before), gone, or anew: the catalogue was made anew, and nothing before counts.
    """

    __tablename__ = "segment_change"
    __table_args__ = ({"sqlite_autoincrement": True},)  # else SQLite would give the numbers of removed rows again

    change_id: int | None = Field(None, primary_key=True)
    segment_sha256: str = Field(sa_type=TEXT)
    what: str = Field(sa_type=TEXT)
    at: datetime = Field(sa_type=TIME)

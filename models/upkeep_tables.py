"""Tables of what people and policies did to what is stored, and of what was found wrong with it.

Indexes of some of their rows are in partial_indexes.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.columns import BYTES, JSON, TEXT, TIME


class RemovedVersion(SQLModel, table=True):
    """A revision that was removed: its row of ``version`` as it was, and who removed it when and why.

    Until ``purged_at`` it can be restored, and its content is needed as much as a version's. Afterwards a row stays only where
    it has the highest revision number of its version: that number is never given again, or a rebuild would number otherwise.
    ``in_tree``: the tree still shows it.
    """

    __tablename__ = "removed_version"
    __table_args__ = (
        UniqueConstraint("file_path", "revision", name="removed_revision"),
        Index("removed_by_library", "library_id", "version", "revision"),
        Index("removed_by_time", "purged_at", "removed_at"),
    )

    version_id: str = Field(primary_key=True, sa_type=TEXT)
    library_id: str = Field(sa_type=TEXT)
    version: str = Field(sa_type=TEXT)
    revision: int
    current: bool
    order_rank: int
    order_key: str = Field(sa_type=TEXT)
    file_path: str = Field(sa_type=TEXT)
    file_size_bytes: int = Field(sa_type=BYTES)
    compressed_size_bytes: int = Field(sa_type=BYTES)
    content_sha256: str = Field(index=True, sa_type=TEXT)
    created_at: datetime = Field(sa_type=TIME)
    download_source: str = Field("", sa_type=TEXT)
    processing_status: str = Field("pending", sa_type=TEXT)
    chunk_count: int = 0
    embedding_count: int = 0
    vector_count: int = 0
    last_accessed: datetime | None = Field(None, sa_type=TIME)
    access_count: int = Field(0, sa_type=BYTES)
    in_tree: bool = False
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, nullable=False)
    removed_at: datetime = Field(sa_type=TIME)
    removed_by: str = Field(sa_type=TEXT)
    why: str = Field("", sa_type=TEXT)
    plan_id: str = Field("", index=True, sa_type=TEXT)
    purged_at: datetime | None = Field(None, sa_type=TIME)


class Pin(SQLModel, table=True):
    """A version that no policy removes, with all its revisions."""

    __tablename__ = "pin"

    library_id: str = Field(primary_key=True, sa_type=TEXT)
    version: str = Field(primary_key=True, sa_type=TEXT)
    at: datetime = Field(sa_type=TIME)
    by: str = Field(sa_type=TEXT)
    why: str = Field("", sa_type=TEXT)


class Label(SQLModel, table=True):
    """A name that a person gave to a version of a library. A version may have several, a label names one version."""

    __tablename__ = "label"

    library_id: str = Field(primary_key=True, sa_type=TEXT)
    label: str = Field(primary_key=True, sa_type=TEXT)
    version: str = Field(sa_type=TEXT)
    at: datetime = Field(sa_type=TIME)
    by: str = Field(sa_type=TEXT)
    why: str = Field("", sa_type=TEXT)


class Alias(SQLModel, table=True):
    """Another name of a library. ``library_id`` is empty when it is none any more and the tree may still show it."""

    __tablename__ = "alias"

    alias: str = Field(primary_key=True, sa_type=TEXT)
    library_id: str = Field(index=True, sa_type=TEXT)
    at: datetime = Field(sa_type=TIME)
    by: str = Field(sa_type=TEXT)
    why: str = Field("", sa_type=TEXT)
    in_tree: bool = False


class Audit(SQLModel, table=True):
    """A change that a person or a policy made to what is stored. ``by`` is such as person:NAME, schedule or producer:NAME."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("audit_by_time", "at"),
        Index("audit_by_library", "library_id", "version", "at"),
    )

    audit_id: int | None = Field(None, primary_key=True)
    at: datetime = Field(sa_type=TIME)
    by: str = Field(sa_type=TEXT)
    action: str = Field(sa_type=TEXT)
    library_id: str = Field("", sa_type=TEXT)
    version: str = Field("", sa_type=TEXT)
    why: str = Field("", sa_type=TEXT)
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, nullable=False)


class FindingRow(SQLModel, table=True):
    """Something found wrong: open while ``closed_at`` is null, and open once for each code, subject and path."""

    __tablename__ = "finding"
    __table_args__ = (Index("finding_by_time", "last_seen"),)

    finding_id: int | None = Field(None, primary_key=True)
    code: str = Field(sa_type=TEXT)
    severity: str = Field("", sa_type=TEXT)
    subject: str = Field("", sa_type=TEXT)
    path: str = Field("", sa_type=TEXT)
    first_seen: datetime = Field(sa_type=TIME)
    last_seen: datetime = Field(sa_type=TIME)
    closed_at: datetime | None = Field(None, sa_type=TIME)
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, nullable=False)

"""The tables of the catalogue and the ledger. Column names follow the requirements' schemas where they name one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time in any database: SQLite alone would give back a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse a naive time: nobody could tell what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the time with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that compares byte by byte in every database: version order depends on it."""

_JSON: Any = JSON(none_as_null=True)  # SQLModel types sa_type by class, an instance is what SQLAlchemy wants
_BYTES: Any = BigInteger().with_variant(Integer(), "sqlite")
_TEXT: Any = _BYTEWISE
_TIME: Any = UtcDateTime()


def new_version_id() -> str:
    """Return a UUID of version 7: ids made later sort later, so that an index grows at its end (RFC 9562, 5.7)."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    random = uuid.uuid4().int & ((1 << 74) - 1)
    number = (now_ms << 80) | (0x7 << 76) | ((random >> 62) << 64) | (0b10 << 62) | (random & ((1 << 62) - 1))
    return str(uuid.UUID(int=number))


class Library(SQLModel, table=True):
    """One library and its sums over the current revisions. ``latest_*`` say which version ``latest`` means and why."""

    __tablename__ = "library"

    library_id: str = Field(primary_key=True, sa_type=_TEXT)
    name: str = Field("", sa_type=_TEXT)
    description: str = Field("", sa_type=_TEXT)
    category: str = Field("", sa_type=_TEXT)
    trust_score: float | None = None
    star_count: int | None = Field(None, sa_type=_BYTES)
    language: str = Field("", sa_type=_TEXT)
    homepage_url: str = Field("", sa_type=_TEXT)
    repository_url: str = Field("", sa_type=_TEXT)
    created_at: datetime = Field(sa_type=_TIME)
    updated_at: datetime = Field(sa_type=_TIME)
    total_versions: int = 0
    latest_version: str = Field("", sa_type=_TEXT)
    latest_rank: int = 0
    latest_key: str = Field("", sa_type=_TEXT)
    latest_at: datetime = Field(sa_type=_TIME)
    total_size_bytes: int = Field(0, sa_type=_BYTES)
    compressed_size_bytes: int = Field(0, sa_type=_BYTES)


class Version(SQLModel, table=True):
    """One revision of one version of a library. The highest revision is the current one; the others are history.

    ``file_path`` is the path below the data folder where other programs find it; library and version map to it one to one,
    so it is the key by which versions are looked up (SQLite scans the table for a pair of columns in a list of pairs).
    """

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("file_path", "revision", name="version_revision"),
        Index("version_listing", "library_id", "current", "order_rank", "order_key", "created_at"),
        Index("version_outside_tree", "version_id", sqlite_where=text("in_tree = 0"), postgresql_where=text("NOT in_tree")),
    )

    version_id: str = Field(primary_key=True, sa_type=_TEXT)
    library_id: str = Field(foreign_key="library.library_id", sa_type=_TEXT)
    version: str = Field(sa_type=_TEXT)
    revision: int
    current: bool
    order_rank: int
    order_key: str = Field(sa_type=_TEXT)
    file_path: str = Field(sa_type=_TEXT)
    file_size_bytes: int = Field(sa_type=_BYTES)
    compressed_size_bytes: int = Field(sa_type=_BYTES)
    content_sha256: str = Field(index=True, sa_type=_TEXT)
    created_at: datetime = Field(sa_type=_TIME)
    download_source: str = Field("", sa_type=_TEXT)
    processing_status: str = Field("pending", sa_type=_TEXT)
    chunk_count: int = 0
    embedding_count: int = 0
    vector_count: int = 0
    last_accessed: datetime | None = Field(None, sa_type=_TIME)
    access_count: int = Field(0, sa_type=_BYTES)
    in_tree: bool = False
    details: dict[str, Any] = Field(default_factory=dict, sa_type=_JSON, nullable=False)


class Segment(SQLModel, table=True):
    """An immutable file, named by its digest. A condemned one is about to be swept: nothing new may point at it."""

    __tablename__ = "segment"

    segment_sha256: str = Field(primary_key=True, sa_type=_TEXT)
    size_bytes: int = Field(sa_type=_BYTES)
    object_count: int
    condemned: bool = False
    created_at: datetime = Field(sa_type=_TIME)


class StoredObject(SQLModel, table=True):
    """One encoding of one content: which bytes of which segment hold it, and what they hash to."""

    __tablename__ = "object"
    __table_args__ = (UniqueConstraint("content_sha256", "segment_sha256", name="object_place"),)

    object_id: int | None = Field(None, primary_key=True)
    content_sha256: str = Field(sa_type=_TEXT)
    size_bytes: int = Field(sa_type=_BYTES)
    codec: str = Field(sa_type=_TEXT)
    segment_sha256: str = Field(foreign_key="segment.segment_sha256", index=True, sa_type=_TEXT)
    offset: int = Field(sa_type=_BYTES)
    length: int = Field(sa_type=_BYTES)
    stored_sha256: str = Field(sa_type=_TEXT)
    blocks: bytes | None = Field(None, sa_type=LargeBinary)


_ACTIVE = text("state IN ('queued', 'running', 'retrying', 'parked')")
_WAITING = text("state = 'queued'")


class Job(SQLModel, table=True):
    """One job of the ledger. ``payload`` is its file in the inbox, or its message as JSON.

    The lease: ``owner`` is the run that does it, ``token`` grows with each lease (the fencing token), ``renewals`` with each
    heartbeat. ``due_at`` is when it is sent again if nobody has begun it, ``sends`` how often that was done.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("job_by_state", "state", "created_at"),
        Index("job_by_time", "created_at"),
        Index("job_active", "state", "due_at", sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
        Index("job_ended", "finished_at"),
        Index("job_by_kind", "kind", "created_at"),
        Index("job_waiting", "queue", "priority", "created_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
    )

    job_id: str = Field(primary_key=True, sa_type=_TEXT)
    kind: str = Field(sa_type=_TEXT)
    subject: str = Field("", sa_type=_TEXT)
    state: str = Field(sa_type=_TEXT)
    priority: int = 0
    asked_by: str = Field("producer", sa_type=_TEXT)
    attempts: int = 0
    queue: str = Field("", sa_type=_TEXT, sa_column_kwargs={"server_default": text("''")})
    owner: str = Field("", sa_type=_TEXT)
    token: int = Field(0, sa_column_kwargs={"server_default": "0"})
    renewals: int = Field(0, sa_column_kwargs={"server_default": "0"})
    expires_at: datetime | None = Field(None, sa_type=_TIME)
    progress: dict[str, Any] | None = Field(None, sa_type=_JSON)
    suspects: dict[str, Any] | None = Field(None, sa_type=_JSON)
    payload: str = Field("", sa_type=_TEXT)
    created_at: datetime = Field(sa_type=_TIME)
    started_at: datetime | None = Field(None, sa_type=_TIME)
    finished_at: datetime | None = Field(None, sa_type=_TIME)
    due_at: datetime | None = Field(None, sa_type=_TIME)
    sent_at: datetime | None = Field(None, sa_type=_TIME)
    sends: int = Field(0, sa_column_kwargs={"server_default": "0"})
    outcome: dict[str, Any] | None = Field(None, sa_type=_JSON)
    error: dict[str, Any] | None = Field(None, sa_type=_JSON)


class Schedule(SQLModel, table=True):
    """How far a schedule has been looked after: every slot up to ``seen_until`` has its row.

    ``last_job_id`` is the job that it started last, ``counts`` how many slots it ever had in each state.
    """

    __tablename__ = "schedule"

    name: str = Field(primary_key=True, sa_type=_TEXT)
    seen_until: datetime = Field(sa_type=_TIME)
    expression: str = Field("", sa_type=_TEXT)
    time_zone: str = Field("", sa_type=_TEXT)
    last_job_id: str = Field("", sa_type=_TEXT)
    counts: dict[str, Any] = Field(default_factory=dict, sa_type=_JSON, nullable=False)


class Slot(SQLModel, table=True):
    """One due time of a schedule, claimed once. ``state``: ran, late, missed or overlapped; ``job_id`` is what it started."""

    __tablename__ = "slot"
    __table_args__ = (Index("slot_by_time", "slot_at", "schedule", "state"),)

    schedule: str = Field(primary_key=True, foreign_key="schedule.name", sa_type=_TEXT)
    slot_at: datetime = Field(primary_key=True, sa_type=_TIME)
    state: str = Field(sa_type=_TEXT)
    job_id: str = Field("", sa_type=_TEXT)
    claimed_at: datetime = Field(sa_type=_TIME)
    claimed_by: str = Field("", sa_type=_TEXT)


def table_of(kind: type[SQLModel]) -> Table:
    """Return the SQL table behind a model: bulk statements are several times faster on it than on the model."""
    return SQLModel.metadata.tables[str(kind.__tablename__)]

"""The tables of the catalogue and the ledger. Column names follow the requirements' schemas where they name one.

Indexes of some of their rows are in partial_indexes.py.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, Table, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import BYTES, JSON, TEXT, TIME


def new_version_id(at: datetime | None = None) -> str:
    """Return a UUID of version 7: ids made later sort later, so that an index grows at its end (RFC 9562, 5.7)."""
    now_ms = int((at or datetime.now(UTC)).timestamp() * 1000)
    random = int.from_bytes(os.urandom(10), "big")
    number = (now_ms << 80) | (0x7 << 76) | ((random >> 68) << 64) | (0b10 << 62) | (random & ((1 << 62) - 1))
    text = f"{number:032x}"  # uuid.UUID writes the same at three times the cost, and each version of a batch has one
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Library(SQLModel, table=True):
    """One library and its sums over the current revisions. ``latest_version`` says which version ``latest`` means.

    ``latest_rank``, ``latest_key`` and ``latest_at`` are those of the version that orders newest. That is the latest version,
    too, unless a person named another one: ``latest_held`` then, since ``latest_held_at``.
    """

    __tablename__ = "library"

    library_id: str = Field(primary_key=True, sa_type=TEXT)
    name: str = Field("", sa_type=TEXT)
    description: str = Field("", sa_type=TEXT)
    category: str = Field("", sa_type=TEXT)
    trust_score: float | None = None
    star_count: int | None = Field(None, sa_type=BYTES)
    language: str = Field("", sa_type=TEXT)
    homepage_url: str = Field("", sa_type=TEXT)
    repository_url: str = Field("", sa_type=TEXT)
    created_at: datetime = Field(sa_type=TIME)
    updated_at: datetime = Field(sa_type=TIME)
    total_versions: int = 0
    latest_version: str = Field("", sa_type=TEXT)
    latest_rank: int = 0
    latest_key: str = Field("", sa_type=TEXT)
    latest_at: datetime = Field(sa_type=TIME)
    latest_held: str = Field("", sa_type=TEXT, sa_column_kwargs={"server_default": text("''")})
    latest_held_at: datetime | None = Field(None, sa_type=TIME)
    total_size_bytes: int = Field(0, sa_type=BYTES)
    compressed_size_bytes: int = Field(0, sa_type=BYTES)


class Version(SQLModel, table=True):
    """One revision of one version of a library. The highest revision is the current one; the others are history.

    ``file_path`` is the path below the data folder where other programs find it; library and version map to it one to one,
    so it is the key by which versions are looked up (SQLite scans the table for a pair of columns in a list of pairs).
    """

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("file_path", "revision", name="version_revision"),
        Index("version_listing", "library_id", "current", "order_rank", "order_key", "created_at"),
        Index("version_usage", "library_id", "compressed_size_bytes"),
    )

    version_id: str = Field(primary_key=True, sa_type=TEXT)
    library_id: str = Field(foreign_key="library.library_id", sa_type=TEXT)
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


class Segment(SQLModel, table=True):
    """An immutable file, named by its digest. A condemned one is about to be swept: nothing new may point at it.

    ``checked_at`` is when it was last read whole and compared, ``checked_bad`` how many times it was found bad since it was last
    found good; ``pins`` counts what still needs its bytes though no row may name them. ``claimed_until``: a sweep is reading it.
    """

    __tablename__ = "segment"
    __table_args__ = (Index("segment_by_check", "checked_at"),)

    segment_sha256: str = Field(primary_key=True, sa_type=TEXT)
    size_bytes: int = Field(sa_type=BYTES)
    object_count: int
    condemned: bool = False
    created_at: datetime = Field(sa_type=TIME)
    checked_at: datetime | None = Field(None, sa_type=TIME)
    checked_bad: int = Field(0, sa_column_kwargs={"server_default": "0"})
    suspect: bool = Field(False, sa_column_kwargs={"server_default": text("false")})
    codec_advice: str = Field("", sa_type=TEXT, sa_column_kwargs={"server_default": text("''")})
    pins: int = Field(0, sa_column_kwargs={"server_default": "0"})
    claimed_until: datetime | None = Field(None, sa_type=TIME)


class StoredObject(SQLModel, table=True):
    """One encoding of one content: which bytes of which segment hold it, what they hash to, what they need to be unpacked."""

    __tablename__ = "object"
    __table_args__ = (UniqueConstraint("content_sha256", "segment_sha256", name="object_place"),)

    object_id: int | None = Field(None, primary_key=True)
    content_sha256: str = Field(sa_type=TEXT)
    size_bytes: int = Field(sa_type=BYTES)
    codec: str = Field(sa_type=TEXT)
    segment_sha256: str = Field(foreign_key="segment.segment_sha256", index=True, sa_type=TEXT)
    offset: int = Field(sa_type=BYTES)
    length: int = Field(sa_type=BYTES)
    stored_sha256: str = Field(sa_type=TEXT)
    blocks: bytes | None = Field(None, sa_type=LargeBinary)
    reference_sha256: str | None = Field(None, sa_type=TEXT)
    reference_offset: int = Field(0, sa_type=BYTES, sa_column_kwargs={"server_default": "0"})
    reference_length: int = Field(0, sa_type=BYTES, sa_column_kwargs={"server_default": "0"})
    effort: int = Field(0, sa_column_kwargs={"server_default": "0"})


class Job(SQLModel, table=True):
    """One job of the ledger. ``payload`` is its file in the inbox, or its message as JSON.

    The lease: ``owner`` is the run that does it, ``token`` grows with each lease (the fencing token), ``renewals`` with each
    heartbeat. ``due_at`` is when it is sent again if nobody has begun it, ``sends`` how often that was done. ``needs_bytes`` is
    the most that it may add to what is on the disk while it runs, as predicted when it began.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("job_by_state", "state", "created_at"),
        Index("job_by_time", "created_at"),
        Index("job_ended", "finished_at"),
        Index("job_by_kind", "kind", "created_at"),
    )

    job_id: str = Field(primary_key=True, sa_type=TEXT)
    kind: str = Field(sa_type=TEXT)
    subject: str = Field("", sa_type=TEXT)
    state: str = Field(sa_type=TEXT)
    priority: int = 0
    asked_by: str = Field("producer", sa_type=TEXT)
    attempts: int = 0
    queue: str = Field("", sa_type=TEXT, sa_column_kwargs={"server_default": text("''")})
    owner: str = Field("", sa_type=TEXT)
    token: int = Field(0, sa_column_kwargs={"server_default": "0"})
    renewals: int = Field(0, sa_column_kwargs={"server_default": "0"})
    expires_at: datetime | None = Field(None, sa_type=TIME)
    progress: dict[str, Any] | None = Field(None, sa_type=JSON)
    suspects: dict[str, Any] | None = Field(None, sa_type=JSON)
    payload: str = Field("", sa_type=TEXT)
    created_at: datetime = Field(sa_type=TIME)
    started_at: datetime | None = Field(None, sa_type=TIME)
    finished_at: datetime | None = Field(None, sa_type=TIME)
    due_at: datetime | None = Field(None, sa_type=TIME)
    sent_at: datetime | None = Field(None, sa_type=TIME)
    sends: int = Field(0, sa_column_kwargs={"server_default": "0"})
    outcome: dict[str, Any] | None = Field(None, sa_type=JSON)
    error: dict[str, Any] | None = Field(None, sa_type=JSON)
    needs_bytes: int = Field(0, sa_type=BYTES, sa_column_kwargs={"server_default": "0"})


class Schedule(SQLModel, table=True):
    """How far a schedule has been looked after: every slot up to ``seen_until`` has its row.

    ``last_job_id`` is the job that it started last, ``counts`` how many slots it ever had in each state. ``arguments`` is what
    jobs are told by whoever looked last; None: that was an older release.
    """

    __tablename__ = "schedule"

    name: str = Field(primary_key=True, sa_type=TEXT)
    seen_until: datetime = Field(sa_type=TIME)
    expression: str = Field("", sa_type=TEXT)
    time_zone: str = Field("", sa_type=TEXT)
    last_job_id: str = Field("", sa_type=TEXT)
    counts: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, nullable=False)
    arguments: dict[str, Any] | None = Field(None, sa_type=JSON)


class Slot(SQLModel, table=True):
    """One due time of a schedule, claimed once. ``state``: ran, late, missed or overlapped; ``job_id`` is what it started."""

    __tablename__ = "slot"
    __table_args__ = (Index("slot_by_time", "slot_at", "schedule", "state"),)

    schedule: str = Field(primary_key=True, foreign_key="schedule.name", sa_type=TEXT)
    slot_at: datetime = Field(primary_key=True, sa_type=TIME)
    state: str = Field(sa_type=TEXT)
    job_id: str = Field("", sa_type=TEXT)
    claimed_at: datetime = Field(sa_type=TIME)
    claimed_by: str = Field("", sa_type=TEXT)


def table_of(kind: type[SQLModel]) -> Table:
    """Return the SQL table behind a model: bulk statements are several times faster on it than on the model."""
    return SQLModel.metadata.tables[str(kind.__tablename__)]

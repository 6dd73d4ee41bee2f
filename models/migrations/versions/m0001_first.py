"""The first tables: library, version, segment, object, job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def _text(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False, primary_key=primary_key)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _bytes(name: str) -> sa.Column[int]:
    return sa.Column(name, _BYTES, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    _make_library()
    _make_version()
    _make_segments()
    _make_job()


def _make_library() -> None:
    texts = ("name", "description", "category", "language", "homepage_url", "repository_url")
    op.create_table(
        "library",
        _text("library_id", primary_key=True),
        *(_text(name) for name in texts),
        sa.Column("trust_score", sa.Float()),
        sa.Column("star_count", _BYTES),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        _count("total_versions"),
        _text("latest_version"),
        _count("latest_rank"),
        _text("latest_key"),
        sa.Column("latest_at", _TIME, nullable=False),
        _bytes("total_size_bytes"),
        _bytes("compressed_size_bytes"),
    )


def _make_version() -> None:
    op.create_table(
        "version",
        _text("version_id", primary_key=True),
        sa.Column("library_id", _TEXT, sa.ForeignKey("library.library_id"), nullable=False),
        _text("version"),
        _count("revision"),
        sa.Column("current", sa.Boolean(), nullable=False),
        _count("order_rank"),
        _text("order_key"),
        _text("file_path"),
        _bytes("file_size_bytes"),
        _bytes("compressed_size_bytes"),
        _text("content_sha256"),
        sa.Column("created_at", _TIME, nullable=False),
        _text("download_source"),
        _text("processing_status"),
        _count("chunk_count"),
        _count("embedding_count"),
        _count("vector_count"),
        sa.Column("last_accessed", _TIME),
        _bytes("access_count"),
        sa.Column("in_tree", sa.Boolean(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.UniqueConstraint("file_path", "revision", name="version_revision"),
    )
    op.create_index("ix_version_content_sha256", "version", ["content_sha256"])
    op.create_index("version_listing", "version", ["library_id", "current", "order_rank", "order_key", "created_at"])
    op.create_index(
        "version_outside_tree",
        "version",
        ["version_id"],
        sqlite_where=sa.text("in_tree = 0"),
        postgresql_where=sa.text("NOT in_tree"),
    )


def _make_segments() -> None:
    op.create_table(
        "segment",
        _text("segment_sha256", primary_key=True),
        _bytes("size_bytes"),
        _count("object_count"),
        sa.Column("condemned", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "object",
        sa.Column("object_id", sa.Integer(), primary_key=True),
        _text("content_sha256"),
        _bytes("size_bytes"),
        _text("codec"),
        sa.Column("segment_sha256", _TEXT, sa.ForeignKey("segment.segment_sha256"), nullable=False),
        _bytes("offset"),
        _bytes("length"),
        _text("stored_sha256"),
        sa.Column("blocks", sa.LargeBinary()),
        sa.UniqueConstraint("content_sha256", "segment_sha256", name="object_place"),
    )
    op.create_index("ix_object_segment_sha256", "object", ["segment_sha256"])


def _make_job() -> None:
    op.create_table(
        "job",
        _text("job_id", primary_key=True),
        *(_text(name) for name in ("kind", "subject", "state", "asked_by", "owner", "payload")),
        _count("priority"),
        _count("attempts"),
        sa.Column("created_at", _TIME, nullable=False),
        *(sa.Column(name, _TIME) for name in ("started_at", "finished_at", "due_at")),
        sa.Column("outcome", sa.JSON()),
        sa.Column("error", sa.JSON()),
    )
    op.create_index("job_by_state", "job", ["state", "created_at"])
    op.create_index("job_by_time", "job", ["created_at"])

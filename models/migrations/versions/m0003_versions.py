"""What people and policies do to versions: removals, pins, labels, a latest by hand, the audit trail; checks and findings."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_OPEN = sa.text("closed_at IS NULL")
_SUSPECT = sa.text("suspect")


def _texts(*names: str, primary_key: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False, primary_key=primary_key) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in names]


def _sizes(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, _BYTES, nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _times(*names: str) -> list[sa.Column[datetime]]:
    return [sa.Column(name, _TIME, nullable=False) for name in names]


def upgrade() -> None:
    """Add the columns and the tables."""
    _add_columns()
    _make_removed_version()
    _make_pins_and_labels()
    _make_audit()
    _make_finding()


def _add_columns() -> None:
    op.add_column("library", sa.Column("latest_held", _TEXT, nullable=False, server_default=sa.text("''")))
    op.add_column("library", sa.Column("latest_held_at", _TIME))
    for name in ("checked_at", "claimed_until"):
        op.add_column("segment", sa.Column(name, _TIME))
    for name in ("checked_bad", "pins"):
        op.add_column("segment", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("segment", sa.Column("suspect", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.add_column("segment", sa.Column("codec_advice", _TEXT, nullable=False, server_default=sa.text("''")))
    op.create_index("segment_by_check", "segment", ["checked_at"])
    op.create_index("segment_suspect", "segment", ["segment_sha256"], sqlite_where=_SUSPECT, postgresql_where=_SUSPECT)
    lite, large = sa.text("condemned = 1"), sa.text("condemned")
    op.create_index("segment_condemned", "segment", ["segment_sha256"], sqlite_where=lite, postgresql_where=large)


def _make_removed_version() -> None:
    op.create_table(
        "removed_version",
        *_texts("version_id", primary_key=True),
        *_texts("library_id", "version", "order_key", "file_path", "content_sha256", "download_source", "processing_status"),
        *_counts("revision", "order_rank", "chunk_count", "embedding_count", "vector_count"),
        *_flags("current", "in_tree"),
        *_sizes("file_size_bytes", "compressed_size_bytes", "access_count"),
        *_times("created_at", "removed_at"),
        sa.Column("last_accessed", _TIME),
        sa.Column("details", sa.JSON(), nullable=False),
        *_texts("removed_by", "why", "plan_id"),
        sa.Column("purged_at", _TIME),
        sa.UniqueConstraint("file_path", "revision", name="removed_revision"),
    )
    op.create_index("ix_removed_version_content_sha256", "removed_version", ["content_sha256"])
    op.create_index("ix_removed_version_plan_id", "removed_version", ["plan_id"])
    op.create_index("removed_by_library", "removed_version", ["library_id", "version", "revision"])
    op.create_index("removed_by_time", "removed_version", ["purged_at", "removed_at"])
    lite, large = sa.text("in_tree = 1"), sa.text("in_tree")
    op.create_index("removed_in_tree", "removed_version", ["version_id"], sqlite_where=lite, postgresql_where=large)


def _make_pins_and_labels() -> None:
    op.create_table("pin", *_texts("library_id", "version", primary_key=True), *_times("at"), *_texts("by", "why"))
    keys = _texts("library_id", "label", primary_key=True)
    op.create_table("label", *keys, *_texts("version"), *_times("at"), *_texts("by", "why"))


def _make_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("audit_id", sa.Integer(), primary_key=True),
        *_times("at"),
        *_texts("by", "action", "library_id", "version", "why"),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    op.create_index("audit_by_time", "audit", ["at"])
    op.create_index("audit_by_library", "audit", ["library_id", "version", "at"])


def _make_finding() -> None:
    op.create_table(
        "finding",
        sa.Column("finding_id", sa.Integer(), primary_key=True),
        *_texts("code", "severity", "subject", "path"),
        *_times("first_seen", "last_seen"),
        sa.Column("closed_at", _TIME),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    keys = ["code", "subject", "path"]
    op.create_index("finding_open", "finding", keys, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("finding_by_time", "finding", ["last_seen"])

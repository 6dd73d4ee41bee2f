"""Backups: those that were taken, the drills, which segments came and went, and which versions were read when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_READ = sa.text("last_accessed IS NOT NULL")


def upgrade() -> None:
    """Add the tables, and an index by which the versions that were read since are found."""
    _make_backup()
    _make_drill()
    op.create_table(
        "segment_change",
        sa.Column("change_id", sa.Integer(), primary_key=True),
        sa.Column("segment_sha256", _TEXT, nullable=False),
        sa.Column("what", _TEXT, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("version_read", "version", ["last_accessed"], sqlite_where=_READ, postgresql_where=_READ)


def _make_backup() -> None:
    op.create_table(
        "backup",
        sa.Column("backup_id", _TEXT, primary_key=True),
        *(sa.Column(name, _TEXT, nullable=False) for name in ("target", "kind", "state", "verdict", "error")),
        sa.Column("started_at", _TIME, nullable=False),
        *(sa.Column(name, _TIME) for name in ("finished_at", "verified_at")),
        *(sa.Column(name, _BYTES, nullable=False) for name in ("documents", "new_bytes")),
        sa.Column("seconds", sa.Float(), nullable=False),
    )
    op.create_index("backup_by_time", "backup", ["started_at"])


def _make_drill() -> None:
    op.create_table(
        "drill",
        sa.Column("drill_id", _TEXT, primary_key=True),
        *(sa.Column(name, _TEXT, nullable=False) for name in ("backup_id", "verdict")),
        sa.Column("at", _TIME, nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("rto_s", "rpo_s")),
        sa.Column("checked", _BYTES, nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    op.create_index("drill_by_time", "drill", ["at"])

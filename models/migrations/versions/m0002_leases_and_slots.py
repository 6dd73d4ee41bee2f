"""Leases, re-sending and progress of jobs; schedules and their slots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)
_ACTIVE = sa.text("state IN ('queued', 'running', 'retrying', 'parked')")
_WAITING = sa.text("state = 'queued'")


def upgrade() -> None:
    """Add the columns, their indexes and the two tables."""
    _add_job_columns()
    _make_schedule()


def _add_job_columns() -> None:
    op.add_column("job", sa.Column("queue", _TEXT, nullable=False, server_default=sa.text("''")))
    for name in ("token", "renewals", "sends"):
        op.add_column("job", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    for name in ("expires_at", "sent_at"):
        op.add_column("job", sa.Column(name, _TIME))
    for name in ("progress", "suspects"):
        op.add_column("job", sa.Column(name, sa.JSON()))
    op.create_index("job_active", "job", ["state", "due_at"], sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)
    op.create_index("job_ended", "job", ["finished_at"])
    op.create_index("job_by_kind", "job", ["kind", "created_at"])
    waiting = ["queue", "priority", "created_at"]
    op.create_index("job_waiting", "job", waiting, sqlite_where=_WAITING, postgresql_where=_WAITING)


def _make_schedule() -> None:
    op.create_table(
        "schedule",
        sa.Column("name", _TEXT, primary_key=True),
        sa.Column("seen_until", _TIME, nullable=False),
        sa.Column("expression", _TEXT, nullable=False),
        sa.Column("time_zone", _TEXT, nullable=False),
        sa.Column("last_job_id", _TEXT, nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
    )
    op.create_table(
        "slot",
        sa.Column("schedule", _TEXT, sa.ForeignKey("schedule.name"), primary_key=True),
        sa.Column("slot_at", _TIME, primary_key=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("job_id", _TEXT, nullable=False),
        sa.Column("claimed_at", _TIME, nullable=False),
        sa.Column("claimed_by", _TEXT, nullable=False),
    )
    op.create_index("slot_by_time", "slot", ["slot_at", "schedule", "state"])

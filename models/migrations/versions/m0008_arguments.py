"""What the jobs of a schedule are told by those who look after it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column. Nobody knows yet what stands in it: the next look writes that."""
    op.add_column("schedule", sa.Column("arguments", sa.JSON(), nullable=True))

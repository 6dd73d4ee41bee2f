"""Other names of libraries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "alias",
        sa.Column("alias", _TEXT, primary_key=True, nullable=False),
        sa.Column("library_id", _TEXT, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", _TEXT, nullable=False),
        sa.Column("why", _TEXT, nullable=False),
        sa.Column("in_tree", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_alias_library_id", "alias", ["library_id"])

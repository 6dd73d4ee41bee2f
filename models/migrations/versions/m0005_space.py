"""What a job needs of the disk, and what a library takes of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the column, and the index that answers what a library takes without a look at its rows."""
    op.add_column("job", sa.Column("needs_bytes", _BYTES, nullable=False, server_default="0"))
    op.create_index("version_usage", "version", ["library_id", "compressed_size_bytes"])

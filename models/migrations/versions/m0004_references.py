"""Objects that need another content to be unpacked, and how much compress has tried."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REFERS = sa.text("reference_sha256 IS NOT NULL")


def upgrade() -> None:
    """Add the columns and the index by which a base is found to be one."""
    op.add_column("object", sa.Column("reference_sha256", _TEXT))
    for name in ("reference_offset", "reference_length"):
        op.add_column("object", sa.Column(name, _BYTES, nullable=False, server_default="0"))
    op.add_column("object", sa.Column("effort", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("object_reference", "object", ["reference_sha256"], sqlite_where=_REFERS, postgresql_where=_REFERS)

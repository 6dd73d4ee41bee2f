"""Column types that mean the same in every database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON as JSON_TEXT
from sqlalchemy import BigInteger, DateTime, Integer, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


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

JSON: Any = JSON_TEXT(none_as_null=True)  # SQLModel types sa_type by class, an instance is what SQLAlchemy wants
BYTES: Any = BigInteger().with_variant(Integer(), "sqlite")
TEXT: Any = _BYTEWISE
TIME: Any = UtcDateTime()

"""Rows for a catalogue without any file behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from models.commit import commit_store
from models.database import Database
from models.rows import Committed, NewSegment, NewVersion, Place
from storage.ordering import order_of
from storage.paths import tree_path

START = datetime(2026, 11, 1, tzinfo=UTC)


def digest(name: str) -> str:
    """Return a digest that stands for a content or a segment."""
    return hashlib.sha256(name.encode()).hexdigest()


def segment(name: str, *contents: str, size_bytes: int = 1000) -> NewSegment:
    """Return a segment that holds contents, each of that size and a quarter of it on disk."""
    length = size_bytes // 4
    places = tuple(
        Place(digest(content), size_bytes, "gzip", digest(name), number * length, length, digest(f"stored {content}"))
        for number, content in enumerate(contents)
    )
    return NewSegment(digest(name), length * len(contents), places)


def version(library_id: str, name: str, content: str, seconds: float = 0, **more: Any) -> NewVersion:
    """Return a version to add, stored so long after the start."""
    order = order_of(more.pop("sort_as", name))
    return NewVersion(
        library_id,
        name,
        order.rank,
        order.key,
        tree_path(library_id, name),
        digest(content),
        more.pop("size_bytes", 1000),
        more.pop("stored_bytes", 250),
        START + timedelta(seconds=seconds),
        **more,
    )


def commit(database: Database, segments: Sequence[NewSegment], *versions: NewVersion) -> list[Committed]:
    """Commit a store."""
    with database.write() as connection:
        return commit_store(connection, segments, versions)

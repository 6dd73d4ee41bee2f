"""models/bulk.py: many rows by one statement, converted as SQLAlchemy would, in both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import StatementError

from models.bulk import Bulk, bulk_insert
from models.database import Database
from models.tables import Library, Segment, StoredObject, Version, table_of

_LIBRARY, _VERSION, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Library, Version, Segment, StoredObject))
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def _library(name: str) -> dict[str, Any]:
    facts = {"name": "n", "description": "", "category": "", "trust_score": 0.5, "star_count": 2**40, "language": "ü"}
    sums = {"total_versions": 1, "total_size_bytes": 2**40, "compressed_size_bytes": 1}
    latest = {"latest_version": "1", "latest_rank": 2, "latest_key": "k", "latest_at": NOW}
    latest |= {"latest_held": "", "latest_held_at": None}
    places = {"homepage_url": "100%", "repository_url": ":x ?"}
    return {"library_id": name, **facts, **places, "created_at": NOW, "updated_at": NOW, **sums, **latest}


def _version(name: str, **changed: Any) -> dict[str, Any]:
    given = {"version_id": name, "library_id": "/a", "version": name, "revision": 1, "current": True, "order_rank": 2}
    sizes = {"order_key": "", "file_path": name, "file_size_bytes": 5, "compressed_size_bytes": 2**33, "content_sha256": "c"}
    rest = {"created_at": NOW, "download_source": "", "in_tree": False, "details": {}}
    counts = dict.fromkeys(("chunk_count", "embedding_count", "vector_count", "access_count"), 0)
    return {**given, **sizes, **rest, **counts, "processing_status": "pending", "last_accessed": None, **changed}


def _rows_of(database: Database, table: Any) -> list[dict[str, Any]]:
    with database.read() as connection:
        rows = connection.execute(select(table)).mappings()
        return sorted((dict(row) for row in rows), key=lambda row: str(row.get("version_id", row.get("library_id", ""))))


def test_rows_come_back_as_those_that_sqlalchemy_inserts(database: Database) -> None:
    later = NOW.astimezone(timezone(timedelta(hours=5))) + timedelta(microseconds=1)
    versions = [_version("1", details={"a": [1, None, "ü%"]}), _version("2", created_at=later, last_accessed=NOW, in_tree=True)]
    names = tuple(reversed(_VERSION.columns.keys()))  # any order
    with database.write() as connection:
        bulk_insert(_LIBRARY, _library("/a")).run(connection, [tuple(_library("/a").values())])
        bulk_insert(_VERSION, names).run(connection, ([one[name] for name in names] for one in versions))
    in_bulk = _rows_of(database, _LIBRARY), _rows_of(database, _VERSION)
    with database.write() as connection:
        connection.execute(_VERSION.delete())
        connection.execute(_LIBRARY.delete())
        connection.execute(insert(_LIBRARY), [_library("/a")])
        connection.execute(insert(_VERSION), versions)
    assert in_bulk == (_rows_of(database, _LIBRARY), _rows_of(database, _VERSION))
    assert in_bulk[0] == [_library("/a")]
    assert in_bulk[1] == versions


def test_bytes_come_back_and_the_database_counts_what_is_not_given(database: Database) -> None:
    names = tuple(column.name for column in _OBJECT.columns if column.name != "object_id")
    given: dict[str, Any] = {"content_sha256": "c", "size_bytes": 1, "codec": "gzip", "segment_sha256": "s", "offset": 0}
    given |= {"length": 1, "stored_sha256": "t", "blocks": b"\x00\xff", "reference_sha256": None}
    given |= {"reference_offset": 0, "reference_length": 0, "effort": 0}
    both = (given, given | {"content_sha256": "d", "offset": 1, "blocks": None})
    rows = [tuple(one[name] for name in names) for one in both]
    with database.write() as connection:
        segment = {"segment_sha256": "s", "size_bytes": 2, "object_count": 2, "created_at": NOW, "condemned": False}
        connection.execute(insert(_SEGMENT), segment)
        bulk_insert(_OBJECT, names).run(connection, rows)
        found = connection.execute(select(_OBJECT).order_by(_OBJECT.c.object_id)).all()
    assert [tuple(row)[1:] for row in found] == rows
    assert found[0].object_id < found[1].object_id


def test_an_update_changes_the_rows_that_it_names_and_no_other(database: Database) -> None:
    changed: Any = {"total_versions": bindparam("total_versions"), "updated_at": bindparam("updated_at")}
    change = Bulk(update(_LIBRARY).where(_LIBRARY.c.library_id == bindparam("key")).values(changed), ("key", *changed))
    later = NOW + timedelta(days=1)
    with database.write() as connection:
        connection.execute(insert(_LIBRARY), [_library(name) for name in ("/a", "/b", "/c")])
        change.run(connection, [("/a", 7, later), ("/c", 8, later)])
    found = {row["library_id"]: (row["total_versions"], row["updated_at"]) for row in _rows_of(database, _LIBRARY)}
    assert found == {"/a": (7, later), "/b": (1, NOW), "/c": (8, later)}


def test_no_rows_are_no_statement(database: Database) -> None:
    with database.write() as connection:
        bulk_insert(_VERSION, _version("1")).run(connection, [])
    assert _rows_of(database, _VERSION) == []


def test_a_column_with_a_default_that_is_not_given_is_refused_before_anything_is_written(database: Database) -> None:
    names = tuple(name for name in _version("1") if name != "processing_status")
    with database.write() as connection, pytest.raises(ValueError, match="processing_status"):
        bulk_insert(_VERSION, names).run(connection, [[_version("1")[name] for name in names]])


def test_a_naive_time_is_refused(database: Database) -> None:
    row = _library("/a") | {"created_at": NOW.replace(tzinfo=None)}
    with database.write() as connection, pytest.raises((ValueError, StatementError), match="naive"):
        bulk_insert(_LIBRARY, row).run(connection, [tuple(row.values())])


def test_rows_of_different_lengths_are_refused(database: Database) -> None:
    with database.write() as connection, pytest.raises(ValueError, match="zip"):
        bulk_insert(_LIBRARY, _library("/a")).run(connection, [tuple(_library("/a").values()), ("/b",)])

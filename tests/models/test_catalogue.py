"""models/catalogue.py: the queries, and that they find their rows by an index however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from models.catalogue import (
    find_version,
    known_places,
    list_libraries,
    list_places,
    list_segments,
    list_versions,
    mark_in_tree,
    outside_tree,
    segment_bytes,
    still_current,
    totals,
    unshown,
    versions_in_segment,
    versions_without_place,
)
from models.database import Database
from models.history import already_there, current_versions
from models.migrate import upgrade
from storage.paths import tree_path
from tests.support.catalogue import commit, digest, segment, version
from tests.support.postgresql import empty_postgresql

PATH = tree_path("/a/b", "1.0")

INDEXED: dict[str, Callable[[Connection], Any]] = {
    "find a version": lambda connection: find_version(connection, "/a/b", PATH),
    "find the latest": lambda connection: find_version(connection, "/a/b"),
    "a library's versions": lambda connection: list(list_versions(connection, "/a/b", "1.0")),
    "outside the tree": lambda connection: outside_tree(connection, 10),
    "unshown": lambda connection: unshown(connection, [PATH]),
    "in a segment": lambda connection: versions_in_segment(connection, digest("s")),
    "places in a segment": lambda connection: list_places(connection, digest("s")),
    "known places": lambda connection: known_places(connection, [digest("x")]),
    "current versions": lambda connection: current_versions(connection, [PATH]),
    "already there": lambda connection: already_there(connection, [(PATH, digest("x")), (PATH, digest("x"))]),
    "still current": lambda connection: still_current(connection, ["v"]),
    "mark in tree": lambda connection: mark_in_tree(connection, ["v"]),
    "some libraries": lambda connection: list(list_libraries(connection, ["/a/b"])),
    "segments behind one": lambda connection: list_segments(connection, digest("s"), 10),
}


@pytest.fixture
def stored(database: Database) -> Database:
    """Three versions of two libraries in two segments."""
    return _fill(database)


@pytest.fixture
def in_sqlite(scratch: Path) -> Iterator[Database]:
    """The same in SQLite. PostgreSQL plans by statistics: tables as small as these it rightly reads whole."""
    database = Database(f"sqlite:///{scratch / 'catalogue.db'}")
    upgrade(database)
    yield _fill(database)
    database.close()


@pytest.fixture
def in_postgresql(postgresql_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same in PostgreSQL."""
    empty_postgresql(postgresql_url)
    database = Database(postgresql_url)
    upgrade(database)
    yield _fill(database)
    database.close()


def _fill(database: Database) -> Database:
    commit(database, [segment("s", "x", "y")], version("/a/b", "1.0", "x"), version("/a/b", "2.0", "y", 0.1))
    commit(database, [segment("t", "z")], version("/a/c", "1.0", "z", 1))
    return database


def _statements(database: Database, query: Callable[[Connection], Any]) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with database.write() as connection:
            query(connection)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    return [
        one for one in sent if one[0].startswith(("SELECT", "UPDATE")) and " pg_" not in one[0] and "set_config" not in one[0]
    ]


@pytest.mark.parametrize("name", INDEXED)
def test_no_table_is_searched_row_by_row(in_sqlite: Database, name: str) -> None:
    statements = _statements(in_sqlite, INDEXED[name])
    assert statements
    for statement, parameters in statements:
        with in_sqlite.read() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        scans = [step for step in plan if step.startswith("SCAN") and "version_outside_tree" not in step]
        assert not scans, f"{statement}\n{plan}"


def test_a_search_row_by_row_would_be_noticed(in_sqlite: Database) -> None:
    with in_sqlite.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN SELECT * FROM version WHERE version = '1.0'")]
    assert any(step.startswith("SCAN") for step in plan)


def test_postgresql_can_use_the_index_of_what_is_outside_the_tree(in_postgresql: Database) -> None:
    ((statement, parameters),) = _statements(in_postgresql, INDEXED["outside the tree"])
    with in_postgresql.read() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
    assert "version_outside_tree" in plan


def test_versions_are_listed_newest_first_libraries_by_name(stored: Database) -> None:
    with stored.read() as connection:
        assert [(one.library_id, one.version) for one in list_versions(connection)] == [
            ("/a/b", "2.0"),
            ("/a/b", "1.0"),
            ("/a/c", "1.0"),
        ]


def test_names_order_by_their_bytes_in_every_database(database: Database) -> None:
    names = ["/a/b", "/A/b", "/a_b", "/Ä/b", "/a/é", "/a/z", "/文档/x", "/a/B"]
    commit(database, [segment("s", *names)], *(version(name, "1", name, at / 10) for at, name in enumerate(names)))
    with database.read() as connection:
        assert [one.library_id for one in list_libraries(connection)] == sorted(names)


def test_a_content_in_two_places_is_listed_once_even_beside_versions_of_equal_order(database: Database) -> None:
    batch = [version("/a/b", "1.0", "x"), version("/a/b", "1.0.0", "y")]
    commit(database, [segment("s", "x", "y")], *batch)
    commit(database, [segment("t", "y", "x")], *batch)
    with database.read() as connection:
        found = list(list_versions(connection, history=True))
    assert sorted(one.version for one in found) == ["1.0", "1.0.0"]
    assert {one.place.segment_sha256 for one in found} == {digest("t")}, "the newest place"


def test_totals_are_sums_over_the_current_revisions(stored: Database) -> None:
    commit(stored, [segment("u", "w", size_bytes=5000)], version("/a/b", "1.0", "w", 2, size_bytes=5000, stored_bytes=1250))
    with stored.read() as connection:
        assert totals(connection) == (2, 3, 7000, 1750)
        assert segment_bytes(connection) == 500 + 250 + 1250


def test_nothing_stored_sums_to_nothing(database: Database) -> None:
    with database.read() as connection:
        assert totals(connection) == (0, 0, 0, 0)
        assert segment_bytes(connection) == 0
        assert list_segments(connection) == []
        assert find_version(connection, "/a/b") is None


def test_segments_come_in_parts_by_digest(database: Database) -> None:
    names = [f"s{number}" for number in range(7)]
    for at, name in enumerate(names):
        commit(database, [segment(name, name)], version("/a/b", name, name, at))
    found: list[str] = []
    with database.read() as connection:
        while part := list_segments(connection, found[-1] if found else "", 3):
            found += [name for name, _ in part]
    assert found == sorted(digest(name) for name in names)


def test_a_version_whose_bytes_nobody_knows_is_found(stored: Database) -> None:
    with stored.read() as connection:
        assert versions_without_place(connection) == []
    with stored.write() as connection:
        connection.execute(text("DELETE FROM object WHERE content_sha256 = :content"), {"content": digest("y")})
    with stored.read() as connection:
        assert versions_without_place(connection) == [("/a/b", "2.0", 1)]


def test_only_what_the_tree_lacks_is_outside_it(stored: Database) -> None:
    with stored.read() as connection:
        waiting = outside_tree(connection, 10)
    with stored.write() as connection:
        mark_in_tree(connection, [one.version_id for one in waiting if one.version == "1.0"])
    with stored.read() as connection:
        assert [one.version for one in outside_tree(connection, 10)] == ["2.0"]
        assert [one.version for one in unshown(connection, [PATH, tree_path("/a/b", "2.0")])] == ["2.0"]
        assert still_current(connection, [one.version_id for one in waiting]) == {one.version_id for one in waiting}
    commit(stored, [segment("u", "w")], version("/a/b", "2.0", "w", 2))
    with stored.read() as connection:
        assert len(outside_tree(connection, 10)) == 1, "the superseded revision is no longer waited for"
        assert len(still_current(connection, [one.version_id for one in waiting])) == 2

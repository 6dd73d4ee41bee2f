"""models/changes.py: which segments came and went behind a number, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models.changes import KEPT, Changes, changes_behind, epoch, forget_changes, last_change, note_anew, note_change
from models.database import Database
from models.sweeping import forget_segments
from tests.support.catalogue import commit, digest, segment, version

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def behind(database: Database, number: int) -> Changes | None:
    with database.read() as connection:
        return changes_behind(connection, number)


def number(database: Database) -> int:
    with database.read() as connection:
        return last_change(connection)


def test_what_came_and_what_went_is_noted_with_the_rows(database: Database) -> None:
    commit(database, [segment("first", "a")], version("/a", "1.0", "a"))
    before = number(database)
    commit(database, [segment("second", "b")], version("/a", "2.0", "b", 1))
    commit(database, [segment("third", "c")], version("/a", "3.0", "c", 2))
    with database.write() as connection:
        forget_segments(connection, [digest("first"), digest("third")])
    second, third = digest("second"), digest("third")
    assert behind(database, before) == Changes(frozenset({second, third}), frozenset({digest("first")}))
    assert behind(database, number(database)) == Changes(frozenset(), frozenset())


def test_a_number_that_is_not_known_any_more_tells_nothing(database: Database) -> None:
    with database.write() as connection:
        note_change(connection, ["a"], "added", NOW - 2 * KEPT)
        note_change(connection, ["b"], "added", NOW - 2 * KEPT)
        note_change(connection, ["c"], "added", NOW)
        forget_changes(connection, NOW)
    assert behind(database, 0) is None
    assert behind(database, 1) is None
    assert behind(database, 2) == Changes(frozenset({"c"}), frozenset())
    assert behind(database, 4) is None, "more than there ever were: of another catalogue"


def test_the_last_number_is_never_given_again(database: Database) -> None:
    with database.write() as connection:
        note_change(connection, ["a"], "added", NOW - 2 * KEPT)
        forget_changes(connection, NOW)
    assert behind(database, 1) == Changes(frozenset(), frozenset())
    with database.write() as connection:
        forget_changes(connection, NOW + timedelta(days=1))
        note_change(connection, ["b"], "added", NOW)
    assert behind(database, 1) == Changes(frozenset({"b"}), frozenset())


def test_a_catalogue_that_was_made_anew_is_another_one(database: Database) -> None:
    found = set()
    for _ in range(3):
        with database.write() as connection:
            found.add(epoch(connection))
            note_anew(connection, NOW)
    assert len(found) == 3

"""models/curation.py, and what a commit does about a latest by hand and about numbers that removed revisions had."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, delete, insert, select

from models.catalogue import find_version, list_libraries
from models.chronicle import list_revisions
from models.commit import Outdated
from models.curation import (
    AuditRow,
    LabelRow,
    PinRow,
    add_audit,
    drop_label,
    drop_pin,
    find_held,
    hold_latest,
    list_audit,
    list_labels,
    list_pins,
    put_label,
    put_pin,
)
from models.database import Database
from models.tables import Version, table_of
from models.upkeep_tables import RemovedVersion
from tests.support.catalogue import START, commit, segment, version

_VERSION, _REMOVED = table_of(Version), table_of(RemovedVersion)


def latest(database: Database) -> str:
    """What latest means: the library's row and a reader's look-up must agree."""
    with database.read() as connection:
        (library,) = list_libraries(connection)
        found = find_version(connection, library.library_id)
        held = find_held(connection, library.library_id)
    assert found is not None
    assert held is not None
    (name,) = {found.version, library.latest_version, held.version}
    assert found.latest
    return name


def hold(database: Database, name: str | None, seconds: float) -> None:
    with database.write() as connection:
        hold_latest(connection, "/a/b", name, START + timedelta(seconds=seconds))


def add(database: Database, name: str, content: str, seconds: float, **more: object) -> int:
    (answer,) = commit(database, [segment(content, content)], version("/a/b", name, content, seconds, **more))
    return answer.revision


def test_a_latest_by_hand_holds_until_a_new_version_orders_newest(database: Database) -> None:
    for number, name in enumerate(("1.0", "2.0", "1.5")):
        add(database, name, name, number)
    hold(database, "1.0", 10)
    assert latest(database) == "1.0"
    add(database, "1.2", "new, but not the newest", 11)
    add(database, "2.0", "a revision of the newest", 12)
    assert latest(database) == "1.0"
    add(database, "2.1", "begun before it was said", 9)
    assert latest(database) == "1.0"
    add(database, "2.2", "new and the newest", 13)
    assert latest(database) == "2.2"
    hold(database, "1.5", 20)
    assert latest(database) == "1.5"
    hold(database, None, 21)
    assert latest(database) == "2.2"


def test_the_newest_version_may_sink_under_a_latest_by_hand(database: Database) -> None:
    for number, name in enumerate(("1.0", "2.0", "3.0")):
        add(database, name, name, number)
    hold(database, "1.0", 10)
    add(database, "3.0", "sorted as another", 11, sort_as="0.1")
    assert latest(database) == "1.0"
    add(database, "2.5", "newest of what is left", 12)
    assert latest(database) == "2.5"


def remove(connection: Connection, revision: int, at: datetime) -> None:
    """Move a revision of 1.0 to the removed ones, as a cleanup does."""
    rows = connection.execute(select(_VERSION).where(_VERSION.c.version == "1.0", _VERSION.c.revision == revision)).mappings()
    gone = {"removed_at": at, "removed_by": "schedule", "why": "old", "plan_id": "p1"}
    connection.execute(insert(_REMOVED), [dict(row) | gone for row in rows])
    connection.execute(delete(_VERSION).where(_VERSION.c.version == "1.0", _VERSION.c.revision == revision))


def test_the_number_of_a_removed_revision_is_not_given_again(database: Database) -> None:
    assert [add(database, "1.0", name, number) for number, name in enumerate(("first", "second"))] == [1, 2]
    with database.write() as connection:
        for revision in (1, 2):
            remove(connection, revision, START + timedelta(seconds=10))
    with pytest.raises(Outdated):
        add(database, "1.0", "begun before the removal", 9)
    assert add(database, "1.0", "third", 11) == 3
    with database.read() as connection:
        told = [(one.revision, one.current, one.removed_by) for one in list_revisions(connection, "/a/b", "1.0")]
    assert told == [(3, True, ""), (2, False, "schedule"), (1, False, "schedule")]


def test_pins_and_labels_are_put_moved_and_dropped(database: Database) -> None:
    first, second = (LabelRow("/a/b", "production", name, START, "person:ada", "") for name in ("1.0", "2.0"))
    pinned = PinRow("/a/b", "1.0", START, "person:ada", "why")
    with database.write() as connection:
        put_pin(connection, pinned)
        put_label(connection, first)
        put_label(connection, second)
    with database.read() as connection:
        assert list_pins(connection, "/a/b", "1.0") == list_pins(connection) == [pinned]
        assert list_pins(connection, "/a/b", "2.0") == []
        assert list_labels(connection, "/a/b") == [second]
    with database.write() as connection:
        drop_pin(connection, "/a/b", "1.0")
        drop_label(connection, "/a/b", "production")
        assert (list_pins(connection), list_labels(connection)) == ([], [])


def test_the_audit_trail_is_newest_first_and_can_be_narrowed(database: Database) -> None:
    rows = [
        AuditRow(START, "schedule", "removed", "/a/b", "1.0", "old", {"revision": 1}),
        AuditRow(START, "person:ada", "latest", "/a/b", "", "", {}),
        AuditRow(START, "person:ada", "pinned", "/c/d", "1.0", "", {}),
    ]
    with database.write() as connection:
        add_audit(connection, rows)
        add_audit(connection, [])
    with database.read() as connection:
        assert list_audit(connection) == rows[::-1]
        assert list_audit(connection, "/a/b", "2.0") == [rows[1]]
        assert list_audit(connection, "/a/b", "1.0", limit=1) == [rows[1]]

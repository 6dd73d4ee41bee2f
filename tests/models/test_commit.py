"""models/commit.py, history.py and libraries.py: what a commit adds, and the sums and the latest version that it keeps."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text

from models.catalogue import find_version, known_places, list_libraries, list_versions, outside_tree, versions_without_place
from models.commit import Outdated, commit_store
from models.database import Database
from models.rows import LibraryRow, NewVersion, StoredVersion
from tests.support.catalogue import commit, digest, segment, version
from tests.support.crash import start_child, wait_for


def _history(database: Database, library_id: str = "/a/b") -> list[StoredVersion]:
    with database.read() as connection:
        return sorted(list_versions(connection, library_id, history=True), key=lambda one: (one.version, one.revision))


def _library(database: Database, library_id: str = "/a/b") -> LibraryRow:
    with database.read() as connection:
        (found,) = list_libraries(connection, [library_id])
    return found


def _latest(database: Database, library_id: str = "/a/b") -> str:
    with database.read() as connection:
        found = find_version(connection, library_id)
        flagged = [one.version for one in list_versions(connection, library_id) if one.latest]
    assert found is not None
    assert flagged == [found.version] == [_library(database, library_id).latest_version]
    return found.version


def test_a_version_is_stored_once_then_unchanged_then_revised(database: Database) -> None:
    (first,) = commit(database, [segment("s", "x")], version("/a/b", "1.0", "x"))
    (again,) = commit(database, [], version("/a/b", "1.0", "x", 1))
    (other,) = commit(database, [segment("t", "y")], version("/a/b", "1.0", "y", 2))
    assert [one.status for one in (first, again, other)] == ["stored", "unchanged", "stored"]
    assert [one.revision for one in (first, again, other)] == [1, 1, 2]
    assert again.version_id == first.version_id
    assert [(one.revision, one.current, one.place.content_sha256) for one in _history(database)] == [
        (1, False, digest("x")),
        (2, True, digest("y")),
    ]


def test_with_care_other_content_is_refused_and_nothing_changes(database: Database) -> None:
    commit(database, [segment("s", "x")], version("/a/b", "1.0", "x"))
    (refused,) = commit(database, [segment("t", "y")], version("/a/b", "1.0", "y", 1, refuse_other=True))
    assert (refused.status, refused.revision) == ("refused", 1)
    assert [one.place.content_sha256 for one in _history(database)] == [digest("x")]


def test_one_version_twice_in_a_batch_becomes_two_revisions(database: Database) -> None:
    batch = [version("/a/b", "1.0", "x", 0), version("/a/b", "2.0", "z", 1), version("/a/b", "1.0", "y", 2)]
    answers = commit(database, [segment("s", "x", "y", "z")], *batch)
    assert [(one.status, one.revision) for one in answers] == [("stored", 1), ("stored", 1), ("stored", 2)]
    assert [one.current for one in _history(database)] == [False, True, True]
    again = commit(
        database, [], *(version(one.library_id, one.version, name, 10) for one, name in zip(batch, "xzy", strict=True))
    )
    assert [(one.status, one.revision) for one in again] == [("unchanged", 1), ("unchanged", 1), ("unchanged", 2)]
    assert len(_history(database)) == 3


@pytest.mark.parametrize(
    ("stored", "then", "statuses"),
    [
        ("xy", "yx", ["unchanged", "stored"]),
        ("xy", "xx", ["stored", "unchanged"]),
        ("xyx", "yx", ["unchanged", "unchanged"]),
        ("xyx", "xyyx", ["unchanged"] * 4),
        ("xyz", "xy", ["stored", "stored"]),
    ],
)
def test_a_batch_is_unchanged_only_if_the_last_revisions_are_its_own(
    database: Database, stored: str, then: str, statuses: list[str]
) -> None:
    for second, content in enumerate(stored):
        commit(database, [segment(f"{second}{content}", content)], version("/a/b", "1", content, second))
    answers = commit(database, [], *(version("/a/b", "1", content, 10 + at) for at, content in enumerate(then)))
    assert [one.status for one in answers] == statuses


def test_a_content_that_is_not_there_makes_the_store_come_again(database: Database) -> None:
    with pytest.raises(Outdated):
        commit(database, [], version("/a/b", "1.0", "x"))
    commit(database, [segment("s", "x")], version("/a/b", "1.0", "x"))
    with database.write() as connection:
        connection.execute(text("UPDATE segment SET condemned = true"))
    with pytest.raises(Outdated):
        commit(database, [], version("/a/c", "1.0", "x", 1))
    with pytest.raises(Outdated):
        commit(database, [segment("s", "x")], version("/a/c", "1.0", "x", 1))
    assert not _history(database, "/a/c")


def test_a_revision_is_behind_the_one_before_it_or_the_store_comes_again(database: Database) -> None:
    commit(database, [segment("s", "x")], version("/a/b", "1.0", "x", 5))
    for seconds in (5, 4):
        with pytest.raises(Outdated):
            commit(database, [segment("t", "y")], version("/a/b", "1.0", "y", seconds))
    assert len(_history(database)) == 1


def test_a_version_that_the_disk_does_not_know_is_not_added(database: Database) -> None:
    commit(database, [segment("s", "x", "y")], version("/a/b", "1.0", "x"))
    (same,) = commit(database, [], version("/a/b", "1.0", "x", 1, recorded=False))
    assert same.status == "unchanged"
    for new in (version("/a/b", "2.0", "x", 1, recorded=False), version("/a/b", "1.0", "y", 1, recorded=False)):
        with pytest.raises(Outdated):
            commit(database, [], new)


def test_a_segment_that_is_there_gets_what_it_lacked(database: Database) -> None:
    commit(database, [segment("s", "x")], version("/a/b", "1.0", "x"))
    commit(database, [segment("s", "x", "y")], version("/a/b", "1.0", "x", 1), version("/a/b", "2.0", "y", 1.1))
    with database.read() as connection:
        assert known_places(connection, [digest("x"), digest("y")]).keys() == {digest("x"), digest("y")}
        assert versions_without_place(connection) == []


def test_content_written_again_is_read_from_its_new_place_and_shown_again(database: Database) -> None:
    commit(database, [segment("s", "x")], version("/a/b", "1.0", "x"))
    with database.write() as connection:
        connection.execute(text("UPDATE version SET in_tree = true"))
    commit(database, [segment("t", "x")], version("/a/b", "1.0", "x", 1))
    with database.read() as connection:
        found = find_version(connection, "/a/b")
        assert found is not None
        assert found.place.segment_sha256 == digest("t")
        assert [one.place.segment_sha256 for one in outside_tree(connection, 10)] == [digest("t")]
        assert len(list(list_versions(connection))) == 1


def test_the_latest_is_the_newest_release_whatever_the_order_of_arrival(database: Database) -> None:
    arrivals = [("3.5", "3.5"), ("3.24", "3.24"), ("3.9", "3.24"), ("4.0rc1", "3.24"), ("x", "3.24")]
    for seconds, (name, expected) in enumerate(arrivals):
        commit(database, [segment(name, name)], version("/a/b", name, name, seconds))
        assert _latest(database) == expected


def test_among_spellings_of_one_version_the_last_stored_is_the_latest(database: Database) -> None:
    batch = [version("/a/b", "1.0", "x", 0), version("/a/b", "1.0.0", "y", 0.5), version("/a/b", "v1", "z", 0.2)]
    commit(database, [segment("s", "x", "y", "z")], *batch)
    assert _latest(database) == "1.0.0"
    commit(database, [segment("t", "w")], version("/a/b", "v1", "w", 2))
    assert _latest(database) == "v1"


def test_a_latest_version_that_is_to_be_sorted_lower_is_the_latest_no_longer(database: Database) -> None:
    for seconds, name in enumerate(("1.0", "2.0", "3.0")):
        commit(database, [segment(name, name)], version("/a/b", name, name, seconds, library={"name": name}))
    with database.write() as connection:
        connection.execute(text("UPDATE version SET in_tree = true"))
    commit(database, [segment("s", "x")], version("/a/b", "3.0", "x", 9, sort_as="0.1", library={"name": "sunk"}))
    assert _latest(database) == "2.0"
    assert _library(database).facts["name"] == "3.0", "the facts of the version that became the latest last"
    with database.read() as connection:
        assert {one.version for one in outside_tree(connection, 10)} == {"2.0", "3.0"}, "the new latest is to be shown as such"
    commit(database, [segment("t", "y", "z")], version("/a/b", "2.0", "y", 10, sort_as="0.2"), version("/a/b", "4.0", "z", 10))
    assert _latest(database) == "4.0"


def test_a_librarys_facts_are_its_latest_versions(database: Database) -> None:
    facts = {"name": "One", "star_count": 10, "description": "kept"}
    commit(database, [segment("s", "x")], version("/a/b", "2.0", "x", 0, library=facts))
    commit(database, [segment("t", "y")], version("/a/b", "1.0", "y", 1, library={"name": "Old"}))
    assert _library(database).facts["name"] == "One"
    commit(database, [segment("u", "z")], version("/a/b", "3.0", "z", 2, library={"name": "Three", "trust_score": 9.5}))
    found = _library(database).facts
    assert (found["name"], found["star_count"], found["description"], found["trust_score"]) == ("Three", 10, "kept", 9.5)


def test_the_sums_equal_a_recount_after_any_commits(database: Database) -> None:
    chance = random.Random(20261101)
    for round_ in range(30):
        contents = [f"{round_}-{number}" for number in range(chance.randint(1, 4))]
        size = chance.randint(4, 4000)
        new: list[NewVersion] = []
        for at, content in enumerate(contents):
            library, name = chance.choice(["/a/b", "/a/c"]), chance.choice(["1.0", "2.0", "3.0b1", "x"])
            new.append(version(library, name, content, round_ + at / 10, size_bytes=size, stored_bytes=size // 4))
        commit(database, [segment(f"s{round_}", *contents, size_bytes=size)], *new)
    for library_id in ("/a/b", "/a/c"):
        row, current = _library(database, library_id), [one for one in _history(database, library_id) if one.current]
        assert row.total_versions == len(current)
        assert row.total_size_bytes == sum(one.place.size_bytes for one in current)
        assert row.compressed_size_bytes == sum(one.place.length for one in current)
        _latest(database, library_id)


def test_more_versions_than_a_statement_takes_parameters_are_one_commit(database: Database) -> None:
    names = [str(number) for number in range(1200)]
    new = [version(f"/many/{name}", "1.0", name, number / 1000) for number, name in enumerate(names)]
    assert {one.status for one in commit(database, [segment("s", *names)], *new)} == {"stored"}
    assert {one.status for one in commit(database, [], *new)} == {"unchanged"}


def test_processes_that_store_one_version_at_once_get_revisions_of_their_own(database: Database) -> None:
    def store(number: int) -> None:
        own, seconds = Database(database.url), 0.0
        while True:
            try:
                commit(own, [segment(f"s{number}", f"x{number}")], version("/a/b", "1.0", f"x{number}", seconds))
                break
            except Outdated:
                seconds += 1
        own.close()

    children = [start_child(lambda number=number: store(number)) for number in range(4)]  # type: ignore[misc]
    assert [wait_for(child) for child in children] == [0] * 4
    history = _history(database)
    assert [one.revision for one in history] == [1, 2, 3, 4]
    assert [one.created_at for one in history] == sorted(one.created_at for one in history)
    assert [one.current for one in history] == [False, False, False, True]
    assert _library(database).total_versions == 1


def test_a_commit_that_is_left_by_an_error_has_added_nothing(database: Database) -> None:
    def commit_and_fail() -> None:
        with database.write() as connection:
            commit_store(connection, [segment("s", "x")], [version("/a/b", "1.0", "x")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        commit_and_fail()
    with database.read() as connection:
        assert not list(list_versions(connection))
        assert not known_places(connection, [digest("x")])

"""models/sqlite_file.py: a file that is not finished is written once, and finished it is a catalogue like any other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from models.database import Database
from models.migrate import upgrade
from models.tables import Job, table_of

_AT = datetime(2026, 11, 1, tzinfo=UTC)


def test_an_unfinished_file_has_no_log_and_can_be_opened_by_all_once_it_is_closed(scratch: Path) -> None:
    path = scratch / "new.db"
    database = Database(f"sqlite:///{path}", unfinished=True)
    upgrade(database)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE one (number INTEGER)"))
        connection.execute(text("INSERT INTO one VALUES (1)"))
        assert not list(scratch.glob("new.db-*"))
    database.close()
    assert not list(scratch.glob("new.db-*"))
    usual = Database(f"sqlite:///{path}")
    with usual.read() as connection:
        assert connection.scalar(text("SELECT number FROM one")) == 1
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    usual.close()


def test_in_an_unfinished_file_a_savepoint_can_be_rolled_back(scratch: Path) -> None:
    database = Database(f"sqlite:///{scratch / 'new.db'}", unfinished=True)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE one (number INTEGER PRIMARY KEY, words TEXT)"))
        connection.execute(text("INSERT INTO one VALUES (1, 'kept')"))
        savepoint = connection.begin_nested()
        many = [{"number": number, "words": "x" * 1000} for number in range(2, 2000)]
        connection.execute(text("INSERT INTO one VALUES (:number, :words)"), many)
        connection.execute(text("UPDATE one SET words = 'changed'"))
        savepoint.rollback()
        assert connection.execute(text("SELECT * FROM one")).all() == [(1, "kept")]
    with database.read() as connection:
        assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    database.close()


@pytest.mark.parametrize("value", [{}, {"a": {}}, [], None, {"ü": [1, None]}, "", 0, False])
def test_json_comes_back_as_it_was(database: Database, value: object) -> None:
    job = {"job_id": "1", "kind": "k", "state": "done", "created_at": _AT, "outcome": value}
    with database.write() as connection:
        connection.execute(table_of(Job).insert(), [job])
        assert connection.scalar(text("SELECT outcome IS NULL FROM job")) == (value is None)
        assert connection.scalar(table_of(Job).select().with_only_columns(table_of(Job).c.outcome)) == value

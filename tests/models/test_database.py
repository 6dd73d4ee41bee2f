"""models/database.py: what a transaction promises, and what a database's errors mean."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import StatementError

from models import database as module
from models.database import Database
from models.tables import Job, Segment, table_of
from strongroom.errors import CatalogueBusy, ConfigurationError, DataFolderError, IntegrityError, PermissionRefused, StorageError
from tests.support.catalogue import START
from tests.support.crash import in_child, start_child, wait_for

_SEGMENT, _JOB = table_of(Segment), table_of(Job)


def _add(database: Database, name: str, at: datetime = START) -> None:
    with database.write() as connection:
        row = {"segment_sha256": name, "size_bytes": 1, "object_count": 0, "condemned": False, "created_at": at}
        connection.execute(insert(_SEGMENT), row)


def _count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM segment")) or 0)


def test_nothing_of_a_transaction_that_raises_has_happened(database: Database) -> None:
    def insert_and_fail() -> None:
        with database.write() as connection:
            names = "segment_sha256, size_bytes, object_count, condemned, created_at"
            connection.execute(text(f"INSERT INTO segment ({names}) VALUES ('a', 1, 0, false, '2026-11-01')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        insert_and_fail()
    assert _count(database) == 0


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    _add(database, "a")
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM segment")) == 1
        _add(database, "b")
        assert connection.scalar(text("SELECT count(*) FROM segment")) == 1
    assert _count(database) == 2


def test_a_time_comes_back_aware_and_in_utc(database: Database) -> None:
    _add(database, "a", datetime(2026, 11, 1, 14, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2))))
    with database.read() as connection:
        (found,) = connection.scalars(select(_SEGMENT.c.created_at))
    assert found == datetime(2026, 11, 1, 12, 30, 0, 123456, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="naive"):
        _add(database, "a", datetime(2026, 11, 1))  # noqa: DTZ001 - that is what is tested
    assert _count(database) == 0


def test_writers_queue_instead_of_overwriting_what_the_other_has_read(database: Database) -> None:
    _add(database, "0")

    def count_up() -> None:
        own = Database(database.url)
        for _ in range(20):
            with own.write() as connection:
                size = connection.scalar(text("SELECT size_bytes FROM segment")) or 0
                connection.execute(text("UPDATE segment SET size_bytes = :size"), {"size": size + 1})
        own.close()

    assert [wait_for(child) for child in [start_child(count_up) for _ in range(3)]] == [0, 0, 0]
    with database.read() as connection:
        assert connection.scalar(text("SELECT size_bytes FROM segment")) == 61


def test_whether_one_could_write_is_known_within_the_time_and_leaves_the_connection_as_it_was(database: Database) -> None:
    other = Database(database.url)
    with database.write() as connection:
        connection.execute(text("UPDATE segment SET size_bytes = 1"))
        assert not other.can_write(0.05)
    assert other.can_write(0.05)
    if database.is_sqlite:
        with other.read() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 1000 * module.BUSY_TIMEOUT_S
    other.close()


def test_a_writer_that_waits_too_long_is_told_that_the_catalogue_is_busy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.1 if database.is_sqlite else 1)
    other = Database(database.url)
    with database.write() as connection:
        connection.execute(text("UPDATE segment SET size_bytes = 1"))
        with pytest.raises(CatalogueBusy), other.write():
            pass
    with other.write():
        pass
    other.close()


def test_a_broken_rule_of_the_tables_is_no_passing_trouble(database: Database) -> None:
    _add(database, "a")
    with pytest.raises(StorageError) as caught:
        _add(database, "a")
    assert not caught.value.retryable


def test_missing_tables_say_how_to_make_them(empty: Database) -> None:
    with pytest.raises(DataFolderError, match="lacks its tables") as caught, empty.read() as connection:
        connection.execute(text("SELECT * FROM version"))
    assert "strongroom up" in caught.value.hint


def test_json_keeps_what_it_was_given(database: Database) -> None:
    outcome = {"text": "文档 \u0000 \N{GRINNING FACE}", "number": 2**53, "deep": {"list": [1, None, True]}}
    with database.write() as connection:
        row = {"job_id": "a", "kind": "store", "state": "done", "created_at": START, "outcome": outcome}
        connection.execute(insert(_JOB), row)
    with database.read() as connection:
        assert connection.scalar(select(_JOB.c.outcome)) == outcome


def test_a_database_that_is_not_there_is_no_crash(scratch: Path) -> None:
    with pytest.raises(PermissionRefused), Database(f"sqlite:///{scratch}/none/catalogue.db").read():
        pass
    with pytest.raises(CatalogueBusy, match="does not answer"), Database(f"postgresql+psycopg://@/x?host={scratch}").read():
        pass


@pytest.mark.parametrize("url", ["mysql://host/name", "nonsense", "postgresql+nosuch://host/name"])
def test_another_database_is_refused_by_the_name_of_its_setting(url: str) -> None:
    with pytest.raises((ConfigurationError, StorageError), match="STRONGROOM_DATABASE_URL"):
        Database(url)


def test_a_damaged_catalogue_is_called_damaged(scratch: Path) -> None:
    path = scratch / "catalogue.db"
    path.write_bytes(os.urandom(8192))
    with pytest.raises(IntegrityError, match="damaged"), Database(f"sqlite:///{path}").read():
        pass


def test_sqlite_loses_no_acknowledged_commit_when_the_process_ends(scratch: Path) -> None:
    database = Database(f"sqlite:///{scratch / 'catalogue.db'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE one (n INTEGER)"))
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2, "FULL: NORMAL loses commits in WAL mode"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    database.close()

    def write_and_die() -> None:
        with Database(database.url).write() as connection:
            connection.execute(text("INSERT INTO one VALUES (1)"))
        os._exit(9)

    assert in_child(write_and_die) == 9
    with Database(database.url).read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM one")) == 1

"""models/migrate.py and the migrations: the tables in the database are the tables in the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import SQLModel

import models.backup_tables
import models.partial_indexes  # noqa: F401  # both are among the tables once they are imported
from models import tables, upkeep_tables
from models.database import Database
from models.migrate import HEAD, check_revision, current_revision, upgrade
from models.schedule import find_schedules
from strongroom.errors import DataFolderError
from tests.support.crash import start_child, wait_for


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    kinds = (tables.Library, upkeep_tables.Audit)
    assert {kind.__tablename__ for kind in kinds} <= SQLModel.metadata.tables.keys()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_text_compares_byte_by_byte_on_postgresql_too(database: Database) -> None:
    """SQLite does by itself; PostgreSQL only in columns that are told to, whatever the language of the server."""
    if not database.is_sqlite:
        query = "SELECT table_name, column_name, collation_name FROM information_schema.columns WHERE data_type = 'text'"
        with database.read() as connection:
            columns = [tuple(row) for row in connection.execute(text(f"{query} AND table_schema = 'public'"))]
        assert len(columns) > 20
        assert [column for column in columns if column[2] != "C"] == []


def test_a_forgotten_migration_is_noticed(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("ALTER TABLE version DROP COLUMN download_source"))
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)


def test_head_is_the_newest_file() -> None:
    folder = Path(tables.__file__).parent / "migrations" / "versions"
    assert max(path.name[1:5] for path in folder.glob("m*.py")) == HEAD


def test_an_upgrade_runs_once(empty: Database) -> None:
    assert current_revision(empty) is None
    upgrade(empty)
    assert current_revision(empty) == HEAD
    upgrade(empty)
    check_revision(empty)


def test_a_schedule_that_an_older_release_looked_after_is_kept(database: Database) -> None:
    row = "('night', '2026-11-01 03:00:00+00:00', '0 3 * * *', 'UTC', 'night-1', '{}')"
    with database.write() as connection:
        connection.execute(text("ALTER TABLE schedule DROP COLUMN arguments"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
        columns = "name, seen_until, expression, time_zone, last_job_id, counts"
        connection.execute(text(f"INSERT INTO schedule ({columns}) VALUES {row}"))
    upgrade(database)
    with database.read() as connection:
        found = find_schedules(connection)["night"]
    assert (found.expression, found.last_job_id, found.arguments) == ("0 3 * * *", "night-1", None)


def test_processes_that_upgrade_at_once_do_not_disturb_each_other(empty_url: str) -> None:
    children = [start_child(lambda: upgrade(Database(empty_url))) for _ in range(3)]
    assert [wait_for(child) for child in children] == [0, 0, 0]
    database = Database(empty_url)
    check_revision(database)
    database.close()


def test_a_newer_catalogue_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for use in (upgrade, check_revision):
        with pytest.raises(DataFolderError, match="9999"):
            use(database)


def test_an_older_catalogue_is_not_used_before_it_is_upgraded(empty: Database) -> None:
    with pytest.raises(DataFolderError, match="not of this release"):
        check_revision(empty)

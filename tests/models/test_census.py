from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from models.census import active_jobs, ended_jobs, known_jobs, oldest_queued
from models.database import Database
from models.migrate import upgrade
from tests.support.job_rows import NOON, add_jobs


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'catalogue.db'}")
    upgrade(made)
    yield made
    made.close()


def test_jobs_are_counted_by_kind_and_state_each_in_one_of_two_counts(database: Database) -> None:
    add_jobs(
        database,
        *[("store", "queued", 1)] * 3,
        ("store", "parked", 1),
        ("verify", "running", 1),
        ("verify", "retrying", 1),
        *[("store", "done", 1)] * 2,
        ("verify", "failed", 1),
        ("store", "quarantined", 1),
        ("store", "cancelled", 1),
    )
    with database.read() as connection:
        assert active_jobs(connection) == {
            ("store", "queued"): 3,
            ("store", "parked"): 1,
            ("verify", "running"): 1,
            ("verify", "retrying"): 1,
        }
        assert ended_jobs(connection) == {
            ("store", "done"): 2,
            ("verify", "failed"): 1,
            ("store", "quarantined"): 1,
            ("store", "cancelled"): 1,
        }


def test_the_oldest_waits_to_be_begun_whatever_is_older_and_was(database: Database) -> None:
    with database.read() as connection:
        assert oldest_queued(connection) is None
    add_jobs(database, ("store", "done", 1), ("store", "running", 2), ("store", "queued", 5), ("store", "queued", 4))
    with database.read() as connection:
        assert oldest_queued(connection) == NOON + timedelta(minutes=4)


def test_jobs_that_have_a_row_are_known(database: Database) -> None:
    add_jobs(database, ("store", "done", 1), ("store", "queued", 2))
    with database.read() as connection:
        assert known_jobs(connection, [f"job-{number}" for number in range(1200)]) == {"job-0", "job-1"}


def test_no_count_of_what_is_active_reads_the_history(database: Database) -> None:
    asked: list[tuple[str, Any]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with database.read() as connection:
        active_jobs(connection)
        oldest_queued(connection)
        selects = [(statement, parameters) for statement, parameters in asked if statement.startswith("SELECT")]
        assert len(selects) == 2
        for statement, parameters in selects:
            plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            assert "SEARCH job USING" in plan, plan

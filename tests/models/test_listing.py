"""models/listing.py: what people ask the ledger, right and without reading the whole history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from models.database import Database
from models.ledger import JobRow, NewJob, State, find_jobs, first_row, park_job
from models.listing import count_active, count_ahead, count_states, newest_jobs, running_beside, states_of
from models.migrate import upgrade
from models.tables import Job, table_of
from tests.support.catalogue import START


def _enter(database: Database, name: str, state: State, second: float = 0, **more: Any) -> None:
    columns = {"kind": "store", "queue": "short", "priority": 3, **more}
    row = first_row(NewJob(name, columns["kind"]), state, START + timedelta(seconds=second)) | columns
    with database.write() as connection:
        connection.execute(insert(table_of(Job)), [row])


def _job(database: Database, name: str) -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def _newest(database: Database, *states: State, kind: str | None = None, limit: int = 10) -> list[str]:
    with database.read() as connection:
        return [row.job_id for row in newest_jobs(connection, states, kind, limit)]


@pytest.fixture
def some(database: Database) -> Database:
    """Jobs a to f, a new one each second."""
    states: tuple[State, ...] = ("done", "failed", "done", "queued", "failed", "running")
    for second, (name, state) in enumerate(zip("abcdef", states, strict=True)):
        _enter(database, name, state, second, kind="verify" if name in "be" else "store")
    return database


def test_jobs_are_listed_newest_first(some: Database) -> None:
    assert _newest(some) == list("fedcba")
    assert _newest(some, limit=2) == list("fe")


def test_states_and_kind_narrow_the_list_down_and_its_order_stays(some: Database) -> None:
    assert _newest(some, "failed", "done") == list("ecba")
    assert _newest(some, "failed", "done", limit=3) == list("ecb")
    assert _newest(some, kind="verify") == list("eb")
    assert _newest(some, "done", kind="verify") == []


def test_each_state_is_counted_and_one_that_no_job_is_in_is_left_out(some: Database) -> None:
    with some.read() as connection:
        assert count_states(connection) == {"queued": 1, "running": 1, "done": 2, "failed": 2}
        assert count_states(connection, at_most=1) == {"queued": 1, "running": 1, "done": 2, "failed": 2}
        assert count_active(connection) == 2


def test_counting_stops_where_it_is_told_to(database: Database) -> None:
    for number in range(5):
        _enter(database, f"{number}", "done")
    with database.read() as connection:
        assert count_states(connection, at_most=3) == {"done": 4}


def test_states_are_told_of_known_jobs_alone(some: Database) -> None:
    with some.read() as connection:
        assert states_of(connection, ["a", "f", "unknown"]) == {"a": "done", "f": "running"}


def test_ahead_are_older_ones_of_the_same_priority_and_all_of_higher_in_the_same_queue(database: Database) -> None:
    _enter(database, "me", "queued", 10)
    _enter(database, "older", "queued", 5)
    _enter(database, "urgent", "queued", 20, priority=0)
    for number, more in enumerate([{"second": 20}, {"priority": 6}, {"queue": "long"}, {"state": "running"}, {"state": "done"}]):
        _enter(database, f"not-{number}", **{"state": "queued", "second": 1, **more})
    with database.read() as connection:
        assert count_ahead(connection, _job(database, "me")) == 2
        assert count_ahead(connection, _job(database, "urgent")) == 0
        assert count_ahead(connection, _job(database, "me"), at_most=1) == 2, "which stands for more than one"


def test_beside_a_job_run_those_of_its_queue_and_those_of_its_kind(database: Database) -> None:
    _enter(database, "me", "queued", kind="verify", queue="long")
    _enter(database, "second", "running", kind="store", queue="long", started_at=START + timedelta(seconds=2))
    _enter(database, "first", "running", kind="verify", queue="short", started_at=START + timedelta(seconds=1))
    _enter(database, "other", "running", kind="store", queue="short", started_at=START)
    with database.read() as connection:
        assert [row.job_id for row in running_beside(connection, _job(database, "me"))] == ["first", "second"]
        assert [row.job_id for row in running_beside(connection, _job(database, "first"))] == ["other"]


@pytest.fixture
def sqlite(scratch: Path) -> Iterator[Database]:
    """A new catalogue on SQLite: PostgreSQL's plans follow what is in its tables."""
    database = Database(f"sqlite:///{scratch / 'catalogue.db'}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def plans(sqlite: Database) -> Iterator[list[str]]:
    """How SQLite goes about each query of the test, as EXPLAIN QUERY PLAN says it."""
    said: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            said.extend(row[3] for row in cursor.fetchall())

    event.listen(sqlite.engine, "before_cursor_execute", explain)
    yield said
    event.remove(sqlite.engine, "before_cursor_execute", explain)


def test_no_question_reads_the_whole_history(sqlite: Database, plans: list[str]) -> None:
    _enter(sqlite, "one", "queued")
    row = _job(sqlite, "one")
    plans.clear()
    with sqlite.read() as connection:
        newest_jobs(connection, [], None, 50)
        newest_jobs(connection, ["done", "failed"], None, 50)
        count_states(connection)
        count_active(connection)
        states_of(connection, ["one"])
        count_ahead(connection, row)
        running_beside(connection, row)
    assert plans
    scans = [plan for plan in plans if plan.startswith("SCAN job") and "job_by_time" not in plan]
    assert scans == [], "job_by_time is read from its end, and no further than the limit"


_MANY = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 29999)
    INSERT INTO job (job_id, kind, subject, state, priority, asked_by, attempts, owner, payload, created_at, queue)
    SELECT printf('%08d', i), 'store', '', iif(i % 2, 'failed', 'done'), 3, 'producer', 1, '', '',
           datetime('2026-11-01', '+' || i || ' seconds') || '.000000', 'short' FROM n
"""


def test_the_work_of_a_question_does_not_grow_with_the_history(sqlite: Database) -> None:
    with sqlite.write() as connection:
        connection.execute(text(_MANY))
    _enter(sqlite, "last", "queued", 200_000)
    row = _job(sqlite, "last")
    steps = Counter[str]()  # instructions of SQLite's machine, which no other load of this one changes
    with sqlite.read() as connection:
        machine: Any = connection.connection.driver_connection  # sqlite3's own
        for name, question in {
            "newest": lambda: newest_jobs(connection, [], None, 50),
            "newest in states": lambda: newest_jobs(connection, ["done", "failed"], None, 50),
            "active": lambda: count_active(connection),
            "ahead": lambda: count_ahead(connection, row),
            "beside": lambda: running_beside(connection, row),
            "counts": lambda: count_states(connection, 100),
        }.items():
            machine.set_progress_handler(lambda name=name: steps.update([name]), 1)
            question()
        machine.set_progress_handler(None, 0)
    assert len(steps) == 6
    assert max(steps.values()) < 10_000, f"of 30,000 jobs: {steps}"


def test_what_only_a_newer_worker_understands_is_not_waited_for(database: Database) -> None:
    with database.write() as connection:
        for name, code in (("full-disk", "disk_full"), ("too-new", "message_too_new")):
            park_job(connection, NewJob(name, "store"), {"code": code}, START, START)
        assert count_active(connection) == 1

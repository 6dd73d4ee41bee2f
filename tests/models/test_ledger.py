"""models/ledger.py: each job has one row, from the moment it is heard of."""

from __future__ import annotations

from datetime import timedelta

from models.database import Database
from models.leases import end_job, take_leases
from models.ledger import JobRow, NewJob, find_jobs, queue_jobs, record_failed
from models.listing import newest_jobs
from tests.support.catalogue import START

LATER = START + timedelta(seconds=5)


def _job(database: Database, name: str) -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def test_a_job_is_queued_once(database: Database) -> None:
    with database.write() as connection:
        assert queue_jobs(connection, [NewJob("one", "store", queue="short", priority=3)], START, LATER) == ["one"]
        assert queue_jobs(connection, [NewJob("one", "verify"), NewJob("two", "store")], START, LATER) == ["two"]
    row = _job(database, "one")
    assert (row.kind, row.state, row.queue, row.priority, row.attempts) == ("store", "queued", "short", 3, 0)
    assert (row.created_at, row.due_at, row.sent_at, row.token) == (START, LATER, START, 0)


def test_a_job_is_as_old_as_its_acceptance(database: Database) -> None:
    accepted_at = START - timedelta(hours=1)
    with database.write() as connection:
        queue_jobs(connection, [NewJob("one", "store", accepted_at=accepted_at)], START, START)
    assert _job(database, "one").created_at == accepted_at


def test_a_failed_message_is_recorded_once_and_never_over_another_job(database: Database) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob("two", "store", "two.inbox")], START, START)
        assert record_failed(connection, NewJob("one", "store"), {"code": "invalid_message"}, START).state == "failed"
        assert record_failed(connection, NewJob("two", "store"), {"code": "invalid_message"}, START).state == "queued"
    row = _job(database, "one")
    assert (row.attempts, row.finished_at, row.error, row.ended) == (1, START, {"code": "invalid_message"}, True)
    assert _job(database, "two").error is None


def test_a_message_that_was_sent_again_and_is_not_understood_does_not_wait_for_ever(database: Database) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob("one", "verify", '{"a": 1}')], START, START)
        row = record_failed(connection, NewJob("one", "verify", '{"a": 1}'), {"code": "invalid_message"}, START)
    assert (row.state, row.due_at) == ("failed", None)


def test_jobs_are_listed_newest_first_by_state(database: Database) -> None:
    with database.write() as connection:
        for seconds, name in enumerate(("one", "two", "three")):
            queue_jobs(connection, [NewJob(name, "store")], START + timedelta(seconds=seconds), START)
        row = take_leases(connection, [NewJob("two", "store")], "me", START, lambda _row: "alive")["two"]
        end_job(connection, row.lease, "failed", START)
    with database.read() as connection:
        assert [row.job_id for row in newest_jobs(connection)] == ["three", "two", "one"]
        assert [row.job_id for row in newest_jobs(connection, ["failed"])] == ["two"]
        assert [row.job_id for row in newest_jobs(connection, limit=1)] == ["three"]


def test_more_jobs_are_found_than_one_statement_takes_keys(database: Database) -> None:
    names = [f"job-{number:05d}" for number in range(1200)]
    with database.write() as connection:
        queue_jobs(connection, [NewJob(name, "store") for name in names], START, START)
    with database.read() as connection:
        assert sorted(find_jobs(connection, [*names, "none"])) == names
        assert find_jobs(connection, []) == {}

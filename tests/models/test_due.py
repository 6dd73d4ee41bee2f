"""models/due.py: what is to be sent, and that it is sent once."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.database import Database
from models.due import AT_ONCE, PATIENCE, SETTLED, is_due, running_jobs, take_back, take_due
from models.leases import Fate, postpone_job, take_leases
from models.ledger import JobRow, NewJob, find_jobs, queue_jobs
from tests.support.catalogue import START


def _run(database: Database, *names: str, owner: str = "a") -> dict[str, JobRow]:
    with database.write() as connection:
        return take_leases(connection, [NewJob(name, "store", queue="short") for name in names], owner, START, lambda _: "alive")


def _queue(database: Database, *names: str, due_at: datetime) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob(name, "store", queue="short") for name in names], START, due_at)


def _job(database: Database, name: str) -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def _due(database: Database, after: timedelta, free: tuple[str, ...] = ()) -> list[str]:
    with database.write() as connection:
        expected = is_due(connection, START + after, free)
        rows = take_due(connection, START + after, free)
    assert bool(rows) == expected
    return [row.job_id for row in rows]


def _take_back(database: Database, rows: list[JobRow], fate: Fate = "dead") -> list[str]:
    with database.write() as connection:
        return [row.job_id for row in take_back(connection, rows, lambda _row: fate, START)]


def test_a_dead_holders_job_is_due_at_once_and_its_token_is_worth_nothing(database: Database) -> None:
    rows = _run(database, "one", "two")
    with database.read() as connection:
        assert {row.job_id for row in running_jobs(connection)} == {"one", "two"}
    assert _take_back(database, [rows["one"]]) == ["one"]
    row = _job(database, "one")
    assert (row.state, row.owner, row.attempts, row.token) == ("queued", "", 1, rows["one"].token + 1)
    assert _due(database, timedelta(0)) == ["one"]


def test_a_lease_is_taken_back_once(database: Database) -> None:
    rows = list(_run(database, "one").values())
    assert _take_back(database, rows) == ["one"]
    assert _take_back(database, rows) == []
    _run(database, "one", owner="b")
    assert _take_back(database, rows) == [], "somebody else holds it now"


def test_what_was_stopped_by_its_operator_was_not_tried(database: Database) -> None:
    _take_back(database, list(_run(database, "one").values()), "stopped")
    assert _job(database, "one").attempts == 0


def test_a_job_is_sent_again_when_its_time_has_come_and_then_ever_more_rarely(database: Database) -> None:
    row = _run(database, "one")["one"]
    with database.write() as connection:
        postpone_job(connection, row.lease, START + timedelta(seconds=10), {"code": "busy"})
    assert _due(database, timedelta(seconds=9)) == []
    assert _due(database, timedelta(seconds=10)) == ["one"]
    assert _due(database, timedelta(seconds=10)) == [], "one reconciler sends it"
    assert _due(database, timedelta(seconds=9) + PATIENCE) == []
    assert _due(database, timedelta(seconds=10) + PATIENCE) == ["one"]
    assert _due(database, timedelta(seconds=10) + 2 * PATIENCE) == []
    assert _due(database, timedelta(seconds=10) + 3 * PATIENCE) == ["one"]


def test_a_message_that_is_not_in_its_queue_is_sent_again_soon(database: Database) -> None:
    _queue(database, "one", due_at=START + timedelta(hours=1))
    assert _due(database, SETTLED - timedelta(seconds=1), ("short",)) == []
    assert _due(database, SETTLED, ("long",)) == []
    assert _due(database, SETTLED, ("short",)) == ["one"]
    assert _due(database, SETTLED, ("short",)) == []


def test_a_job_that_backs_off_is_not_hurried_by_an_empty_queue(database: Database) -> None:
    row = _run(database, "one")["one"]
    with database.write() as connection:
        postpone_job(connection, row.lease, START + timedelta(hours=1), {"code": "busy"})
    assert _due(database, timedelta(minutes=1), ("short",)) == []


def test_a_flood_is_sent_in_portions_oldest_first(database: Database) -> None:
    names = [f"job-{number:05d}" for number in range(AT_ONCE + 1)]
    _queue(database, *names, due_at=START)
    assert _due(database, timedelta(0)) == names[:AT_ONCE]
    assert _due(database, timedelta(0)) == names[AT_ONCE:]
